"""Collect submissions: find the students' files, and read one without running it.

A file becomes pieces of source, chosen by function name, and written answers. Cells may
be copied, split, moved or broken: what can be read is read, and the notes say what not.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import stat
import symtable
import unicodedata
import warnings
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

LARGEST_FILE = 20_000_000  # bytes, with outputs
LARGEST_SOURCE = 1_000_000  # characters, without outputs
MOST_CELLS, MOST_FILES, DEEPEST = 500, 2000, 5
LONGEST_ANSWER, MOST_NOTES, MOST_PARTS = 20_000, 30, 3000
SIMILAR_FROM = 8  # statements; shorter functions are alike by chance

CANVAS = re.compile(r"(.+?)(_LATE)?_(\d+)_(\d+)_(.+)")
MOODLE = re.compile(r"(.+?)_(\d+)_assignsubmission_(file|onlinetext)_?(.*)")
ANSWER = re.compile(r"^[ \t]*\*\*Answer[ \t]+([\w.-]+)\*\*.*$", re.M)
PLACEHOLDER = "*Write your answer here.*"
PICTURE = re.compile(r"data:image/[\w.+-]+;base64,[\w+/=\s]+")
MAGIC = re.compile(r"^([ \t]*)(?:[%!?].*|[\w.]+\?{1,2}[ \t]*)$", re.M)
MAGIC_VALUE = re.compile(r"^([ \t]*[\w, .\[\]]+=[ \t]*)[%!].*$", re.M)
CELL_MAGIC = re.compile(r"\s*%%(\w+)[^\n]*")
HARMLESS_MAGICS = ("time", "capture", "timeit")
CONTINUES = re.compile(r"[\s)\]}#]|(?:else|elif|except|finally)\b|$")
MUTATORS = {"add", "append", "extend", "insert", "setdefault", "update"}

Def = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Unparsable = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


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


class Submission(NamedTuple):
    """What one file holds: pieces of source to run, answers, and notes.

    Attributes
    ----------
    student, file : str
        Name of the student and of the file.
    chunks : list of tuple of (str, str)
        Label ("cell 4") and source of each statement that is needed, in their order;
        empty lines before it make its line numbers those of the cell.
    answers : dict of str to str
        Text of each written answer.
    notes : list of str
        What was wrong with the file, in sentences.
    digest : str
        SHA-256 of the file.
    shapes : dict of str to str
        Digest of each longer wanted function's syntax tree with names left out.
    """

    student: str
    file: str
    chunks: list[tuple[str, str]]
    answers: dict[str, str]
    notes: list[str]
    digest: str
    shapes: dict[str, str] = {}  # noqa: RUF012  never changed


# --- finding --------------------------------------------------------------------------


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
        With a path.

    Returns
    -------
    data : bytes
        The file.

    Raises
    ------
    ValueError
        It cannot be read, or it is too large; the message says which.
    """
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


def clean(text: str) -> str:
    """Return text that every file and page can hold: no half or control characters."""
    text = unicodedata.normalize("NFC", text).encode("utf-8", "replace").decode()
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)


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


# --- reading --------------------------------------------------------------------------


class Cell(NamedTuple):
    """A cell: its kind, its place in words ("cell 4", "file"), text, answer's key."""

    kind: str
    place: str
    text: str
    key: str = ""


class Item(NamedTuple):
    """A top-level statement; the names that it binds, needs, changes in place."""

    place: str
    node: ast.stmt
    source: str
    binds: set[str]
    needs: set[str]
    changes: set[str]


