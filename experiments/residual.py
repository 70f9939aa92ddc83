"""Why residual nets with batch norm can be deep, and what can replace it.

Protocol, written before the first run
--------------------------------------
Source. De and Smith (2020): at initialization batch norm makes the branch of a residual
block small beside its skip path: the variance of the l-th branch is about 1 / (l + 1)
of the skip path's. So deep residual nets start near the identity. SkipInit, one scalar
for each block that starts at 0, does the same without batch norm, and trains as deep.

Nets. A linear layer to 48 units, then 10, 50 or 100 blocks h + s * branch(h), ReLU, a
linear output layer. The branch is batch norm, ReLU, linear for "batch", and ReLU,
linear for the others. s is 1 for "batch" and "plain", 1 / sqrt(blocks) for "root", and
learned from 0 for "skipinit". He's scale for the linear layers of the branches, no bias
in them, LeCun's scale for the first and the last layer.

Data. Training: the embedded MNIST subset, 7,000 images to train, 1,000 to validate,
2,000 to test; float32, batches of 64, SGD without momentum, 200 steps. Variances: 256
independent standard Gaussian vectors in place of the first layer's output; float64.

Seeds. 0 to 7 for variances, 0 to 4 for training, tuning seeds 100 and 101: weights and
batches; the arms start from the same weights and see the same batches. Trial runs, to
see where the grid must end, used seed 200; they found no rate for the plain nets of 50
and 100 blocks between 1e-30 and 3.

Tuning. `GRID`, validation accuracy after 200 steps, mean of the two tuning seeds, for
each arm and depth; for the plain net also `TINY` rates, because its signal grows so
much. A net whose loss is not finite counts as 0.

Metric. Variance of skip path and branch of each block at initialization, over all
examples and units; the ratio times l + 1, l = 0, 1, ..., is 1 in theory. Test accuracy
in evaluation mode after the last step.

Decision. Variances: the median over the seeds of the ratio times l + 1 is between 0.75
and 1.33 at every block of 100. Training: a net trains if its median test accuracy
reaches a threshold, given at 60, 80 and 90 percent. A replacement keeps up if the
median of its paired difference to batch norm is above -3 points at each depth; the
verdict is also given at -1 and -5.

What would refute. A branch that does not shrink with depth, a plain net that trains at
100 blocks, or a replacement that does not. The rules are written beside the claims in
`claims`.

Reduced form. 10 blocks, seeds 0 and 1, rate 0.03, 20 steps. The tolerance is 40 of
2,000 images: float32, after few steps, when accuracy moves quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import nn

from bnlib.pytorch.measure import branch_variance
from bnlib.pytorch.variants import ResidualBlock
from experiments import nets
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    all_or_some,
    best_of,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

WIDTH, DEPTHS, STEPS, REDUCED_STEPS, BATCH_SIZE = 48, (10, 50, 100), 200, 20, 64
ARMS = ("batch", "plain", "root", "skipinit")
REPLACEMENTS = {"root": "1 / sqrt(depth)", "skipinit": "SkipInit"}
TINY = (1e-16, 1e-12, 1e-9, 1e-7, 1e-5)
GRID = (1e-4, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SEEDS, TUNING_SEEDS, VARIANCE_SEEDS = (0, 1, 2, 3, 4), (100, 101), tuple(range(8))
TRAINS, POINTS, BAND = (0.6, 0.8, 0.9), (1, 3, 5), (0.75, 1.33)


def build(
    arm: str, blocks: int, seed: int, dtype: torch.dtype = torch.float32
) -> nn.Sequential:
    """Build a residual net; nets of one seed have the same weights in all arms."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = [nets.linear(784, WIDTH, rng, dtype=dtype)]
    for _ in range(blocks):
        he = (2 / WIDTH) ** 0.5
        weight = nets.linear(WIDTH, WIDTH, rng, bias=False, sd=he, dtype=dtype)
        branch = [nn.ReLU(), weight]
        if arm == "batch":
            branch.insert(0, nn.BatchNorm1d(WIDTH, dtype=dtype))
        scale = {"root": blocks**-0.5, "skipinit": 0.0}.get(arm, 1.0)
        learned = arm == "skipinit"
        layers.append(ResidualBlock(nn.Sequential(*branch), scale, learned=learned))
    return nn.Sequential(*layers, nn.ReLU(), nets.linear(WIDTH, 10, rng, dtype=dtype))


def variances(arm: str, depth: int, seed: int) -> list[Row]:
    """Return the variances of skip path and branch of each block of a random net."""
    net = build(arm, depth, seed, torch.float64)
    rng = np.random.default_rng([seed, 2])
    h = torch.from_numpy(rng.standard_normal((256, WIDTH)))
    pairs = branch_variance(net[1:], h).values()
    task = {"arm": arm, "depth": depth, "seed": seed}
    return [
        task | {"block": i, "skip": float(f"{skip:.6g}"), "branch": float(f"{b:.6g}")}
        for i, (skip, b) in enumerate(pairs)
    ]


def train(
    arm: str, depth: int, lr: float, seed: int, steps: int, part: str = "test"
) -> list[Row]:
    """Train one net; return its accuracy after the last step, 0 if it diverged."""
    net = build(arm, depth, seed)
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
    row: Row = {"arm": arm, "depth": depth, "lr": lr, "seed": seed, "steps": steps}
    return [row | {"accuracy": round(share, 4)}]


def validate(arm: str, depth: int, lr: float, seed: int) -> list[Row]:
    """Train one net; return its validation accuracy."""
    return train(arm, depth, lr, seed, STEPS, "validation")


# --- the stages -----------------------------------------------------------------------


