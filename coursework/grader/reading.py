"""Read one submission without running it: its cells, its answers, what is graded.

A file becomes pieces of source, chosen by function name, and written answers. Cells may
be copied, split, moved or broken: what can be read is read, and the notes say what not.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from coursework.grader.statements import (
    LARGEST_SOURCE,
    MOST_PARTS,
    Cell,
    Item,
    Unparsable,
    choose,
    shapes_of,
    split,
)

LARGEST_FILE = 20_000_000  # bytes, with outputs
MOST_CELLS, MOST_NOTES, LONGEST_ANSWER = 500, 30, 20_000
LONGEST_NOTE = 500  # characters; a name may have as many as the file

ANSWER = re.compile(r"^[ \t]*\*\*Answer[ \t]+([\w.-]+)\*\*.*$", re.M)
PLACEHOLDER = "*Write your answer here.*"
PICTURE = re.compile(r"data:image/[\w.+-]+;base64,[\w+/=\s]+")


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
    items : sequence of Item
        All statements of the file.
    """

    student: str
    file: str
    chunks: list[tuple[str, str]]
    answers: dict[str, str]
    notes: list[str]
    digest: str
    shapes: dict[str, str] = {}  # noqa: RUF012  never changed
    items: Sequence[Item] = ()


def clean(text: str) -> str:
    """Return text that every file and page can hold: no half or control characters."""
    text = unicodedata.normalize("NFC", text).encode("utf-8", "replace").decode()
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)


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
    of_file: list[str] = []
    of_names: list[str] = []  # on what is graded
    others: list[str] = []
    file = clean(PurePosixPath(name.replace("\\", "/")).name)
    chunks, answers, shapes = [], {}, {}
    items: list[Item] = []
    try:
        cells = _cells(data, file, of_file)
        answers = _answers(cells, others)
        for cell in cells:
            items += split(cell, others)
            if len(items) >= MOST_PARTS:
                of_file.append(
                    f"more than {MOST_PARTS} statements: the rest was not read"
                )
                break
        chosen = choose(items, wanted, cells, of_names)
        chunks = [(item.place, item.source) for item in chosen]
        shapes = shapes_of(chosen, wanted)
        bound = {name for item in chosen for name in item.binds}
        if not any(fnmatchcase(name, entry) for name in bound for entry in wanted):
            none = "none of the graded functions stands in the code of this file"
            of_names.append(none)
    except Unparsable as error:  # what is nested too deeply for every other net
        of_file.append(f"the file could not be read ({type(error).__name__})")
    notes = [*of_file, *of_names, *others]
    if len(notes) > MOST_NOTES:
        notes[MOST_NOTES:] = [f"and {len(notes) - MOST_NOTES} notes more"]
    student, digest = file.rpartition(".")[0] or file, hashlib.sha256(data).hexdigest()
    notes = [clean(note)[:LONGEST_NOTE] for note in dict.fromkeys(notes)]
    return Submission(student, file, chunks, answers, notes, digest, shapes, items)


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
            decoding = isinstance(error, json.JSONDecodeError)
            reason = error.msg.removesuffix(" at") if decoding else "nested"
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
