"""Sphinx extension of the book: the quiz directive, vendored files, clean pages.

A quiz needs no kernel, no script and no network:

    :::{quiz} Which variance does the running average store?
    - [x] The unbiased one | Torch multiplies by m/(m-1) before it stores.
    - [ ] The biased one | The batch itself is divided by this one.
    :::

Each option opens its own feedback, by mouse or by keyboard. Feedback follows the first
" | "; it may go on over indented lines.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from plain_markdown import shuffled
from pygments.formatters import HtmlFormatter
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.highlighting import PygmentsBridge
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "_vendor"
OPTION = re.compile(r"^- \[([ x])\] +(.*)$")
CHAPTER = re.compile(r"chapters/(\d\d)_")
TABLE = re.compile(r'<table class="table">.*?</table>', re.S)
HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.S)
CELL, TAG = re.compile(r"<td\b"), re.compile(r"<[^>]+>")
TOGGLE = re.compile(
    r'(<a class="[^"]*internal"[^>]*>(.*?)</a><details[^>]*>)<summary>'
    r'(<span class="toctree-toggle")'
)
RIGHT, WRONG = "Right.", "Not this one."
DESCRIPTION_LENGTH = 155
# Jupyter Book loads every script of _static on every page; these are for one page each.
OWN_PAGE = {
    "search.js": "search",
    "ledger.js": "appendix/claims",
    "convert.js": "appendix/conventions",
}
NOT_NEEDED = (
    "fontawesome.js",  # icons come as letters of a font
    "searchtools.js",  # the book has a search of its own
    "language_data.js",
    "searchindex.js",
    "katex.min.js",  # formulas are set already
)
HOW_ICONS_LOOK = ("fa-solid", "fa-brands", "fa-regular", "fa-lg", "fa-fw")
logger = logging.getLogger(__name__)


class QuizOption(nodes.General, nodes.Element):
    """One answer of a quiz: a paragraph of text and a paragraph of feedback."""


class Quiz(SphinxDirective):
    """A question with answers that each give feedback."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {"name": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Build an admonition that holds one element per option."""
        number = self.env.new_serialno("quiz") + 1
        box = nodes.admonition(classes=["quiz"], ids=[f"quiz-{number}"])
        title = nodes.title(self.arguments[0], "", *self.inline(self.arguments[0]))
        self.set_source_info(title)
        box += title
        options = shuffled(self.options_of_content())
        right = sum(is_right for is_right, _, _ in options)
        if len(options) < 2 or not right or not all(fb for *_, fb in options):
            raise self.error(
                "a quiz needs two or more options '- [x] text | feedback', one right"
            )
        for is_right, text, feedback in options:
            option = QuizOption(right=is_right, group=f"quiz-{number}-option")
            option += self.paragraph(text)
            option += self.paragraph(feedback)
            box += option
        return [box]

    def options_of_content(self) -> list[tuple[bool, str, str]]:
        """Read the lines of the directive as (is right, text, feedback)."""
        found: list[tuple[bool, str]] = []
        for line in (raw for raw in self.content if raw.strip()):
            start = OPTION.match(line)
            if start:
                found.append((start.group(1) == "x", start.group(2).strip()))
            elif found and line.startswith(" "):
                found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
            else:
                raise self.error(f"not an option of a quiz: {line!r}")
        parts = [(ok, *text.partition(" | ")[::2]) for ok, text in found]
        return [(ok, text.strip(), feedback.strip()) for ok, text, feedback in parts]

    def inline(self, text: str) -> list[nodes.Node]:
        """Parse text inside a line (mathematics, code, references)."""
        parsed, messages = self.state.inline_text(text, self.lineno)
        return [*parsed, *messages]

    def paragraph(self, text: str) -> nodes.paragraph:
        """Make a paragraph that knows where it came from."""
        made = nodes.paragraph(text, "", *self.inline(text))
        self.set_source_info(made)
        return made


def visit_quiz_option(self, node: QuizOption) -> None:
    """Open the disclosure element; the first paragraph becomes its summary."""
    state = "right" if node["right"] else "wrong"
    group = html.escape(node["group"], quote=True)
    self.body.append(f'<details class="quiz-option is-{state}" name="{group}">')


def depart_quiz_option(self, node: QuizOption) -> None:
    """Close the disclosure element."""
    self.body.append("</details>\n")