def read_submission(data: bytes, name: str, wanted: Sequence[str]) -> Submission:
    """Read a notebook or a Python file, and choose what the wanted functions need.

    Nothing is run, and bad content raises nothing: it becomes a note.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        Its name.
    wanted : sequence of str
        Names that are graded; ``"test_*"`` stands for all that begin so.

    Returns
    -------
    submission : Submission
        The student's name is the file's name without its ending.
    """
    notes: list[str] = []
    file = clean(PurePosixPath(name.replace("\\", "/")).name)
    chunks, answers, shapes = [], {}, {}
    try:
        cells = _cells(data, file, notes)
        answers = _answers(cells, notes)
        items: list[Item] = []
        for cell in cells:
            items += _items(cell, notes)
            if len(items) >= MOST_PARTS:
                notes.append(
                    f"more than {MOST_PARTS} statements: the rest was not read"
                )
                break
        chosen = _choose(items, wanted, cells, notes)
        chunks = [(item.place, item.source) for item in chosen]
        shapes = _shapes(chosen, wanted)
        bound = {name for item in chosen for name in item.binds}
        if not any(fnmatchcase(name, entry) for name in bound for entry in wanted):
            notes.append("none of the graded functions stands in the code of this file")
    except Unparsable as error:  # what is nested too deeply for every other net
        notes.append(f"the file could not be read ({type(error).__name__})")
    if len(notes) > MOST_NOTES:
        notes[MOST_NOTES:] = [f"and {len(notes) - MOST_NOTES} notes more"]
    student, digest = file.rpartition(".")[0] or file, hashlib.sha256(data).hexdigest()
    notes = [clean(note) for note in dict.fromkeys(notes)]
    return Submission(student, file, chunks, answers, notes, digest, shapes)


def _cells(data: bytes, file: str, notes: list[str]) -> list[Cell]:
    """Turn a file into cells; a Python file is one code cell and its comments."""
    if len(data) > LARGEST_FILE:
        notes.append(f"the file has more than {LARGEST_FILE // 1_000_000} MB")
        return []
    text = _decode(data, notes)
    if not text.strip():
        notes.append("the file is empty")
        return []
    if text[:1000].count("\x00") > 5:
        notes.append("the file holds no text: expected a notebook or a Python file")
        return []
    is_notebook = file.lower().endswith(".ipynb")
    if is_notebook or (text.lstrip()[:1] == "{" and '"cells"' in text):
        try:
            cells = _notebook_cells(json.loads(text), notes)
        except Unparsable as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested"
            line = getattr(error, "lineno", 1)
            notes.append(f"the file is not a notebook (JSON, line {line}: {reason})")
            if not re.search(r"^(?:def|class|import|from) ", text, re.M):
                return []
            cells = _python_cells(text)
    else:
        cells = _python_cells(text)
    if len(cells) > MOST_CELLS:
        notes.append(f"{len(cells)} cells: only the first {MOST_CELLS} were read")
        cells = cells[:MOST_CELLS]
    if sum(len(cell.text) for cell in cells) > LARGEST_SOURCE:
        notes.append("the file has more than 1 MB without its outputs: it was not read")
        return []
    return cells


def _decode(data: bytes, notes: list[str]) -> str:
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        if b"\x00" not in data:
            notes.append("the file is not UTF-8: letters with accents may be wrong")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _notebook_cells(notebook: Any, notes: list[str]) -> list[Cell]:
    """List the cells of a notebook of format 3 or 4; other values are left out."""
    sheets = notebook.get("worksheets") if isinstance(notebook, dict) else None
    holders = [notebook, *sheets] if isinstance(sheets, list) else [notebook]
    raw = [c for h in holders if isinstance(h, dict) for c in _list(h.get("cells"))]
    if not raw:
        notes.append("the notebook has no cells")
    cells = []
    for number, cell in enumerate(raw, 1):
        if not isinstance(cell, dict):
            continue
        text = cell.get("source", cell.get("input", ""))
        text = "".join(t for t in _list(text) if isinstance(t, str)) or text
        text = text if isinstance(text, str) else ""
        text = text.encode("utf-8", "replace").decode().replace("\r\n", "\n")
        meta = cell.get("metadata")
        key = meta.get("answer", "") if isinstance(meta, dict) else ""
        kind = "code" if cell.get("cell_type") == "code" else "text"
        if kind == "text":
            text = PICTURE.sub("(picture)", text)
        key = key if isinstance(key, str) else ""
        cells.append(Cell(kind, f"cell {number}", text.replace("\r", "\n"), key))
    return cells


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []


def _python_cells(text: str) -> list[Cell]:
    """Make one code cell, and a text cell of each comment that holds an answer."""
    blocks = re.findall(
        r"(?:^#.*\n?)+|^(?:\"\"\"|''')[\s\S]*?(?:\"\"\"|''')", text, re.M
    )
    plain = [re.sub(r"^# ?", "", b, flags=re.M).strip("\"'") for b in blocks]
    answers = [Cell("text", "file", b) for b in plain if ANSWER.search(b)]
    return [Cell("code", "file", text), *answers]


