"""Grade a folder of submissions.

    python -m coursework.grade SUBMISSIONS_DIR --set ps1 --key FILE --out DIR

Exit code 0: all are graded; 1: some could not be graded; 2: nothing was graded, and one
sentence says what was expected; 130: stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from coursework.grader import collect, engine, keys, reading, report
from coursework.grader.collect import Found

ALL_GRADED, SOME_NOT, SET_UP, STOPPED = 0, 1, 2, 130
Record = dict[str, Any]  # what is stored of a student: stamp, report, shapes


class SetUpError(Exception):
    """Nothing can be graded; the message says what was expected and what came."""


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
    options: engine.Options
    grade: Callable[..., report.Report]
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
    except Exception as error:  # one bad file never stops the batch
        kind = type(error).__name__
        record = failure(task, f"set-up or grader error ({kind})")
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
    names = report.file_names(task.found.student for task in tasks)
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
        report.write_whole(trace, record.pop("traceback"))
    report.write_whole(out / "reports" / f"{name}.json", report.as_json(record))


# --- the command ----------------------------------------------------------------------


def say(text: str) -> None:
    """Tell the person at the terminal; reports hold nothing of it."""
    print(text, file=sys.stderr, flush=True)


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the program.

    Returns
    -------
    options : Namespace
        What was said.
    """
    default = engine.Options()
    parser = argparse.ArgumentParser(
        prog="python -m coursework.grade", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("submissions", nargs="?", type=Path, metavar="SUBMISSIONS_DIR")
    add("--set", required=True, dest="set_name", help="ps1 to ps5, or capstone")
    add("--key", required=True, type=Path, help="file with the secret key")
    add("--out", type=Path, help="folder for reports, pages and tables")
    add("--gradescope", type=Path, metavar="FOLDER", help="grade /autograder there")
    add("--marks", type=Path, help="marks that people gave, as marks-template.csv")
    add("--jobs", type=int, default=-1, help="processes; default: all cores")
    add("--dask", metavar="ADDRESS", help="grade on a Dask cluster")
    add("--time-limit", type=float, default=default.time_limit, metavar="S")
    add("--memory", type=int, default=default.memory, metavar="MIB")
    add("--force", action="store_true", help="grade again what is graded")
    add("--unsafe", action="store_true", help="grade even without confinement")
    return parser.parse_args(arguments)


def set_up(given: argparse.Namespace) -> dict[str, Any]:
    """Check what was said, and return what all tasks share.

    Parameters
    ----------
    given : Namespace
        The command line.

    Returns
    -------
    shared : dict
        All of a `Task` but the student.

    Raises
    ------
    SetUpError
        Something is missing.
    """
    if given.set_name not in engine.SETS:
        known = ", ".join(engine.SETS)
        raise SetUpError(f"expected --set to be one of {known}, got {given.set_name!r}")
    if given.jobs == 0 or given.time_limit <= 0 or given.memory <= 0:
        raise SetUpError("expected --jobs, --time-limit and --memory above 0, got 0")
    options = engine.Options(given.time_limit, given.memory, given.unsafe)
    try:
        key = keys.read_key(given.key)
        say(f"Confinement: {engine.confinement(options).text}")
    except (ValueError, OSError, RuntimeError) as error:
        raise SetUpError(str(error)) from error
    chosen = engine.SETS[given.set_name]
    return {
        "set_name": given.set_name,
        "functions": tuple(chosen.functions),
        "title": chosen.title,
        "key": key,
        "options": options,
        "grade": engine.grade_one,
        "version": engine.GRADER_VERSION,
    }


def grade_folder(given: argparse.Namespace) -> int:
    """Grade a folder, and write reports, pages and tables."""
    folder, out = given.submissions, given.out
    if folder is None or out is None:
        raise SetUpError("expected a folder of submissions and --out, or --gradescope")
    if not folder.is_dir():
        raise SetUpError(f"expected a folder of submissions, found none at {folder}")
    if out.resolve().is_relative_to(folder.resolve()):
        raise SetUpError(f"expected --out outside of the submissions, got {out}")
    if given.marks and not given.marks.is_file():
        raise SetUpError(f"expected a table of marks, found none at {given.marks}")
    shared = set_up(given)
    found = collect.find_submissions(folder, given.set_name)
    if not found:
        raise SetUpError(f"expected notebooks or Python files in {folder}, found none")
    tasks = [Task(found=f, **shared) for f in found]
    records = grade_all(tasks, out, given.jobs, given.dask, given.force)
    entries = [
        report.Entry(r["report"], r["shapes"], t.found.ids)
        for r, t in zip(records, tasks, strict=True)
    ]
    try:
        reports = [e.report for e in entries]
        marks = report.read_marks(given.marks, reports) if given.marks else {}
    except (ValueError, OSError) as error:
        raise SetUpError(str(error)) from error
    report.write_class(out, entries, marks)
    failed = [r for r in reports if "error" in r]
    for r in failed:
        say(f"Not graded: {r['student']}: {r['error']}")
    hand = sum(len(r["hand"]) for r in reports)
    if sum(map(len, marks.values())) < hand:
        say("Written answers wait for marks: totals hold the marks given so far.")
    say(f"Graded {len(reports) - len(failed)} of {len(reports)}.")
    say(f"Read {out / 'summary.html'}")
    return SOME_NOT if failed else ALL_GRADED


def grade_gradescope(given: argparse.Namespace) -> int:
    """Grade the one submission that Gradescope laid into its folder.

    Where it cannot be graded no result is written: Gradescope then says so, and there
    is no score.
    """
    folder = given.gradescope
    results = folder / "results" / "results.json"
    results.unlink(missing_ok=True)
    shared = set_up(given)
    found = collect.choose_file([folder / "submission"], given.set_name)
    try:
        table = json.loads((folder / "submission_metadata.json").read_text("utf-8"))
        student = min(user["name"] for user in table["users"])
    except (OSError, ValueError, LookupError, TypeError):
        student = "student"
    task = Task(found=found._replace(student=reading.clean(str(student))), **shared)
    try:
        if found.path is None:
            raise ValueError(found.problem)
        record = grade_task(task, collect.read_found(found))
    except ValueError as error:
        record = failure(task, str(error))
    graded = record["report"]
    if "error" in graded:
        say(record.get("traceback", ""))
        say(f"Not graded: {graded['error']}")
        return SOME_NOT
    report.write_whole(results, report.as_json(report.gradescope_results(graded)))
    return ALL_GRADED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the program.

    Returns
    -------
    code : int
        The exit code.
    """
    given = read_arguments(arguments)
    try:
        return grade_gradescope(given) if given.gradescope else grade_folder(given)
    except SetUpError as error:
        say(f"Stopped: {error}")
        return SET_UP
    except KeyboardInterrupt:
        say("Stopped: what is graded is kept; the same command goes on from there.")
        return STOPPED


if __name__ == "__main__":
    from coursework.grade import main as run  # so that other processes find its classes

    sys.exit(run())
