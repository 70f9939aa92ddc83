"""What bnlib says to the dragged point: five examples of four features."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib import functional as F

MATES = [[1.2, -0.4, 0.3], [-0.8, 1.6, -1.1], [0.4, 0.2, 2.0], [-1.5, -0.9, 0.6],
         [0.9, 1.1, -0.7]]  # fmt: skip
RUNNING_MEAN, RUNNING_VAR = 0.0, 4.0


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure, random ones and edges."""
    made = [
        {"points": np.round(rng.uniform(-6, 6, 5) * 20) / 20}
        | {"gamma": rng.uniform(0.2, 2), "beta": rng.uniform(-2, 2)}
        | {"eps": float(rng.choice([0, 1e-5, 0.1, 1])), "evaluate": bool(i % 2)}
        for i in range(44)
    ]
    plain = {"gamma": 1.0, "beta": 0.0, "eps": 1e-5, "evaluate": False}
    flat, far = np.full(5, 1.5), np.array([-6, -6, -6, -6, 6])
    made += [plain | {"points": p, "evaluate": e} for p in (flat, far) for e in (0, 1)]
    made += [
        plain | {"points": far + 1e6, "unreachable": True},
        plain | {"points": far, "eps": 0.0},
    ]
    return made


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    x = np.column_stack([state["points"], MATES])
    affine = np.full(4, state["gamma"]), np.full(4, state["beta"])
    eps, training = state["eps"], not state["evaluate"]
    running = np.full(4, RUNNING_MEAN), np.full(4, RUNNING_VAR)
    with np.errstate(invalid="ignore", divide="ignore"):  # eps 0, a constant set
        batch = F.batch_norm(x, *running, *affine, training=training, eps=eps)[0]
        return {
            "mean": x[:, 0].mean(),
            "variance": x[:, 0].var(),
            "y": batch[:, 0],
            "batch": batch,
            "layer": F.layer_norm(x, 4, *affine, eps=eps)[0],
            "group": F.group_norm(x, 2, *affine, eps=eps)[0],
            # One position: a set of one value, which `instance_norm` refuses.
            "instance": F.group_norm(x, 4, *affine, eps=eps)[0],
        }