def _answers(cells: list[Cell], notes: list[str]) -> dict[str, str]:
    """Collect the written answers: the text after each line **Answer ps1.w1**."""
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    texts = [c for c in cells if c.kind == "text"]
    for cell in texts:
        pieces = ANSWER.split(cell.text)  # text, key, text, key, text ...
        if cell.key and (len(pieces) == 1 or cell.key not in pieces[1::2]):
            pieces = ["", cell.key, "".join(pieces)]
        for key, text in zip(pieces[1::2], pieces[2::2], strict=True):
            text = clean(text.replace(PLACEHOLDER, "")).strip()
            parts[key].pop(text, None)  # of exact copies the last one counts
            parts[key][text] = cell.place
    for before, cell in pairwise(cells):
        keys = [before.key] if before.key else ANSWER.findall(before.text)
        plain = cell.kind == "text" and not cell.key and not ANSWER.search(cell.text)
        below = before.kind == "text" and plain and cell.text[:1] not in ("#", "")
        if keys and below and not any(parts[keys[-1]]):
            parts[keys[-1]][clean(cell.text).strip()] = cell.place
            notes.append(
                f"the answer {keys[-1]} stands in the cell below ({cell.place})"
            )
    answers = {}
    for key, found in parts.items():
        found = {text: place for text, place in found.items() if text}
        if len(found) > 1:
            places = ", ".join(found.values())
            notes.append(f"the answer {key} stands in several cells: {places}")
        text = "\n\n".join(found)
        if re.search(r"\(picture\)|!\[|<img|attachment:", text):
            notes.append(
                f"the answer {key} refers to a picture: see the student's file"
            )
        if len(text) > LONGEST_ANSWER:
            notes.append(f"the answer {key} was cut after {LONGEST_ANSWER} characters")
        answers[key[:40]] = text[:LONGEST_ANSWER]
    return answers


# --- statements -----------------------------------------------------------------------


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in the student's texts
        return ast.parse(text)


def _items(cell: Cell, notes: list[str]) -> list[Item]:
    """Split a code cell into statements; parts that do not parse are noted."""
    magic = CELL_MAGIC.match(cell.text)
    if cell.kind != "code" or (magic and magic[1] not in HARMLESS_MAGICS):
        if cell.kind == "code":
            notes.append(f"{cell.place} begins with %%{magic[1]} and was left out")
        return []
    text = cell.text.removeprefix("\ufeff")
    if "\x00" in text:
        notes.append(f"{cell.place} holds NUL characters: they were left out")
        text = text.replace("\x00", "")
    if magic:
        text = re.sub(r"%%.*", "", text, count=1)
    plain = MAGIC.sub(r"\1pass", MAGIC_VALUE.sub(r"\1None", text))
    for attempt in (text, plain, plain.expandtabs(8)):  # Python 2: a tab is 8 spaces
        try:
            return _take_apart(cell.place, _parse(attempt), attempt, notes)
        except Unparsable as error:
            why = _reason(error, 1)
    items, bad = [], []
    for start, part in _parts(attempt, bad):
        try:
            items += _take_apart(cell.place, _parse(part), part, notes, start - 1)
        except Unparsable as error:
            bad.append((start, part.count("\n") + 1, _reason(error, start)))
    if not items:
        notes.append(f"{cell.place} does not parse ({why}) and was left out")
    for start, count, reason in sorted(bad) if items else ():
        last = start + count - 1
        where = f"lines {start} to {last} do" if count > 1 else f"line {start} does"
        notes.append(f"{cell.place}: {where} not parse ({reason}): left out")
    if "<<<<<<< " in text:
        notes.append(f"{cell.place} holds merge markers (<<<<<<<): the merge is open")
    return items


def _reason(error: BaseException, start: int) -> str:
    line = (getattr(error, "lineno", None) or 1) + start - 1
    message = getattr(error, "msg", None) or type(error).__name__
    return f"line {line}: {re.split(' [(]|[.;] ', message)[0][:100]}"


