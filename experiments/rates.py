"""Which learning rates batch norm allows, and whether it helps at a small one.

Protocol, written before the first run
--------------------------------------
Source. Bjorck et al. (2018) say that batch norm mainly allows larger learning rates,
and that this is where its gain comes from. With matching small rates, the smallest one
picked so that the net without it converges, both nets reach comparable test accuracies
there. Their nets are residual nets of up to 110 layers; ours are small and have no
skips. Ioffe and Szegedy (2015) say that batch norm allows much higher rates.

Nets. 784-64-...-64-10: ReLU with five hidden layers and He weights; sigmoid with three
and LeCun weights (in the trial run no rate trained a plain sigmoid net with five).
Three arms: plain, batch norm, and layer norm as a control, each before the activation.
So the plain net has a good start. Batches of 60, plain gradient descent, float32.

Data. The embedded MNIST subset: 7,000 images to train, 1,000 to validate, 2,000 to
test. Windows are counted, and rates chosen, on validation images.

Seeds. Windows 0 to 4; choice of rates 100 and 101; equal rates 0 to 7, because the
effect may be small. Compared nets start from the same weights and see the same batches.
A trial run with seeds 200 and 201 showed where the grid must end, and that at equal
small rates the net with batch norm is ahead early and about level later.

Windows. `GRID`: half a decade from rate to rate, 500 steps. It begins and ends where
every arm stays under 50 percent; a test looks. A window is a number of rates of the
grid, and so depends on a threshold: accuracy of at least 80, 85 and 90 percent, and
within 2 and within 5 points of the best that this arm reached in this seed at any rate.
The top of a window is its largest rate. A window without a rate has a top below any.

Equal rates. ReLU, plain and batch norm, 2,000 steps. "End" is the mean accuracy over
the steps 1,600 to 2,000, "early" that over the first 500. Each arm's best rate is the
one of the grid with the best end on validation images, mean of the two seeds. "Small"
means one, two and three half decades below the best rate of the plain net. "Equal"
means that the median over the seeds of the difference of a pair is under 1 point.

Metric. Number of rates gained; half decades by which the top moves up; points of
accuracy, batch norm less plain.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. Windows at the rate 0.1, seeds 0 and 1, 100 steps, all arms.
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
    mean_between,
    medians_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

GRID = (
    0.0001, 0.000316, 0.001, 0.00316, 0.01, 0.0316, 0.1, 0.316, 1.0, 3.16, 10.0, 31.6,
    100.0,
)  # fmt: skip
WIDTH, BATCH_SIZE = 64, 60
DEPTHS = {"relu": 5, "sigmoid": 3}
NAMES = {"relu": "ReLU", "sigmoid": "sigmoid"}
NORMS: dict[str, nets.Norm] = {
    "none": None,
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}
SEEDS, TUNING_SEEDS, EQUAL_SEEDS = (0, 1, 2, 3, 4), (100, 101), tuple(range(8))
STEPS, LONG_STEPS, REDUCED_STEPS = 500, 2_000, 100
EVALUATIONS = (
    *range(25, 501, 25), *range(600, 1_501, 100), *range(1_600, LONG_STEPS + 1, 50),
)  # fmt: skip
EARLY, LATE = (25, 500), (1_600, LONG_STEPS)
SHARES = (0.8, 0.85, 0.9)
POINTS = (2, 5)
SMALLER = (1, 2, 3)  # half decades below the plain net's best rate


def build(activation: str, norm: str, seed: int) -> nn.Sequential:
    """Build a net of the protocol."""
    sizes = [784, *[WIDTH] * DEPTHS[activation], 10]
    rng = np.random.default_rng(seed)
    return nets.mlp(sizes, rng, norm=NORMS[norm], activation=activation)


def train(activation: str, norm: str, lr: float, seed: int, steps: int) -> list[Row]:
    """Train one net; return its last validation accuracy."""
    model = build(activation, norm, seed)
    nets.train(
        model,
        nets.images("train"),
        torch.optim.SGD(model.parameters(), lr),
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
    )
    share = nets.accuracy(model, nets.images("validation"))
    net = {"activation": activation, "norm": norm, "lr": lr, "seed": seed}
    return [net | {"accuracy": share}]


def follow(norm: str, lr: float, seed: int, judged: str) -> list[Row]:
    """Train one ReLU net for long; return a row for each evaluation."""
    model, images = build("relu", norm, seed), nets.images(judged)
    shares = dict.fromkeys(EVALUATIONS, 0.0)  # a net that diverged names none

    def evaluate(step: int) -> None:
        shares[step] = nets.accuracy(model, images)

    nets.train(
        model,
        nets.images("train"),
        torch.optim.SGD(model.parameters(), lr),
        steps=LONG_STEPS,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
        call_at=EVALUATIONS,
        callback=evaluate,
    )
    net = {"norm": norm, "lr": lr, "seed": seed}
    return [net | {"step": s, "accuracy": share} for s, share in shares.items()]


def validate(norm: str, lr: float, seed: int) -> list[Row]:
    """Train one ReLU net for long; return the end of its validation accuracy."""
    rows = follow(norm, lr, seed, "validation")
    curve = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    end = mean_between(curve, *LATE).item()
    return [{"norm": norm, "lr": lr, "seed": seed, "end": round(end, 4)}]


# --- the stages -----------------------------------------------------------------------


def window_tasks(
    lrs: tuple[float, ...], seeds: tuple[int, ...], steps: int
) -> list[Task]:
    """Return a task for each net, rate and seed."""
    return [
        {"activation": a, "norm": n, "lr": lr, "seed": s, "steps": steps}
        for a, n, lr, s in product(DEPTHS, NORMS, lrs, seeds)
    ]


def tuning_tasks(_load: object) -> list[Task]:
    """Return a task for each arm, rate and tuning seed."""
    return [
        {"norm": n, "lr": lr, "seed": s}
        for n, lr, s in product(("none", "batch"), GRID, TUNING_SEEDS)
    ]


def best_rates(tuning: Table) -> dict[str, float]:
    """Return for each arm the rate with the best mean end."""
    return {n: best_of(tuning, "lr", column="end", norm=n) for n in ("none", "batch")}


def small_rates(best: float) -> tuple[float, ...]:
    """Return the rates one, two and three half decades below the best."""
    return tuple(GRID[GRID.index(best) - k] for k in SMALLER)


def equal_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each arm, seed, small rate, and the best rates of both arms."""
    best = best_rates(load_table("tuning"))
    lrs = sorted({*small_rates(best["none"]), best["none"], best["batch"]})
    return [
        {"norm": n, "lr": lr, "seed": s, "judged": "test"}
        for n, lr, s in product(("none", "batch"), lrs, EQUAL_SEEDS)
    ]


