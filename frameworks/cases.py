"""The cases that every framework runs: small, exact, the same on every machine.

The numbers come from integer arithmetic and not from a random generator, so that a
record made years ago still belongs to the cases made today.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

from bnlib.functional import Array

EPS = 1e-3  # large enough to be seen in every output
KEEP = 0.9  # weight of the old running value
ND, NCHW = (6, 4), (3, 2, 2, 3)
MODULUS = 8191  # a prime, so that the numbers below do not repeat


def numbers(
    shape: tuple[int, ...], seed: int, low: float = -2.0, high: float = 3.0
) -> Array:
    """Spread numbers between low and high, without a pattern that shows.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.
    seed : int
        Another seed, other numbers.
    low, high : float
        Limits.

    Returns
    -------
    ndarray of float32
        Values that float32 holds exactly, so that both dtypes get the same input.
    """
    k = np.arange(1, int(np.prod(shape)) + 1, dtype=np.int64)
    k = (k * k * 1009 + k * (337 + 64 * seed) + 7919 * seed) % MODULUS
    return (low + (high - low) * k.reshape(shape) / MODULUS).astype(np.float32)


def make_case(kind: str, layout: str, dtype: str) -> dict:
    """Make one case as a dict that JSON can hold.

    Parameters
    ----------
    kind : {"train", "one", "constant"}
        Ordinary batches, batches of one example, or a feature without variance.
    layout : {"nd", "nchw", "nhwc"}
        Vectors, images with the channels on axis 1, images with the channels last.
    dtype : {"float32", "float64"}
        Dtype in which the framework computes.

    Returns
    -------
    dict
        See ``frameworks/within/protocol.py``.
    """
    shape = ND if layout == "nd" else NCHW
    if kind == "one":
        shape = (1, *shape[1:])
    channels = shape[1]
    x = [numbers(shape, seed) for seed in (1, 2, 3)]
    x_new, dy = numbers(shape, 4), numbers(shape, 5, -1.0, 1.0)
    if kind == "constant":
        for batch in x:
            batch[:, 0] = 5.0
    if layout == "nhwc":
        x = [np.moveaxis(batch, 1, -1) for batch in x]
        x_new, dy = np.moveaxis(x_new, 1, -1), np.moveaxis(dy, 1, -1)
    return {
        "kind": kind,
        "layout": layout,
        "dtype": dtype,
        "eps": EPS,
        "keep": KEEP,
        "x": np.array(x, np.float64).tolist(),
        "dy": dy.astype(np.float64).tolist(),
        "x_new": x_new.astype(np.float64).tolist(),
        "gamma": numbers((channels,), 6, 0.5, 1.5).astype(np.float64).tolist(),
        "beta": numbers((channels,), 7, -0.5, 0.5).astype(np.float64).tolist(),
    }


def make_cases() -> dict:
    """Make all cases, and the two batches for the steps with default settings.

    Returns
    -------
    dict
        ``cases`` by name ("train-nd-float32"), ``default_x``, and ``digest`` of both.
    """
    wanted = [("train", layout) for layout in ("nd", "nchw", "nhwc")]
    wanted += [("one", "nd"), ("constant", "nd")]
    cases = {
        f"{kind}-{layout}-{dtype}": make_case(kind, layout, dtype)
        for kind, layout in wanted
        for dtype in ("float32", "float64")
    }
    given = {
        "cases": cases,
        "default_x": numbers((2, *ND), 8).astype(np.float64).tolist(),
    }
    text = json.dumps(given, sort_keys=True)
    return {**given, "digest": hashlib.sha256(text.encode()).hexdigest()[:16]}
