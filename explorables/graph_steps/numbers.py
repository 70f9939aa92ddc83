"""What bnlib says to the graph: its own graph of the layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib.graph import batch_norm_graph


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure, random ones and edges."""
    names = ("x1", "x2", "x3", "gamma", "beta", "g1", "g2", "g3")
    made = [
        {name: round(2 * rng.uniform(-20, 20)) / 2 for name in names}
        | {"eps": float(rng.choice([0, 1e-5, 0.1])), "step": 1 + k % 24}
        for k in range(46)
    ]
    start = made[0] | {"x1": 1.0, "x2": 2.0, "x3": 6.0, "step": 24}
    flat = start | {"x1": 2.5, "x2": 2.5, "x3": 2.5}
    far = start | {"x1": 1e6, "x2": 1e6 + 1, "x3": 1e6 + 5, "eps": 1e-5}
    return [*made, start, flat | {"eps": 1e-5}, flat | {"eps": 0.0},
            far | {"unreachable": True}]  # fmt: skip


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    x, g = ([[state[f"{name}{i}"]] for i in (1, 2, 3)] for name in "xg")
    with np.errstate(invalid="ignore", divide="ignore"):  # eps 0, equal values
        graph = batch_norm_graph(
            np.array(x, float),
            np.array([state["gamma"]], float),
            np.array([state["beta"]], float),
            state["eps"],
        )
        graph.backward(np.array(g, float))
    rows = {row["name"]: row for row in graph.table()}
    return {
        kind: {name: np.ravel(row[kind]) for name, row in rows.items()}
        for kind in ("value", "grad")
    }
