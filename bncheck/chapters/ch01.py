"""Exercises of chapter 1: the scale of the inputs."""

import numpy as np

from bncheck.chapters import function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch01")


def standardise(train, test):
    """Give both sets the mean and the spread of the known values of train."""
    mean = np.nanmean(train, 0)
    std = np.nanstd(train, 0)
    safe = np.where(std > 0, std, 1.0)
    known = np.where(np.isnan(train), mean, train)
    new = np.where(np.isnan(test), mean, test)
    return (known - mean) / safe, (new - mean) / safe


MEAN, STD = "mean = np.nanmean(train, 0)", "std = np.nanstd(train, 0)"
FILLED = "np.where(np.isnan(train), mean, train)"
KNOWN, NEW = f"known = {FILLED}", "new = np.where(np.isnan(test), mean, test)"
TEST = "(new - mean) / safe"
BOTH = "both = np.concatenate([train, test])\nmean = np.nanmean(both, 0)"
OWN = "np.where(np.isnan(test), np.nanmean(test, 0), test)"
SPREAD = "np.where(np.nanstd(test, 0) > 0, np.nanstd(test, 0), 1.0)"
STANDARDISE = Right(standardise, says=SAYS["1.2"], mistakes=[
    M("gaps-left", KNOWN, "known = train", NEW, "new = test"),
    M("gaps-left-in-test", NEW, "new = test", of="gaps-left"),
    M("gaps-left-in-train", KNOWN, "known = train", of="gaps-left"),
    M("plain", MEAN, "mean = train.mean(0)"),  # and a std of nan gives the same
    M("plain-std", STD, "std = train.std(0)", of="plain"),
    M("filled-first", STD, f"std = {FILLED}.std(0)", near=True),
    M("zeros-first", MEAN, "mean = np.nan_to_num(train).mean(0)",
      STD, "std = np.nan_to_num(train).std(0)", KNOWN, "known = np.nan_to_num(train)",
      NEW, "new = np.nan_to_num(test)"),
    M("gaps-zero", KNOWN, "known = np.nan_to_num(train)",
      NEW, "new = np.nan_to_num(test)"),
    M("test-filled-by-itself", NEW, f"new = {OWN}", near=True),
    M("own-statistics", TEST, f"({OWN} - np.nanmean(test, 0)) / {SPREAD}"),
    M("pooled", MEAN, BOTH, STD, "std = np.nanstd(both, 0)"),
    M("one-number", MEAN, "mean = np.nanmean(train)", STD, "std = np.nanstd(train)"),
    M("sample-variance", STD, "std = np.nanstd(train, 0, ddof=1)", near=True),
    M("variance-not-root", STD, "std = np.nanvar(train, 0)"),
    M("not-scaled", "np.where(std > 0, std, 1.0)", "np.ones_like(std)"),
    M("test-untouched", TEST, "new"),
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
    for gap in ((1, 0), (4, 0), (2, 2)):
        train[gap] = np.nan
    flat[3, 1] = flat[0, 2] = np.nan
    holes = test.copy()
    test[0, 1] = test[3, 2] = holes[2, 0] = np.nan
    return [(train, test), (flat, holes)]


def largest_rate(x, decay):
    """Return 2 over the largest eigenvalue of the Hessian, with a bias."""
    design = np.column_stack([x, np.ones(len(x))])
    penalty = decay * np.diag([1.0] * x.shape[1] + [0.0])
    hessian = design.T @ design / len(x) + penalty
    steepness = np.linalg.eigvalsh(hessian)
    return 2 / steepness[-1]


DESIGN, RATE = "np.column_stack([x, np.ones(len(x))])", "2 / steepness[-1]"
PENALTY = "decay * np.diag([1.0] * x.shape[1] + [0.0])"
LIMIT = Right(largest_rate, says=SAYS["1.3"], mistakes=[
    M("bias-decayed", PENALTY, "decay * np.eye(x.shape[1] + 1)", near=True),
    M("no-decay", PENALTY, "0.0"),
    M("half-decay", PENALTY, f"{PENALTY} / 2", near=True),
    M("twice-decay", PENALTY, f"{PENALTY} * 2", near=True),
    M("no-bias", DESIGN, "x", PENALTY, "decay * np.eye(x.shape[1])"),
    M("no-mean", "design.T @ design / len(x)", "design.T @ design"),
    M("safe-rate", RATE, "1 / steepness[-1]", near=True),
    M("smallest", RATE, "2 / steepness[0]"),
    M("best-rate", RATE, "2 / (steepness[0] + steepness[-1])"),
    M("steepness", RATE, "steepness[-1]"),
])  # fmt: skip


def features():
    """Draw the inputs of 1.3; in the second the bias is the steepest direction."""
    rng = np.random.default_rng(13)
    first = rng.standard_normal((9, 2)) * [0.5, 2.0] + [1.0, 3.0]
    small = rng.standard_normal((12, 3)) * 0.3 + 0.2
    return [(first, 0.7), (small, 0.4), (rng.uniform(0, 1, (30, 4)), 2.5)]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "1.1": number(SAYS["1.1"], 1e-6, known={
            "root": 1e-3, "wrong-way": 1e6, "both": 1e3, "no-change": 1.0}),
        "1.2": function(STANDARDISE, ("train", "test"), two_sets()),
        "1.3": function(LIMIT, ("rate",), features()),
        "1.4": number(SAYS["1.4"], 99 / 101, rtol=5e-4, almost=0.03, known={
            "ratio-199": 0.99, "negative": -99 / 101}),
    }  # fmt: skip
