"""The checks of the book's exercises, one file for each chapter.

A chapter's file holds functions that judge an answer, registered by `exercise`; a
notebook calls `check`. A check never raises: "Run all" passes over an empty stub.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from bnlib.checks import NOT_YET, Feedback

MARKS = {"nothing yet": "○", "almost": "◐", "not yet": "✗", "correct": "✓"}
_checks: dict[str, Callable[[Any], Feedback]] = {}


def exercise(key: str) -> Callable:
    """Register a function as the check of an exercise.

    Parameters
    ----------
    key : str
        Number of the exercise, ``"3.2"``.

    Returns
    -------
    register : callable
        Decorator; it returns the function unchanged.
    """

    def register(function: Callable[[Any], Feedback]) -> Callable[[Any], Feedback]:
        _checks[key] = function
        return function

    return register


def feedback(key: str, answer: Any) -> Feedback:
    """Judge an answer.

    Parameters
    ----------
    key : str
        Number of the exercise, ``"3.2"``.
    answer : object
        A function, a number, a letter, or None.

    Returns
    -------
    feedback : Feedback
        State and sentence.

    Raises
    ------
    KeyError
        There is no such exercise.
    """
    if key not in _checks:
        chapter = key.split(".", maxsplit=1)[0]
        name = f"bnlib.exercises.ch{chapter:0>2}"
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    if key not in _checks:
        raise KeyError(f"there is no exercise {key!r}")
    try:
        return _checks[key](answer)
    except Exception as error:  # an answer may be anything at all
        kind = type(error).__name__
        return Feedback(NOT_YET, f"The answer cannot be judged, {kind}: {error}")


def check(key: str, answer: Any) -> None:
    """Print the feedback on an answer in one line.

    Parameters
    ----------
    key : str
        Number of the exercise, ``"3.2"``.
    answer : object
        A function, a number, a letter, or None.
    """
    state, message = feedback(key, answer)
    print(f"{MARKS[state]} Exercise {key}, {state}: {message}")
