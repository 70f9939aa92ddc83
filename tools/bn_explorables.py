"""Sphinx extension of the book: the directive for living figures.

    :::{explorable} dragged_point
    :title: Drag a point
    :alt: Five points on a line, joined to their normalized values below.
    What to try, in a line.

    What to see, in a line.
    :::

The figure's folder in `explorables` holds its script and its still picture. The page
shows the still; the script takes its place. Only pages with such a figure load scripts.
"""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from living import FOLDER, scripts
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SHARED = ("shared.js", "explorables.css")
COLOUR = re.compile(r"#[0-9a-f]{6}\b")


class Figure(nodes.General, nodes.Element):
    """A living figure; its children are the paragraphs on what to try and to see."""


class Explorable(SphinxDirective):
    """A living figure with what to try above it and what to see below it."""

    required_arguments = 1
    has_content = True
    option_spec = {  # noqa: RUF012
        "title": directives.unchanged_required,
        "alt": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Build the figure; its still stands in every format."""
        name = self.arguments[0]
        if not (FOLDER / name / f"{name}.js").is_file():
            raise self.error(f"no living figure {name!r} in explorables")
        if missing := {"title", "alt"} - set(self.options):
            raise self.error(f"{name}: no :{missing.pop()}:")
        figure = Figure(name=name, ids=[f"exp-{name}"], **self.options)
        self.state.nested_parse(self.content, self.content_offset, figure)
        if len(figure.children) != 2:
            raise self.error(f"{name}: expected two paragraphs, what to try and to see")
        figure.insert(1, nodes.image(uri="", alt=self.options["alt"]))
        return [figure]


def lay_out(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the still drawing into pages of the site, and the still picture elsewhere."""
    for figure in list(doctree.findall(Figure)):
        name, title, alt = (figure[key] for key in ("name", "title", "alt"))
        if app.builder.format != "html":
            picture = nodes.image(uri=f"/explorables/{name}/still.png", alt=alt)
            figure.replace_self([nodes.paragraph("", "", nodes.strong("", title)),
                                 figure[0], picture, figure[2]])  # fmt: skip
            continue
        told, words = (html.escape(text, quote=True) for text in (alt, title))
        drawing = (FOLDER / name / "still.svg").read_text("utf-8").strip()
        drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{told}" ', 1)
        figure[1] = nodes.raw(
            "", f'<div class="explorable-stage">{drawing}</div>', format="html"
        )
        start = (
            f'<figure class="explorable" id="exp-{name}" data-name="{name}" '
            f'data-title="{words}"><figcaption><strong>{words}</strong></figcaption>'
        )
        figure.insert(0, nodes.raw("", start, format="html"))
        figure.append(nodes.raw("", "</figure>", format="html"))
        figure.replace_self(figure.children)


def load_scripts(app: Sphinx, page: str, template: str, context: dict, tree) -> None:
    """Let a page with living figures load their scripts, and no other page."""
    names = dict.fromkeys(re.findall(r'class="explorable" id="exp-([a-z_]+)"',
                                     context.get("body") or ""))  # fmt: skip
    if names:
        app.add_css_file("explorables/explorables.css")
        paths = [path for name in names for path in scripts(name)]
        for file in ("shared.js", *(path.name for path in paths)):
            app.add_js_file(f"explorables/{file}", loading_method="defer")


def copy_files(app: Sphinx, error: Exception | None) -> None:
    """Lay the scripts and the style into the site."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir) / "_static" / "explorables"
    out.mkdir(parents=True, exist_ok=True)
    for path in [*(FOLDER / name for name in SHARED), *FOLDER.glob("*/*.js")]:
        shutil.copy(path, out / path.name)


def colours() -> set[str]:
    """Return the colours of all living figures, for the sheet of the dark page."""
    scripts = [FOLDER / "shared.js", *FOLDER.glob("*/*.js")]
    return {c for path in scripts for c in COLOUR.findall(path.read_text("utf-8"))}


def setup(app: Sphinx) -> dict[str, object]:
    """Register everything with Sphinx."""
    app.add_node(Figure)
    app.add_directive("explorable", Explorable)
    app.connect("doctree-resolved", lay_out, priority=400)
    app.connect("html-page-context", load_scripts, priority=800)
    app.connect("build-finished", copy_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
