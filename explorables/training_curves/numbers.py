"""Medians of the stored curves of chapter 7, and when they reach a threshold.

``python -m explorables.training_curves.numbers`` writes the curves for the script.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from experiments import rescue
from experiments.claims import rows_where
from experiments.runner import load

PATH = Path(__file__).with_name("training_curves.data.js")
START = "window.Explorables.data.training_curves = "
NORMS, ACTIVATIONS = ("batch", "none"), ("relu", "sigmoid")
SETTINGS = ("small, low", "good, low", "good, end", "good, speed", "small, end")
POINTS = 46  # of each curve, evenly on a log axis


@cache
def curve(setting: str, activation: str, norm: str) -> tuple[float, Any, Any]:
    """Return the rate, some stored steps and the medians over seeds in thousandths."""
    start, which = setting.split(", ")
    lr = 0.01
    if which != "low":
        tuned = rescue.best_rates(load("rescue", "tuning"))
        lr = tuned[activation, norm, start, which]
    if setting == "small, low":
        table = load("classic", "curves")
    else:
        table = rows_where(load("rescue", "cells"), start=start)
    own = rows_where(table, activation=activation, norm=norm, lr=lr)
    steps = np.unique(own["step"])
    wanted = np.geomspace(steps[0], steps[-1], POINTS)
    steps = np.unique([steps[np.abs(steps - w).argmin()] for w in wanted])
    medians = [np.median(rows_where(own, step=s)["accuracy"]) for s in steps]
    return lr, steps.astype(int), np.rint(1000 * np.array(medians)).astype(int)


def make_data() -> None:
    """Write the curves for the script."""
    data: dict[str, Any] = {}
    for setting in SETTINGS:
        for activation in ACTIVATIONS:
            data[f"{setting}, {activation}"] = {
                norm: {"rate": lr, "steps": steps.tolist(), "accuracy": values.tolist()}
                for norm in NORMS
                for lr, steps, values in [curve(setting, activation, norm)]
            }
    text = json.dumps(data, separators=(",", ":"))
    PATH.write_text(f"{START}{text};\n", "utf-8")


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure: all settings at five thresholds and more."""
    shares = (0.2, 0.8, 0.9, 0.95, 1.0)
    return [
        {"setting": setting, "activation": activation, "share": share}
        for setting in SETTINGS
        for activation in ACTIVATIONS
        for share in (*shares, round(100 * rng.uniform(0.2, 1)) / 100)
    ]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    made: dict[str, Any] = {}
    for norm in NORMS:
        lr, steps, values = curve(state["setting"], state["activation"], norm)
        there = steps[values >= 1000 * state["share"] - 1e-9]
        reached = float(there[0]) if len(there) else np.inf
        made[norm] = {"rate": lr, "reached": reached, "end": values[-1] / 1000}
    ways = [made[norm]["reached"] for norm in NORMS]
    made["ratio"] = ways[1] / ways[0] if np.isfinite(ways[0]) else np.nan
    return made


if __name__ == "__main__":
    make_data()
