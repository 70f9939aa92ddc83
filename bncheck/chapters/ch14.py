"""Exercises of chapter 14: statistics of images that have changed."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch14")


def stream(x, mean, var, size, worth):
    """Return a stream normalized by all that has come and by the source."""
    out = np.empty(x.shape)
    for end in range(size, len(x) + 1, size):
        seen = x[:end]
        weight = worth / (worth + end)
        mu = weight * mean + (1 - weight) * seen.mean(axis=0)
        sigma2 = weight * var + (1 - weight) * seen.var(axis=0)
        now = slice(end - size, end)
        out[now] = (x[now] - mu) / np.sqrt(sigma2 + 1e-5)
    return out


STREAM = Right(stream, says=SAYS["14.2"], mistakes=[
    M("batch-only", "seen = x[:end]", "seen = x[end - size : end]"),
    M("weight-of-a-batch", "worth / (worth + end)", "worth / (worth + size)"),
    M("weight-turned", "worth / (worth + end)", "end / (worth + end)"),
    M("constant-weight", "worth / (worth + end)", "worth / (worth + len(x))"),
    M("whole-stream", "seen = x[:end]", "seen = x"),
    M("mixed-deviations", "weight * var + (1 - weight) * seen.var(axis=0)",
      "(weight * var**0.5 + (1 - weight) * seen.std(axis=0)) ** 2"),
    M("unbiased", "seen.var(axis=0)", "seen.var(axis=0, ddof=1)", near=True),
    M("no-eps", "np.sqrt(sigma2 + 1e-5)", "np.sqrt(sigma2)", near=True),
])  # fmt: skip


def streams():
    """Return the arguments of 14.2: several sizes, and variances as small as eps."""
    rng = np.random.default_rng(0)
    return [
        (rng.normal(3, 2, (12, 3)), np.array([0.0, 1, 5]), np.array([1.0, 4, 2]), 4, 6),
        (rng.normal(0, 1, (10, 1)), np.array([0.5]), np.array([2.0]), 2, 20),
        (rng.normal(1, 0.01, (6, 2)), np.ones(2), np.full(2, 2e-4), 3, 3),
    ]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "14.1": number(SAYS["14.1"], 2 / 5**0.5, known={
            "population": 2 / 3, "deviations": 1.0, "source": 4.0, "batch": 0.0,
            "not-a-root": 0.4, "not-centred": 4 / 5**0.5}),
        "14.2": function(STREAM, ("normalized values",), streams()),
        "14.3": choice(SAYS["14.3"], "d"),
    }  # fmt: skip
