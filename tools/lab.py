"""Open a learner's copy of the chapters in JupyterLab.

    python tools/lab.py                  the newest copy, made when there is none
    python tools/lab.py --no-solutions   a copy with a clean sheet

A copy is the learner's: it is never written to again. When the book has changed, a new
one is laid beside it. The book's own files stay as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import run_edition

ROOT = Path(__file__).resolve().parent.parent
COPIES = ROOT / "learn"
STAMP = ".edition"


def fingerprint(folder: Path) -> str:
    """Return a digest of an edition's notebooks."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.ipynb")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def copies(room: Path) -> list[Path]:
    """Return the copies that were made, the newest last."""
    found = [p for p in room.glob("edition-*") if (p / STAMP).is_file()]
    return sorted(found, key=lambda p: int(p.name.partition("-")[2]))


def newest_copy(room: Path, edition: Path) -> tuple[Path, bool]:
    """Return the copy of an edition, and whether it was made just now."""
    stamp = fingerprint(edition)
    made = copies(room)
    for copy in reversed(made):
        if (copy / STAMP).read_text("utf-8") == stamp:
            return copy, False
    number = int(made[-1].name.partition("-")[2]) + 1 if made else 1
    part, copy = room / f"part-{number}", room / f"edition-{number}"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(edition, part)
    with zipfile.ZipFile(next(part.glob("*.whl"))) as wheel:
        wheel.extractall(part, [n for n in wheel.namelist() if n.startswith("bnbook/")])
    (part / STAMP).write_text(stamp, "utf-8")
    part.rename(copy)
    return copy, True


def options(environment: dict[str, str], root: bool) -> list[str]:
    """Return what JupyterLab is told on this machine: as root, without a display."""
    chosen = ["--allow-root"] if root else []
    display = any(environment.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if sys.platform == "linux" and not display:
        chosen.append("--no-browser")
    return chosen


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-solutions", action="store_true")
    parser.add_argument("--only-copy", action="store_true", help="open nothing")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as place:
        edition = Path(place) / "edition"
        pages = run_edition.build(edition, not given.no_solutions)
        copy, new = newest_copy(COPIES, edition)
    older = [p.name for p in copies(COPIES) if p != copy]
    print(f"{'Made' if new else 'Your copy is'} {copy.relative_to(ROOT)}.", end=" ")
    print(f"Open {pages[0].name} first.")
    if new and older:
        print(f"What you wrote before stands in {', '.join(older)}, as you left it.")
    if given.only_copy:
        return 0
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        *options(dict(os.environ), as_root),
    ]
    done = subprocess.run([*command, str(copy / pages[0].name)], check=False)
    print("Done: JupyterLab has stopped.")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
