"""Make the editions of the coursework.

    python -m coursework.build --key term.key --out dist

- ``student.zip``: a folder for each set, with its notebook and ``bncheck.zip``;
- ``instructor.zip``: the solution notebooks, the guide, and what the key decided;
- ``autograder-ps1.zip`` and so on, for Gradescope.

The same key gives the same bytes. A key file that is not there is made.
"""

from __future__ import annotations

import argparse
import io
import json
import secrets
import sys
import zipfile
from pathlib import Path

from coursework import keys, sources
from coursework.grader.public import public_cases
from coursework.questions import SETS
from coursework.questions.ps3 import draw_listings, draw_mutants

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DATE = (2020, 1, 1, 0, 0, 0)  # of every file in a zip, so that its bytes repeat
LICENCE = "LICENSE"
GRADER = ("numpy>=2.0,<2.5", "jinja2>=3.1", "joblib>=1.4", "pyyaml>=6",
          "landlockpy>=0.2", "pyseccomp>=0.1.2")  # fmt: skip
WITH_TORCH = ("torch==2.13.0", "scikit-learn>=1.5")
STUDENT = """\
Problem sets on batch normalization

Each folder holds a problem set: a notebook, and bncheck.zip with its checks.
Keep the two beside each other.

In Jupyter: pip install -r requirements.txt, then open the notebook.
In Colab: upload the notebook (File, Upload notebook), then bncheck.zip (folder icon).

Work from the top to the bottom. A check says one of four things: nothing yet, not yet,
almost, correct. The graded run uses other numbers than the checks.
Hand in the notebook alone.
"""
STUDENT_PACKAGES = "numpy>=2.0\nmatplotlib>=3.8\njupyterlab>=4\n"
LATER_PACKAGES = "scikit-learn>=1.5\ntorch>=2.4\n"
Files = dict[str, str | bytes]


def write_zip(path: Path, files: Files) -> None:
    """Write a zip whole, with the same bytes for the same files.

    Parameters
    ----------
    path : Path
        Where.
    files : dict of str to str or bytes
        Content by name; scripts (no ending, or ``.sh``) are executable.
    """
    part = path.with_suffix(".part")
    part.write_bytes(zip_bytes(files))
    part.replace(path)