STAGES = (
    Stage("windows", train, lambda _: window_tasks(GRID, SEEDS, STEPS), choosing=True),
    Stage("tuning", validate, tuning_tasks, choosing=True),
    Stage("equal", follow, equal_tasks),
    Stage(
        "reduced",
        train,
        lambda _: window_tasks((0.1,), SEEDS[:2], REDUCED_STEPS),
        choosing=True,
    ),
)
# 20 of 1,000 images: sums in another order move those that a young net is unsure of.
TOLERANCES = {"accuracy": 0.02}


# --- reading the tables ---------------------------------------------------------------


def passing(activation: str, norm: str) -> dict[str, np.ndarray]:
    """Say which rates pass each threshold.

    Parameters
    ----------
    activation, norm : str
        The arm.

    Returns
    -------
    passes : dict of str to ndarray of bool, shape (seeds, rates)
        By the words of the threshold.
    """
    table = rows_where(load("rates", "windows"), activation=activation, norm=norm)
    shares = np.transpose([rows_where(table, lr=lr)["accuracy"] for lr in GRID])
    best = shares.max(axis=1, keepdims=True)
    passes = {f"{100 * share:.0f} %": shares >= share for share in SHARES}
    return passes | {
        f"{p} points under its best": shares >= best - p / 100 - 1e-9 for p in POINTS
    }


def widths(activation: str, norm: str) -> dict[str, np.ndarray]:
    """Count for each threshold the rates that pass it, one number for each seed."""
    return {at: passes.sum(axis=1) for at, passes in passing(activation, norm).items()}


def tops(activation: str, norm: str) -> dict[str, np.ndarray]:
    """Return for each threshold the place of the largest rate, -inf if none passes."""
    places = np.arange(len(GRID))
    return {
        at: np.where(passes, places, -np.inf).max(axis=1)
        for at, passes in passing(activation, norm).items()
    }


