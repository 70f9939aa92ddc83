"""Exercises of chapter 7: the classic experiment."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch07")


def steps_to(step, accuracy, share):
    """Return the first step at which the accuracy is at least share; never is inf."""
    reached = np.flatnonzero(accuracy >= share)
    return float(step[reached[0]]) if len(reached) else float("inf")


REACHED, STEP, NEVER = "accuracy >= share", "float(step[reached[0]])", "float('inf')"
STEPS_TO = Right(steps_to, says=SAYS["7.2"], mistakes=[
    M("position", STEP, "float(reached[0])"),
    M("nearest", "np.flatnonzero(accuracy >= share)",
      "np.argsort(np.abs(accuracy - share), kind='stable')[:1]"),
    M("strictly", REACHED, "accuracy > share", near=True),
    M("never-is-last", NEVER, "float(step[-1])", near=True),
    M("never-is-first", NEVER, "float(step[0])", near=True),
    M("never-is-minus-one", NEVER, "-1.0", near=True),
    M("never-is-nan", NEVER, "float('nan')", near=True),
])  # fmt: skip


def curves():
    """Return the inputs of 7.2: a dip, an exact hit, and a net that never arrives."""
    step = np.array([10.0, 20.0, 50.0, 100.0, 200.0])
    dip = np.array([0.2, 0.91, 0.85, 0.90, 0.95])
    exact = np.array([0.2, 0.5, 0.9, 0.93, 0.95])
    low = np.array([0.2, 0.5, 0.6, 0.7, 0.75])
    return [(step, accuracy, 0.9) for accuracy in (dip, exact, low)]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "7.1": number(SAYS["7.1"], 0.5, rtol=0.02, known={
            "no-root": 5.0, "one-weight": 0.05, "variance": 0.25}),
        "7.2": function(STEPS_TO, ("the step",), curves()),
        "7.3": choice(SAYS["7.3"], "b", near=("c",)),
    }  # fmt: skip
