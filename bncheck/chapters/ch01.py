"""Exercises of chapter 1: the scale of the inputs."""

import numpy as np

from bncheck.chapters import function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch01")


def standardise(train, test):
    """Give both sets the mean and the spread of train."""
    mean = train.mean(0)
    std = train.std(0)
    safe = np.where(std > 0, std, 1.0)
    return (train - mean) / safe, (test - mean) / safe


MEAN, STD = "mean = train.mean(0)", "std = train.std(0)"
TEST = "(test - mean) / safe"
POOLED = "both = np.concatenate([train, test])\nmean = both.mean(0)"
OWN = "(test - test.mean(0)) / np.where(test.std(0) > 0, test.std(0), 1.0)"
ROWS = "({0} - {0}.mean(1, keepdims=True)) / {0}.std(1, keepdims=True)"
STANDARDISE = Right(standardise, says=SAYS["1.2"], mistakes=[
    M("own-statistics", TEST, OWN),
    M("pooled", MEAN, POOLED, STD, "std = both.std(0)"),
    M("rows", "(train - mean) / safe", ROWS.format("train"), TEST, ROWS.format("test")),
    M("one-number", MEAN, "mean = train.mean()", STD, "std = train.std()"),
    M("sample-variance", STD, "std = train.std(0, ddof=1)", near=True),
    M("variance-not-root", STD, "std = train.var(0)"),
    M("not-centred", MEAN, "mean = 0 * train.mean(0)"),
    M("not-scaled", "np.where(std > 0, std, 1.0)", "np.ones_like(std)"),
    M("test-untouched", TEST, "test"),
    M("zeroed", TEST, f"np.where(std > 0, {TEST}, 0.0)", near=True),
])  # fmt: skip


def two_sets():
    """Draw the inputs of 1.2; in the second a feature of train is constant."""
    rng = np.random.default_rng(12)
    scale, shift = np.array([0.1, 3.0, 50.0]), np.array([2.0, -5.0, 100.0])
    train = rng.standard_normal((7, 3)) * scale + shift
    test = rng.standard_normal((4, 3)) * scale * 1.7 + shift * 1.2
    flat = train.copy()
    flat[:, 1] = 4.0
    return [(train, test), (flat, test.copy())]


def largest_rate(x):
    """Return 2 over the largest eigenvalue of the Hessian, with a bias."""
    design = np.column_stack([x, np.ones(len(x))])
    hessian = design.T @ design / len(x)
    steepness = np.linalg.eigvalsh(hessian)
    return 2 / steepness[-1]


DESIGN, RATE = "np.column_stack([x, np.ones(len(x))])", "2 / steepness[-1]"
LIMIT = Right(largest_rate, says=SAYS["1.3"], mistakes=[
    M("no-bias", DESIGN, "x", near=True),
    M("no-mean", "design.T @ design / len(x)", "design.T @ design"),
    M("safe-rate", RATE, "1 / steepness[-1]", near=True),
    M("smallest", RATE, "2 / steepness[0]"),
    M("best-rate", RATE, "2 / (steepness[0] + steepness[-1])"),
    M("singular-value", RATE, "2 / np.linalg.norm(design, 2)"),
    M("centred", DESIGN, "x - x.mean(0)"),
    M("steepness", RATE, "steepness[-1]"),
])  # fmt: skip


def features():
    """Draw the inputs of 1.3."""
    rng = np.random.default_rng(13)
    first = rng.standard_normal((9, 2)) * [0.5, 2.0] + [1.0, 3.0]
    return [(first,), (rng.uniform(0, 1, (30, 4)) * [1, 10, 5, 2],)]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "1.1": number(SAYS["1.1"], 1e-6, known={
            "root": 1e-3, "wrong-way": 1e6, "both": 1e3, "no-change": 1.0}),
        "1.2": function(STANDARDISE, ("train", "test"), two_sets()),
        "1.3": function(LIMIT, ("the rate",), features()),
        "1.4": number(SAYS["1.4"], 99 / 101, rtol=5e-4, almost=0.03, known={
            "ratio-199": 0.99, "negative": -99 / 101}),
    }  # fmt: skip
