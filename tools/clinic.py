"""The form of the clinic's cases: a page is read into cases, and each has its parts.

A case begins with an anchor `(clinic-...)=` and a heading of level 2, and ends at the
next heading of that level. Its code cells carry the tags broken, mended and visit.
`python tools/contract.py` says what a case lacks; tests/book/test_clinic.py runs it.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

PAGE = re.compile(r"17([a-f])?_\w+")
ANCHOR = re.compile(r"^\((clinic-[\w-]+)\)=\n+(#+) (.+)$", re.M)
CUT = re.compile(r"^(?:\(clinic-[\w-]+\)=\n+)?## ", re.M)
QUIZ = re.compile(r"^:::\{quiz\} What is wrong\?\n(.*?)^:::$", re.M | re.S)
DIAGNOSIS = re.compile(r"^:::\{dropdown\} Diagnosis\n(.*?)^:::$", re.M | re.S)
THREAD = re.compile(
    r"^\*\*People met it:\*\* \[[^\]]+\]\(https://(?:github\.com/[\w.-]+/[\w.-]+/"
    r"(?:issues|pull)/\d+|discuss\.pytorch\.org/\S+|stackoverflow\.com/\S+)\)",
    re.M,
)
MARK = "  # changed"
TAGS = ("broken", "mended", "visit")
LINES, CHANGED = 20, 3  # of a program; of them those that its repair may touch


@dataclass
class Case:
    """A case: its anchor, its symptom, its text, and its cells by their tags."""

    cell: int
    anchor: str
    symptom: str
    text: str = ""
    cells: dict[str, nbformat.NotebookNode] = field(default_factory=dict)


def cases(nb: nbformat.NotebookNode) -> list[Case]:
    """Read the cases of a page, in order."""
    found: list[Case] = []
    inside = False
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type == "code" and inside:
            for tag in set(cell.metadata.get("tags", [])) & set(TAGS):
                found[-1].cells[tag] = cell
        if cell.cell_type != "markdown":
            continue
        starts = [m.start() for m in CUT.finditer(cell.source)]
        for start, stop in zip([0, *starts], [*starts, len(cell.source)], strict=True):
            piece = cell.source[start:stop]
            head = ANCHOR.match(piece)
            if CUT.match(piece):
                inside = bool(head)
                if head:
                    found.append(Case(number, head[1], head[3]))
            if inside:
                found[-1].text += piece + "\n"
    return found


def anchors(nb: nbformat.NotebookNode) -> set[str]:
    """Return the anchors of the clinic on a page, also of findings without a case."""
    texts = (c.source for c in nb.cells if c.cell_type == "markdown")
    return {found[1] for text in texts for found in ANCHOR.finditer(text)}


def pages(folder: Path) -> list[Path]:
    """List the pages with cases, in order; the front page comes first."""
    return sorted(p for p in folder.glob("17*.ipynb") if PAGE.fullmatch(p.stem))


def function(source: str, name: str) -> list[str]:
    """Return the lines of a function of a cell below its first, or nothing."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return source.splitlines()[node.lineno : node.end_lineno]
    return []


def changed(before: list[str], after: list[str]) -> int:
    """Count the lines that a repair touches: those taken away, or those put in."""
    lines = [*difflib.ndiff(before, after)]
    return max(sum(line.startswith(mark) for line in lines) for mark in ("- ", "+ "))


def lacks(case: Case) -> Iterator[str]:
    """Yield what a case lacks."""
    for tag in TAGS:
        if tag not in case.cells:
            yield f"no cell with the tag {tag}"
    quiz, diagnosis = QUIZ.search(case.text), DIAGNOSIS.search(case.text)
    if not quiz or quiz[1].count("- [") < 3:
        yield "no quiz 'What is wrong?' with three answers"
    if not diagnosis or len(diagnosis[1].split()) < 20:
        yield "no dropdown 'Diagnosis' that says what happens inside"
    if not THREAD.search(case.text):
        yield "no thread behind **People met it:**"
    if len(case.cells) == len(TAGS):
        yield from _program(case)


def _program(case: Case) -> Iterator[str]:
    """Yield what the programs of a case lack."""
    sources = {tag: cell.source for tag, cell in case.cells.items()}
    lines = {tag: function(sources[tag], tag) for tag in ("broken", "mended")}
    for tag, found in lines.items():
        if not found or len(found) > LINES:
            yield f"{tag}() has {len(found)} lines, not 1 to {LINES}"
    if not 0 < changed(*lines.values()) <= CHANGED:
        count = changed(*lines.values())
        yield f"{count} lines differ in broken() and mended(), not 1 to {CHANGED}"
    if MARK not in sources["mended"]:
        yield f"no line of mended() is marked with {MARK!r}"
    if not printed(case.cells["broken"]):
        yield "its broken program prints no symptom"
    if not function(sources["visit"], "measure"):
        yield "no function measure(program)"
    said = printed(case.cells["visit"])
    if not re.search(r"^Before: .* -> FAILS$", said, re.M):
        yield "its check does not fail before the repair"
    if not re.search(r"^After: .* -> passes$", said, re.M):
        yield "its check does not pass after the repair"


def printed(cell: nbformat.NotebookNode) -> str:
    """Return what a cell printed."""
    return "".join(o.get("text", "") for o in cell.outputs if o.get("name") == "stdout")
