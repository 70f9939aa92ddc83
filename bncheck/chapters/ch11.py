"""Exercises of chapter 11: the noise of a batch."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch11")


def gaussian_dropout_ratio(u, w, sd):
    """Return the variance of the noisy pre-activation, divided by the plain one's."""
    extra = sd**2 * (w**2 * (u**2).mean(axis=0)).sum()
    return 1 + extra / (u @ w).var()


EXTRA, RATIO = "sd**2 * (w**2 * (u**2).mean(axis=0)).sum()", "1 + extra / (u @ w).var()"
GAUSSIAN = Right(gaussian_dropout_ratio, says=SAYS["11.2"], mistakes=[
    M("no-mean", "(u**2).mean(axis=0)", "u.var(axis=0)"),
    M("no-correlation", "(u @ w).var()", "(w**2 * u.var(axis=0)).sum()"),
    M("sd-not-squared", "sd**2", "sd"),
    M("weights-not-squared", "w**2", "w"),
    M("as-dropout", "sd**2", "sd / (1 - sd)"),
    M("inverse", RATIO, "1 / (1 + extra / (u @ w).var())"),
    M("extra-only", RATIO, "extra / (u @ w).var()"),
    M("unbiased", "(u @ w).var()", "(u @ w).var(ddof=1)", near=True),
])  # fmt: skip


def inputs():
    """Return the inputs of 11.2: correlated, with a mean; without one; one input."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((12, 1))
    u = np.abs(common + rng.standard_normal((12, 3)))
    plain = rng.standard_normal((9, 2))
    one = rng.random((6, 1)) + 2
    return [
        (u, np.array([1.0, -2.0, 0.5]), 0.4),
        (plain - plain.mean(0), np.array([0.3, 0.7]), 0.8),
        (one, np.array([1.5]), 0.2),
    ]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "11.1": number(SAYS["11.1"], 0.25, rtol=0.01, known={
            "independent": 32**-0.5, "variance": 1 / 16, "doubled": 8**-0.5}),
        "11.2": function(GAUSSIAN, ("ratio",), inputs()),
        "11.3": choice(SAYS["11.3"], "c"),
    }  # fmt: skip
