"""Whether the noise of the batch statistics helps on images that were not seen.

Protocol, written before the first run
--------------------------------------
Source. Hoffer et al. (2017) cut large batches into groups of 128 whose statistics are
shared, "ghost batches", and the test accuracy of large-batch training rises. Luo et al.
(2019) read batch norm as a regularizer whose strength falls with the batch size. When
the batch size itself changes, the noise of the gradient changes with it. So here the
batch of gradient descent is fixed, and only the group that shares statistics varies.

Data. 512 images of the training part of the embedded MNIST subset, drawn by the seed:
few, so that the nets overfit. 1,000 images to validate, 2,000 to test. float32.

Nets. 784-100-100-100-10, ReLU, He weights. `ARMS`: ghost batch norm with groups of 4 to
256; batch norm whose statistics come from all 512 images at each step, with their
gradient ("full"), which has no noise; layer norm and no norm. Plain gradient descent,
batches of 256, 300 steps. All arms with one seed start from the same weights and see
the same images in the same batches. Groups of 256 are batch norm.

Rates. Two: 0.1 for all arms ("common"), and for each arm the rate of `GRID` with the
best mean validation accuracy of the tuning seeds ("own"; ties: the smaller one). The
grid reaches from rates at which nets stay far under their best to rates at which they
do so again; a test looks.

Seeds. 0 to 7; tuning seeds 100 and 101, used for nothing else. Trial runs with 100 to
103, on validation images, chose the number of steps, the grid and the common rate.

Metric. Accuracy on the test images and on the 512 training images in evaluation mode
after the last step. The noise: standard deviation of the mean (and the variance) of a
group of the arm's size, drawn from the 512 without replacement, at the trained net in
evaluation mode, in units of the 512's; median over all units (`batch_noise`). A gain is
the difference of two arms with one seed, in points.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict. Some groups are better than others by chance, so the group that is compared is
fixed: 16. The trial runs saw it about a point above 256 at the common rate, and level
with it at the best rates. An effect counts from half a point on, in the median; how
many seeds pass 0.25, 0.5 and 1 point is given beside it.

Follow-up, written after the first run and before its own. At the arms' own rates the
first run left the gain of groups of 16 over 256 on the edge: a median of 0.53 points,
from -1.15 to 2.15, against a threshold of 0.5. So 24 new seeds, 8 to 31, run these arms
and "full" at the same rates, and judge by themselves: the mean gain should pass two of
its standard errors, and 0.25 points. If it passes neither, it is refuted at this size.

Reduced form. 10 steps, seeds 0 and 1, groups of 16 and full statistics, float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise, product

import numpy as np
import torch
from torch import nn

from bnlib import data
from bnlib.pytorch.measure import batch_noise
from bnlib.pytorch.variants import GhostBatchNorm1d
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
from experiments.nets import Images, Norm
from experiments.runner import Row, Stage, Task, load

IMAGES, BATCH_SIZE, STEPS, COMMON = 512, 256, 300, 0.1
SIZES = (784, 100, 100, 100, 10)
SEEDS, TUNING_SEEDS = tuple(range(8)), (100, 101)
MORE_SEEDS, MORE_ARMS = tuple(range(8, 32)), ("16", "256", "full")
GROUPS = (4, 8, 16, 64, 256)
ARMS = (*map(str, GROUPS), "full", "layer", "none")
GRID = (0.003, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
RATES, REDUCED_STEPS = ("common", "own"), 10


def norm_of(arm: str) -> Norm:
    """Return what makes the norm of an arm."""
    other: dict[str, Norm] = {"full": nn.BatchNorm1d, "layer": nn.LayerNorm}
    if arm.isdigit():
        return partial(GhostBatchNorm1d, group_size=int(arm))
    return other.get(arm)


def few_images(seed: int, dtype: torch.dtype = torch.float32) -> Images:
    """Return the training images of a seed."""
    x, y = nets.images("train", dtype)
    own = np.random.default_rng([seed, 2]).permutation(len(y))[:IMAGES]
    return x[own], y[own]


def train_full(
    model: nn.Module,
    train_images: Images,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    rng: np.random.Generator,
) -> None:
    """Train as `nets.train`, but each step's statistics come from all images."""
    x, y = train_images
    batches = data.endless_batches(len(y), BATCH_SIZE, rng)
    for _ in range(steps):
        index = torch.from_numpy(next(batches))
        loss = nn.functional.cross_entropy(model(x)[index], y[index])
        if not loss.isfinite():
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def trained(
    arm: str, lr: float, seed: int, steps: int, dtype: torch.dtype
) -> nn.Module:
    """Return a net of an arm after training."""
    rng = np.random.default_rng(seed)
    model = nets.mlp(SIZES, rng, norm=norm_of(arm), dtype=dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    few, rng = few_images(seed, dtype), np.random.default_rng([seed, 1])
    if arm == "full":
        train_full(model, few, optimizer, steps=steps, rng=rng)
    else:
        nets.train(model, few, optimizer, steps=steps, batch_size=BATCH_SIZE, rng=rng)
    return model


@torch.no_grad()
def loss(model: nn.Module, images: Images) -> float:
    """Return the mean cross-entropy in evaluation mode, which is left on."""
    x, y = images
    return nn.functional.cross_entropy(model.eval()(x), y).item()


def noise_of(model: nn.Module, arm: str, seed: int) -> tuple[float, float]:
    """Return the noise of mean and variance of an arm's groups; nan without a batch."""
    if arm in ("layer", "none"):
        return np.nan, np.nan
    x, _ = few_images(seed, next(model.parameters()).dtype)
    size = IMAGES if arm == "full" else int(arm)
    rng = np.random.default_rng([seed, 3])
    found = batch_noise(model.eval(), x, size, rng, batches=40, replace=False)
    mean, var = (torch.cat(values) for values in zip(*found.values(), strict=True))
    return mean.median().item(), var.median().item()


def measure(
    arm: str, lr: float, seed: int, steps: int = STEPS, dtype: str = "float32"
) -> list[Row]:
    """Train one net; return accuracies, losses and noise."""
    model = trained(arm, lr, seed, steps, getattr(torch, dtype))
    numbers = {}
    for part in ("train", "test"):
        few = few_images(seed, getattr(torch, dtype))
        images = few if part == "train" else nets.images("test", getattr(torch, dtype))
        numbers[part] = nets.accuracy(model, images)
        numbers[f"{part}_loss"] = loss(model, images)
    numbers["noise_mean"], numbers["noise_var"] = noise_of(model, arm, seed)
    row = {"arm": arm, "lr": lr, "seed": seed}
    return [row | {k: round(v, 5) for k, v in numbers.items()}]


def validate(arm: str, lr: float, seed: int) -> list[Row]:
    """Train one net; return its validation accuracy."""
    model = trained(arm, lr, seed, STEPS, torch.float32)
    share = nets.accuracy(model, nets.images("validation"))
    return [{"arm": arm, "lr": lr, "seed": seed, "accuracy": share}]


# --- the stages -----------------------------------------------------------------------


def arm_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each arm, rate and seed; equal rates run once."""
    tuning, tasks = load_table("tuning"), []
    for arm in ARMS:
        rates = sorted({COMMON, best_of(tuning, "lr", arm=arm)})
        tasks += [{"arm": arm, "lr": lr, "seed": s} for lr, s in product(rates, SEEDS)]
    return tasks


def more_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return the tasks of the follow-up."""
    tuning = load_table("tuning")
    return [
        {"arm": arm, "lr": best_of(tuning, "lr", arm=arm), "seed": s}
        for arm, s in product(MORE_ARMS, MORE_SEEDS)
    ]


STAGES = (
    Stage(
        "tuning",
        validate,
        lambda _: [
            {"arm": arm, "lr": lr, "seed": s}
            for arm, lr, s in product(ARMS, GRID, TUNING_SEEDS)
        ],
        choosing=True,
    ),
    Stage("arms", measure, arm_tasks),
    Stage("more", measure, more_tasks),
    Stage(
        "reduced",
        measure,
        lambda _: [
            {"arm": arm, "lr": COMMON, "seed": s, "steps": REDUCED_STEPS}
            | {"dtype": "float64"}
            for arm, s in product(("16", "full"), SEEDS[:2])
        ],
    ),
)
# In float64 ten steps differ by 1e-12 between processors: one image on an edge, or the
# last of five stored digits.
TOLERANCES = {
    **dict.fromkeys(("train", "test"), 0.002),
    **dict.fromkeys(("train_loss", "test_loss", "noise_mean", "noise_var"), 2e-5),
}


# --- reading the tables ---------------------------------------------------------------


def rate_of(arm: str, rate: str) -> float:
    """Return the learning rate of an arm: "common" or "own"."""
    return (
        COMMON if rate == "common" else best_of(load("ghost", "tuning"), "lr", arm=arm)
    )


def of(arm: str, rate: str, column: str = "test") -> np.ndarray:
    """Return a column of one arm, one value per seed; accuracies in percent."""
    own = rows_where(load("ghost", "arms"), arm=arm, lr=rate_of(arm, rate))
    return (100 if column in ("train", "test") else 1) * own[column]


def more_gains(other: str = "256") -> np.ndarray:
    """Return the points that groups of 16 gain in the follow-up, by seed."""
    table = load("ghost", "more")
    few, many = (100 * rows_where(table, arm=arm)["test"] for arm in ("16", other))
    return few - many


def standard_error(gains: np.ndarray) -> float:
    """Return the standard error of the mean over the seeds."""
    return float(gains.std(ddof=1) / np.sqrt(len(gains)))


def counts(gains: np.ndarray) -> str:
    """Say how many seeds gain more than 0.25, 0.5 and 1 point."""
    over = [str(int((gains > limit).sum())) for limit in (0.25, 0.5, 1)]
    return f"seeds over 0.25, 0.5, 1 point: {', '.join(over)} of {len(gains)}"


# --- the claims -----------------------------------------------------------------------

WORDS = {"common": f"the rate {COMMON:g} for all", "own": "each arm's own rate"}


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    rows = []
    for rate in RATES:
        rows += [
            _gain("Groups of 16 name more test images than groups of 256",
                  "hoffer2017; luo2019", "16", "256", rate),
            _gain("Groups of 16 name more test images than statistics without noise",
                  "luo2019", "16", "full", rate),
            _gain("Even the little noise of groups of 256 is better than none",
                  "control of this book", "256", "full", rate),
            _gain("Groups of 4 have too much noise: groups of 16 do better",
                  "control of this book", "16", "4", rate),
        ]  # fmt: skip
    rows += [
        _gain("Groups of 16 name more test images than the net without a norm",
              "control of this book", "16", "none", "own"),
        _gain("Groups of 16 name more test images than layer norm",
              "control of this book", "16", "layer", "own"),
    ]  # fmt: skip
    rows += [_more("groups of 256", "256"), _more("statistics without noise", "full")]
    losses = {
        arm: of(arm, "common", "train_loss") for arm in ("full", "256", "16", "4")
    }
    order = [*losses]
    facts = {
        f"the training loss is larger for {b} than for {a}": bool(
            (losses[b] > losses[a]).all()
        )
        for a, b in pairwise(order)
    }
    effect = "; ".join(f"{arm}: {spread(v, 4)}" for arm, v in losses.items())
    rows.append(
        _claim(
            "More noise leaves a larger training loss, as a regularizer does",
            "luo2019",
            "common",
            f"training loss in evaluation mode: {effect}",
            all_or_some(facts),
        )
    )
    return rows


def _gain(claim: str, source: str, arm: str, other: str, rate: str) -> Claim:
    gains = of(arm, rate) - of(other, rate)
    effect = f"points gained: {spread(gains, 2)}; {counts(gains)}"
    judged = median_at_least(gains, 0.5, 0.25, "the points gained")
    return _claim(f"{claim}, at {WORDS[rate]}", source, rate, effect, judged)


def _more(name: str, other: str) -> Claim:
    gains = more_gains(other)
    mean, error = float(gains.mean()), standard_error(gains)
    return Claim(
        f"With 24 new seeds groups of 16 name more test images than {name}, at "
        f"{WORDS['own']}",
        "control of this book",
        f"{IMAGES} images, gradient batches of {BATCH_SIZE}, {WORDS['own']}",
        f"points gained: mean {mean:.2f}, standard error {error:.2f}; "
        f"{spread(gains, 2)}; {counts(gains)}",
        all_or_some({"the mean gain is over 2 standard errors": mean > 2 * error,
                     "the mean gain is over 0.25 points": mean > 0.25}, ""),
        "ch-noise",
        MORE_SEEDS,
    )  # fmt: skip


def _claim(claim: str, source: str, rate: str, effect: str, judged: Verdict) -> Claim:
    setting = f"{IMAGES} images, gradient batches of {BATCH_SIZE}, {WORDS[rate]}"
    return Claim(claim, source, setting, effect, judged, "ch-noise", SEEDS)
