"""Batch norm before the activation, or after it.

Protocol, written before the first run
--------------------------------------
Source. Ioffe and Szegedy (2015) put the layer before the activation, because what a
linear layer gives is more likely to be symmetric and not sparse. Many practitioners
put it after; we know of no theory that settles it.

Nets. 784, then 3 or 10 hidden layers of 64 units, 10 outputs; ReLU with He weights,
sigmoid with LeCun weights; batch norm before or after each activation. The linear
layers have a bias only where batch norm comes after the activation, where it has an
effect; it starts at 0.

Data. The embedded MNIST subset: 7,000 images to train, 1,000 to validate, 2,000 to
test. float32, batches of 64, SGD without momentum, 300 steps.

Seeds. 0 to 7, tuning seeds 100 and 101: weights and batches; both places start from the
same weights and see the same batches. Trial runs, to see where the grid must end, used
seed 200.

Tuning. `GRID`, validation accuracy after 300 steps, mean of the tuning seeds, for each
net and place. A net whose loss is not finite counts as 0.

Metric. Test accuracy in evaluation mode after the last step; paired differences.

Decision. The claim is that before is better. A median of the paired differences of at
least a threshold in all four nets is reproduced, in some partly, in none not at this
size; thresholds of 0.5, 1 and 2 points are given. The claim the other way round is
judged alike. One of 2,000 images is 0.05 points.

What would refute. Differences of both signs, or smaller than the thresholds.
The rules are written beside the claims in `claims`.

Reduced form. 3 layers, seeds 0 and 1, rate 0.03, 20 steps. The tolerance is 40 of 2,000
images: float32, after few steps, when accuracy moves quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import nn

from experiments import nets
from experiments.claims import (
    Claim,
    Table,
    best_of,
    medians_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

WIDTH, DEPTHS, STEPS, REDUCED_STEPS, BATCH_SIZE = 64, (3, 10), 300, 20, 64
PLACES = ("before", "after")
NETS = tuple(product(("relu", "sigmoid"), DEPTHS))
GRID = (1e-4, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
SEEDS, TUNING_SEEDS, POINTS = tuple(range(8)), (100, 101), (0.5, 1, 2)
NAMES = {"relu": "ReLU", "sigmoid": "sigmoid"}


def train(
    activation: str,
    depth: int,
    place: str,
    lr: float,
    seed: int,
    steps: int,
    part: str = "test",
) -> list[Row]:
    """Train one net; return its accuracy after the last step, 0 if it diverged."""
    net = nets.mlp(
        (784, *[WIDTH] * depth, 10),
        np.random.default_rng(seed),
        norm=nn.BatchNorm1d,
        activation=activation,
        after=place == "after",
    )
    losses = nets.train(
        net,
        nets.images("train"),
        torch.optim.SGD(net.parameters(), lr=lr),
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
    )
    finite = bool(np.isfinite(losses).all())
    share = nets.accuracy(net, nets.images(part)) if finite else 0.0
    row: Row = {"activation": activation, "depth": depth, "place": place, "lr": lr}
    return [row | {"seed": seed, "steps": steps, "accuracy": round(share, 4)}]


def validate(
    activation: str, depth: int, place: str, lr: float, seed: int
) -> list[Row]:
    """Train one net; return its validation accuracy."""
    return train(activation, depth, place, lr, seed, STEPS, "validation")


# --- the stages -----------------------------------------------------------------------


def best_rates(tuning: Table) -> dict[tuple[str, int, str], float]:
    """Return for each net and place the rate of the best mean validation accuracy."""
    return {
        (a, d, p): best_of(tuning, "lr", activation=a, depth=d, place=p)
        for (a, d), p in product(NETS, PLACES)
    }


def tuning_tasks(_load: object) -> list[Task]:
    """Return a task for each net, place, rate and tuning seed."""
    return [
        {"activation": a, "depth": d, "place": p, "lr": lr, "seed": s}
        for (a, d), p, lr, s in product(NETS, PLACES, GRID, TUNING_SEEDS)
    ]


def test_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each net, place and seed, at the chosen rate."""
    best = best_rates(load_table("tuning"))
    return [
        {"activation": a, "depth": d, "place": p, "lr": best[a, d, p], "seed": s}
        | {"steps": STEPS}
        for (a, d), p, s in product(NETS, PLACES, SEEDS)
    ]


def reduced_tasks(_load: object) -> list[Task]:
    """Return the tasks of the reduced form."""
    return [
        {"activation": a, "depth": 3, "place": p, "lr": 0.03, "seed": s}
        | {"steps": REDUCED_STEPS}
        for a, p, s in product(NAMES, PLACES, SEEDS[:2])
    ]


STAGES = (
    Stage("tuning", validate, tuning_tasks, choosing=True),
    Stage("trained", train, test_tasks),
    Stage("reduced", train, reduced_tasks),
)
TOLERANCES = {"accuracy": 0.02}  # 40 of 2,000 images


# --- reading the tables, and the claims -----------------------------------------------


def accuracies(activation: str, depth: int, place: str) -> np.ndarray:
    """Return the test accuracy of each seed."""
    net = {"activation": activation, "depth": depth, "place": place}
    return rows_where(load("order", "trained"), **net)["accuracy"]


def gains() -> dict[str, np.ndarray]:
    """Return for each net the points gained by before over after, one per seed."""
    return {
        f"{NAMES[a]}, {d} layers": 100
        * (accuracies(a, d, "before") - accuracies(a, d, "after"))
        for a, d in NETS
    }


def claims() -> list[Claim]:
    """Judge the claims by the stored table; the rules were set before the run."""
    before = gains()
    effect = "; ".join(f"{net}: {spread(v, 1)}" for net, v in before.items())
    rows = []
    for sign, (place, other) in ((1, PLACES), (-1, PLACES[::-1])):
        for points in POINTS:
            signed = {net: sign * v for net, v in before.items()}
            rows.append(
                Claim(
                    f"Batch norm {place} the activation beats batch norm {other} it by "
                    f"{points:g} point{'' if points == 1 else 's'}",
                    "ioffe2015" if sign == 1 else "control of this book",
                    f"nets of width {WIDTH}, {STEPS} steps, each net's own rate",
                    f"points, before minus after: {effect}",
                    medians_at_least(signed, points, "the paired difference", "for"),
                    "ch-depth",
                    SEEDS,
                )
            )
    return rows
