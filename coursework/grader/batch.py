"""Grade many students: in several processes, each one's report kept at once."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from coursework import keys
from coursework.grader import collect, engine, output, reading
from coursework.grader.collect import Found
from coursework.grader.confine import SetUpError
from coursework.grader.report import Report, file_names

CONNECTING = 5  # seconds to reach a Dask scheduler
Record = dict[str, Any]  # what is stored of a student: stamp, report, shapes


def say(text: str) -> None:
    """Tell the person at the terminal; reports hold nothing of it."""
    print(text, file=sys.stderr, flush=True)


class Task(NamedTuple):
    """What a process needs to grade one student, but for the file's bytes."""

    found: Found
    set_name: str
    key: bytes
    options: engine.Options

    def stamp(self, data: bytes) -> str:
        """Name all that decides on the report; equal stamps, equal reports."""
        parts = [self.set_name, self.found.student, file_name(self.found)]
        parts += [engine.GRADER_VERSION, repr(tuple(self.options)), *self.found.notes]
        digest = hashlib.sha256(data).hexdigest()
        return keys.fingerprint(self.key, "stored report", digest, *parts)


def grade_task(
    task: Task, data: bytes, grade: Callable[..., Report] = engine.grade_one
) -> Record:
    """Grade one student; whatever goes wrong becomes a record with an error."""
    found, chosen = task.found, engine.SETS[task.set_name]
    try:
        name = file_name(found)
        submission = reading.read_submission(data, name, chosen.functions)
        notes = [*found.notes, *submission.notes]
        submission = submission._replace(student=found.student, notes=notes)
        graded = grade(submission, task.set_name, task.key, task.options)
        record = {"report": graded, "shapes": submission.shapes}
        output.as_json(record).encode()  # what cannot be stored is told here
        return record
    except SetUpError as error:
        return failure(task, f"set-up error, no score: {error}")
    except Exception as error:  # one bad file never stops the batch
        kind = type(error).__name__
        record = failure(task, f"the grader failed, no score ({kind})")
        return {**record, "traceback": traceback.format_exc()}


def failure(task: Task, reason: str) -> Record:
    """Make the record of a student who could not be graded: no score at all."""
    return {
        "report": {
            "set": task.set_name,
            "title": engine.SETS[task.set_name].title,
            "student": task.found.student,
            "file": file_name(task.found),
            "notes": list(task.found.notes),
            "error": reason,
            "results": [],
            "hand": [],
            "score": None,
            "points": None,
            "version": engine.GRADER_VERSION,
        },
        "shapes": {},
    }


def file_name(found: Found) -> str:
    """Return the name of the file alone."""
    name = found.member or (found.path.name if found.path else "")
    return reading.clean(name.rpartition("/")[2])


# --- many students --------------------------------------------------------------------


def grade_all(
    tasks: Sequence[Task], out: Path, jobs: int, dask: str | None, force: bool
) -> list[Record]:
    """Grade all students who are not graded yet, and store each one's record at once.

    Parameters
    ----------
    tasks : sequence of Task
        One for each student.
    out : Path
        Where records are stored, in the folder ``reports``.
    jobs : int
        Processes on this machine.
    dask : str or None
        Address of a Dask scheduler; then they are graded there.
    force : bool
        Grade again those that have been graded.

    Returns
    -------
    records : list of dict
        In the order of the tasks.
    """
    names = file_names(task.found.student for task in tasks)
    records: list[Record | None] = [None] * len(tasks)
    stamps: dict[int, str] = {}

    def to_grade() -> Iterator[tuple[int, bytes]]:
        """Read each file once; yield those whose report is not stored already."""
        for i, task in enumerate(tasks):
            try:
                data = collect.read_found(task.found)
            except ValueError as error:
                records[i] = {"stamp": "", **failure(task, str(error))}
                store_record(out, names[task.found.student], records[i])
                continue
            stamps[i] = task.stamp(data)
            if not force:
                records[i] = load_record(out, names[task.found.student], stamps[i])
            if records[i] is None:
                yield i, data

    say(f"{len(tasks)} students")
    started = shown = time.monotonic()
    for done, (i, record) in enumerate(run_tasks(tasks, to_grade(), jobs, dask), 1):
        records[i] = {"stamp": stamps[i], **record}
        store_record(out, names[tasks[i].found.student], records[i])
        now, open_ones = time.monotonic(), records.count(None)
        if now - shown >= 1 or not open_ones:
            left = (now - started) / done * open_ones
            gone = f"{now - started:.0f} s gone, about {left:.0f} s left"
            say(f"  {len(tasks) - open_ones}/{len(tasks)} graded, {gone}")
            shown = now
    return [record for record in records if record is not None]


