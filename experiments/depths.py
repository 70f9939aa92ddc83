"""To which depth nets without skip paths train, with batch norm and without.

Protocol, written before the first run
--------------------------------------
Source. Ioffe and Szegedy (2015) argue that batch norm helps saturating activations and
larger learning rates; Yang et al. (2019) predict that nets with batch norm and without
skip paths cannot be trained when they are deep, because their gradients grow with
depth, and that nets near linear, as sigmoid nets with batch norm are at the start,
suffer least.

Nets. 784, then 3 to 50 hidden layers of 48 units, 10 outputs; ReLU with He weights,
sigmoid with LeCun weights; plain, or batch norm before each activation.

Data. The embedded MNIST subset: 7,000 images to train, 1,000 to validate, 2,000 to
test. float32, batches of 64, SGD without momentum, 250 steps.

Seeds. 0 to 4, tuning seeds 100 and 101: weights and batches; the nets of a pair start
from the same weights and see the same batches. Trial runs, to see where the grid must
end, used seed 200, and saw the ReLU net with batch norm fail at 30 and 50 layers.

Tuning. `GRID`, validation accuracy after 250 steps, mean of the tuning seeds, for each
net and depth; for sigmoid nets also `LARGE` rates, because some still train at 10. A
net whose loss is not finite counts as 0.

Metric. Test accuracy in evaluation mode after the last step. The depth to which a net
trains is the largest depth of the sweep up to which the median over the seeds stays at
or above a threshold; thresholds of 60, 80 and 90 percent are given.

Decision. Batch norm extends the depth if it trains a net at least 1.5 times deeper at
each threshold. It fails where Yang et al. say if the ReLU net of 50 layers with batch
norm stays below 60 percent, and no more than 10 points above the plain one, in the
median. Near linear suffers least: the sigmoid net of 50 layers with batch norm is at
least 20 points above the ReLU net with batch norm, median of paired differences; 10 to
20 is partly.

What would refute. Equal depths; a ReLU net with batch norm that trains at 50 layers.
The rules are written beside the claims in `claims`.

Reduced form. 3 and 10 layers, seeds 0 and 1, rate 0.03, 20 steps. The tolerance is 40
of 2,000 images: float32, after few steps, when accuracy moves quickly.
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
    Verdict,
    all_or_some,
    best_of,
    median_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

WIDTH, DEPTHS, STEPS, REDUCED_STEPS, BATCH_SIZE = 48, (3, 10, 20, 30, 50), 250, 20, 64
NETS = tuple(product(("relu", "sigmoid"), ("none", "batch")))
GRID, LARGE = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0), (30.0, 100.0)
SEEDS, TUNING_SEEDS = (0, 1, 2, 3, 4), (100, 101)
TRAINS, DEEPER, LOW, CLOSE = (0.6, 0.8, 0.9), 1.5, 0.6, 10
NAMES = {"relu": "ReLU", "sigmoid": "sigmoid"}


def train(
    activation: str,
    norm: str,
    depth: int,
    lr: float,
    seed: int,
    steps: int,
    part: str = "test",
) -> list[Row]:
    """Train one net; return its accuracy after the last step, 0 if it diverged."""
    net = nets.mlp(
        (784, *[WIDTH] * depth, 10),
        np.random.default_rng(seed),
        norm=nn.BatchNorm1d if norm == "batch" else None,
        activation=activation,
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
    row: Row = {"activation": activation, "norm": norm, "depth": depth, "lr": lr}
    return [row | {"seed": seed, "steps": steps, "accuracy": round(share, 4)}]


def validate(activation: str, norm: str, depth: int, lr: float, seed: int) -> list[Row]:
    """Train one net; return its validation accuracy."""
    return train(activation, norm, depth, lr, seed, STEPS, "validation")


# --- the stages -----------------------------------------------------------------------


def rates(activation: str) -> tuple[float, ...]:
    """Return the grid of a net."""
    return GRID + LARGE if activation == "sigmoid" else GRID


def best_rates(tuning: Table) -> dict[tuple[str, str, int], float]:
    """Return for each net and depth the rate of the best mean validation accuracy."""
    return {
        (a, n, d): best_of(tuning, "lr", activation=a, norm=n, depth=d)
        for (a, n), d in product(NETS, DEPTHS)
    }


def tuning_tasks(_load: object) -> list[Task]:
    """Return a task for each net, depth, rate and tuning seed."""
    return [
        {"activation": a, "norm": n, "depth": d, "lr": lr, "seed": s}
        for (a, n), d, s in product(NETS, DEPTHS, TUNING_SEEDS)
        for lr in rates(a)
    ]


def test_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each net, depth and seed, at the chosen rate."""
    best = best_rates(load_table("tuning"))
    return [
        {"activation": a, "norm": n, "depth": d, "lr": best[a, n, d], "seed": s}
        | {"steps": STEPS}
        for (a, n), d, s in product(NETS, DEPTHS, SEEDS)
    ]