def rates(arm: str) -> tuple[float, ...]:
    """Return the grid of an arm."""
    return TINY + GRID if arm == "plain" else GRID


def best_rates(tuning: Table) -> dict[tuple[str, int], float]:
    """Return for each arm and depth the rate of the best mean validation accuracy."""
    return {
        (arm, d): best_of(tuning, "lr", arm=arm, depth=d)
        for arm, d in product(ARMS, DEPTHS)
    }


def variance_tasks(_load: object) -> list[Task]:
    """Return a task for each arm and seed, at the largest depth."""
    return [
        {"arm": arm, "depth": DEPTHS[-1], "seed": seed}
        for arm, seed in product(ARMS, VARIANCE_SEEDS)
    ]


def tuning_tasks(_load: object) -> list[Task]:
    """Return a task for each arm, depth, rate and tuning seed."""
    return [
        {"arm": arm, "depth": d, "lr": lr, "seed": s}
        for arm, d, s in product(ARMS, DEPTHS, TUNING_SEEDS)
        for lr in rates(arm)
    ]


def test_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each arm, depth and seed, at the chosen rate."""
    best = best_rates(load_table("tuning"))
    return [
        {"arm": arm, "depth": d, "lr": best[arm, d], "seed": s, "steps": STEPS}
        for arm, d, s in product(ARMS, DEPTHS, SEEDS)
    ]


def reduced_tasks(_load: object) -> list[Task]:
    """Return the tasks of the reduced form."""
    return [
        {"arm": arm, "depth": 10, "lr": 0.03, "seed": s, "steps": REDUCED_STEPS}
        for arm, s in product(ARMS, SEEDS[:2])
    ]


STAGES = (
    Stage("variances", variances, variance_tasks),
    Stage("tuning", validate, tuning_tasks, choosing=True),
    Stage("trained", train, test_tasks),
    Stage("reduced", train, reduced_tasks),
)
TOLERANCES = {"accuracy": 0.02}  # 40 of 2,000 images


# --- reading the tables, and the claims -----------------------------------------------


def ratios(arm: str) -> np.ndarray:
    """Return branch / skip variance of shape (seeds, blocks)."""
    own = rows_where(load("residual", "variances"), arm=arm)
    return (own["branch"] / own["skip"]).reshape(len(VARIANCE_SEEDS), -1)


def accuracies(arm: str, depth: int) -> np.ndarray:
    """Return the test accuracy of each seed."""
    return rows_where(load("residual", "trained"), arm=arm, depth=depth)["accuracy"]


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    return [shrinking_claim(), *training_claims(), *replacement_claims()]


def shrinking_claim() -> Claim:
    """Judge the variance of the branch against that of the skip path."""
    scaled = np.median(ratios("batch"), axis=0)
    scaled = scaled * np.arange(1, len(scaled) + 1)
    low, high = BAND
    fact = f"the median ratio times l + 1 is between {low:g} and {high:g} at each of "
    fact += f"the {len(scaled)} blocks"
    last = {arm: ratios(arm)[:, -1] for arm in ("batch", "plain")}
    return _claim(
        "With batch norm the variance of branch l is 1 / (l + 1) of the skip path's",
        f"branch / skip in the last of {len(scaled)} blocks: batch norm "
        f"{spread(last['batch'], 4)}, plain {spread(last['plain'], 2)}; ratio times "
        f"l + 1 over the blocks, medians: {scaled.min():.2f} to {scaled.max():.2f}",
        all_or_some({fact: bool(low < scaled.min() and scaled.max() < high)}, ""),
    )._replace(seeds=VARIANCE_SEEDS, setting="random residual nets of 100 blocks")


def training_claims() -> list[Claim]:
    """Judge which nets train at the largest depth, at several thresholds."""
    deep = DEPTHS[-1]
    rows = []
    for share in TRAINS:
        batch = {d: float(np.median(accuracies("batch", d))) for d in DEPTHS}
        plain = float(np.median(accuracies("plain", deep)))
        facts = {
            f"with batch norm the median reaches {share:.0%} at each depth, 10 to "
            f"{deep}": min(batch.values()) >= share,
            f"the plain median at {deep} blocks stays below": plain < share,
        }
        effect = "; ".join(
            f"{d} blocks: batch norm {spread(100 * accuracies('batch', d), 1)} %, "
            f"plain {spread(100 * accuracies('plain', d), 1)} %"
            for d in DEPTHS
        )
        rows.append(
            _claim(
                f"Residual nets of {deep} blocks need batch norm, or something like "
                f"it, to reach {share:.0%}",
                effect,
                all_or_some(facts, ""),
            )
        )
    return rows


def replacement_claims() -> list[Claim]:
    """Judge whether a small branch without batch norm keeps up, at several limits."""
    rows = []
    for arm, points in product(REPLACEMENTS, POINTS):
        gain = {d: 100 * (accuracies(arm, d) - accuracies("batch", d)) for d in DEPTHS}
        facts = {
            f"the median difference is above -{points} points at {d} blocks": bool(
                np.median(v) > -points
            )
            for d, v in gain.items()
        }
        rows.append(
            _claim(
                f"{REPLACEMENTS[arm]} trains as deep as batch norm, to {points} "
                f"point{'s' if points > 1 else ''}",
                "points, minus batch norm: "
                + ", ".join(f"{spread(v, 1)} at {d} blocks" for d, v in gain.items()),
                all_or_some(facts, ""),
            )
        )
    return rows


def _claim(claim: str, effect: str, judged: Verdict) -> Claim:
    setting = f"residual nets of width {WIDTH}, {STEPS} steps, each net's own rate"
    return Claim(claim, "de2020", setting, effect, judged, "ch-depth", SEEDS)
