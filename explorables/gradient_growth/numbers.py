"""Measured growth of gradients (experiment explosion), and theory, by quadrature.

``python -m explorables.gradient_growth.numbers`` writes the medians for the script.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from experiments.claims import rows_where
from experiments.runner import load

PATH = Path(__file__).with_name("gradient_growth.data.js")
START = "window.Explorables.data.gradient_growth = "
SIZES = (4, 8, 16, 32, 64, 128, 256, 512)
NETS = {
    "identity": ("identity", "batch"),
    "relu": ("relu", "batch"),
    "tanh": ("tanh", "batch"),
    "sigmoid": ("sigmoid", "batch"),
    "none": ("relu", "none"),
}
DEPTHS = 60


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return the logistic function."""
    return 1 / (1 + np.exp(-z))


SLOPES = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) + 0.0),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
}


@cache
def limit(net: str) -> float:
    """Return E[g'(z)^2] / Var[g(z)] for standard normal z: theory, large batches."""
    z = np.linspace(-12, 12, 2_400_001)
    density = np.exp(-(z**2) / 2)
    density /= density.sum()
    g, slope = (part(z) for part in SLOPES[net])
    mean = (density * g).sum()
    return float((density * slope**2).sum() / (density * (g - mean) ** 2).sum())


@cache
def medians(net: str) -> list[float]:
    """Return the median factor of eight seeds at each batch size."""
    activation, norm = NETS[net]
    own = rows_where(load("explosion", "growth"), activation=activation, norm=norm)
    return [
        round(float(np.median(rows_where(own, batch_size=m)["factor"])), 6)
        for m in SIZES
    ]


def make_data() -> None:
    """Write medians and limits for the script."""
    data = {
        "sizes": SIZES,
        "factors": {net: medians(net) for net in NETS},
        "limits": {net: round(limit(net), 9) for net in SLOPES},
    }
    text = json.dumps(data, separators=(",", ":"))
    PATH.write_text(f"{START}{text};\n", "utf-8")


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure: each net at each batch size, some depths."""
    return [
        {"net": net, "size": k, "depth": int(rng.integers(1, DEPTHS + 1))}
        for net in NETS
        for k in range(len(SIZES))
    ] + [
        {"net": net, "size": k, "depth": depth}
        for net in NETS
        for k, depth in ((0, 1), (7, DEPTHS))
    ]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    net, m = state["net"], SIZES[state["size"]]
    factor = medians(net)[state["size"]]
    theory = {"identity": (m - 2) / (m - 3), "none": 1.0}.get(net)
    theory = round(limit(net), 9) if theory is None else theory
    thousand = np.log(1000) / np.log(factor) if factor > 1.0005 else np.inf
    return {
        "factor": factor,
        "theory": theory,
        "total": factor ** state["depth"],
        "thousand": thousand,
    }


if __name__ == "__main__":
    make_data()
