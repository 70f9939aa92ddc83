"""Exercises of chapter 7: the classic experiment."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch07")


def lasting_step(step, accuracy, share):
    """Return the first step from which on the accuracy is at least share; or inf."""
    below = np.flatnonzero(accuracy < share)
    first = below[-1] + 1 if len(below) else 0
    return float(step[first]) if first < len(step) else float("inf")


BELOW, FIRST = "accuracy < share", "below[-1] + 1 if len(below) else 0"
STEP, NEVER = "float(step[first])", "float('inf')"
LASTING = Right(lasting_step, says=SAYS["7.2"], mistakes=[
    M("first-reached", FIRST, "np.argmax(accuracy >= share)"),
    M("last-below", FIRST, "below[-1] if len(below) else 0"),
    M("position", STEP, "float(first)"),
    M("strictly", BELOW, "accuracy <= share", near=True),
    M("never-is-last", NEVER, "float(step[-1])", near=True),
    M("never-is-minus-one", NEVER, "-1.0", near=True),
    M("never-is-nan", NEVER, "float('nan')", near=True),
])  # fmt: skip


def curves():
    """Return the inputs of 7.2: a dip, an exact hit, one that falls back, no dip."""
    step = np.array([10.0, 20.0, 50.0, 100.0, 200.0])
    dip = np.array([0.2, 0.91, 0.85, 0.92, 0.95])
    exact = np.array([0.2, 0.5, 0.9, 0.93, 0.95])
    back = np.array([0.2, 0.92, 0.94, 0.91, 0.88])
    early = np.array([0.92, 0.93, 0.95, 0.96, 0.97])
    return [(step, accuracy, 0.9) for accuracy in (dip, exact, back, early)]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "7.1": number(SAYS["7.1"], 8.0, rtol=0.02, known={
            "one-layer": 2.0, "added": 6.0, "variance": 64.0, "no-root": 64_000.0}),
        "7.2": function(LASTING, ("step",), curves()),
        "7.3": choice(SAYS["7.3"], "a", near=("c",)),
    }  # fmt: skip