def _parts(text: str, bad: list) -> Iterator[tuple[int, str]]:
    """Yield first line and text of the parts that begin in column 0 and parse."""
    lines = text.split("\n")
    starts = [
        i
        for i, line in enumerate(lines)
        if not CONTINUES.match(line) and not (i and lines[i - 1].startswith("@"))
    ][:MOST_PARTS]
    ends = [*starts[1:], len(lines)]
    first, budget = 0, 20 * LARGEST_SOURCE
    while first < len(starts):
        reason = None
        for last in range(first, len(starts)):
            part = "\n".join(lines[starts[first] : ends[last]]).rstrip()
            budget -= len(part)
            try:
                _parse(part)
            except Unparsable as error:
                reason = reason or _reason(error, starts[first] + 1)
                if budget < 0 or not re.search("untermin|never closed|EOF", str(error)):
                    break
            else:
                yield starts[first] + 1, part
                first, reason = last, None
                break
        if reason:
            part = "\n".join(lines[starts[first] : ends[first]]).rstrip()
            bad.append((starts[first] + 1, part.count("\n") + 1, reason))
        first += 1


def _take_apart(
    place: str, module: ast.Module, text: str, notes: list[str], above: int = 0
) -> list[Item]:
    """Make an item of each top-level statement of a text that begins below `above`."""
    lines, items, end = text.split("\n"), [], 0
    for i, node in enumerate(module.body[:MOST_PARTS]):
        first = min(
            [node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]
        )
        following = module.body[i + 1].lineno if i + 1 < len(module.body) else 10**9
        if first > end and node.end_lineno < following:
            source = "\n".join(lines[first - 1 : node.end_lineno])
        else:  # several statements on one line
            source = ast.unparse(node)
        end = node.end_lineno
        try:
            table = symtable.symtable(source, place, "exec")
        except Unparsable as error:
            reason = _reason(error, first + above)
            notes.append(f"{place} has an error ({reason}): this part was left out")
            continue
        binds = {
            s.get_name()
            for s in table.get_symbols()
            if s.is_assigned() or s.is_imported()
        }
        above_it = "\n" * min(first - 1 + above, 2000)
        items.append(
            Item(place, node, above_it + source, binds, _needs(table), _changes(node))
        )
    return items


def _needs(table: symtable.SymbolTable) -> set[str]:
    """Name the globals that a statement uses, also inside its functions."""
    top = table.get_type() == "module"
    names = {
        s.get_name()
        for s in table.get_symbols()
        if (s.is_referenced() if top else s.is_global())
    }
    return names.union(*(_needs(child) for child in table.get_children()))


