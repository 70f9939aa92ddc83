"""Exercises of chapter 12: batches that are too small, sorted or shared."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch12")


def without(n, mean, var, n_bad, mean_bad, var_bad):
    """Return count, mean and variance of what is left."""
    left = n - n_bad
    mu = (n * mean - n_bad * mean_bad) / left
    squares = n * (var + mean**2) - n_bad * (var_bad + mean_bad**2)
    return left, mu, squares / left - mu**2


SQUARES = "n * (var + mean**2) - n_bad * (var_bad + mean_bad**2)"
WITHOUT = Right(without, says=SAYS["12.2"], mistakes=[
    M("variances-only", "squares / left - mu**2",
      "(n * var - n_bad * var_bad) / left"),
    M("no-counts", "(n * mean - n_bad * mean_bad) / left", "2 * mean - mean_bad"),
    M("old-count", "(n * mean - n_bad * mean_bad) / left",
      "(n * mean - n_bad * mean_bad) / n"),
    M("not-squared-mean", "squares / left - mu**2", "squares / left"),
    M("old-mean", "squares / left - mu**2", "squares / left - mean**2"),
    M("unbiased", "squares / left - mu**2",
      "(squares / left - mu**2) * left / (left - 1)", near=True),
])  # fmt: skip


def statistics():
    """Return the arguments of 12.2: numbers, channels, and equal means."""
    rng = np.random.default_rng(0)
    good, bad = rng.normal(1, 2, 40), rng.normal(6, 1, 10)
    every = np.concatenate([good, bad])
    first = (50, every.mean(), every.var(), 10, bad.mean(), bad.var())
    good, bad = rng.normal(0, 1, (30, 3)), rng.normal(2, 3, (12, 3))
    every = np.concatenate([good, bad])
    second = (42, every.mean(0), every.var(0), 12, bad.mean(0), bad.var(0))
    return [first, second, (8, 5.0, 4.0, 4, 5.0, 2.0)]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "12.1": number(SAYS["12.1"], 2, known={
            "zeros": 1, "each-group": 100, "each-image": 100_000, "images": 1_000}),
        "12.2": function(WITHOUT, ("count", "mean", "variance"), statistics()),
        "12.3": choice(SAYS["12.3"], "d"),
    }  # fmt: skip