def lay_out_quizzes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn options into disclosures in HTML, and into a list elsewhere."""
    for option in list(doctree.findall(QuizOption)):
        text, feedback = option.children
        verdict = RIGHT if option["right"] else WRONG
        feedback.insert(0, nodes.Text(" "))
        feedback.insert(0, nodes.strong(verdict, verdict))
        feedback["classes"].append("quiz-feedback")
        if app.builder.format != "html":
            item = nodes.list_item("", *option.children)
            option.replace_self(nodes.bullet_list("", item))
            continue
        open_, close = (
            nodes.raw("", tag, format="html")
            for tag in ('<summary class="quiz-answer">', "</summary>")
        )
        label = nodes.inline("", "", *text.children)
        option.children = []
        option.extend([open_, label, close, feedback])


class LinesFormatter(HtmlFormatter):
    """Puts each line of code into an element, so that long ones can wrap on a phone."""

    def _format_lines(self, tokens: Iterable) -> Iterator[tuple[int, str]]:
        for kind, line in super()._format_lines(tokens):
            yield kind, f'<span class="line">{line}</span>' if kind else line


def add_vendored_files(app: Sphinx, config) -> None:
    """Serve fonts and the style sheet of formulas from the site itself."""
    for name in ("katex/katex.min.css", "katex/LICENSE"):
        if not (VENDOR / name).is_file():
            raise ExtensionError(f"_vendor/{name} is missing")
    config.html_static_path.append(str(VENDOR))


def clean_page(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Drop doubled scripts and the unused thebe loader; describe the page."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        attributes = getattr(script, "attributes", {})
        name = str(getattr(script, "filename", script) or "")
        body = attributes.get("body") or ""
        thebe = "sphinx-thebe" in name or "THEBE_JS_URL" in body
        if (name, body) in seen or thebe:
            continue
        seen.add((name, body))
        kept.append(script)
    if "script_files" in context:
        context["script_files"][:] = kept
    kept_css, seen_css = [], set()
    for sheet in context.get("css_files", []):
        name = str(getattr(sheet, "filename", sheet) or "")
        idle = "katex" in name and not has_formulas(context)
        if name not in seen_css and "sphinx-thebe" not in name and not idle:
            seen_css.add(name)
            kept_css.append(sheet)
    if "css_files" in context:
        context["css_files"][:] = kept_css
    if context.get("body"):
        context["body"] = with_labelled_cells(with_own_titles(context["body"]))
    text = description(doctree)
    if text:
        context["metatags"] = context.get("metatags", "") + metadata(
            app, page, str(context.get("title") or ""), text
        )


def metadata(app: Sphinx, page: str, title: str, text: str) -> str:
    """Describe a page for search engines, and for whoever shows a card of its link."""
    base = app.config.html_baseurl.rstrip("/")
    chapter = CHAPTER.match(page)
    card = f"{chapter[1]}.png" if chapter else "book.png"
    if not (ROOT / "_static" / "cards" / card).is_file():
        card = "book.png"
    properties = {
        "og:type": "article" if chapter else "website",
        "og:site_name": app.config.project,
        "og:title": TAG.sub("", title),
        "og:description": text,
        "og:url": f"{base}/{page}.html",
        "og:image": f"{base}/_static/cards/{card}",
        "og:image:width": "1200",
        "og:image:height": "630",
    }
    lines = [f'<meta name="description" content="{html.escape(text, quote=True)}" />']
    lines += [
        f'<meta property="{name}" content="{html.escape(value, quote=True)}" />'
        for name, value in properties.items()
    ]
    return "\n".join(
        [*lines, '<meta name="twitter:card" content="summary_large_image" />']
    )


def with_labelled_cells(body: str) -> str:
    """Give each cell of a table of 3 columns or more the name of its column.

    On a phone such a table is shown as a list, where each value stands behind its name.
    """

    def label(table: re.Match) -> str:
        names = [TAG.sub("", name).strip() for name in HEAD.findall(table[0])]
        if len(names) < 3:
            return table[0]
        cells = (name for _ in table[0].split("<tr")[2:] for name in names)

        def named(_: re.Match) -> str:
            name = html.unescape(next(cells))
            return f'<td data-label="{html.escape(name, quote=True)}"'

        labelled = CELL.sub(named, table[0])
        return labelled.replace('<table class="', '<table class="as-list ', 1)

    return TABLE.sub(label, body)


def keep_own_scripts(
    app: Sphinx, page: str, template: str, context: dict, tree
) -> None:
    """Take off a page the scripts that are for one other page."""
    if "script_files" in context:
        context["script_files"][:] = [
            script
            for script in context["script_files"]
            if OWN_PAGE.get(str(getattr(script, "filename", script)), page) == page
        ]


def has_formulas(context: dict) -> bool:
    """Say whether a page has a formula."""
    return 'class="katex"' in (context.get("body") or "")


def with_own_titles(body: str) -> str:
    """Let a screen reader say the titles of hidden cells, as the page shows them."""
    return body.replace('<summary aria-label="Toggle hidden content">', "<summary>")


def with_named_toggles(text: str) -> str:
    """Let a screen reader say what a toggle of the contents opens."""

    def named(found: re.Match) -> str:
        title = html.escape(html.unescape(TAG.sub("", found[2])), quote=True)
        return f'{found[1]}<summary aria-label="Pages of {title}">{found[3]}'

    return TOGGLE.sub(named, text)


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Leave out of the site what no page needs.

    The theme names some scripts in its layout, so they are taken out of the pages that
    are written. The style sheet has icons as letters of fonts; `_vendor/icons` holds
    the letters in use.
    """
    if error or app.builder.format != "html":
        return
    site, used = Path(app.outdir), set(HOW_ICONS_LOOK)
    names = "|".join(map(re.escape, NOT_NEEDED))
    tag = re.compile(rf"\s*<script[^>]*({names})[^>]*></script>")
    preload = re.compile(rf"\s*<link[^>]*({names})[^>]*/?>")
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        for classes in re.findall(r'class="([^"]*\bfa-[^"]*)"', text):
            used |= {name for name in classes.split() if name.startswith("fa-")}
        text = with_named_toggles(preload.sub("", tag.sub("", text)))
        path.write_text(text, "utf-8", newline="\n")
    for name in NOT_NEEDED:
        for path in site.rglob(f"{name}*"):
            path.unlink()
    known = {*(VENDOR / "icons" / "icons.txt").read_text("utf-8").split()}
    if unknown := sorted(used - known - set(HOW_ICONS_LOOK)):
        logger.warning("icons that _vendor/icons does not hold: %s", ", ".join(unknown))
    for path in (site / "_static/vendor/fontawesome/webfonts").glob("*"):
        path.unlink()
        if path.suffix == ".woff2":
            shutil.copy(VENDOR / "icons" / path.name, path)


