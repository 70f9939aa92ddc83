"""What bnlib says to one example among mates drawn from a population of sixty."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib import functional as F

POPULATION, DRAWS = 60, 200
SIZES = (2, 4, 8, 16, 32)


def population() -> np.ndarray:
    """Return the values of a unit, as in the script."""
    k = np.arange(POPULATION)
    return 2 * np.sin(1.7 * k) + np.cos(0.9 * k * k % 6.2831)


def mates(size: int, seed: int) -> np.ndarray:
    """Return DRAWS rows of size - 1 values, by the generator of Park and Miller."""
    values, state = population(), seed
    rows = np.empty((DRAWS, size - 1))
    for i in np.ndindex(rows.shape):
        state = state * 16807 % 2147483647
        rows[i] = values[state % POPULATION]
    return rows


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure: all batch sizes, ten places."""
    return [
        {"x": round(10 * rng.uniform(-5, 5)) / 10, "size": k}
        | {"seed": int(rng.integers(1, 1000))}
        for k in range(len(SIZES))
        for _ in range(10)
    ]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    x, values = state["x"], population()
    rows = mates(SIZES[state["size"]], state["seed"])
    outputs = [
        F.batch_norm(np.concatenate([[x], row])[:, None], training=True)[0][0, 0]
        for row in rows
    ]
    mean, var = values.mean(keepdims=True), values.var(keepdims=True)
    alone = F.batch_norm(np.array([[x]]), mean, var, training=False)[0][0, 0]
    return {
        "outputs": outputs,
        "mean": np.mean(outputs),
        "spread": np.std(outputs),
        "alone": alone,
        "law": 1 / np.sqrt(SIZES[state["size"]]),
    }