def run_tasks(
    tasks: Sequence[Task],
    to_grade: Iterator[tuple[int, bytes]],
    jobs: int,
    dask: str | None,
) -> Iterator[tuple[int, Record]]:
    """Yield number and record of each task, in the order in which they end.

    A file that ends the process which reads it ends all of that round; what is left is
    then graded one by one, each in a process of its own.
    """
    import joblib  # noqa: PLC0415  only needed to run
    from joblib.externals.loky.process_executor import (  # noqa: PLC0415
        BrokenProcessPool,
    )

    client, backend = nullcontext(), nullcontext()
    if dask is not None:
        client = connect(dask)
        backend = joblib.parallel_config("dask", client=client)
    begun: dict[int, bytes] = {}

    def calls() -> Iterator[Any]:
        for i, data in to_grade:
            begun[i] = data
            yield joblib.delayed(_numbered)(i, tasks[i], data, engine.grade_one)

    with client, backend:
        parallel = joblib.Parallel(jobs, return_as="generator_unordered")
        try:
            for i, record in parallel(calls()):
                del begun[i]
                yield i, record
        except BrokenProcessPool:
            say("  a process ended; the rest is graded one by one")
    for i, data in sorted([*begun.items(), *to_grade]):
        try:
            call = joblib.delayed(_numbered)(i, tasks[i], data, engine.grade_one)
            yield joblib.Parallel(2)([call])[0]
        except BrokenProcessPool:
            yield i, failure(tasks[i], "reading this file ended the grader's process")


def _numbered(
    i: int, task: Task, data: bytes, grade: Callable[..., Report]
) -> tuple[int, Record]:
    return i, grade_task(task, data, grade)


def connect(address: str) -> Any:
    """Connect to a Dask scheduler.

    Parameters
    ----------
    address : str
        As in ``tcp://host:8786``.

    Returns
    -------
    client : distributed.Client
        The connection.

    Raises
    ------
    SetUpError
        There is none, or the package is missing.
    """
    try:
        from distributed import Client  # noqa: PLC0415

        return Client(address, timeout=CONNECTING)
    except ImportError as error:
        raise SetUpError(
            "--dask expects the package distributed; install it with "
            "pip install distributed"
        ) from error
    except (OSError, ValueError) as error:
        raise SetUpError(
            f"--dask expects the address of a scheduler, got {address!r}: {error}"
        ) from error


def load_record(out: Path, name: str, stamp: str) -> Record | None:
    """Read what is stored of a student, if it was made from the same."""
    try:
        record = json.loads((out / "reports" / f"{name}.json").read_text("utf-8"))
        same = record["stamp"] == stamp and "error" not in record["report"]
        return record if same else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def store_record(out: Path, name: str, record: Record) -> None:
    """Store a student's record; a traceback goes to a file for the teacher."""
    trace = out / "errors" / f"{name}.txt"
    trace.unlink(missing_ok=True)
    if "traceback" in record:
        output.write_whole(trace, record.pop("traceback"))
    output.write_whole(out / "reports" / f"{name}.json", output.as_json(record))
