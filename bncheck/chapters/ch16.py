"""Exercises of chapter 16: the frameworks."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch16")


def merge(counts, means, variances):
    """Return mean and variance of all rows from those of unequal shards."""
    w = counts[:, None] / counts.sum()
    mean = (w * means).sum(0)
    away = means - mean
    var = (w * (variances + away**2)).sum(0)
    return mean, var


MEAN, VAR = "(w * means).sum(0)", "(w * (variances + away**2)).sum(0)"
WEIGHTS = "counts[:, None] / counts.sum()"
MERGE = Right(merge, says=SAYS["16.2"], mistakes=[
    M("unweighted", MEAN, "means.mean(0)", VAR, "variances.mean(0)"),
    M("mean-only", VAR, "variances.mean(0)"),
    M("no-between", VAR, "(w * variances).sum(0)"),
    M("equal-shards", WEIGHTS, "np.ones((len(counts), 1)) / len(counts)"),
    M("plain-middle", "means - mean", "means - means.mean(0)", near=True),
    M("sum", VAR, f"{VAR} * counts.sum()", near=True),
    M("sample-variance", VAR, f"{VAR} / (1 - 1 / counts.sum())", near=True),
])  # fmt: skip


def shards():
    """Draw the inputs of 16.2."""
    rng = np.random.default_rng(162)
    return [
        (np.array([7, 2, 5]), rng.normal(3, 2, (3, 4)), rng.uniform(0.5, 3, (3, 4))),
        (np.array([1, 9]), rng.normal(-5, 1, (2, 3)), rng.uniform(0.1, 1, (2, 3))),
    ]


def time_constant(momentum, batch_size):
    """Return the time constant, in examples, that forgets as fast as momentum."""
    return -batch_size / np.log(1 - momentum)


TIME = "-batch_size / np.log(1 - momentum)"
CONSTANT = Right(time_constant, says=SAYS["16.3"], mistakes=[
    M("old-weight", "1 - momentum", "momentum"),
    M("sign", TIME, "batch_size / np.log(1 - momentum)"),
    M("batches", TIME, "-1 / np.log(1 - momentum)"),
    M("memory", TIME, "1 / momentum"),
    M("small-steps", TIME, "batch_size / momentum", near=True),
])  # fmt: skip


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "16.1": number(SAYS["16.1"], 0.01, rtol=1e-6, almost=0.15, known={
            "same": 0.99, "default": 0.1, "other-default": 0.9}),
        "16.2": function(MERGE, ("the mean", "the variance"), shards()),
        "16.3": function(CONSTANT, ("the time constant",), [
            (0.1, 60), (0.3, 7), (0.01, 256)]),
        "16.4": choice(SAYS["16.4"], "b"),
    }  # fmt: skip
