"""Look at a wrong answer for what is odd about it, so that a sentence can name it.

No right function is needed for this: a batch-normalized column has mean 0, a gradient
has column sums 0. An observer gets the check and the failing answers with what was
expected; it returns a sentence, or an empty text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bncheck.form import Check, Expect
from bncheck.says import read, say

Failing = list[tuple[Expect, Any]]


def factor(got: Any, value: Any) -> float | None:
    """Return c if an answer is c times what was expected, in each entry; else None."""
    got, value = np.asarray(got, np.float64), np.asarray(value, np.float64)
    if got.shape != value.shape or not np.isfinite(got).all():
        return None
    size = float((value * value).sum())
    if not size:
        return None
    c = float((got * value).sum()) / size
    largest = 1e-6 * max(abs(c), 1e-3) * np.abs(value).max()
    near = np.abs(got - c * value).max() <= largest
    return c if near and abs(c) > 1e-9 else None


def name_factor(got: Any, value: Any, m: int, table: str = "columns") -> str:
    """Say in words how many times too large an answer is, if mistakes make that factor.

    ``m`` is how many values the statistics run over.
    """
    c = factor(got, value)
    if c is None or m < 2:
        return ""
    known = {
        "m": m,
        "one-over-m": 1 / m,
        "m-over-less": m / (m - 1),
        "less-over-m": (m - 1) / m,
        "root-less-over-m": np.sqrt((m - 1) / m),
        "root-m-over-less": np.sqrt(m / (m - 1)),
        "two": 2.0,
        "half": 0.5,
        "sign": -1.0,
    }
    words = read("bncheck", "says.toml")[table]
    near = [k for k, size in known.items() if abs(c - size) < 1e-5 * abs(size)]
    return words[near[0]] if near else ""


@np.errstate(all="ignore")
def observe_forward(check: Check, failing: Failing) -> str:
    """Look at the output of a normalization of the columns of x."""
    expect, got = failing[0]
    if expect.label != "out" or not isinstance(got, np.ndarray):
        return ""
    if got.shape != np.shape(expect.value) or got.ndim != 2 or len(got) < 3:
        return ""
    if factor(got, expect.value) is not None:
        words = name_factor(got, expect.value, len(got))
        return say("times-out", check.when, factor=words) if words else ""
    args = check.calls[expect.call].args
    if len(args) < 3 or not np.isfinite(got).all():
        return ""
    gamma, beta = np.asarray(args[1]), np.asarray(args[2])
    if gamma.shape != got.shape[1:]:
        return ""
    x_hat, right = (got - beta) / gamma, (expect.value - beta) / gamma
    if np.abs(x_hat.mean(0)).max() > 1e-3:
        return say("mean-not-zero", check.when)
    spread = np.abs(x_hat.std(0) - right.std(0)).max() > expect.tol
    return say("spread-wrong", check.when) if spread else ""


@np.errstate(all="ignore")
def observe_backward(check: Check, failing: Failing) -> str:
    """Look at dx, dgamma and dbeta of a batch-norm layer."""
    expect, got = failing[0]
    if not isinstance(got, np.ndarray) or got.shape != np.shape(expect.value):
        return ""
    if not np.isfinite(got).all():
        return ""
    x = np.asarray(check.calls[0].args[0], np.float64)
    words = name_factor(got, expect.value, len(x))
    if words:
        return say("times", check.when, label=expect.label, factor=words)
    if expect.label != "dx" or got.ndim != 2:
        return ""
    size = np.abs(got).max(initial=0) or 1.0
    if np.abs(got.sum(0)).max() > 1e-5 * size:
        return say("sum-not-zero", check.when)
    x_hat = (x - x.mean(0)) / x.std(0)
    mine, right = (np.abs((dx * x_hat).sum(0)).max() for dx in (got, expect.value))
    if mine > 1e-3 * size >= right:  # with a large eps a right one has a component
        return say("along-x-hat", check.when)
    return ""


def observe_rows(check: Check, failing: Failing) -> str:
    """Look at the output of a normalization of the rows of x."""
    expect, got = failing[0]
    if expect.label != "out" or not isinstance(got, np.ndarray) or not got.ndim:
        return ""
    words = name_factor(got, expect.value, got.shape[-1], "rows")
    return say("times", check.when, label="out", factor=words) if words else ""


OBSERVERS: dict[str, Callable[[Check, Failing], str]] = {
    "forward": observe_forward,
    "backward": observe_backward,
    "rows": observe_rows,
}
