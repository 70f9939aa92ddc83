"""Losses along the gradient of two nets of bnlib, and their range and slope.

``python -m explorables.along_gradient.numbers`` trains the nets and writes the losses
for the script: digits, four hidden layers of 50, ReLU, He weights, the same weights and
batches in both nets, rate 0.1; a batch of 200 images is looked at.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bnlib import functional as F
from bnlib.data import load_digits
from bnlib.layers import Sequential
from bnlib.training import fit, mlp

PATH = Path(__file__).with_name("along_gradient.data.js")
START = "window.Explorables.data.along_gradient = "
NORMS, RATE, SEED = ("batch", None), 0.1, 3
STEPS = (0, 10, 20, 50, 100, 200, 300)
WAYS = np.arange(41) / 10  # multiples of the rate: how far along the gradient
NAMES = {"batch": "batch", None: "none"}


def loss_and_gradient(net: Sequential, x: Any, y: Any) -> tuple[float, list[Any]]:
    """Return the loss of a batch and its gradient, one array for each parameter."""
    for parameter in net.parameters():
        parameter.grad = None
    loss, kept = F.cross_entropy(net(x), y)
    net.backward(F.cross_entropy_backward(kept))
    return float(loss), [parameter.grad.copy() for parameter in net.parameters()]


def profile(net: Sequential, x: Any, y: Any) -> dict[str, Any]:
    """Return the losses along the gradient and the squared length of the gradient."""
    gradient = loss_and_gradient(net, x, y)[1]
    before = [parameter.data.copy() for parameter in net.parameters()]
    losses = []
    for way in WAYS:
        for parameter, start, g in zip(net.parameters(), before, gradient, strict=True):
            parameter.data[:] = start - way * RATE * g
        losses.append(round(min(loss_and_gradient(net, x, y)[0], 99.0), 4))
    for parameter, start in zip(net.parameters(), before, strict=True):
        parameter.data[:] = start
    square = sum(float((g * g).sum()) for g in gradient)
    return {"losses": losses, "square": round(square, 4)}


def make_data() -> None:
    """Train both nets, look along their gradients, and write what was seen."""
    train, _ = load_digits(dtype=np.float64)
    seen: dict[str, list[Any]] = {}
    for norm in NORMS:
        rng = np.random.default_rng(SEED)
        net = mlp([64, 50, 50, 50, 50, 10], rng=rng, norm=norm, dtype=np.float64)
        draw = np.random.default_rng([SEED, 1])
        look, done = np.random.default_rng([SEED, 2]), 0
        for step in STEPS:
            if step > done:
                fit(net, *train, steps=step - done, lr=RATE, rng=draw)
                done = step
            rows = look.permutation(len(train.x))[:200]
            made = profile(net, train.x[rows], train.y[rows])
            seen.setdefault(NAMES[norm], []).append(made)
    text = json.dumps({"steps": STEPS} | seen, separators=(",", ":"))
    PATH.write_text(f"{START}{text};\n", "utf-8")


@cache
def data() -> dict[str, Any]:
    """Return what the script holds."""
    return json.loads(PATH.read_text("utf-8").removeprefix(START).rstrip(";\n"))


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure: each moment at several distances."""
    return [
        {"moment": moment, "reach": reach / 10}
        for moment in range(len(STEPS))
        for reach in (1, 2, 10, 20, 40, *(int(v) for v in rng.integers(1, 41, 3)))
    ]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    made = {}
    for name in NAMES.values():
        seen = data()[name][state["moment"]]
        losses = np.array(seen["losses"])[: round(10 * state["reach"]) + 1]
        straight = losses[0] - state["reach"] * RATE * seen["square"]
        made[name] = {
            "range": np.ptp(losses),
            "end": losses[-1],
            "missed": losses[-1] - straight,
        }
    return made


if __name__ == "__main__":
    make_data()
