"""Grade a folder of submissions.

    python -m coursework.grade SUBMISSIONS_DIR --set ps1 --key FILE --out DIR

Exit code 0: all are graded; 1: some could not be graded; 2: nothing was graded, and one
sentence says what was expected; 130: stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from coursework import needs

needs.stop_without()  # before anything is imported that needs more than Python

from coursework import keys  # noqa: E402
from coursework.grader import (  # noqa: E402
    collect,
    engine,
    output,
    reading,
    report,
    tables,
)
from coursework.grader.batch import (  # noqa: E402
    Task,
    failure,
    grade_all,
    grade_task,
    say,
)
from coursework.grader.collect import Found  # noqa: E402
from coursework.grader.confine import SetUpError  # noqa: E402

ALL_GRADED, SOME_NOT, SET_UP, STOPPED = 0, 1, 2, 130


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


def set_up(given: argparse.Namespace) -> Callable[[Found], Task]:
    """Check what was said, and return what makes the task of a student.

    Raises `SetUpError` if something is missing.
    """
    if given.set_name not in engine.SETS:
        known = ", ".join(engine.SETS)
        raise SetUpError(f"expected --set to be one of {known}, got {given.set_name!r}")
    if given.jobs == 0 or given.time_limit <= 0 or given.memory <= 0:
        raise SetUpError("expected --jobs, --time-limit and --memory above 0, got 0")
    absent = needs.absent(engine.SETS[given.set_name].imports)
    if absent:
        raise SetUpError(needs.sentence(absent, f"grading {given.set_name}"))
    options = engine.Options(given.time_limit, given.memory, given.unsafe)
    try:
        key = keys.read_key(given.key)
        say(f"Confinement: {engine.confinement(options).text}")
    except (ValueError, OSError) as error:
        raise SetUpError(str(error)) from error
    return lambda found: Task(found, given.set_name, key, options)


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
    task_of = set_up(given)
    found = collect.find_submissions(folder, given.set_name)
    if not found:
        raise SetUpError(f"expected notebooks or Python files in {folder}, found none")
    tasks = [task_of(f) for f in found]
    records = grade_all(tasks, out, given.jobs, given.dask, given.force)
    entries = [
        report.Entry(r["report"], r["shapes"], t.found.ids)
        for r, t in zip(records, tasks, strict=True)
    ]
    try:
        reports = [e.report for e in entries]
        marks = tables.read_marks(given.marks, reports) if given.marks else {}
    except (ValueError, OSError) as error:
        raise SetUpError(str(error)) from error
    output.write_class(out, entries, marks)
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
    task_of = set_up(given)
    found = collect.choose_file([folder / "submission"], given.set_name)
    try:
        table = json.loads((folder / "submission_metadata.json").read_text("utf-8"))
        student = min(user["name"] for user in table["users"])
    except (OSError, ValueError, LookupError, TypeError):
        student = "student"
    task = task_of(found._replace(student=reading.clean(str(student))))
    try:
        record = grade_task(task, collect.read_found(found), engine.grade_one)
    except ValueError as error:
        record = failure(task, str(error))
    graded = record["report"]
    if "error" in graded:
        say(record.get("traceback", ""))
        say(f"Not graded: {graded['error']}")
        return SOME_NOT
    output.write_whole(results, output.as_json(report.gradescope_results(graded)))
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
    sys.exit(main())
