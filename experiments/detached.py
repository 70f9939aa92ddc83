"""Which part of batch norm's gradient its benefit needs: the mean's or the variance's.

Protocol, written before the first run
--------------------------------------
Source. Ioffe and Szegedy (2015), section 2, warn that a step of gradient descent that
ignores the normalization can be undone by it, and let the gradient go through mean and
variance. They give no measurement of one part alone. This is a control of this book.

Nets. 784, six hidden layers of 64, 10; ReLU, He weights. `ARMS`: batch norm ("full");
batch norm whose mean, whose variance, or both count as constants in the backward pass
("mean", "var", "both"); no norm ("none"). The forward pass of the first four is the
same. Plain gradient descent, batches of 64, 300 steps.

Data. The embedded MNIST subset: 7,000 images to train, 1,000 to validate, 2,000 to
test. float32.

Seeds. 0 to 7; tuning seeds 100 to 104, used for nothing else. Trial runs used seeds 100
and 101 on validation images; they chose the grid, and saw the ranking of the arms that
the claims ask for. So the claims are a test of it with other seeds and on test images.

Rates. The grid `GRID` reaches from rates at which nets stay under 50 percent to rates
at which they do so again; a test looks. For each arm the rate with the best mean
validation accuracy of the tuning seeds (ties: the smaller one).

Metric. Test accuracy in evaluation mode after the last step, at each arm's own rate.
Failure: a validation accuracy under 50 percent, or an output that is not finite; its
share over the tuning seeds is given at each rate. The reach of an arm is the number of
rates of the grid whose mean validation accuracy is at least 80 percent.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict: differences are in points, between arms with one seed.

Reduced form. 10 steps at rate 0.1, seeds 0 and 1, five arms, float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import torch

from bnlib.pytorch.variants import DetachedBatchNorm1d
from experiments import nets
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    all_or_some,
    all_together,
    best_of,
    median_at_least,
    rows_where,
    spread,
)
from experiments.nets import Norm
from experiments.runner import Row, Stage, Task, load

SEEDS, TUNING_SEEDS = tuple(range(8)), tuple(range(100, 105))
SIZES, STEPS, REDUCED_STEPS, BATCH_SIZE = (784, *[64] * 6, 10), 300, 10, 64
DETACHED = {"full": (), "mean": ("mean",), "var": ("var",), "both": ("mean", "var")}
ARMS = (*DETACHED, "none")
GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def norm_of(arm: str) -> Norm:
    """Return what makes the norm of an arm."""
    if arm == "none":
        return None
    return partial(DetachedBatchNorm1d, detach=DETACHED[arm])


def train(
    arm: str,
    lr: float,
    seed: int,
    images: str = "test",
    steps: int = STEPS,
    dtype: str = "float32",
) -> list[Row]:
    """Train one net; return its accuracy in evaluation mode."""
    kind = getattr(torch, dtype)
    rng = np.random.default_rng(seed)
    model = nets.mlp(SIZES, rng, norm=norm_of(arm), dtype=kind)
    nets.train(
        model,
        nets.images("train", kind),
        torch.optim.SGD(model.parameters(), lr=lr),
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
    )
    share = nets.accuracy(model, nets.images(images, kind))
    return [{"arm": arm, "lr": lr, "seed": seed, "accuracy": round(share, 5)}]


# --- the stages -----------------------------------------------------------------------


def arm_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each arm and seed, at the arm's own rate."""
    tuning = load_table("tuning")
    return [
        {"arm": arm, "lr": best_of(tuning, "lr", arm=arm), "seed": s}
        for arm, s in product(ARMS, SEEDS)
    ]


STAGES = (
    Stage(
        "tuning",
        train,
        lambda _: [
            {"arm": arm, "lr": lr, "seed": s, "images": "validation"}
            for arm, lr, s in product(ARMS, GRID, TUNING_SEEDS)
        ],
        choosing=True,
    ),
    Stage("arms", train, arm_tasks),
    Stage(
        "reduced",
        train,
        lambda _: [
            {"arm": arm, "lr": 0.1, "seed": s}
            | {"steps": REDUCED_STEPS, "dtype": "float64"}
            for arm, s in product(ARMS, SEEDS[:2])
        ],
    ),
)
TOLERANCES = {"accuracy": 0.002}  # float64: at most a few images on an edge


# --- reading the tables ---------------------------------------------------------------


def of(arm: str) -> np.ndarray:
    """Return the test accuracy of an arm at its own rate, in percent, by seed."""
    return 100 * rows_where(load("detached", "arms"), arm=arm)["accuracy"]


def own_rate(arm: str) -> float:
    """Return the rate that was chosen for an arm."""
    return best_of(load("detached", "tuning"), "lr", arm=arm)


def validated(arm: str) -> np.ndarray:
    """Return validation accuracies in percent, of shape (rates, tuning seeds)."""
    own = rows_where(load("detached", "tuning"), arm=arm)
    return 100 * np.array([rows_where(own, lr=r)["accuracy"] for r in GRID])


def failures(arm: str) -> np.ndarray:
    """Return for each rate the share of the tuning seeds that failed, in percent."""
    return 100 * (validated(arm) < 50).mean(axis=1)


def reach(arm: str) -> int:
    """Count the rates whose mean validation accuracy is at least 80 percent."""
    return int((validated(arm).mean(axis=1) >= 80).sum())


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    score = {arm: of(arm) for arm in ARMS}
    lost = {arm: score["full"] - score[arm] for arm in ARMS}
    low = float(np.median(np.abs(lost["var"])))
    worse = score["none"] - score["mean"]
    reaches = {arm: reach(arm) for arm in ARMS}
    counted = ", ".join(f"{arm} {n}" for arm, n in reaches.items())
    return [
        _claim(
            "Without the mean's part of the gradient batch norm loses accuracy",
            "ioffe2015",
            f"points lost: {spread(lost['mean'], 1)}",
            median_at_least(lost["mean"], 5, 1, "the points lost"),
        ),
        _claim(
            "Without the variance's part of the gradient batch norm loses accuracy",
            "ioffe2015",
            f"points lost: {spread(lost['var'], 1)}",
            median_at_least(lost["var"], 5, 1, "the points lost"),
        ),
        _claim(
            "The variance's part makes no difference of a point",
            "control of this book",
            f"points lost: {spread(lost['var'], 1)}",
            all_or_some({f"the median of the difference is under {p:g} points": low < p
                         for p in (1, 2)}, ""),
        ),
        _claim(
            "Without the mean's part the net is worse than without batch norm",
            "control of this book",
            f"points, none - mean detached: {spread(worse, 1)}",
            all_together({"the net without a norm is over 1 point better":
                          worse.min() > 1}),
        ),
        _claim(
            "Fewer rates work without the mean's part, and as many without the "
            "variance's",
            "control of this book",
            f"rates with 80 % on validation, of {len(GRID)}: {counted}",
            all_or_some(
                {"mean detached has 2 rates fewer than batch norm, or more than 2":
                 reaches["full"] - reaches["mean"] >= 2,
                 "variance detached has at most 1 rate fewer":
                 reaches["full"] - reaches["var"] <= 1},
                "",
            ),
        ),
    ]  # fmt: skip


def _claim(claim: str, source: str, effect: str, judged: Verdict) -> Claim:
    setting = "six hidden layers of 64, 300 steps, each arm's own rate"
    return Claim(claim, source, setting, effect, judged, "ch-noise", SEEDS)
