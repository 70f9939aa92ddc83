"""Measure the prose of a page: the length of its sentences, and words to avoid.

Code, mathematics, tables, headings and directive lines are not prose. A formula or a
piece of code inside a sentence counts as one word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MEDIAN = 17
LONGEST = 30
AVOID = re.compile(
    r"\b(simply|just|obviously|clearly|trivial(?:ly)?|etc)\b|\b(?:e\.g\.|i\.e\.)"
    r"|(?<!optimizer )(?<!optimizer's )\bmomentum\b",
    re.I,
)
FENCE = re.compile(r"^(\s*)(`{3,}|~{3,}).*?^\s*\2`*\s*$", re.M | re.S)
DISPLAY = re.compile(r"^\s*\$\$.*?\$\$(?:[ \t]*\([\w-]+\))?[ \t]*$", re.M | re.S)
ENVIRONMENT = re.compile(r"^\\begin\{(\w+\*?)\}.*?^\\end\{\1\}\s*$", re.M | re.S)
FRONT = re.compile(r"\A---\n.*?\n---\n", re.S)
COMMENT = re.compile(r"<!--.*?-->|^%.*$", re.M | re.S)
NOT_PROSE = re.compile(
    r"^\s*(?:\|.*|#+ .*|:{3,}\s*|:{3,}\{(?!quiz|admonition).*|:[\w-]+:.*|\([\w-]+\)=\s*"
    r"|\+{3,}.*|-{3,}\s*|\[\^[\w-]+\]:.*)$"
)
ITEM = re.compile(
    r"^\s*(?:[-*+]|\d+[.)])\s+(?:\[[ x]\]\s+)?|^\s*:{3,}\{\w+\}\s*|^\s*: "
)
SHORT = re.compile(r"\b(Eq|Eqs|Fig|Figs|Sec|Ch|vs|al|cf|approx|No|pp?)\.(?=\s)")
END = re.compile(r"(?<=[.!?])[)\"'’”*_]*\s+|\s\|\s")


def _blank(found: re.Match) -> str:
    """Leave the line breaks only, so that line numbers stay right."""
    return "\n" * found.group(0).count("\n")


def without_code(cell) -> str:
    """Return the source of a text cell with its code blocks blanked."""
    return FENCE.sub(_blank, cell.source)


def _plain(source: str) -> str:
    for pattern in (FRONT, FENCE, COMMENT, DISPLAY, ENVIRONMENT):
        source = pattern.sub(_blank, source)
    source = re.sub(r"``[^`]+``", "code", source)
    source = re.sub(r"\{cite(?::\w+)?\}`[^`]*`", "Citation", source)
    source = re.sub(r"^\([\w-]+\)=$", "", source, flags=re.M)
    source = re.sub(r"\{(?:ref|numref|eq)\}`[^`<]+`", "reference", source)
    source = re.sub(r"\{[\w:-]+\}`([^`<]*?)\s*(?:<[^`>]*>)?`", _role, source)
    source = re.sub(r"`[^`]+`", "code", source)
    source = re.sub(r"\$[^$\n]+(?:\n[^$\n]+)?\$", "formula", source)
    source = re.sub(r"!\[[^\]]*\]\([^)]*\)(?:\{[^}]*\})?", "", source)
    source = re.sub(r"\[([^\]]*)\]\([^)\s]*\)", r"\1", source)
    return re.sub(r"<https?://[^>]*>|https?://\S+", "address", source)


def _role(found: re.Match) -> str:
    return found.group(1).strip() or "reference"


def sentences(source: str) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a Markdown source with the line they start on."""
    block: list[tuple[int, str]] = []
    lines = [*_plain(source).split("\n"), ""]
    for number, line in enumerate(lines, 1):
        stop = not line.strip() or NOT_PROSE.match(line)
        if stop or ITEM.match(line):
            yield from _split(block)
            block = []
        if not stop:
            block.append((number, ITEM.sub("", line, count=1).strip()))


def _split(block: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Split one paragraph at the ends of its sentences."""
    words: list[str] = []
    start = 0
    for number, line in block:
        for piece in _pieces(line):
            if not words:
                start = number
            words.append(piece.strip())
            if re.search(r"[.!?][)\"'’”*_]*$", piece.strip()) or piece.endswith("|"):
                yield from _sentence(start, words)
                words = []
    yield from _sentence(start, words)


def _pieces(line: str) -> Iterator[str]:
    line = SHORT.sub(r"\1", line)
    last = 0
    for cut in END.finditer(line):
        yield line[last : cut.end()].rstrip()
        last = cut.end()
    if line[last:].strip():
        yield line[last:]


def _sentence(start: int, words: list[str]) -> Iterator[tuple[int, str]]:
    text = " ".join(words)
    kept = [w for w in text.split() if re.search(r"\w", w)]
    if kept:
        yield start, " ".join(kept)


def faults(source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with a word to avoid or with a sentence that is too long."""
    for number, line in enumerate(_plain(source).split("\n"), 1):
        for found in AVOID.finditer(line):
            yield number, f"word to avoid: {found.group(0)!r}"
    for number, text in sentences(source):
        count = len(text.split())
        if count > LONGEST:
            start = " ".join(text.split()[:8])
            yield number, f"sentence of {count} words: {start} ..."
