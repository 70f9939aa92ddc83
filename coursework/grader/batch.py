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

from coursework.grader import collect, keys, output, reading, sandbox
from coursework.grader.collect import Found
from coursework.grader.engine import Options
from coursework.grader.report import Report, file_names

Record = dict[str, Any]  # what is stored of a student: stamp, report, shapes


class SetUpError(Exception):
    """Nothing can be graded; the message says what was expected and what came."""


def say(text: str) -> None:
    """Tell the person at the terminal; reports hold nothing of it."""
    print(text, file=sys.stderr, flush=True)


class Task(NamedTuple):
    """What a process needs to grade one student, and nothing that it must look up.

    Attributes
    ----------
    found : Found
        The student, and where the file is.
    set_name : str
        The problem set.
    functions : tuple of str
        Names that are collected.
    title : str
        Title of the set.
    key : bytes
        The teacher's key.
    options : Options
        Limits.
    grade : callable
        Grades one submission, `engine.grade_one`.
    version : str
        The grader's version.
    """

    found: Found
    set_name: str
    functions: tuple[str, ...]
    title: str
    key: bytes
    options: Options
    grade: Callable[..., Report]
    version: str

    def stamp(self) -> str:
        """Name all that decides on the report; equal stamps, equal reports."""
        data = collect.read_found(self.found)
        parts = [self.set_name, self.found.student, file_name(self.found), self.version]
        parts += [repr(tuple(self.options)), *self.found.notes]
        digest = hashlib.sha256(data).hexdigest()
        return keys.fingerprint(self.key, "stored report", digest, *parts)


def grade_task(task: Task, data: bytes) -> Record:
    """Grade one student; whatever goes wrong becomes a record with an error.

    Parameters
    ----------
    task : Task
        The student and the set.
    data : bytes
        The file.

    Returns
    -------
    record : dict
        The report and the functions' shapes; a traceback if the grader failed.
    """
    found = task.found
    try:
        name = file_name(found)
        submission = reading.read_submission(data, name, task.functions)
        notes = [*found.notes, *submission.notes]
        submission = submission._replace(student=found.student, notes=notes)
        graded = task.grade(submission, task.set_name, task.key, task.options)
        json.dumps(graded, allow_nan=False)
        return {"report": graded, "shapes": submission.shapes}
    except sandbox.SetUpError as error:
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
            "title": task.title,
            "student": task.found.student,
            "file": file_name(task.found),
            "notes": list(task.found.notes),
            "error": reason,
            "results": [],
            "hand": [],
            "score": None,
            "points": None,
            "version": task.version,
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
    records: list[Record | None] = []
    stamps = []
    for task in tasks:
        record, stamp = None, ""
        try:
            if task.found.path is None:
                raise ValueError(task.found.problem)
            stamp = task.stamp()
            if not force:
                record = load_record(out, names[task.found.student], stamp)
        except ValueError as error:
            record = failure(task, str(error))
        records.append(record)
        stamps.append(stamp)
    todo = [i for i, record in enumerate(records) if record is None]
    say(f"{len(tasks)} students, {len(todo)} to grade")
    started = shown = time.monotonic()
    for done, (i, record) in enumerate(run_tasks(tasks, todo, jobs, dask), 1):
        records[i] = {"stamp": stamps[i], **record}
        store_record(out, names[tasks[i].found.student], records[i])
        now = time.monotonic()
        if now - shown >= 1 or done == len(todo):
            left = (now - started) / done * (len(todo) - done)
            gone = f"{now - started:.0f} s gone, about {left:.0f} s left"
            say(f"  {done}/{len(todo)} graded, {gone}")
            shown = now
    return records


def run_tasks(
    tasks: Sequence[Task], todo: Sequence[int], jobs: int, dask: str | None
) -> Iterator[tuple[int, Record]]:
    """Yield number and record of each task, in the order in which they end.

    Parameters
    ----------
    tasks : sequence of Task
        All tasks.
    todo : sequence of int
        Which of them.
    jobs, dask
        As in `grade_all`.

    Yields
    ------
    numbered : tuple of (int, dict)
        Number and record.
    """
    import joblib  # noqa: PLC0415  only needed to run
    from joblib.externals.loky.process_executor import (  # noqa: PLC0415
        BrokenProcessPool,
    )

    client, backend = nullcontext(), nullcontext()
    if dask is not None:
        client = connect(dask)
        backend = joblib.parallel_config("dask", client=client)
    left = set(todo)
    with client, backend:
        parallel = joblib.Parallel(jobs, return_as="generator_unordered")
        calls = (joblib.delayed(_numbered)(i, *_loaded(tasks[i])) for i in todo)
        try:
            for i, record in parallel(calls):
                left.discard(i)
                yield i, record
        except BrokenProcessPool:  # a file that ends the process which reads it
            say("  a process ended; the rest is graded one by one")
    for i in sorted(left):
        try:
            call = joblib.delayed(_numbered)(i, *_loaded(tasks[i]))
            yield joblib.Parallel(2)([call])[0]
        except BrokenProcessPool:
            yield i, failure(tasks[i], "reading this file ended the grader's process")


def _loaded(task: Task) -> tuple[Task, bytes | None]:
    try:
        return task, collect.read_found(task.found)
    except ValueError:  # it was there a moment ago
        return task, None


def _numbered(i: int, task: Task, data: bytes | None) -> tuple[int, Record]:
    if data is None:
        return i, failure(task, "the file cannot be read any more")
    return i, grade_task(task, data)


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

        return Client(address)
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