def zip_bytes(files: Files) -> bytes:
    """Return a zip as bytes; see `write_zip`."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            script = name.endswith((".sh", "run_autograder"))
            entry.external_attr = (0o755 if script else 0o644) << 16
            archive.writestr(entry, files[name])
    return memory.getvalue()


def tree(folder: Path, under: str, skipped: tuple[str, ...] = ()) -> Files:
    """Collect the files of a folder, by their names in a zip."""
    found: Files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        parts = set(name.split("/"))
        if path.is_file() and "__pycache__" not in parts and not parts & set(skipped):
            found[f"{under}/{name}"] = path.read_bytes()
    return found


def check_library(set_name: str, variant: str) -> bytes:
    """Return bncheck.zip of a set: the checks and their public cases."""
    files = tree(ROOT / "bncheck", "bncheck", ("chapters",))
    cases = public_cases((set_name,), {set_name: variant})
    for case in cases:
        case["variant"] = ""
    files["bncheck/cases.json"] = json.dumps(cases)
    files[LICENCE] = (ROOT / LICENCE).read_text("utf-8")
    return zip_bytes(files)


def set_files(name: str, key: bytes) -> Files:
    """Collect what students get of one set."""
    variant = keys.variant(key, name)
    listings = tuple(draw_listings(key)) if name == "ps3" else ()
    notebook = sources.student_notebook(sources.read(name), variant, listings)
    later = LATER_PACKAGES if SETS[name].imports else ""
    return {
        f"{name}/{name}.ipynb": sources.as_text(notebook),
        f"{name}/bncheck.zip": check_library(name, variant),
        f"{name}/requirements.txt": STUDENT_PACKAGES + later,
    }


def student_files(key: bytes) -> Files:
    """Collect the student edition."""
    files: Files = {"README.txt": STUDENT}
    for name in sources.NAMES:
        files |= set_files(name, key)
    return files


def instructor_files(key: bytes) -> Files:
    """Collect the instructor edition."""
    files = tree(HERE / "guide", "guide") | tree(
        HERE / "sets", "solutions", ("bncheck.zip", "cases.json")
    )
    solved = sources.solved_listings(sources.read("ps3"), draw_listings(key))
    files["solutions/ps3.ipynb"] = sources.as_text(solved)
    files["TERM.md"] = term_page(key)
    files[LICENCE] = (ROOT / LICENCE).read_text("utf-8")
    return {n: c for n, c in files.items() if ".ipynb_checkpoints" not in n}


def term_page(key: bytes) -> str:
    """Say what the key decided for this term: variants and listings."""
    lines = ["# What this term's key decided", "", "Keep this page to yourself.", ""]
    lines += ["| Set | Variant |", "|---|---|"]
    lines += [f"| {n} | {keys.variant(key, n)} |" for n in keys.VARIANTS]
    letters = ", ".join(
        f"{letter}: `{name}`"
        for letter, name in zip("abc", draw_listings(key), strict=True)
    )
    lines += ["", f"Listings of ps3.q2: {letters}.", ""]
    lines += [
        "Mutants of ps3.q1 are drawn for each student; for a student named `A. B.`:",
        "",
    ]
    drawn = draw_mutants(keys.rng(key, "mutants", "ps3", "A. B."))
    lines += [f"- {bug} ({place})" for bug, place in drawn]
    lines += ["", f"Fingerprint of the key: `{keys.fingerprint(key, 'term')}`."]
    return "\n".join(lines) + "\n"


def autograder_files(set_name: str, key: bytes) -> Files:
    """Collect the Gradescope autograder of a set; it holds the key."""
    files = tree(ROOT / "bncheck", "bncheck", ("chapters",))
    files |= tree(HERE / "grader", "coursework/grader", ("gradescope",))
    files |= tree(HERE / "questions", "coursework/questions")
    for name in ("__init__.py", "grade.py", "keys.py", "needs.py"):
        files[f"coursework/{name}"] = (HERE / name).read_bytes()
    for name in ("setup.sh", "run_autograder"):
        files[name] = (HERE / "grader" / "gradescope" / name).read_bytes()
    files["set.txt"] = set_name + "\n"
    files["term.key"] = key + b"\n"
    files["requirements.txt"] = "\n".join(GRADER) + "\n"
    if SETS[set_name].imports:
        files["requirements-torch.txt"] = "\n".join(WITH_TORCH) + "\n"
    files[LICENCE] = (ROOT / LICENCE).read_text("utf-8")
    return files


def make_key(path: Path) -> bool:
    """Make a key file if there is none; say whether it was made."""
    if path.exists():
        return False
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32) + "\n")
    return True


def build(key_file: Path, out: Path) -> list[Path]:
    """Make all sources.

    Parameters
    ----------
    key_file : Path
        The teacher's secret key; made if it is not there.
    out : Path
        Where the zips go.

    Returns
    -------
    paths : list of Path
        What was written.

    Raises
    ------
    ValueError
        The key is too short, or a notebook breaks a promise.
    """
    if make_key(key_file):
        print(
            f"Made a new key, {key_file}: keep it for the whole term, and to yourself."
        )
    key = keys.read_key(key_file)
    zips = {"student.zip": student_files(key), "instructor.zip": instructor_files(key)}
    zips |= {f"autograder-{n}.zip": autograder_files(n, key) for n in sources.NAMES}
    for name, content in zips["student.zip"].items():
        if isinstance(content, str) and sources.has_solution(content):
            raise ValueError(
                f"expected no solution in the student edition, found one in {name}"
            )
    out.mkdir(parents=True, exist_ok=True)
    for name, files in zips.items():
        write_zip(out / name, files)
    return [out / name for name in zips]


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m coursework.build", description=__doc__
    )
    parser.add_argument("--key", type=Path, default=Path("term.key"))
    parser.add_argument("--out", type=Path, default=Path("dist"))
    given = parser.parse_args(arguments)
    try:
        paths = build(given.key, given.out)
    except (ValueError, OSError) as error:
        print(f"Stopped: {error}")
        return 2
    for path in paths:
        print(f"  {path}: {path.stat().st_size / 1e3:.0f} kB")
    print(f"Done: {len(paths)} zips in {given.out}.")
    print("Start with guide/README.md in instructor.zip.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
