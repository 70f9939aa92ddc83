"""What an entry of the bug bank is, and how the source of a reference is changed."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Bug(NamedTuple):
    """A mistake: one piece of a reference, and what stands in its place.

    Attributes
    ----------
    id : str
        Its name in the bank.
    set : str
        ``"ps1"``.
    function : str
        The function, or class, in which the text is replaced.
    old, new : str
        The text, which stands there once, and what replaces it. Lines after the first
        are indented as the first one is.
    question : str
        Where it must lose points; empty if it must lose none.
    bug : str
        The id that a finding must carry.
    sentence : str
        Or a part of the sentence that a finding must have.
    only : str
        The category of the only check of the whole set that catches it.
    variant : str
        The term variant it needs.
    open : str
        What the grader still does wrong with it.
    """

    id: str
    set: str
    function: str
    old: str
    new: str
    question: str
    bug: str = ""
    sentence: str = ""
    only: str = ""
    variant: str = ""
    open: str = ""


def bugs(question: str, function: str, *rows: tuple, variant: str = "") -> list[Bug]:
    """Make entries from rows (id, old, new, told, only, open).

    ``told`` is the id of the finding, or a part of its sentence if it holds a space. A
    leading ``~`` in the id says that no points are lost.
    """
    made = []
    for name, old, new, told, *rest in rows:
        only, todo = (*rest, "", "")[:2]
        free = name.startswith("~")
        made.append(
            Bug(
                name.removeprefix("~"),
                question.partition(".")[0],
                function,
                old,
                new,
                "" if free else question,
                bug="" if " " in told else told,
                sentence=told if " " in told else "",
                only=only,
                variant=variant,
                open=todo,
            )
        )
    return made


@functools.cache
def reference(set_name: str) -> str:
    """Return the source of the right answers to a set."""
    return (HERE / f"reference_{set_name}.py").read_text(encoding="utf-8")


@functools.cache
def _body(source: str) -> list[ast.stmt]:
    return ast.parse(source).body


def mutate(bug: Bug) -> str:
    """Return the source of a reference with the mistake in it."""
    source = reference(bug.set)
    place = next(n for n in _body(source) if getattr(n, "name", "") == bug.function)
    lines = source.splitlines(keepends=True)
    before = "".join(lines[: place.lineno - 1])
    inside = "".join(lines[place.lineno - 1 : place.end_lineno])
    first = bug.old.partition("\n")[0]
    line = next((text for text in inside.splitlines() if first in text), "")
    indent = "\n" + " " * (len(line) - len(line.lstrip()))
    old, new = (text.replace("\n", indent) for text in (bug.old, bug.new))
    if inside.count(old) != 1:
        raise ValueError(
            f"{bug.id}: expected the text once in {bug.function}, found "
            f"{inside.count(old)} times"
        )
    return before + inside.replace(old, new) + "".join(lines[place.end_lineno :])
