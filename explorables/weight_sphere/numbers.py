"""What bnlib says to the weight vector: a unit of two weights before batch norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib import functional as F

# Two batches of eight examples of two features, and a target for each example.
X = np.array([
    [[1.2, 0.3], [-0.7, 0.9], [0.4, -1.1], [-1.0, -0.6],
     [0.8, 1.4], [-0.2, -0.5], [1.5, -0.8], [-1.6, 0.2]],
    [[0.9, -0.4], [-1.1, 0.6], [0.3, 1.2], [-0.5, -1.3],
     [1.4, 0.5], [-0.9, -0.2], [0.1, 0.8], [-0.6, -0.9]],
])  # fmt: skip
T = np.array([
    [1.1, -0.2, -0.4, -1.3, 1.6, -0.3, 0.9, -1.4],
    [0.7, -0.8, 1.0, -1.2, 1.5, -1.0, 0.5, -0.7],
])  # fmt: skip
STEPS = 200


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure, random ones and edges."""

    def state(w: Any, rate: float, decay: float, steps: int) -> dict[str, Any]:
        return {"w": w, "rate": rate, "decay": decay, "steps": steps}

    made = [
        state(
            list(np.round(10 * rng.uniform(0.5, 2.5, 2) * rng.choice([-1, 1], 2)) / 10),
            round(float(rng.uniform(-2, 0)), 1),
            round(float(rng.uniform(0, 0.1)), 3),
            int(rng.integers(1, STEPS + 1)),
        )
        for _ in range(46)
    ]
    edges = [(0.0, 0.0, 1), (0.0, 0.1, STEPS), (-2.0, 0.0, STEPS), (-1.0, 0.05, STEPS)]
    return made + [state([-2.0, 1.5], *edge) for edge in edges]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    w, eta = np.array(state["w"], float), 10.0 ** state["rate"]
    first, ones, zeros = np.linalg.norm(w), np.ones(1), np.zeros(1)
    length, turned, across = first, 0.0, 0.0
    for step in range(state["steps"]):
        x, t = X[step % 2], T[step % 2][:, None]
        y, cache = F.batch_norm(
            (x @ w)[:, None], weight=ones, bias=zeros, training=True
        )
        gradient = x.T @ F.batch_norm_backward((y - t) / len(t), cache)[0][:, 0]
        along = abs(gradient @ w) / (np.linalg.norm(gradient) * np.linalg.norm(w))
        across = max(across, float(along))
        after = (1 - eta * state["decay"]) * w - eta * gradient
        length = np.linalg.norm(after)
        turned = abs(w[0] * after[1] - w[1] * after[0]) / (np.linalg.norm(w) * length)
        turned = float(np.degrees(np.arcsin(min(1.0, turned))))
        w = after
    return {
        "w": w,
        "length": length,
        "effective": eta / length**2,
        "turned": turned,
        "along": across,
    }
