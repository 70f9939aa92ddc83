"""Look at a wrong answer for what is odd about it, so that a sentence can name it.

No right function is needed for this: a batch-normalized column has mean 0, a gradient
has column sums 0. An observer gets the check, the outcomes, and the failing answers
with what was expected; it returns a sentence, or an empty text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def factor(got: Any, value: Any) -> float | None:
    """Return c if an answer is c times what was expected, in each entry; else None.

    Parameters
    ----------
    got, value : array_like
        The answer, and what was expected.

    Returns
    -------
    c : float or None
        The factor.
    """
    got, value = np.asarray(got, np.float64), np.asarray(value, np.float64)
    if got.shape != value.shape or not np.isfinite(got).all():
        return None
    size = float((value * value).sum())
    if not size:
        return None
    c = float((got * value).sum()) / size
    near = (
        np.abs(got - c * value).max() <= 1e-6 * max(abs(c), 1e-3) * np.abs(value).max()
    )
    return c if near and abs(c) > 1e-9 else None


def name_factor(c: float, m: int) -> str:
    """Say a factor in words when it is one that mistakes make.

    Parameters
    ----------
    c : float
        The factor.
    m : int
        How many values the statistics run over.

    Returns
    -------
    words : str
        ``"1/m (m is the batch size)"`` and the like, or an empty text.
    """
    known = {
        "the batch size N": m,
        "1/N (N is the batch size)": 1 / m,
        "N/(N-1)": m / (m - 1),
        "(N-1)/N": (m - 1) / m,
        "the root of (N-1)/N": np.sqrt((m - 1) / m),
        "the root of N/(N-1)": np.sqrt(m / (m - 1)),
        "2": 2.0,
        "1/2": 0.5,
        "-1 (the sign)": -1.0,
    }
    for words, value in known.items():
        if abs(c - value) < 1e-5 * abs(value):
            return words
    return ""


@np.errstate(all="ignore")
def observe_forward(check: Any, outcomes: list, failing: list) -> str:
    """Look at the output of a normalization of the columns of x."""
    expect, got = failing[0]
    if expect.label != "out" or not isinstance(got, np.ndarray):
        return ""
    if got.shape != np.shape(expect.value) or got.ndim != 2 or len(got) < 3:
        return ""
    c = factor(got, expect.value)
    if c is not None:
        words = name_factor(c, len(got))
        return (
            f"{check.when} out is {words} times the right one.".strip() if words else ""
        )
    args = check.calls[expect.call].args
    if len(args) < 3 or not np.isfinite(got).all():
        return ""
    gamma, beta = np.asarray(args[1]), np.asarray(args[2])
    if gamma.shape != got.shape[1:]:
        return ""
    x_hat = (got - beta) / gamma
    if np.abs(x_hat.mean(0)).max() > 1e-3:
        return (
            f"{check.when} the columns of your output, with beta taken off and gamma "
            "divided out, do not have mean 0. Look at the mean that you take off, and "
            "at the order of gamma and beta."
        ).strip()
    return (
        f"{check.when} the columns of your output are centred, but their spread is "
        "wrong. Look at the variance, at its root, and at eps."
    ).strip()


@np.errstate(all="ignore")
def observe_backward(check: Any, outcomes: list, failing: list) -> str:
    """Look at dx, dgamma and dbeta of a batch-norm layer."""
    expect, got = failing[0]
    if not isinstance(got, np.ndarray) or got.shape != np.shape(expect.value):
        return ""
    if not np.isfinite(got).all():
        return ""
    forward = check.calls[0]
    m = len(forward.args[0])
    c = factor(got, expect.value)
    if c is not None and name_factor(c, m):
        return f"{expect.label} is {name_factor(c, m)} times the right one."
    if expect.label != "dx" or got.ndim != 2:
        return ""
    size = np.abs(got).max(initial=0) or 1.0
    if np.abs(got.sum(0)).max() > 1e-5 * size:
        return (
            "Each column of dx must sum to 0: adding a constant to a feature cannot "
            "change the output. Yours does not. Look at the gradient through the mean."
        )
    x = np.asarray(forward.args[0], np.float64)
    x_hat = (x - x.mean(0)) / x.std(0)
    along = np.abs((got * x_hat).sum(0)).max()
    if along > 1e-3 * size:
        return (
            "dx has a component along x_hat: stretching a feature cannot change the "
            "output. Look at the gradient through the variance."
        )
    return ""


def observe_rows(check: Any, outcomes: list, failing: list) -> str:
    """Look at the output of a normalization of the rows of x."""
    expect, got = failing[0]
    if expect.label == "out" and isinstance(got, np.ndarray):
        c = factor(got, expect.value)
        if c is not None and name_factor(c, got.shape[-1]):
            words = (
                name_factor(c, got.shape[-1]).replace("N", "D").replace("batch", "row")
            )
            return f"out is {words} times the right one."
    return ""


OBSERVERS: dict[str, Callable[[Any, list, list], str]] = {
    "forward": observe_forward,
    "backward": observe_backward,
    "rows": observe_rows,
}
