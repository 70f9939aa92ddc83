"""What bnlib says to the path: a linear layer, its gradient, and steps against it."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib import ops

X = np.array([
    [-1.2, 0.5], [-0.9, -0.8], [-0.7, 1.1], [-0.4, -0.3], [-0.2, 0.9], [-0.1, -1.2],
    [0.1, 0.2], [0.3, -0.6], [0.5, 1.0], [0.7, -1.1], [0.8, 0.6], [1.1, -0.3],
])  # fmt: skip
Y = np.array([-1.4, -0.2, -1.6, -0.2, -0.8, 0.7, -0.1, 0.6, 0.1, 1.5, 0.6, 0.8])
STEPS, MOST = 25, 10**6


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure, random ones and edges."""
    made = [
        {"factor": 10 ** (round(20 * rng.uniform(-1, 1)) / 20)}
        | {"share": round(20 * rng.uniform(0.05, 1.1)) / 20, "divide": bool(i % 2)}
        for i in range(42)
    ]
    edges = [(0.1, 0.05), (0.1, 1.0), (10.0, 0.05), (10.0, 1.1)]
    return made + [
        {"factor": factor, "share": share, "divide": divide}
        for factor, share in edges
        for divide in (False, True)
    ]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    x = X * [1, state["factor"]]
    if state["divide"]:
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    hessian = x.T @ x / len(x)
    minimum = np.linalg.lstsq(x, Y, rcond=None)[0]
    lam, q = np.linalg.eigh(hessian)
    rate = state["share"] * 2 / lam[1]
    w, path, losses = np.zeros((1, 2)), [], []
    for _ in range(STEPS + 1):
        y, cache = ops.linear(x, w)
        path.append(w[0])
        losses.append(((y[:, 0] - Y) ** 2).mean() / 2)
        w = w - rate * ops.linear_backward((y - Y[:, None]) / len(x), cache)[1]
    least = ((x @ minimum - Y) ** 2).mean() / 2
    excess = (np.array(losses) - least) / (losses[0] - least)
    parts = lam * (q.T @ minimum) ** 2 / 2 / (losses[0] - least)
    return {
        "minimum": minimum,
        "eigenvalues": lam[::-1],
        "condition": lam[1] / lam[0],
        "rate": rate,
        "path": np.array(path),
        "excess": excess,
        "updates": updates(parts, 1 - rate * lam),
    }


def updates(parts: np.ndarray, factors: np.ndarray) -> float:
    """Return after how many updates a thousandth of the excess is left."""

    def left(t: int) -> float:
        return float((parts * factors ** (2.0 * t)).sum())

    if np.abs(factors).max() >= 1:  # it grows, or stays
        return np.inf
    high = 1
    while left(high) > 1e-3 and high < MOST:
        high *= 2
    if high >= MOST:
        return np.inf
    low = high // 2
    while high - low > 1:
        half = (low + high) // 2
        low, high = (half, high) if left(half) > 1e-3 else (low, half)
    return float(high)
