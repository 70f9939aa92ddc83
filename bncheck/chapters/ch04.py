"""Exercises of chapter 4: training and inference."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch04")


def update(mean, var, x, rho):
    """Move the running statistics by the weight rho of the new value."""
    new_mean = x.mean(0)
    new_var = x.var(0, ddof=1)
    return (1 - rho) * mean + rho * new_mean, (1 - rho) * var + rho * new_var


STORED = "x.var(0, ddof=1)"
MEAN, VAR = "(1 - rho) * mean + rho * new_mean", "(1 - rho) * var + rho * new_var"
KERAS = "rho * mean + (1 - rho) * new_mean", "rho * var + (1 - rho) * new_var"
SWAPPED = (MEAN, KERAS[0], VAR, KERAS[1])
UPDATE = Right(update, says=SAYS["4.2"], mistakes=[
    M("biased", STORED, "x.var(0)", near=True),
    M("swapped", *SWAPPED),
    M("swapped-biased", *SWAPPED, STORED, "x.var(0)"),
    M("batch-only", MEAN, "new_mean", VAR, "new_var"),
    M("old-kept-whole", MEAN, "mean + rho * new_mean", VAR, "var + rho * new_var"),
    M("deviation", STORED, "x.std(0, ddof=1)"),
])  # fmt: skip


def states():
    """Draw the inputs of 4.2."""
    rng = np.random.default_rng(42)
    return [
        (
            rng.normal(1, 1, size=d),
            rng.uniform(0.5, 2, size=d),
            rng.normal(5, 2, size=(m, d)),
            rho,
        )
        for m, d, rho in ((6, 4, 0.1), (3, 5, 0.3))
    ]


def fold(W, b, mean, var, gamma, beta, eps):
    """Return weights and bias of a linear layer that includes the batch norm."""
    s = gamma / np.sqrt(var + eps)
    return s[:, None] * W, s * (b - mean) + beta


WEIGHT, BIAS, ROOT = "s[:, None] * W", "s * (b - mean) + beta", "np.sqrt(var + eps)"
FOLD = Right(fold, says=SAYS["4.3"], mistakes=[
    M("eps-outside-root", ROOT, "np.sqrt(var) + eps", near=True),
    M("bias-unscaled", BIAS, "b - s * mean + beta", near=True),
    M("bias-lost", BIAS, "beta - s * mean"),
    M("mean-lost", BIAS, "s * b + beta"),
    M("weights-unscaled", WEIGHT, "W"),
    M("variance-not-root", ROOT, "var + eps"),
])  # fmt: skip


def layers():
    """Draw the inputs of 4.3."""
    rng = np.random.default_rng(43)
    return [
        (
            rng.normal(size=(out, n)),
            rng.normal(2, 1, size=out),
            rng.normal(-3, 1, size=out),
            rng.uniform(0.5, 3, size=out),
            rng.normal(1.5, 0.5, size=out),
            rng.normal(1, 1, size=out),
            eps,
        )
        for out, n, eps in ((3, 5, 0.1), (4, 4, 1e-5))
    ]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "4.1": number(SAYS["4.1"], 2.71, rtol=2e-3, known={
            "adds": 3.0, "distance": 7.29, "keras": 9.99, "one": 1.0, "two": 1.9}),
        "4.2": function(UPDATE, ("running_mean", "running_var"), states()),
        "4.3": function(FOLD, ("W2", "b2"), layers()),
        "4.4": choice(SAYS["4.4"], "b"),
    }  # fmt: skip
