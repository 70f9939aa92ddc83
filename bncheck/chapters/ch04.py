"""Exercises of chapter 4: training and inference."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch04")


def repaired(x, gamma, beta, mean, var, training, rho, eps):
    """Return y and the running statistics after it, in either mode."""
    mu, sigma2 = x.mean(0), x.var(0)
    stored = x.var(0, ddof=1)
    new_mean = (1 - rho) * mean + rho * mu
    new_var = (1 - rho) * var + rho * stored
    if not training:
        mu, sigma2 = mean, var
        new_mean, new_var = mean, var
    x_hat = (x - mu) / np.sqrt(sigma2 + eps)
    return gamma * x_hat + beta, new_mean, new_var


STORED, USED = "x.var(0, ddof=1)", "x.var(0)"
MEAN, VAR = "(1 - rho) * mean + rho * mu", "(1 - rho) * var + rho * stored"
SWAPPED = (MEAN, "rho * mean + (1 - rho) * mu", VAR, "rho * var + (1 - rho) * stored")
BIASED = (STORED, "x.var(0) + 0")
MOVES = ("new_mean, new_var = mean, var", "pass")
READ = "mu, sigma2 = mean, var"
REPAIRED = Right(repaired, says=SAYS["4.2"], mistakes=[
    M("swapped", *SWAPPED, near=True),
    M("biased", *BIASED, near=True),
    M("moves", *MOVES, near=True),
    M("swapped-biased", *SWAPPED, *BIASED),
    M("swapped-moves", *SWAPPED, *MOVES),
    M("biased-moves", *BIASED, *MOVES),
    M("all-three", *SWAPPED, *BIASED, *MOVES),
    M("unbiased-used", "mu, sigma2 = x.mean(0), x.var(0)",
      "mu, sigma2 = x.mean(0), x.var(0, ddof=1)"),
    M("batch-in-evaluation", READ, "pass"),
    M("batch-only", MEAN, "mu", VAR, "stored"),
    M("old-kept-whole", MEAN, "mean + rho * mu", VAR, "var + rho * stored"),
    M("deviation", STORED, "x.std(0, ddof=1)"),
    M("no-eps", "np.sqrt(sigma2 + eps)", "np.sqrt(sigma2)", near=True),
    M("eps-outside-root", "np.sqrt(sigma2 + eps)", "np.sqrt(sigma2) + eps", near=True),
])  # fmt: skip


def modes():
    """Draw the inputs of 4.2: a mini-batch to train on, and one to evaluate."""
    rng = np.random.default_rng(42)
    return [
        (
            rng.normal(5, 2, size=(m, d)),
            rng.normal(2, 0.5, size=d),
            rng.normal(-3, 1, size=d),
            rng.normal(1, 1, size=d),
            rng.uniform(0.5, 2, size=d),
            training,
            rho,
            0.1,
        )
        for m, d, rho, training in ((6, 4, 0.1, True), (3, 5, 0.3, False))
    ]


def fold(W, b, mean, var, gamma, beta, eps):
    """Return weights and bias of a linear layer that includes the batch norm."""
    s = gamma / np.sqrt(var + eps)
    return s[:, None] * W, s * (b - mean) + beta


WEIGHT, BIAS, ROOT = "s[:, None] * W", "s * (b - mean) + beta", "np.sqrt(var + eps)"
FOLD = Right(fold, says=SAYS["4.3"], mistakes=[
    M("eps-outside-root", ROOT, "np.sqrt(var) + eps", near=True),
    M("no-eps", ROOT, "np.sqrt(var)", near=True),
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
        "4.2": function(REPAIRED, ("y", "new_mean", "new_var"), modes()),
        "4.3": function(FOLD, ("W2", "b2"), layers()),
        "4.4": choice(SAYS["4.4"], "a"),
    }  # fmt: skip
