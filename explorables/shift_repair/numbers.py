"""What bnlib says to a shift at test time: one unit, two classes, four statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib import functional as F

EACH = 30
METHODS = ("source", "batch", "mixed")


def source() -> tuple[np.ndarray, np.ndarray]:
    """Return the values of two classes before the shift and their labels."""
    k = np.arange(EACH)
    low = -1.2 + 1.1 * np.sin(2.3 * k) * np.cos(0.7 * k * k % 6.2831)
    high = 1.2 + 1.1 * np.sin(1.1 * k + 1) * np.cos(1.3 * k * k % 6.2831)
    return np.concatenate([low, high]), np.repeat([0, 1], EACH)


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure, random ones and edges."""

    def state(*values: Any) -> dict[str, Any]:
        names = ("factor", "offset", "noise", "share", "method")
        return dict(zip(names, values, strict=True))

    def tenth(low: float, high: float) -> float:
        return round(10 * float(rng.uniform(low, high))) / 10

    made = [
        state(tenth(-2, 2), tenth(-3, 3), tenth(0, 3), int(rng.integers(1, 30)), method)
        for _ in range(15)
        for method in METHODS
    ]
    edges = [(1.0, 0.0, 0.0, 30), (0.0, 2.0, 0.0, 30), (0.3, 2.0, 0.0, 0)]
    return made + [state(*edge, method) for edge in edges for method in METHODS]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    before, label = source()
    k = np.arange(2 * EACH)
    noise = 1.5 * np.sin(3.1 * k + 2) * np.cos(2.9 * k * k % 6.2831)
    x = state["factor"] * before + state["offset"] + state["noise"] * noise
    kept = (label == 0) | (k - EACH < state["share"])
    x, label = x[kept], label[kept]
    weight = {"source": 0.0, "batch": 1.0, "mixed": 0.5}[state["method"]]
    mean = weight * x.mean() + (1 - weight) * before.mean()
    var = weight * x.var() + (1 - weight) * before.var()
    y = F.batch_norm(x[:, None], np.array([mean]), np.array([var]), training=False)[0]
    right = (y[:, 0] > 0) == (label == 1)
    return {"mean": mean, "variance": var, "y": y[:, 0], "right": right.mean()}
