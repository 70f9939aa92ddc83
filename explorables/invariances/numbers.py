"""What bnlib says to a change of weights or inputs, in front of five norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib import functional as F

NORMS = ("none", "batch", "layer", "group", "rms")
CHANGES = ("weights", "unit", "bias", "example", "example shift", "mate", "rotate")


def start() -> tuple[np.ndarray, np.ndarray]:
    """Return six examples of three features and weights (4, 3), as in the script."""
    i, k = np.indices((6, 3))
    x = np.sin(1.3 * i + 2.1 * k + 0.7 * i * k) + 0.2 * k
    i, k = np.indices((4, 3))
    return x, np.cos(1.9 * i - 0.8 * k + 0.5 * i * k)


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure: each change at eight sizes."""
    return [
        {"change": change, "size": round(20 * size) / 20}
        for change in CHANGES
        for size in (0, 0.5, 1, 2, 3, *rng.uniform(0, 3, 3))
    ]


def pre_activations(change: str, size: float) -> np.ndarray:
    """Return what the norm receives, (6, 4), after a change of a size."""
    x, w = start()
    shift, factor = size - 1, size
    if change == "example":
        x[0] *= factor
    elif change == "example shift":
        x[0] += shift
    elif change == "mate":
        x[5] *= factor
    a = x @ w.T
    if change == "weights":
        a = a * factor
    elif change == "unit":
        a[:, 0] *= factor
    elif change == "bias":
        a = a + shift * np.array([1, 2, -1, 0.5])
    elif change == "rotate":  # the first two outputs of the linear layer
        c, s = np.cos(shift), np.sin(shift)
        a[:, :2] = a[:, :2] @ np.array([[c, s], [-s, c]])
    return a


def normalized(norm: str, a: np.ndarray) -> np.ndarray:
    """Return the outputs of a norm without gamma and beta, eps negligible."""
    eps = 1e-12
    return {
        "none": lambda: a,
        "batch": lambda: F.batch_norm(a, training=True, eps=eps)[0],
        "layer": lambda: F.layer_norm(a, 4, eps=eps)[0],
        "group": lambda: F.group_norm(a, 2, eps=eps)[0],
        "rms": lambda: F.rms_norm(a, 4, eps=eps)[0],
    }[norm]()


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return how far the outputs of the first example move, and those of all."""
    before, after = pre_activations("weights", 1), pre_activations(**state)
    moved = {n: np.abs(normalized(n, after) - normalized(n, before)) for n in NORMS}
    return {
        "first": {n: gap[0].max() for n, gap in moved.items()},
        "all": {n: gap.max() for n, gap in moved.items()},
    }
