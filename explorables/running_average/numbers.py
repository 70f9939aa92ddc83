"""What bnlib says to the running average: its own layer, update by update."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib.conventions import convert, fresh_state
from bnlib.layers import BatchNorm1d

STEPS = 150


def noise() -> np.ndarray:
    """Return the noise of the batch means, the same in the script: no generator."""
    k = np.arange(1, STEPS + 1)
    return 0.6 * np.sin(12.9898 * k) * np.cos(4.1414 * k * k % 6.2831)


def truth(moving: bool) -> np.ndarray:
    """Return the mean of the population at each update."""
    k = np.arange(1, STEPS + 1)
    return 5 - 3 * np.exp(-k / 40) if moving else np.full(STEPS, 5.0)


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure, random ones and edges."""
    made = [
        {"exponent": round(-20 * rng.uniform(0, 3)) / 20}
        | {"steps": int(rng.integers(1, STEPS + 1))}
        | {"moving": bool(k % 2), "cumulative": False}
        for k in range(40)
    ]
    return made + [
        {"exponent": e, "steps": t, "moving": moving, "cumulative": cumulative}
        for e, t, moving in ((0.0, 150, True), (-3.0, 150, False), (0.0, 1, True))
        for cumulative in (False, True)
        for moving in (moving, not moving)
    ]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    rho = 10.0 ** state["exponent"]
    momentum = None if state["cumulative"] else rho
    layer = BatchNorm1d(1, momentum=momentum, dtype=np.float64)
    means = truth(state["moving"]) + noise()
    running = []
    for mean in means[: state["steps"]]:
        layer(np.array([[mean - 1], [mean + 1]]))  # a batch of this mean
        running.append(float(layer.running_mean[0]))
    settings = {"momentum": rho, "eps": 1e-5}
    state_dict = fresh_state("pytorch", 1)
    keras = convert(state_dict, settings, "pytorch", "keras", batch_shape=(60, 1))
    return {
        "running": running,
        "gap": running[-1] - truth(state["moving"])[state["steps"] - 1],
        "keras": keras.settings["momentum"],
        "start": 0.0 if momentum is None else (1 - rho) ** state["steps"],
    }
