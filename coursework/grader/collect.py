"""Find the students' submissions in a folder, as people and systems hand them in."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from coursework.grader.reading import LARGEST_FILE, clean

MOST_FILES, DEEPEST = 2000, 5
CANVAS = re.compile(r"(.+?)(_LATE)?_(\d+)_(\d+)_(.+)")
MOODLE = re.compile(r"(.+?)_(\d+)_assignsubmission_(file|onlinetext)_?(.*)")


class Found(NamedTuple):
    """Where one student's submission is.

    Attributes
    ----------
    student : str
        Name, the only one of its kind in the folder.
    path : Path or None
        The file, or the zip that holds it; None if there is none.
    member : str
        Name inside the zip, else empty.
    notes : tuple of str
        What a person should know about the choice.
    ids : dict of str to str
        ``"canvas"``, ``"moodle"`` or ``"gradescope"`` and the number there.
    problem : str
        Why there is nothing to grade, else empty.
    """

    student: str
    path: Path | None
    member: str = ""
    notes: tuple[str, ...] = ()
    ids: dict[str, str] = {}  # noqa: RUF012  never changed
    problem: str = ""


def find_submissions(folder: Path, set_name: str = "") -> list[Found]:
    """Find one file for each student in a folder, or say why there is none.

    Known are files and folders with a student's name, zips, and the exports of Moodle,
    Canvas and Gradescope. Links are not followed, and zips are not unpacked to disk.

    Parameters
    ----------
    folder : Path
        Where the submissions are.
    set_name : str
        Of several files the one with this in its name is taken, ``"ps1"``.

    Returns
    -------
    found : list of Found
        In the order of names; each name occurs once.
    """
    entries = [e for e in sorted(folder.iterdir()) if not _hidden(e.name)]
    if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink():
        inside = [e.name for e in entries[0].iterdir()]
        if any(n == "submission_metadata.yml" or MOODLE.fullmatch(n) for n in inside):
            return find_submissions(entries[0], set_name)
    people = _gradescope_names(folder / "submission_metadata.yml")
    owners: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    late = set()
    for entry in entries:
        canvas, moodle = CANVAS.fullmatch(entry.name), MOODLE.fullmatch(entry.name)
        if entry.name in people:
            for name, number in people[entry.name]:
                owners[name, "gradescope", number].append(entry)
        elif moodle:
            if moodle[3] == "file":
                owners[moodle[1], "moodle", moodle[2]].append(entry)
        elif canvas and not entry.is_dir():
            owners[canvas[1], "canvas", canvas[3]].append(entry)
            late |= {canvas[3]} if canvas[2] else set()
        elif entry.is_dir():
            owners[entry.name, "", ""].append(entry)
        elif entry.suffix.lower() in (".ipynb", ".py", ".zip"):
            owners[entry.stem, "", ""].append(entry)
    found = []
    for (name, system, number), paths in owners.items():
        one = choose_file(paths, set_name)
        if system == "canvas" and number in late:
            one = one._replace(notes=("handed in late, says Canvas", *one.notes))
        ids = {system: number} if system else {}
        found.append(one._replace(student=clean(name).strip() or "?", ids=ids))
    return _tell_apart(found)


def choose_file(paths: Sequence[Path], set_name: str = "") -> Found:
    """Choose the file to grade among those of one student.

    Parameters
    ----------
    paths : sequence of Path
        Files, zips and folders of the student.
    set_name : str
        As in `find_submissions`.

    Returns
    -------
    found : Found
        With an empty name of the student.
    """
    candidates: list[tuple[str, Path, str]] = []
    problems: list[str] = []
    for path in paths:
        for file in _walk(path, problems):
            if file.suffix.lower() == ".zip":
                names = _zip_names(file, problems)
                candidates += [(PurePosixPath(n).name, file, n) for n in names]
            elif file.suffix.lower() in (".ipynb", ".py"):
                candidates.append((file.name, file, ""))
    if not candidates:
        reason = "; ".join(problems) or "no notebook (.ipynb) or Python file was found"
        return Found("", None, problem=reason)
    spaced = re.sub(r"(?<=[a-z])(?=\d)", r"[ _-]*", re.escape(set_name.lower()))
    wanted = re.compile(rf"(?<![a-z]){spaced}(?!\d)")

    def rank(candidate: tuple[str, Path, str]) -> tuple:
        name, path, member = candidate
        stem, _, ending = name.lower().rpartition(".")
        parts = [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", stem)]
        return bool(wanted.search(stem)), ending == "ipynb", parts, str(path), member

    name, path, member = max(candidates, key=rank)
    notes = [f"{p}" for p in problems]
    if len(candidates) > 1:
        others = sorted({c[0] for c in candidates} - {name})[:5]
        rest = f", not {', '.join(others)}" if others else ""
        notes.append(f"{len(candidates)} files were handed in: {name} counts{rest}")
    return Found("", path, member, tuple(clean(n) for n in notes))


def read_found(found: Found) -> bytes:
    """Read the bytes of a submission.

    Parameters
    ----------
    found : Found
        Where the submission is.

    Returns
    -------
    data : bytes
        The file.

    Raises
    ------
    ValueError
        There is none, it cannot be read, or it is too large; the message says which.
    """
    if found.path is None:
        raise ValueError(found.problem)
    try:
        if not found.member:
            with found.path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
        else:  # a wrong size in the zip does no harm: no more than this is unpacked
            with zipfile.ZipFile(found.path) as pack, pack.open(found.member) as file:
                data = file.read(LARGEST_FILE + 1)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, LookupError) as error:
        raise ValueError(f"the file cannot be read ({type(error).__name__})") from error
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError("the zip is locked or of an unknown kind") from error
    if len(data) > LARGEST_FILE:
        raise ValueError(f"the file has more than {LARGEST_FILE // 1_000_000} MB")
    return data


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX", "__pycache__"))


def _walk(path: Path, problems: list[str], depth: int = 0) -> Iterator[Path]:
    """Yield the regular files under a path; links are left alone."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            problems.append(f"{path.name} is a link and was not followed")
        elif stat.S_ISREG(mode):
            yield path
        elif stat.S_ISDIR(mode) and depth < DEEPEST:
            for inner in sorted(path.iterdir())[:MOST_FILES]:
                if not _hidden(inner.name):
                    yield from _walk(inner, problems, depth + 1)
    except OSError as error:
        problems.append(f"{path.name} cannot be read ({type(error).__name__})")


