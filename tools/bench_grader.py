"""Measure how many submissions a second the grader does; nothing is asserted.

    make bench            or: python tools/bench_grader.py [--set ps1] [--most 1000]

Classes of growing size are made of the solution notebook of a set and graded by the
command itself, each into a new folder. The marginal cost is what one submission more
takes; if it is the same for a small and for a large class, the work grows linearly.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1, 10, 100, 1000)


def make_class(folder: Path, notebook: Path, size: int) -> None:
    """Write copies of a notebook under the names of students."""
    folder.mkdir()
    data = notebook.read_bytes()
    for number in range(size):
        (folder / f"student{number:04}.ipynb").write_bytes(data)


def grade(folder: Path, out: Path, set_name: str, key: Path) -> tuple[float, str]:
    """Grade a folder; return the seconds and the line on confinement."""
    command = [sys.executable, "-m", "coursework.grade", str(folder)]
    command += ["--set", set_name, "--key", str(key), "--out", str(out)]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"Stopped: grading failed: {done.stderr[-1000:]}")
    said = (done.stderr + done.stdout).splitlines()
    return seconds, next(line for line in said if "onfinement" in line)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", dest="set_name", default="ps1")
    parser.add_argument("--most", type=int, default=SIZES[-1])
    given = parser.parse_args()
    notebook = ROOT / "coursework" / "sets" / f"{given.set_name}.ipynb"
    print(f"\nThe grader, {given.set_name}, {os.cpu_count()} cores")
    measured = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        key = place / "term.key"
        key.write_text("a key for the benchmark of the grader")
        for size in (s for s in SIZES if s <= given.most):
            make_class(place / f"class{size}", notebook, size)
            out = place / f"out{size}"
            seconds, means = grade(place / f"class{size}", out, given.set_name, key)
            measured.append((size, seconds))
            if size == 1:
                print(means)
            rate = size / seconds
            print(
                f"  {size:5} submissions: {seconds:7.1f} s, {rate:5.2f} a second",
                flush=True,
            )
    print("  one submission more, between two sizes:")
    for (few, short), (many, long) in pairwise(measured):
        print(f"    {few:5} to {many:5}: {(long - short) / (many - few):.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
