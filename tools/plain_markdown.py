"""Turn the book's text into Markdown that reads well with no extension installed.

Boxes become quotes with a title, hints and quizzes fold with ``<details>``, references,
citations, glossary terms and equation numbers become words and links. What the names
mean stands in an `Index`, which can be stored as JSON: the run edition carries it, so
that tables which a page makes while it runs are shown in the same way.

Imports nothing but Python itself.
"""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import dataclass, field

FENCE = re.compile(r"^(?P<marks>:{3,}|`{3,})\{(?P<name>[\w-]+)\}[ ]*(?P<title>.*)$")
OPTION_LINE = re.compile(r"^:([\w-]+):[ ]*(.*)$")
LABEL = re.compile(r"^\(([\w-]+)\)=$")
EQUATION = re.compile(r"^\$\$(?:[ ]*\(([\w-]+)\))?$")
ROLE = re.compile(r"\{(ref|numref|eq|term|cite:t|cite:p)\}`([^`]+)`")
TARGET = re.compile(r"^(.*?)\s*<([^>]+)>$", re.S)
ANSWER = re.compile(r"^- \[([ x])\] +(.*)$")
TITLES = {"warning": "Pitfalls", "important": "Important", "note": "Note", "tip": "Tip"}
FOLDED = ("dropdown", "tab-item")
KEPT_WHOLE = ("tab-set",)
RIGHT, WRONG = "Right.", "Not this one."


def shuffled(options: list[tuple]) -> list[tuple]:
    """Return the options of a quiz in an order that only their words decide.

    So the right one stands anywhere, on the page and in the run edition alike.
    """

    def place(option: tuple) -> str:
        return hashlib.sha256(option[1].partition(" | ")[0].encode()).hexdigest()

    return sorted(options, key=place)


@dataclass
class Index:
    """What the names in the book's text stand for.

    Attributes
    ----------
    labels : dict of str to list
        Label of a heading: page and title.
    numbers : dict of str to list
        Label of a figure or an equation: page and its number in words, "Fig. 3.1".
    terms : dict of str to str
        Word of the glossary: its definition in plain text.
    sources : dict of str to list
        Key of the bibliography: authors, year, address.
    """

    labels: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, list[str]] = field(default_factory=dict)
    terms: dict[str, str] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)


