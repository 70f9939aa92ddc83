"""What bnlib says to the mixture: pictures of roses, their features, and a line."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from bnlib.roses import rose_features, roses

COLOURS, EACH, RIDGE, ROUNDS = ("red", "yellow"), 40, 0.01, 40


@cache
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Return features (2, 40, 2), as the script holds them, and labels (2, 40)."""
    drawn = [
        roses(EACH, c, np.random.default_rng([7, k])) for k, c in enumerate(COLOURS)
    ]
    x = np.stack([rose_features(d.x) for d in drawn])
    return np.round(1000 * x), np.stack([d.y for d in drawn]).astype(float)


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure: all shares, both ways."""
    return [
        {"share": k / 20, "own": own} for k in range(21) for own in (False, True)
    ] + [{"share": float(rng.uniform()), "own": bool(k % 2)} for k in range(8)]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    x, y = pictures()
    means, stds = x.mean(axis=1), x.std(axis=1)
    z = (x - (means[:, None] if state["own"] else means[0])) / (
        stds[:, None] if state["own"] else stds[0]
    )
    share = np.array([1 - state["share"], state["share"]])
    design = np.concatenate([z, np.ones((2, EACH, 1))], axis=2).reshape(-1, 3)
    labels, weight = y.ravel(), np.repeat(share, EACH) / EACH
    penalty = RIDGE * np.diag([1, 1, 0])
    line = np.zeros(3)
    for _ in range(ROUNDS):  # Newton's method
        p = 1 / (1 + np.exp(-design @ line))
        gradient = design.T @ (weight * (p - labels)) + penalty @ line
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + penalty
        line = line - np.linalg.solve(curvature, gradient)
    right = ((design @ line > 0) == (labels == 1)).reshape(2, EACH).mean(axis=1)
    return {"mean": share @ z.mean(axis=1), "line": line, "right": right}
