"""Feedback on answers: ``check("3.2", normalize)`` and ``check("ps1.q1")``.

The first is an exercise of a chapter. The second is a question of a problem set, with
public numbers only: the graded run draws others from a secret key, and students get no
right function with this package.
"""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

from bncheck.form import CORRECT, MARKS, NOT_YET, Paid, Question, Result, from_json
from bncheck.kinds import KINDS, Notebook
from bncheck.says import say

IN_REPOSITORY = Path(__file__).parent.parent / "coursework" / "sets" / "cases.json"


@functools.cache
def _public() -> dict[tuple[str, str], Question]:
    """Return the public questions of the problem sets, by key and variant."""
    try:
        text = pkgutil.get_data("bncheck", "cases.json")
    except OSError:
        if not IN_REPOSITORY.exists():
            raise FileNotFoundError(say("no-cases")) from None
        text = IN_REPOSITORY.read_bytes()
    cases = json.loads(text or b"[]")
    return {(c["key"], c["variant"]): from_json(c["question"]) for c in cases}


def _exercises(chapter: str) -> dict[str, Question]:
    """Return the exercises of a chapter by their numbers."""
    name = f"bncheck.chapters.ch{chapter:0>2}"
    try:
        return importlib.import_module(name).exercises()
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return {}


def feedback(key: str, given: Any, variant: str = "") -> Result:
    """Judge an answer.

    Parameters
    ----------
    key : str
        ``"3.2"`` of a chapter, ``"ps1.q1"`` of a set.
    given : object
        The answer to an exercise; for a question of a set, the namespace that holds
        the functions.
    variant : str
        Which term variant; needed only where a notebook holds several.

    Returns
    -------
    result : Result
        State, findings and passed categories.

    Raises
    ------
    KeyError
        There is no such exercise or question.
    """
    chapter = key.partition(".")[0]
    if chapter.isdigit():
        questions = {(k, ""): q for k, q in _exercises(chapter).items()}
    else:
        questions = _public()
    found = [q for (k, v), q in questions.items() if k == key and variant in ("", v)]
    if not found:
        keys = ", ".join(sorted({k for k, _ in questions}))
        raise KeyError(say("no-question", key=repr(key), keys=keys))
    question = found[0]
    namespace = {question.functions[0]: given} if question.open else given
    return KINDS[question.kind](question, Notebook(namespace), Paid())


def check(key: str, answer: Any = None, variant: str = "") -> None:
    """Print how an answer stands: a mark, the state, and one sentence.

    Parameters
    ----------
    key : str
        ``"3.2"`` of a chapter, ``"ps1.q1"`` of a set.
    answer : object
        The answer to an exercise. The functions of a set are read from the notebook by
        their names.
    variant : str
        Which term variant; needed only where a notebook holds several.
    """
    exercise = key[:1].isdigit()
    given = answer if exercise else sys._getframe(1).f_globals
    try:
        result = feedback(key, given, variant)
        state, sentence = result.state, result.sentence
        if state == CORRECT and not sentence:
            sentence = say("passed", categories=", ".join(result.passed))
    except Exception as error:  # a notebook's "Run all" never stops here
        state, text = NOT_YET, str(error).strip("'\"")
        sentence = say("not-checked", error=text)
    print(f"{MARKS[state]} {'Exercise ' * exercise}{key}, {state}: {sentence}")
