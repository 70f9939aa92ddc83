"""Sphinx extension of the book: formulas are set while the site is built, by KaTeX.

KaTeX is JavaScript and runs in a small engine inside Python. A page gets what is to be
seen and, for a reader that speaks, the same formula as MathML; it needs no script, and
a formula does not stop the tab key. A formula that KaTeX does not know fails the build.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import quickjs
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number, wrap_displaymath

KATEX = Path(__file__).resolve().parent.parent / "_vendor" / "katex"
SHEET = "katex/katex.min.css"
logger = logging.getLogger(__name__)


@functools.cache
def engine() -> quickjs.Context:
    """Return KaTeX, loaded once."""
    context = quickjs.Context()
    context.eval((KATEX / "katex.min.js").read_text("utf-8"))
    return context


@functools.cache
def typeset(latex: str, display: bool) -> str:
    """Return a formula as HTML.

    Raises
    ------
    ValueError
        KaTeX does not know a command, or the formula is not well formed.
    """
    options = {"displayMode": display, "throwOnError": True, "strict": "ignore"}
    call = f"katex.renderToString({json.dumps(latex)}, {json.dumps(options)})"
    try:
        return json.loads(engine().eval(f"JSON.stringify({call})"))
    except quickjs.JSException as error:
        raise ValueError(str(error).splitlines()[0]) from None


def set_formula(node: nodes.Element, latex: str, display: bool) -> str:
    """Return a formula as HTML; one that cannot be set is a warning with its place."""
    try:
        return typeset(latex, display)
    except ValueError as error:
        logger.warning("a formula cannot be set: %s", error, location=node)
        return f"<code>{latex}</code>"


def visit_math(self, node: nodes.math) -> None:
    """Write a formula inside a line."""
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate"))
    self.body.append(set_formula(node, node.astext(), display=False) + "</span>")
    raise nodes.SkipNode


def visit_displaymath(self, node: nodes.math_block) -> None:
    """Write a formula on lines of its own, with its number if it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math notranslate"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    latex = node.astext()
    if not node["nowrap"]:
        latex = wrap_displaymath(latex, None, False)
        latex = latex.replace(r"\begin{equation*}", "").replace(r"\end{equation*}", "")
    self.body.append(set_formula(node, latex.strip(), display=True) + "</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, object]:
    """Register everything with Sphinx."""
    pair = (visit_math, None), (visit_displaymath, None)
    app.add_html_math_renderer("katex", *pair)
    app.add_css_file(SHEET)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
