"""Sphinx extension of the book: a search that finds sections.

Each section of each page becomes an entry: its title, its page, its words without
formulas. `answers.toml` names, for questions that people ask often, the section that
answers them; a name that no longer exists fails the build. MiniSearch ranks the
entries in the reader's browser (`_static/search.js`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from contract import toc_pages
from sphinx.application import Sphinx
from sphinx.util import logging

ANSWERS = Path(__file__).with_name("answers.toml")
LEFT_OUT = ".katex, .headerlink, .eqno, script, style, svg, figure img, .quiz-answer"
LONGEST = 2500  # characters of one section
MINISEARCH = "minisearch/minisearch.min.js"
logger = logging.getLogger(__name__)


def entries(page: str, text: str) -> Iterator[dict[str, str]]:
    """Yield an entry for each section of a built page."""
    soup = BeautifulSoup(text, "html.parser")
    article = soup.find("article")
    if not isinstance(article, Tag):
        return
    for part in article.select(LEFT_OUT):
        part.decompose()
    heading = article.find("h1")
    name = words(heading) if heading else page
    for section in article.find_all("section"):
        inner = section.find_all("section")
        title = section.find(re.compile("^h[1-6]$"))
        own = " ".join(
            words(child)
            for child in section.children
            if isinstance(child, Tag) and child not in inner and child is not title
        )
        yield {
            "title": words(title) if title else name,
            "page": name,
            "url": f"{page}.html"
            + ("" if title is heading else f"#{section.get('id', '')}"),
            "text": own[:LONGEST],
        }


def words(element: Tag) -> str:
    """Return the words of an element, with single spaces."""
    text = " ".join(element.get_text(" ").split())
    return re.sub(r" ([.,;:?!)])", r"\1", text)


def with_questions(made: list[dict], answers: list[dict]) -> list[str]:
    """Write each question to the section that answers it; return those not found."""
    sections = {entry["url"].replace(".html", ""): entry for entry in made}
    for answer in answers:
        if entry := sections.get(answer["section"]):
            words = f"{answer['question']} {answer.get('words', '')}".strip()
            entry["asked"] = f"{entry.get('asked', '')} {words}.".strip()
    return [a["section"] for a in answers if a["section"] not in sections]


def write_index(app: Sphinx, error: Exception | None) -> None:
    """Write the entries of all pages beside the scripts."""
    if error or app.builder.format != "html":
        return
    site, made = Path(app.outdir), []
    for page in toc_pages():
        path = site / f"{page}.html"
        if path.exists():
            made += entries(page, path.read_text("utf-8"))
    answers = tomllib.loads(ANSWERS.read_text("utf-8"))["answer"]
    if missing := with_questions(made, answers):
        logger.warning("%s: there is no section %s", ANSWERS.name, missing)
    for number, entry in enumerate(made):
        entry["id"] = number
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    (site / "_static" / "search.json").write_text(text, "utf-8", newline="\n")


def add_minisearch(app: Sphinx, page: str, template: str, context: dict, tree) -> None:
    """Load the search engine on the search page."""
    if page == "search":
        app.add_js_file(MINISEARCH)


def setup(app: Sphinx) -> dict[str, object]:
    """Register everything with Sphinx."""
    app.connect("html-page-context", add_minisearch, priority=960)
    app.connect("build-finished", write_index)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
