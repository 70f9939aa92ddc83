"""Exercises of chapter 9: signals and gradients in deep nets."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch09")


def skip_variances(scales, normalized):
    """Return the variances of the skip path of a residual net, from 1 on."""
    variance = [1.0]
    for a in scales:
        branch = 1.0 if normalized else variance[-1]
        variance.append(variance[-1] + a**2 * branch)
    return np.array(variance)


BRANCH, ADDED = "1.0 if normalized else variance[-1]", "a**2 * branch"
ALL = "np.array(variance)"
SKIP = Right(skip_variances, says=SAYS["9.2"], mistakes=[
    M("no-square", ADDED, "a * branch"),
    M("swapped", BRANCH, "variance[-1] if normalized else 1.0"),
    M("always-one", BRANCH, "1.0"),
    M("always-input", BRANCH, "variance[-1]"),
    M("ratio", ALL, "1 / np.array(variance)"),
    M("deviations", ALL, "np.sqrt(np.array(variance))", near=True),
    M("no-output", ALL, "np.array(variance[:-1])", near=True),
    M("no-input", ALL, "np.array(variance[1:])", near=True),
])  # fmt: skip


def nets():
    """Return the inputs of 9.2: unequal scales of both kinds, and SkipInit."""
    scales = np.array([1.0, 0.5, 2.0, 0.1])
    return [(scales, True), (scales, False), (np.zeros(3), False)]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    folded = 1 / (1 - 2 / np.pi)
    return {
        "9.1": number(SAYS["9.1"], folded, rtol=0.005, almost=0.05, known={
            "no-mean": 1.0, "root": folded**0.5, "mean-square": np.pi / 2,
            "relu": np.pi / (np.pi - 1), "inverse": 1 / folded}),
        "9.2": function(SKIP, ("variances",), nets()),
        "9.3": choice(SAYS["9.3"], "b", near=()),
    }  # fmt: skip
