"""The exercises of the chapters: chNN.py holds those of one, chNN.toml its sentences.

A chapter's file has a function `exercises`, which returns its questions by number. They
are built when one of them is checked for the first time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.calls import Call
from bncheck.form import GAPS, Check, Expect, Question
from bncheck.says import read, say
from bncheck.spec import Right

ANSWER = "answer"
OVERWRITTEN = "input-overwritten"


def sentences(chapter: str) -> dict[str, Any]:
    """Read a chapter's sentences, by the numbers of its exercises."""
    return read("bncheck.chapters", f"{chapter}.toml")


def number(
    says: Mapping[str, Any],
    right: float,
    known: Mapping[str, float] | None = None,
    rtol: float = 1e-3,
    almost: float = 0.1,
) -> Question:
    """Ask for a number.

    Parameters
    ----------
    says : mapping
        ``right``, ``hint``, and for each known mistake its sentence.
    right : float
        The right number.
    known : mapping of str to float
        What known mistakes give.
    rtol, almost : float
        Relative distances that count as correct and as almost.
    """
    floor = 0.0 if right else 1.0
    given = Expect(0, 0, right, ANSWER, rtol, dict(known or {}), floor=floor)
    near = Expect(0, 0, right, ANSWER, almost, floor=floor)
    told = {**says.get("mistakes", {}), "hint": says["hint"]}
    return _asked("number", (given, near), told, says["right"])


def choice(says: Mapping[str, Any], right: str, near: Sequence[str] = ()) -> Question:
    """Ask for a letter; ``says`` holds a sentence for each, ``near`` earn "almost"."""
    return _asked("choice", (Expect(0, 0, right, ANSWER),), says, says[right], near)


def _asked(
    kind: str,
    expects: tuple[Expect, ...],
    told: Mapping[str, str],
    right: str,
    near: Sequence[str] = (),
) -> Question:
    check = Check(ANSWER, 1.0, (Call(f"={ANSWER}", ()),), expects)
    return Question(
        "", "", 1.0, (ANSWER,), (check,), dict(told), kind=kind, near=tuple(near),
        right=right,
    )  # fmt: skip


def function(
    right: Right, results: Sequence[str], inputs: Sequence[tuple], tol: float = 1e-6
) -> Question:
    """Ask for a function, which is called with some inputs and may not change them.

    Parameters
    ----------
    right : Right
        The right function, before others that it calls; mistakes and sentences.
    results : sequence of str
        Names of what it returns.
    inputs : sequence of tuple
        Arguments of each call.
    tol : float
        Largest difference, relative to the largest value.
    """
    name = next(iter(right.trees))
    checks = []
    for arguments in inputs:
        call = (name, *arguments)
        numbers = enumerate(arguments)
        held = ((i, a) for i, a in numbers if isinstance(a, np.ndarray))
        arrays = [f"arg{i}" + f".{GAPS}" * bool(np.isnan(a).any()) for i, a in held]
        kept = {argument: argument for argument in arrays}
        given = {result: i for i, result in enumerate(results)}
        if kept:
            checks.append(
                right.check("inputs", 1.0, [call], kept, 0.0, whatever=[OVERWRITTEN])
            )
        checks.append(right.check("results", 1.0, [call], given, tol))
    seen = any(OVERWRITTEN in e.whatever for check in checks for e in check.expects)
    first = {OVERWRITTEN: say("overwritten", of="open")} if seen else {}
    asked = right.question(
        "", checks, first, kind="function",
        points=1.0, functions=(name,), results=tuple(results),
    )  # fmt: skip
    return replace(asked, near=(*first, *asked.near))
