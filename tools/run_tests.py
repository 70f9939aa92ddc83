"""Run every check of the book, the quick ones first, and say how it went.

All checks run even when one fails, but the built site is only looked at when the build
succeeded. The last lines repeat the summary of each check.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from notebooks import all_notebooks, problem_sets
from parts import missing

ROOT = Path(__file__).resolve().parent.parent
CELL_TIMEOUT = 120
COUNTS = re.compile(r"(\d+) (passed|failed|errors?|skipped)")


class Result(NamedTuple):
    """What one check said in the end."""

    name: str
    code: int
    seconds: float
    last: str
    skipped: bool


def run(name: str, *arguments: str) -> Result:
    """Run a command, show its output as it comes, keep its last line."""
    print(f"\n--- {name}", flush=True)
    start = time.perf_counter()
    last = ""
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip(" =\n") or last
    seconds = time.perf_counter() - start
    return Result(name, process.returncode, seconds, last, last.startswith("Skipped"))


def steps() -> list[Result]:
    """Run the checks in order."""
    python = sys.executable
    pytest = [python, "-m", "pytest", "-q", "-n", "2"]
    shared, whole = ["--dist", "worksteal"], ["--dist", "loadfile"]
    nbval = ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}"]
    stored = [*all_notebooks(), *problem_sets()]
    pages = [str(p.relative_to(ROOT)) for p in stored]
    done = [
        run("lint", python, "tools/lint.py"),
        run("unit tests and notebook contract", *pytest, *shared, "tests"),
        run("public checks of the sets", python, "-m", "coursework.grader.public"),
        run("notebooks, every cell and output", *pytest, *whole, *nbval, *pages),
        run("strict build of the site", python, "tools/book.py"),
    ]
    if not done[-1].code:
        done.append(run("local links", python, "tools/check_links.py"))
        done.append(run("valid HTML", python, "tools/check_html.py"))
        done.append(run("pages in a browser", python, "tools/check_browser.py"))
    return done


def tally(results: list[Result]) -> tuple[int, int, int]:
    """Add up passed, failed and skipped; a check without pytest counts as one."""
    total = {"passed": 0, "failed": 0, "skipped": 0}
    for result in results:
        found = COUNTS.findall(result.last)
        for number, word in found:
            total["failed" if word.startswith("error") else word] += int(number)
        failed = any(word not in ("passed", "skipped") for _, word in found)
        if result.code and not failed:
            total["failed"] += 1
        elif not found:
            total["skipped" if result.skipped else "passed"] += 1
    return total["passed"], total["failed"], total["skipped"]


def main() -> int:
    left_out = missing()
    if left_out and os.environ.get("CI") == "true":
        names = ", ".join(part.name for part in left_out)
        print(f"Stopped: CI must leave nothing out, and this machine lacks {names}.")
        return 1
    start = time.perf_counter()
    results = steps()
    minutes = (time.perf_counter() - start) / 60
    print("\n--- summary")
    for result in results:
        verdict = "FAILED" if result.code else "skipped" if result.skipped else "ok"
        print(f"{verdict:8}{result.seconds:6.0f} s  {result.name}: {result.last}")
    for part in left_out:
        print(f"Left out: {part.left_out}. {part.name} is missing: {part.how}.")
    passed, failed, skipped = tally(results)
    print(f"Total: {passed} passed, {failed} failed, {skipped} skipped")
    bad = [result.name for result in results if result.code]
    if bad:
        print(f"Stopped after {minutes:.1f} minutes; failed: {', '.join(bad)}.")
        return 1
    print(f"Done: every check has passed, in {minutes:.1f} minutes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
