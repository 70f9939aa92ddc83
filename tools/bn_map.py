"""Sphinx extension of the book: the map on the front page, and who needs whom.

    :::{book-map}
    Part I: the idea
    01_scale_the_inputs | fig-scale-paths | What the chapter claims, in a sentence.
    :::

    :::{book-paths}
    :::

The map gives each chapter a card: its number and title, what it claims, its time, and a
picture that `tools/cards.py` made of the figure named in the line. The paths draw the
chapters as numbered discs, joined to those that they build on. Titles, times and needs
are read from the chapters themselves.
"""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
TITLE = re.compile(r"^\((ch-[\w-]+)\)=\n# (.+)$", re.M)
TIME = re.compile(
    r"^\*Time: (\d+) minutes to read(?:, (?:and )?(\d+ for [\w ]+))?[.;].*$", re.M
)
LEVEL = re.compile(r"Level: ([\w ]+)\.")
NEEDS = re.compile(r"You need: (.*?)\. ")
RADIUS, ROW = 19, 78  # of the discs, in pixels


class Head(NamedTuple):
    """What a chapter says of itself at its top."""

    page: str
    anchor: str
    title: str
    reading: int
    more: str
    level: str
    needs: tuple[str, ...]

    @property
    def number(self) -> int:
        """The chapter's number, that of its file."""
        return int(self.page[:2])

    @property
    def time(self) -> str:
        """The time in words."""
        more = f", {self.more}" if self.more else ""
        return f"{self.reading} minutes{more}"


class Line(NamedTuple):
    """One line of the map: a chapter, the figure on its card, its claim."""

    page: str
    figure: str
    claim: str


@cache
def head_of(page: str) -> Head:
    """Read the head of a chapter."""
    cells = nbformat.read(ROOT / "chapters" / f"{page}.ipynb", 4).cells[:4]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    anchor, title = TITLE.search(text).groups()
    time = TIME.search(text)
    needs = NEEDS.search(time[0])
    return Head(
        page,
        anchor,
        title,
        int(time[1]),
        time[2] or "",
        LEVEL.search(time[0])[1],
        tuple(re.findall(r"\{ref\}`((?:ch|sec)-[\w-]+)`", needs[1] if needs else "")),
    )


def lines_of(text: str) -> list[tuple[str, list[Line]]]:
    """Return the parts of the map with their lines."""
    parts: list[tuple[str, list[Line]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if "|" not in line:
            parts.append((line, []))
            continue
        page, figure, claim = (field.strip() for field in line.split("|"))
        parts[-1][1].append(Line(page, figure, claim))
    return parts


def map_of_the_book() -> list[tuple[str, list[Line]]]:
    """Return the map as the front page has it."""
    text = (ROOT / "index.md").read_text("utf-8")
    return lines_of(re.search(r"^:::\{book-map\}\n(.*?)^:::$", text, re.S | re.M)[1])


class BookMap(SphinxDirective):
    """Cards of all chapters, part by part."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Build a list in every format, and cards in pages of the site."""
        made: list[nodes.Node] = []
        for part, lines in lines_of("\n".join(self.content)):
            made.append(nodes.paragraph("", "", nodes.strong(part, part)))
            made[-1]["classes"] = ["map-part"]
            cards = "".join(card(line) for line in lines)
            made.append(
                nodes.raw("", f'<ul class="book-map">{cards}</ul>', format="html")
            )
        return made


def card(line: Line) -> str:
    """Return the card of a chapter."""
    head = head_of(line.page)
    title, claim = html.escape(head.title), html.escape(line.claim)
    picture = f"_static/cards/{line.page[:2]}-small.webp"
    return (
        f'<li><a class="map-card" href="chapters/{line.page}.html" '
        f'data-page="chapters/{line.page}">'
        f'<img src="{picture}" alt="" loading="lazy" width="320" height="180">'
        f'<span class="map-title"><span class="map-number">{head.number}</span> '
        f"{title}</span>"
        f'<span class="map-claim">{claim}</span>'
        f'<span class="map-time">{head.time} · {head.level}</span></a></li>'
    )


class BookPaths(SphinxDirective):
    """Discs with the chapters' numbers, joined to what they build on."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw the discs row by row; a list says the same to screen readers."""
        heads = [head_of(x.page) for _, lines in map_of_the_book() for x in lines]
        return [nodes.raw("", drawing(heads), format="html")]


def needed(heads: list[Head]) -> dict[int, list[int]]:
    """Return for each chapter the numbers of those that it names as needed."""
    numbers = {head.anchor: head.number for head in heads}
    return {h.number: [numbers[a] for a in h.needs if a in numbers] for h in heads}


def depths(needs: dict[int, list[int]]) -> dict[int, int]:
    """Return how long the longest way to each chapter is."""
    found: dict[int, int] = {}
    for number in sorted(needs):
        found[number] = max((found[n] + 1 for n in needs[number]), default=0)
    return found


def drawing(heads: list[Head]) -> str:
    """Return the drawing of the paths."""
    needs = needed(heads)
    rows: dict[int, list[Head]] = {}
    for head in heads:
        rows.setdefault(depths(needs)[head.number], []).append(head)
    width = 58 * max(map(len, rows.values()))
    place = {
        head.number: (width * (k + 0.5) / len(row), RADIUS + 4 + ROW * depth)
        for depth, row in rows.items()
        for k, head in enumerate(row)
    }
    parts = [
        f'<line x1="{place[a][0]:.0f}" y1="{place[a][1]}" '
        f'x2="{place[b][0]:.0f}" y2="{place[b][1]}"/>'
        for b, above in needs.items()
        for a in above
    ]
    for head in heads:
        x, y = place[head.number]
        needs_in_words = " and ".join(map(str, needs[head.number])) or "none"
        label = f"{head.number} {head.title}; needs {needs_in_words}"
        parts.append(
            f'<a href="chapters/{head.page}.html" aria-label="{html.escape(label)}" '
            f'data-page="chapters/{head.page}"><title>{html.escape(label)}</title>'
            f'<circle cx="{x:.0f}" cy="{y}" r="{RADIUS}"/>'
            f'<text x="{x:.0f}" y="{y + 6}">{head.number}</text></a>'
        )
    height = 2 * RADIUS + 8 + ROW * max(rows)
    return (
        f'<svg class="book-paths" viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="Chapters and what they need">{"".join(parts)}</svg>'
    )


def setup(app: Sphinx) -> dict[str, object]:
    """Register everything with Sphinx."""
    app.add_directive("book-map", BookMap)
    app.add_directive("book-paths", BookPaths)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