def reduced_tasks(_load: object) -> list[Task]:
    """Return the tasks of the reduced form."""
    return [
        {"activation": a, "norm": n, "depth": d, "lr": 0.03, "seed": s}
        | {"steps": REDUCED_STEPS}
        for (a, n), d, s in product(NETS, (3, 10), SEEDS[:2])
    ]


STAGES = (
    Stage("tuning", validate, tuning_tasks, choosing=True),
    Stage("trained", train, test_tasks),
    Stage("reduced", train, reduced_tasks),
)
TOLERANCES = {"accuracy": 0.02}  # 40 of 2,000 images


# --- reading the tables, and the claims -----------------------------------------------


def accuracies(activation: str, norm: str, depth: int) -> np.ndarray:
    """Return the test accuracy of each seed."""
    net = {"activation": activation, "norm": norm, "depth": depth}
    return rows_where(load("depths", "trained"), **net)["accuracy"]


def trains_to(activation: str, norm: str, share: float) -> int:
    """Return the largest depth up to which the median reaches a share; 0 for none."""
    reached = 0
    for depth in DEPTHS:
        if np.median(accuracies(activation, norm, depth)) < share:
            break
        reached = depth
    return reached


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    deep = DEPTHS[-1]
    last = {net: 100 * accuracies(*net, deep) for net in NETS}
    rows = []
    for activation, name in NAMES.items():
        reach = {
            norm: [trains_to(activation, norm, share) for share in TRAINS]
            for norm in ("none", "batch")
        }
        facts = {
            f"the depth reached at {share:.0%} is above 0 and at least {DEEPER:g} "
            "times the plain net's": with_it >= max(DEEPER * plain, 1)
            for share, plain, with_it in zip(TRAINS, *reach.values(), strict=True)
        }
        at = ", ".join(f"{share:.0%}" for share in TRAINS)
        words = {n: ", ".join(map(str, depths)) for n, depths in reach.items()}
        rows.append(
            _claim(
                f"Batch norm extends the depth to which {name} nets train",
                f"largest depth at {at}: plain {words['none']}, batch norm "
                f"{words['batch']}",
                all_or_some(facts, "for the medians over the seeds "),
            )
        )
    relu = last["relu", "batch"]
    gain = relu - last["relu", "none"]
    fails = {
        f"the median with batch norm is below {LOW:.0%}": np.median(relu) < 100 * LOW,
        f"it gains no more than {CLOSE} points": np.median(gain) <= CLOSE,
    }
    linear = last["sigmoid", "batch"] - relu
    return [
        *rows,
        _claim(
            f"A ReLU net of {deep} layers with batch norm and without skips fails",
            f"accuracy: batch norm {spread(relu, 0)} %, plain "
            f"{spread(last['relu', 'none'], 0)} %; points gained {spread(gain, 0)}",
            all_or_some(fails, ""),
        )._replace(source="yang2019"),
        _claim(
            f"At {deep} layers with batch norm the sigmoid net, nearer to linear, "
            "does better than the ReLU net",
            f"accuracy: sigmoid {spread(last['sigmoid', 'batch'], 0)} %, ReLU "
            f"{spread(relu, 0)} %",
            median_at_least(linear, 20, 10, "the difference in points"),
        )._replace(source="yang2019"),
    ]


def _claim(claim: str, effect: str, judged: Verdict) -> Claim:
    setting = f"nets of width {WIDTH} without skips, {STEPS} steps, each net's own rate"
    return Claim(claim, "ioffe2015", setting, effect, judged, "ch-depth", SEEDS)