def description(doctree: nodes.document | None) -> str:
    """Take the first paragraph of a page, cut at a word."""
    if doctree is None:
        return ""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section) and len(text) > 30:
            if len(text) > DESCRIPTION_LENGTH:
                text = text[:DESCRIPTION_LENGTH].rsplit(" ", 1)[0] + " ..."
            return text
    return ""


def link_chapters(app, what, name, obj, options, lines: list[str]) -> None:
    """Let docstrings refer to chapters in the book's own way, and keep stars in types.

    This runs after napoleon, which has turned the sections into fields.
    """
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"\{(ref|eq|numref)\}`", r":\1:`", line)
        if line.startswith(":type "):
            lines[i] = line.replace("*", r"\*")


def skip_plain_fields(app, what, name, obj, skip: bool, options) -> bool | None:
    """Leave out the fields of named tuples that have no text of their own."""
    text = getattr(obj, "__doc__", "") or ""
    return True if text.startswith("Alias for field number") else None


def number_by_file_name(app: Sphinx, env: object, pages: list[str]) -> None:
    """Give each chapter the number of its file: chapter 16 is 16 from the first day.

    Sphinx counts the chapters that exist, and some are still to be written. This runs
    late, because Jupyter Book replaces the counting while it starts.
    """
    count = TocTreeCollectorWithStyles.assign_section_numbers

    def assign(self: TocTreeCollectorWithStyles, env: object) -> list[str]:
        changed = count(self, env)
        for page, numbers in env.toc_secnumbers.items():
            found = CHAPTER.match(page)
            if not found:
                continue
            first = int(found[1])
            for anchor, number in numbers.items():
                numbers[anchor] = number and (first, *number[1:])
            titles = [env.titles[page], *env.tocs[page].findall(nodes.reference)]
            for node in titles:
                if node.get("secnumber"):
                    node["secnumber"] = [first, *node["secnumber"][1:]]
        return changed

    TocTreeCollectorWithStyles.assign_section_numbers = assign


def setup(app: Sphinx) -> dict[str, object]:
    """Register everything with Sphinx."""
    PygmentsBridge.html_formatter = LinesFormatter
    app.add_node(QuizOption, html=(visit_quiz_option, depart_quiz_option))
    app.add_directive("quiz", Quiz)
    app.connect("config-inited", add_vendored_files, priority=900)
    app.connect("env-before-read-docs", number_by_file_name)
    app.connect("html-page-context", clean_page, priority=900)
    app.connect("html-page-context", keep_own_scripts, priority=950)
    app.connect("build-finished", lighten)
    app.connect("doctree-resolved", lay_out_quizzes)
    app.connect("autodoc-process-docstring", link_chapters, priority=900)
    app.connect("autodoc-skip-member", skip_plain_fields)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