def _outer(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through a statement, but not into its functions and classes."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (*Def, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def _changes(node: ast.stmt) -> set[str]:
    """Name what a statement changes in place: x[0] = 1, x.a = 1, x.append(1)."""
    names = set()
    for inner in _outer(node):
        if isinstance(inner, (ast.Attribute, ast.Subscript)):
            stored = not isinstance(inner.ctx, ast.Load)
        elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
            stored, inner = inner.func.attr in MUTATORS, inner.func
        else:
            continue
        while isinstance(inner, (ast.Attribute, ast.Subscript)):
            inner = inner.value
        if stored and isinstance(inner, ast.Name):
            names.add(inner.id)
    return names


# --- choosing -------------------------------------------------------------------------


def _choose(
    items: list[Item], wanted: Sequence[str], cells: list[Cell], notes: list[str]
) -> list[Item]:
    """Choose the imports, the wanted definitions that count, and what these need."""
    binders, changers = defaultdict(list), defaultdict(list)
    keep = set()
    for i, item in enumerate(items):
        if isinstance(item.node, (ast.Import, ast.ImportFrom)):
            keep.add(i)
            continue
        for name in item.binds:
            binders[name].append(i)
        for name in item.changes:
            changers[name].append(i)
    names = list(
        dict.fromkeys(
            name
            for entry in wanted
            for name in ([n for n in binders if fnmatchcase(n, entry)] or [entry])
        )
    )
    for name in names:
        _note_name(name, [items[i] for i in binders[name]], cells, notes)
    todo, seen = list(names), set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for i in [*_counting(name, items, binders[name]), *changers[name]]:
            if i not in keep:
                keep.add(i)
                todo += items[i].needs
    return [items[i] for i in sorted(keep)]


def _counting(name: str, items: list[Item], binders: list[int]) -> list[int]:
    """Say which of the statements that bind a name count."""
    standing = [i for i in binders if not _is_stub(items[i].node)] or binders
    if not standing:
        return []
    last_def = max((i for i in standing if isinstance(items[i].node, Def)), default=-1)
    after = [i for i in standing if i > last_def]
    if last_def < 0 or not after:
        return after or [last_def]
    # f = wrap(f) needs the definition before it, f = g does not
    return [last_def, *after] if any(name in items[i].needs for i in after) else after


def _note_name(
    name: str, binders: list[Item], cells: list[Cell], notes: list[str]
) -> None:
    """Note a wanted name that stands in several places, or in no code at all."""
    defs = [b for b in binders if isinstance(b.node, Def)]
    standing = [b for b in defs if not _is_stub(b.node)] or defs
    if len(defs) > 1:
        places = ", ".join(_where(d) for d in defs)
        why = "" if standing[-1] is defs[-1] else " (what comes after it is a stub)"
        counts = f"the one in {_where(standing[-1])} counts{why}"
        notes.append(f"{name} is defined {len(defs)} times ({places}): {counts}")
    if binders or "*" in name:
        return
    pattern = re.compile(
        rf"^[ \t]*(#?)[# \t]*(?:def|class)[ \t]+{re.escape(name)}\b", re.M
    )
    for cell in cells:
        found = pattern.search(cell.text)
        if found and cell.kind == "text":
            fix = "change the cell's type to code"
            notes.append(f"{name} stands in a text cell ({cell.place}): {fix}")
        elif found and found[1]:
            notes.append(f"{name} is commented out ({cell.place})")


def _where(item: Item) -> str:
    return item.place if item.place != "file" else f"line {item.node.lineno}"


def _is_stub(node: ast.AST) -> bool:
    """Tell whether a definition does nothing yet, or returns nothing but None."""
    if isinstance(node, ast.Assign):
        return _is_none(node.value, set())
    if isinstance(node, ast.ClassDef):
        methods = [n for n in node.body if isinstance(n, Def)]
        return all(_is_stub(n) or _is_idle(n) for n in methods or node.body)
    if not isinstance(node, Def):
        return False
    inner = [n for statement in node.body for n in _outer(statement)]
    returns = [n for n in inner if isinstance(n, ast.Return)]
    if not returns or any(isinstance(n, ast.Assert) for n in inner):
        return all(_is_idle(n) for n in node.body)
    targets = [
        name
        for n in inner
        if isinstance(n, ast.Assign) and _is_none(n.value, set())
        for target in n.targets
        for name in ast.walk(target)
    ]
    names = [n for n in inner if isinstance(n, ast.Name) and n not in targets]
    stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    empty = {n.id for n in targets if isinstance(n, ast.Name)}
    return all(_is_none(r.value, empty - stored) for r in returns)


def _is_none(value: ast.AST | None, names: set[str]) -> bool:
    """Tell whether an expression is None, a name for it, or a tuple of these."""
    if isinstance(value, ast.Tuple):
        return bool(value.elts) and all(_is_none(v, names) for v in value.elts)
    if isinstance(value, ast.Name):
        return value.id in names
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _is_idle(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Raise):
        return "NotImplemented" in ast.dump(node.exc or ast.Pass())
    return isinstance(node, ast.Pass)


# --- likeness -------------------------------------------------------------------------


def _shapes(items: list[Item], wanted: Sequence[str]) -> dict[str, str]:
    """Digest the syntax tree of each longer wanted function, names numbered."""
    shapes = {}
    for item in items:
        node = item.node
        named = isinstance(node, Def) and any(fnmatchcase(node.name, w) for w in wanted)
        if not named or _is_stub(node):
            continue
        size = (
            sum(isinstance(n, ast.stmt) and not _is_idle(n) for n in ast.walk(node)) - 1
        )
        if size >= SIMILAR_FROM:
            numbers: dict[str, int] = {}
            text = "\n".join(_flat(node, numbers))
            shapes[node.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return shapes


def _flat(node: ast.AST, numbers: dict[str, int]) -> Iterator[str]:
    """Write a tree down without names, texts of documentation and annotations."""
    yield type(node).__name__
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type_comment", "ctx"):
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                if not (isinstance(part, ast.Expr) and _is_idle(part)):
                    yield from _flat(part, numbers)
            elif field in ("id", "arg", "name", "asname"):
                yield f"v{numbers.setdefault(str(part), len(numbers))}"
            else:
                yield repr(part)
        yield "."
