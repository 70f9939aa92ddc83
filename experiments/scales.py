"""Which scales of the first weights batch norm forgives.

Protocol, written before the first run
--------------------------------------
Source. Ioffe and Szegedy (2015) say that batch norm lets us be less careful about the
first weights. A public lesson (Udacity 2017) shows nets with weights of standard
deviation 5, where batch norm does not always help.

Nets. Those of `experiments.classic`, with one standard deviation for the weights of
every layer, the output layer too: `SCALES`, from far too small to 5; and the good start
beside them, He weights for ReLU and LeCun weights for sigmoid. Two rates, the same for
all nets: 0.01 and 0.3. 1,000 steps.

Data. The embedded MNIST subset: 7,000 images to train, 2,000 to test. float32.

Seeds. 0 to 4, which draw weights and batches as in `experiments.classic`. A trial run
with seed 200 showed where the scales must begin and end; it saw nets with batch norm at
chance for the smallest scales at rate 0.01, and under 60 percent at 5.

Metric. Test accuracy in evaluation mode after the last step. A net forgives a scale if
its accuracy comes within 5 points of the best that it or its rival, plain or with batch
norm, reached at that rate from any start. A net fails outright if it stays under 20
percent; chance is 10.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. The good start at rate 0.3, seeds 0 and 1, the four nets, 300 steps.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from bnlib import data
from bnlib.training import accuracy, fit
from experiments import classic
from experiments.claims import (
    Claim,
    Verdict,
    all_or_some,
    all_together,
    rows_where,
    spread,
)
from experiments.classic import BATCH_SIZE, GOOD_INIT, NETS, SEEDS
from experiments.runner import Row, Stage, Task, load

# Names, because "good" is one of them: standard deviations as text.
SCALES = ("1e-06", "0.0001", "0.001", "0.01", "0.05", "0.2", "0.5", "1", "2", "5")
LRS, STEPS, REDUCED_STEPS = (0.01, 0.3), 1_000, 300
NAMES = {"relu": "ReLU", "sigmoid": "sigmoid"}


def train(
    activation: str, norm: str, start: str, lr: float, seed: int, steps: int
) -> list[Row]:
    """Train one net; return its last test accuracy."""
    x, y = data.load_mnist10k("train")
    init = GOOD_INIT[activation] if start == "good" else float(start)
    model = classic.build(activation, norm, init, seed)
    rng = np.random.default_rng([seed, 1])
    with np.errstate(all="ignore"):  # a net may diverge
        fit(model, x, y, steps=steps, lr=lr, batch_size=BATCH_SIZE, rng=rng)
        share = accuracy(model, *data.load_mnist10k("test"))
    net = {"activation": activation, "norm": norm, "start": start, "lr": lr}
    return [net | {"seed": seed, "accuracy": share}]


def tasks(
    starts: tuple[str, ...], lrs: tuple[float, ...], seeds: tuple[int, ...], steps: int
) -> list[Task]:
    """Return a task for each net, start, rate and seed."""
    return [
        {"activation": a, "norm": n, "start": start, "lr": lr, "seed": s}
        | {"steps": steps}
        for (a, n), start, lr, s in product(NETS, starts, lrs, seeds)
    ]


STAGES = (
    Stage("sweep", train, lambda _: tasks((*SCALES, "good"), LRS, SEEDS, STEPS)),
    Stage(
        "reduced", train, lambda _: tasks(("good",), LRS[1:], SEEDS[:2], REDUCED_STEPS)
    ),
)
TOLERANCES = {"accuracy": 0.01}  # 20 of 2,000 images, as in the classic experiment


def accuracies(activation: str, norm: str, lr: float) -> dict[str, np.ndarray]:
    """Return for each start the last accuracy, one per seed."""
    net = {"activation": activation, "norm": norm, "lr": lr}
    own = rows_where(load("scales", "sweep"), **net)
    return {s: rows_where(own, start=s)["accuracy"] for s in (*SCALES, "good")}


def forgiven(activation: str, norm: str, lr: float) -> np.ndarray:
    """Count for each seed the scales within 5 points of the best of both nets."""
    tables = {n: [*accuracies(activation, n, lr).values()] for n in ("none", "batch")}
    best = np.max([*tables["none"], *tables["batch"]], axis=0)  # (seeds,)
    return (np.array(tables[norm][:-1]) >= best - 0.05).sum(axis=0)  # without "good"


def lowest(activation: str, norm: str, lr: float) -> np.ndarray:
    """Return for each seed the lowest accuracy over the scales, in percent."""
    return 100 * np.min([*accuracies(activation, norm, lr).values()], axis=0)


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    pairs = [*product(NAMES, LRS)]
    count = {
        (a, n, lr): forgiven(a, n, lr) for a, lr in pairs for n in ("none", "batch")
    }
    low = {(a, lr): lowest(a, "batch", lr) for a, lr in pairs}
    name = {(a, lr): f"the {NAMES[a]} net at rate {lr:g}" for a, lr in pairs}
    counts = "; ".join(
        f"{name[a, lr]} {spread(count[a, 'none', lr])} plain, "
        f"{spread(count[a, 'batch', lr])} batch norm"
        for a, lr in pairs
    )
    lows = "; ".join(f"{name[pair]} {spread(low[pair])}" for pair in pairs)
    more = {
        f"{name[a, lr]} has more scales within 5 points of the best": bool(
            (count[a, "batch", lr] > count[a, "none", lr]).all()
        )
        for a, lr in pairs
    }
    every = {
        f"{name[a, lr]} has all {len(SCALES)} scales within 5 points of the best": bool(
            count[a, "batch", lr].min() == len(SCALES)
        )
        for a, lr in pairs
    }
    fails = {
        f"{name[p]} stays under 20 % at some scale": low[p].max() < 20 for p in pairs
    }
    return [
        _claim(
            "Batch norm forgives more scales of the start than the plain net",
            "ioffe2015; udacity2017",
            f"scales within 5 points of the best, of {len(SCALES)}: {counts}",
            all_or_some(more),
        ),
        _claim(
            "Batch norm forgives every scale of the start",
            "control of this book",
            f"lowest accuracy over the scales with batch norm, percent: {lows}",
            all_together(every),
        ),
        _claim(
            "Batch norm fails outright when the start is bad enough",
            "udacity2017",
            f"lowest accuracy over the scales with batch norm, percent: {lows}",
            all_or_some(fails),
        ),
    ]


def _claim(claim: str, source: str, effect: str, judged: Verdict) -> Claim:
    setting = "one standard deviation for all weights, 1,000 steps"
    return Claim(claim, source, setting, effect, judged, "ch-classic", SEEDS)
