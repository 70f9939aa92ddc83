"""What bnlib says to a batch that the reader composes of three classes and padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib import functional as F

EACH, PADDING = 8, 0.0
CENTRES, OFFSETS = (
    (-1.0, 2.0, 5.0),
    np.array([0, 0.7, -0.6, 0.3, -0.9, 1.0, -0.2, -0.3]),
)
NORMS = ("batch", "masked", "evaluate")


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure, random ones and edges."""
    counts = [[int(n) for n in rng.integers(0, EACH + 1, 4)] for _ in range(14)]
    counts = [[max(c[0], 1), *c[1:]] for c in counts]
    edges = [[8, 8, 8, 0], [8, 0, 0, 0], [1, 0, 0, 0], [1, 0, 1, 8]]
    return [
        {"a": a, "b": b, "c": c, "padding": p, "norm": norm}
        for a, b, c, p in counts + edges
        for norm in NORMS
    ]


def members(state: dict[str, Any]) -> np.ndarray:
    """Return the values of the examples, class by class, without padding."""
    counts = state["a"], state["b"], state["c"]
    rows = [c + OFFSETS[:n] for c, n in zip(CENTRES, counts, strict=True)]
    return np.concatenate(rows)


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    x = members(state)
    everyone = members({"a": EACH, "b": EACH, "c": EACH})
    padded = np.concatenate([x, np.full(state["padding"], PADDING)])
    counted = x if state["norm"] == "masked" else padded
    source = everyone if state["norm"] == "evaluate" else counted
    mean, var = source.mean(keepdims=True), source.var(keepdims=True)
    true = everyone.mean(keepdims=True), everyone.var(keepdims=True)
    y, right = (
        F.batch_norm(x[:, None], *s, training=False)[0] for s in ((mean, var), true)
    )
    if state["norm"] != "evaluate" and len(counted) > 1:  # the layer in training mode
        y = F.batch_norm(counted[:, None], training=True)[0][: len(x)]
    return {"mean": mean[0], "variance": var[0], "y": y[:, 0],
            "off": np.abs(y - right).max()}  # fmt: skip