def _zip_names(path: Path, problems: list[str]) -> list[str]:
    """List the members of a zip that may be read: plain files with plain names."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError("it is too large")
        with zipfile.ZipFile(path) as pack:
            members = pack.infolist()
        if len(members) > MOST_FILES:
            raise ValueError(f"it holds {len(members)} files")
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        reason = error if type(error) is ValueError else type(error).__name__
        problems.append(f"{path.name} cannot be opened ({reason})")
        return []
    names = []
    for member in members:
        parts = PurePosixPath(member.filename).parts
        odd = set(":\\") & set(member.filename) or ".." in parts or "/" in parts[:1]
        odd = odd or member.flag_bits & 1 or member.compress_type not in (0, 8)
        if odd or stat.S_ISLNK(member.external_attr >> 16):
            problems.append(
                f"{path.name} holds a link, a strange path or a locked file: not read"
            )
        elif not member.is_dir() and not any(_hidden(p) for p in parts):
            names.append(member.filename)
    return [n for n in names if n.lower().endswith((".ipynb", ".py"))]


def _gradescope_names(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Read who handed in which folder of a Gradescope export."""
    if not path.is_file() or path.is_symlink():
        return {}
    import yaml  # noqa: PLC0415  only for this export

    # The base loader makes nothing but texts, lists and dictionaries.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        table = yaml.load(path.read_bytes(), loader)
        return {
            folder: [
                (s.get(":name") or s.get(":email") or folder, s.get(":sid") or folder)
                for s in entry[":submitters"]
            ]
            for folder, entry in table.items()
        }
    except (yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _tell_apart(found: list[Found]) -> list[Found]:
    """Give students of the same name distinct names: with their numbers."""
    found = sorted(found, key=lambda f: (f.student, sorted(f.ids.items())))
    same = defaultdict(int)
    for f in found:
        same[f.student] += 1
    taken, result = {n for n, count in same.items() if count == 1}, []
    for f in found:
        name = f.student
        if same[name] > 1:
            base = f"{name} ({next(iter(f.ids.values()))})" if f.ids else name
            choices = [base, *(f"{base} ({i})" for i in range(2, len(found) + 2))]
            name = next(c for c in choices if c not in taken)
            taken.add(name)
        result.append(f._replace(student=name))
    return result
