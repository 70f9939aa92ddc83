"""What bnlib says to the tensor: five norms of the same 72 values."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib import functional as F

EXAMPLES, CHANNELS, POSITIONS = 3, 4, 6
NORMS = ("batch", "layer", "instance", "group", "rms")
AXES = {"batch": (0, 2), "layer": (1, 2), "instance": (2,), "rms": (1, 2)}


def tensor() -> np.ndarray:
    """Return the values (examples, channels, positions), as in the script."""
    b, c, p = np.indices((EXAMPLES, CHANNELS, POSITIONS))
    return ((7 * b + 5 * c + 3 * p + b * c * p) % 11 - 4).astype(float)


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure: each norm at ten entries."""
    return [
        {"norm": norm, "example": int(rng.integers(3)), "channel": int(rng.integers(4))}
        | {"position": int(rng.integers(6))}
        for norm in NORMS
        for _ in range(10)
    ]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    x, norm = tensor(), state["norm"]
    at = state["example"], state["channel"], state["position"]
    y = {
        "batch": lambda: F.batch_norm(x, training=True),
        "layer": lambda: F.layer_norm(x, (CHANNELS, POSITIONS)),
        "instance": lambda: F.instance_norm(x),
        "group": lambda: F.group_norm(x, 2),
        "rms": lambda: F.rms_norm(x, (CHANNELS, POSITIONS), eps=1e-5),
    }[norm]()[0]
    shared = np.zeros(x.shape, bool)
    if norm == "group":
        first = 2 * (state["channel"] // 2)
        shared[state["example"], first : first + 2] = True
    else:
        shared[tuple(slice(None) if k in AXES[norm] else at[k] for k in range(3))] = (
            True
        )
    values = x[shared]
    return {
        "shared": np.flatnonzero(shared),
        "mean": values.mean(),
        "variance": (values**2).mean() if norm == "rms" else values.var(),
        "y": y[at],
    }
