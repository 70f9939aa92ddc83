"""Exercises of chapter 13: the family of norms."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch13")


def standardize_weights(W, eps):
    """Return W with each filter standardized."""
    rows = W.reshape(len(W), -1)  # (out, weights of a filter)
    centred = rows - rows.mean(axis=1, keepdims=True)
    var = rows.var(axis=1, keepdims=True)
    return (centred / np.sqrt(var + eps)).reshape(W.shape)


CENTRED, VAR = (
    "rows - rows.mean(axis=1, keepdims=True)",
    "rows.var(axis=1, keepdims=True)",
)
WEIGHTS = Right(standardize_weights, says=SAYS["13.2"], mistakes=[
    M("all-filters", CENTRED, "rows - rows.mean()", VAR, "rows.var()"),
    M("across-filters", CENTRED, "rows - rows.mean(axis=0)", VAR, "rows.var(axis=0)"),
    M("no-mean", CENTRED, "rows"),
    M("length", VAR, "(rows**2).sum(axis=1, keepdims=True)"),
    M("no-root", "np.sqrt(var + eps)", "(var + eps)"),
    M("eps-outside", "np.sqrt(var + eps)", "(np.sqrt(var) + eps)"),
    M("unbiased", VAR, "rows.var(axis=1, ddof=1, keepdims=True)", near=True),
])  # fmt: skip


def inputs():
    """Return the inputs of 13.2: filters, a matrix, one filter; eps that is felt."""
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal((4, 3, 3, 2)) + np.arange(4)[:, None, None, None], 1e-5),
        (2 * rng.standard_normal((5, 6)) + 1, 0.1),
        (rng.random((1, 2, 3, 3)), 0.01),
    ]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "13.1": number(SAYS["13.1"], 720, rtol=0, known={
            "instance": 64, "layer": 4, "batch": 16, "entries": 16 * 720,
            "no-time": 144}),
        "13.2": function(WEIGHTS, ("W_hat",), inputs()),
        "13.3": choice(SAYS["13.3"], "d"),
    }  # fmt: skip
