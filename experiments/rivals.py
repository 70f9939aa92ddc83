"""Whether the noise of batch norm still helps beside dropout or weight decay.

Protocol, written before the first run
--------------------------------------
Source. Luo et al. (2019) call batch norm's noise a regularizer. Regularizers can stand
in for each other, so this control of this book tunes two others, and asks what the
noise adds to them.

Nets and data. Those of `experiments.ghost`: 512 images, gradient batches of 256, 300
steps; groups of 16, which have noise, against groups of 256, which have little. The
rivals are dropout behind every ReLU with a share of `STRENGTHS`, and weight decay, a
factor of `STRENGTHS` on all parameters in the gradient. Data. The embedded MNIST
subset.

Tuning. Two ways, for each rival and group: the strength alone, at the rate 0.1
("common"), and strength and rate together ("own"), by the best mean validation accuracy
of the tuning seeds; ties: the smaller strength, then the smaller rate. Without a rival
the nets are those of `experiments.ghost` at the same two rates. The strengths reach
from nearly nothing to too much; a test looks at the far side.

Seeds. 0 to 7; tuning seeds 100 and 101, used for nothing else. No trial run trained a
net with a rival.

Metric. Test accuracy in evaluation mode after the last step. The gain of the noise is
the difference of the two groups with one seed, each with its own tuned settings; the
gain of a rival is the difference to the net of the same group without it.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict. An effect counts from half a point on, in the median; how many seeds pass 0.25,
0.5 and 1 point is given beside it.

Reduced form. 10 steps, seeds 0 and 1, groups of 16, both rivals, float64.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import nn

from experiments import ghost, nets
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    best_of,
    median_at_least,
    rows_where,
    spread,
)
from experiments.ghost import BATCH_SIZE, COMMON, SEEDS, SIZES, STEPS, TUNING_SEEDS
from experiments.runner import Row, Stage, Task, load

GROUPS, LRS, REDUCED_STEPS = (16, 256), (COMMON, 1.0, 3.0), 10
STRENGTHS = {"dropout": (0.1, 0.3, 0.5), "decay": (0.0003, 0.003, 0.03)}
CELLS = tuple(product(STRENGTHS, GROUPS))


def train(
    rival: str,
    group: int,
    strength: float,
    lr: float,
    seed: int,
    images: str = "test",
    steps: int = STEPS,
    dtype: str = "float32",
) -> list[Row]:
    """Train one net; return its accuracy in evaluation mode."""
    kind = getattr(torch, dtype)
    rng = np.random.default_rng(seed)
    model = nets.mlp(SIZES, rng, norm=ghost.norm_of(str(group)), dtype=kind)
    if rival == "dropout":
        model = with_dropout(model, strength)
    decay = strength if rival == "decay" else 0.0
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the masks
        nets.train(
            model,
            ghost.few_images(seed, kind),
            torch.optim.SGD(model.parameters(), lr=lr, weight_decay=decay),
            steps=steps,
            batch_size=BATCH_SIZE,
            rng=np.random.default_rng([seed, 1]),
        )
    share = nets.accuracy(model, nets.images(images, kind))
    row = {"rival": rival, "group": group, "strength": strength, "lr": lr}
    return [row | {"seed": seed, "accuracy": round(share, 5)}]


def with_dropout(model: nn.Sequential, p: float) -> nn.Sequential:
    """Return a net with dropout behind every ReLU."""
    layers: list[nn.Module] = []
    for layer in model:
        layers += [layer, nn.Dropout(p)] if isinstance(layer, nn.ReLU) else [layer]
    return nn.Sequential(*layers)


# --- the stages -----------------------------------------------------------------------


def best(tuning: Table, rival: str, group: int, rate: str) -> tuple[float, float]:
    """Return strength and rate with the best mean accuracy; ties: the smaller."""
    own = rows_where(tuning, rival=rival, group=group)
    if rate == "common":
        own = rows_where(own, lr=COMMON)
    return best_of(own, "strength", "lr")


def cell_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each rival, group and seed; equal settings run once."""
    tuning, tasks = load_table("tuning"), []
    for rival, group in CELLS:
        chosen = sorted({best(tuning, rival, group, rate) for rate in ghost.RATES})
        tasks += [_task(rival, group, *pair, s) for pair, s in product(chosen, SEEDS)]
    return tasks


def _task(rival: str, group: int, strength: float, lr: float, seed: int) -> Task:
    task = {"rival": rival, "group": group, "strength": strength, "lr": lr}
    return task | {"seed": seed}


STAGES = (
    Stage(
        "tuning",
        train,
        lambda _: [
            _task(rival, group, strength, lr, s) | {"images": "validation"}
            for rival, group in CELLS
            for strength, lr, s in product(STRENGTHS[rival], LRS, TUNING_SEEDS)
        ],
        choosing=True,
    ),
    Stage("cells", train, cell_tasks),
    Stage(
        "reduced",
        train,
        lambda _: [
            _task(rival, 16, strengths[1], COMMON, s)
            | {"steps": REDUCED_STEPS, "dtype": "float64"}
            for (rival, strengths), s in product(STRENGTHS.items(), SEEDS[:2])
        ],
    ),
)
TOLERANCES = {"accuracy": 0.002}  # float64: at most a few images on an edge


# --- reading the tables ---------------------------------------------------------------


def chosen(rival: str, group: int, rate: str) -> tuple[float, float]:
    """Return the strength and the rate that were chosen."""
    return best(load("rivals", "tuning"), rival, group, rate)


def of(rival: str, group: int, rate: str) -> np.ndarray:
    """Return test accuracies in percent, by seed; rival "nothing" too."""
    if rival == "nothing":
        return ghost.of(str(group), rate)
    strength, lr = chosen(rival, group, rate)
    own = rows_where(load("rivals", "cells"), rival=rival, group=group)
    return 100 * rows_where(own, strength=strength, lr=lr)["accuracy"]


def noise_gain(rival: str, rate: str) -> np.ndarray:
    """Return what groups of 16 gain over groups of 256 beside a rival, in points."""
    return of(rival, 16, rate) - of(rival, 256, rate)


# --- the claims -----------------------------------------------------------------------

NAMES = {"dropout": "tuned dropout", "decay": "tuned weight decay"}


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    rows = []
    for rate, rival in product(ghost.RATES, STRENGTHS):
        alone = of(rival, 256, rate) - of("nothing", 256, rate)
        name = NAMES[rival]
        instead = of(rival, 256, rate) - of("nothing", 16, rate)
        rows += [
            _claim(f"Beside {name} the noise of groups of 16 still helps", rate,
                   noise_gain(rival, rate)),
            _claim(f"With groups of 256 {name} helps", rate, alone),
            _claim(f"{name.capitalize()} does more than the noise", rate, instead),
        ]  # fmt: skip
    return rows


def _claim(claim: str, rate: str, gains: np.ndarray) -> Claim:
    gains = np.round(gains, 4) + 0.0  # no -0.00
    effect = f"points gained: {spread(gains, 2)}; {ghost.counts(gains)}"
    judged: Verdict = median_at_least(gains, 0.5, 0.25, "the points gained")
    words = f"the rate {COMMON:g}" if rate == "common" else "rates tuned with it"
    return Claim(
        f"{claim}, at {words}",
        "luo2019; control of this book",
        f"{ghost.IMAGES} images, gradient batches of {BATCH_SIZE}, {words}",
        effect,
        judged,
        "ch-noise",
        SEEDS,
    )