class PlainText:
    """Converts the text of one page.

    Parameters
    ----------
    index : Index
        What names mean.
    page : str
        The page's file name, as ``"03_transform_a_batch.ipynb"``.
    solutions : bool
        Whether solutions are kept.
    """

    def __init__(self, index: Index, page: str = "", solutions: bool = True) -> None:
        self.index, self.page, self.solutions = index, page, solutions

    def __call__(self, text: str) -> str:
        """Convert a text."""
        lines = self.blocks(text.split("\n"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")

    # --- blocks -----------------------------------------------------------------------

    def blocks(self, lines: list[str]) -> list[str]:
        """Convert directives, labels and equations; then what stands in a line."""
        made: list[str] = []
        at = 0
        while at < len(lines):
            line = lines[at]
            fence, label = FENCE.match(line), LABEL.match(line)
            if fence:
                end = self.end_of(lines, at, fence["marks"])
                made += self.directive(fence, lines[at + 1 : end])
                at = end + 1
            elif line.startswith("```"):  # code is not touched
                end = self.end_of(lines, at, "```")
                made += lines[at : end + 1]
                at = end + 1
            elif line.startswith("$$"):
                end = next(
                    i for i in range(at, len(lines))
                    if EQUATION.match(lines[i]) and i > at
                )  # fmt: skip
                made += self.equation(lines[at : end + 1])
                at = end + 1
            elif label:
                made += [f'<a id="{label[1]}"></a>', ""]
                at += 1
            else:
                made.append(self.inline(line))
                at += 1
        return made

    @staticmethod
    def end_of(lines: list[str], start: int, marks: str) -> int:
        """Return the line that closes a fence."""
        for i in range(start + 1, len(lines)):
            if lines[i].rstrip() == marks:
                return i
        raise ValueError(f"no end of {lines[start]!r}")

    def directive(self, fence: re.Match[str], content: list[str]) -> list[str]:
        """Convert a directive: a box, something folded, or a quiz."""
        name, title = fence["name"], self.inline(fence["title"].strip())
        options = dict[str, str]()
        while content and (option := OPTION_LINE.match(content[0])):
            options[option[1]] = option[2]
            content = content[1:]
        if name == "explorable":
            return self.still(title, options, self.blocks(content))
        if name == "quiz":
            return self.quiz(title, content)
        if name in KEPT_WHOLE:
            return self.blocks(content)
        inner = self.blocks(content)
        if name in FOLDED:
            if title == "Solution" and not self.solutions:
                return []
            return folded(title, inner)
        quoted = [f"> {line}".rstrip() for line in inner]
        return [
            "",
            f"> **{title or TITLES.get(name, name.capitalize())}**",
            ">",
            *quoted,
            "",
        ]

    def still(self, name: str, options: dict[str, str], inner: list[str]) -> list[str]:
        """Show the still picture of a living figure, which its cell brings along."""
        where = "This figure answers to you on the book's site; here it stands still."
        picture = f"![{options['alt']}](attachment:{name}.png)"
        return ["", f"**{options['title']}** ({where})", "", picture, "", *inner, ""]

    def quiz(self, question: str, content: list[str]) -> list[str]:
        """Make a question whose answers unfold one by one."""
        options: list[tuple[str, str]] = []
        for line in filter(str.strip, content):
            start = ANSWER.match(line)
            if start:
                options.append((start[1], start[2]))
            else:
                mark, text = options[-1]
                options[-1] = mark, f"{text} {line.strip()}"
        made = ["", f"**Question.** {question}", ""]
        for mark, text in shuffled(options):
            answer, _, feedback = (self.inline(part) for part in text.partition(" | "))
            verdict = RIGHT if mark == "x" else WRONG
            made += folded(answer, [f"**{verdict}** {feedback}"])
        return made

    def equation(self, lines: list[str]) -> list[str]:
        """Put the number of an equation into it."""
        found = EQUATION.match(lines[-1])
        label = found[1] if found else None
        if not label:
            return lines
        number = self.index.numbers[label][1].removeprefix("Eq. ")
        body = [*lines[1:-1], rf"\tag{{{number}}}", "$$"]
        return [f'<a id="{label}"></a>', "", lines[0], *body]

    # --- in a line --------------------------------------------------------------------

    def inline(self, text: str) -> str:
        """Convert the roles in a line."""
        return ROLE.sub(lambda found: self.role(found[1], found[2]), text)

    def role(self, name: str, content: str) -> str:
        """Return the words, or the link, that a role stands for."""
        words, target = content, content
        if found := TARGET.match(content):
            words, target = found[1], found[2]
        if name.startswith("cite"):
            return self.citation(name, content.split(","))
        if name == "term":
            meaning = self.index.terms.get(target.lower(), "")
            title = html.escape(meaning, quote=True)
            return f'<abbr title="{title}">{words}</abbr>' if meaning else words
        if name == "ref":
            page, title = self.index.labels[target]
            return self.link(title if words == target else words, page, target)
        page, number = self.index.numbers[target]
        return self.link(number, page, target)

    def link(self, words: str, page: str, label: str) -> str:
        """Link to a label, on this page or on another one."""
        return f"[{words}]({'' if page == self.page else page}#{label})"

    def citation(self, name: str, keys: list[str]) -> str:
        """Return authors and year, with a link."""
        made = []
        for key in keys:
            authors, year, address = self.index.sources[key.strip()]
            linked = f"[{authors}]({address})" if address else authors
            made.append(
                f"{linked} ({year})" if name == "cite:t" else f"{linked}, {year}"
            )
        return " and ".join(made) if name == "cite:t" else f"({'; '.join(made)})"


def folded(title: str, inner: list[str]) -> list[str]:
    """Make something that opens with a click; Markdown needs the empty lines."""
    head = ["<details>", f"<summary>{as_html(title)}</summary>"]
    return ["", *head, "", *inner, "", "</details>", ""]


def as_html(text: str) -> str:
    """Return a short text for a summary, in which Markdown is not read everywhere."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)


def is_raw(text: str) -> list[str]:
    """Return what of a text only the book's own tools understand."""
    plain = re.sub(r"^(>?[ ]*)```(?!\{).*?^\1```$", "", text, flags=re.S | re.M)
    plain = re.sub(r"(?<![`}])`(?!`)[^`\n]*`", "", plain)
    marks = r"^(?:>[ ]*)*(?::{3,}|`{3,}\{).*$", r"^\([\w-]+\)=$", r"\$\$[ ]*\([\w-]+\)"
    return [
        m[0] for mark in (ROLE.pattern, *marks) for m in re.finditer(mark, plain, re.M)
    ]