def gained(
    of: Callable[[str, str], dict[str, np.ndarray]],
    activation: str,
    norm: str,
    rival: str,
) -> dict[str, np.ndarray]:
    """Subtract the rival's numbers, seed by seed; two empty windows differ by 0."""
    ours, theirs = of(activation, norm), of(activation, rival)
    with np.errstate(invalid="ignore"):
        gaps = {at: ours[at] - theirs[at] for at in ours}
    return {at: np.where(np.isnan(gap), 0.0, gap) for at, gap in gaps.items()}


def points(norm: str, lr: float, between: tuple[int, int]) -> np.ndarray:
    """Return for each seed the mean test accuracy between two steps, in percent."""
    own = rows_where(load("rates", "equal"), norm=norm, lr=lr)
    return 100 * mean_between(own, *between)


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    return [*window_claims(), *equal_claims()]


def window_claims() -> list[Claim]:
    """Judge the windows at all thresholds, for both activations."""
    rows = []
    setting = f"{len(GRID)} rates, {STEPS} steps, validation images"
    for a, name in NAMES.items():
        net = f"{name} net with {DEPTHS[a]} hidden layers"
        for words, of, unit in (
            ("more learning rates work", widths, "the number of rates gained"),
            ("the largest rate that works is ten times larger", tops,
             "the number of half decades gained"),
        ):  # fmt: skip
            gain = gained(of, a, "batch", "none")
            rows.append(
                _claim(
                    f"With batch norm {words}: {net}",
                    "bjorck2018; ioffe2015",
                    setting,
                    f"{unit}: {_at(gain)}",
                    medians_at_least(gain, 2, unit),
                )
            )
        gain = gained(widths, a, "batch", "layer")
        unit = "the number of rates gained over layer norm"
        rows.append(
            _claim(
                f"Layer norm does not do the same: {net}",
                "control of this book",
                setting,
                f"{unit}: {_at(gain)}",
                medians_at_least(gain, 2, unit),
            )
        )
    return rows


def equal_claims() -> list[Claim]:
    """Judge what happens at equal small rates, and at each arm's best rate."""
    best = best_rates(load("rates", "tuning"))
    small = small_rates(best["none"])
    setting = f"ReLU net with {DEPTHS['relu']} hidden layers, {LONG_STEPS:,} steps"
    rows = []
    for words, between in (
        ("end with the same accuracy", LATE),
        ("have the same accuracy on the way", EARLY),
    ):
        gaps = {
            lr: points("batch", lr, between) - points("none", lr, between)
            for lr in small
        }
        effect = ", ".join(f"{spread(g, 1)} at {lr:g}" for lr, g in gaps.items())
        facts = {
            f"the difference at rate {lr:g} is under 1 point": bool(
                abs(np.median(gap)) < 1
            )
            for lr, gap in gaps.items()
        }
        rows.append(
            _claim(
                f"At equal small rates, both nets {words}",
                "bjorck2018",
                f"{setting}, the plain net's best rate is {best['none']:g}",
                f"points gained, steps {between[0]:,} to {between[1]:,}: {effect}",
                all_or_some(facts, "in the median over the seeds "),
                EQUAL_SEEDS,
            )
        )
    ours = points("batch", best["batch"], LATE)
    over = {
        "the plain net at its own best rate": ours - points("none", best["none"], LATE),
        "batch norm at a rate ten times smaller than the plain net's best": ours
        - points("batch", small[1], LATE),
    }
    effect = ", ".join(f"{spread(g, 1)} over {what}" for what, g in over.items())
    rows.append(
        _claim(
            "Its larger rate is where batch norm gains",
            "bjorck2018",
            f"{setting}, batch norm at its best rate, {best['batch']:g}",
            f"points gained at the end: {effect}",
            medians_at_least(over, 0.5, "the points gained", "over"),
            EQUAL_SEEDS,
        )
    )
    return rows


def _at(values: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{spread(v)} at {at}" for at, v in values.items())


def _claim(
    claim: str,
    source: str,
    setting: str,
    effect: str,
    judged: Verdict,
    seeds: tuple[int, ...] = SEEDS,
) -> Claim:
    return Claim(claim, source, setting, effect, judged, "ch-smoothness", seeds)
