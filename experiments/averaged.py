"""Averaged weights, and the statistics that must follow them.

Protocol, written before the first run
--------------------------------------
Source. Izmailov et al. (2018): the mean of the weights at several points of training
with a large rate (SWA) is better than the last weights; its batch norms need a pass
over training data. Tarvainen and Valpola (2017): an exponential average of the weights
(EMA) is the better net, there as the teacher of the one that learns.

Data. 7,000 training images of the embedded MNIST subset, 2,000 to test. float32.

Nets. The dense net of `adapt_shift`, 784-100-100-100-10, with batch norm. Plain
gradient descent at a constant rate, 600 steps of 60 images. Nothing is chosen: each
rate of `RATES` is shown.

Averages. "swa": the plain mean of the weights at each tenth step of the second half.
"ema": the weights' running average with decay 0.98, from the first step on. Both with
`torch.optim.swa_utils.AveragedModel`. "last": the last weights, no average.

Statistics. "stale": those that the net had when the average began, as in a loop that
copies the net and then averages `parameters()` alone; for ema that is before the first
step. "last": those of the net at its last step, which torch's class copies by default.
"averaged": running statistics averaged as the weights are (`use_buffers=True`).
"precise": re-estimated on 2,000 training images. The last weights have "last" and
"precise" only.

Seeds. 0 to 7. Trial runs of `adapt_shift` with seeds 102 and 103 showed the accuracy of
single nets; averages were not tried.

Metric. Test accuracy in evaluation mode. A gain is a difference with one seed and rate,
in points.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. 20 steps, seeds 0 and 1, one rate, float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from itertools import product

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bnlib import data
from bnlib.pytorch.surgery import adapt
from experiments import nets, stacks
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    all_or_some,
    median_at_least,
    medians_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

RATES, DECAY, EVERY = (0.1, 0.3, 1.0), 0.98, 10
BATCH_SIZE, STEPS, RENEW = 60, 600, 2000
SEEDS, REDUCED_STEPS = tuple(range(8)), 20
AVERAGES, STATISTICS = ("swa", "ema"), ("stale", "last", "averaged", "precise")


def with_statistics_of(model: nn.Module, other: nn.Module) -> nn.Module:
    """Return a copy of a model with the buffers of another one."""
    copied = deepcopy(model)
    theirs = dict(other.named_buffers())
    for name, buffer in copied.named_buffers():
        buffer.copy_(theirs[name])
    return copied


class Averages:
    """The averages of a net in training, with averaged buffers and without."""

    def __init__(self, stack: nn.Module, steps: int) -> None:
        self.stack, self.steps = stack, steps
        self.kept: dict[tuple[str, bool], AveragedModel] = {}
        self.first: dict[str, nn.Module] = {}  # the net when the average began

    def before_step(self, step: int) -> None:
        """Average; call it with the number of the step that comes, at last `steps`."""
        for buffers in (False, True):
            if step == 0:
                self.first["ema"] = deepcopy(self.stack)
                ema = get_ema_multi_avg_fn(DECAY)
                self.kept["ema", buffers] = AveragedModel(
                    self.stack, multi_avg_fn=ema, use_buffers=buffers
                )
            if step == self.steps // 2:
                self.first["swa"] = deepcopy(self.stack)
                self.kept["swa", buffers] = AveragedModel(
                    self.stack, use_buffers=buffers
                )
            self.kept["ema", buffers].update_parameters(self.stack)
            if step >= self.steps // 2 and step % EVERY == 0:
                self.kept["swa", buffers].update_parameters(self.stack)


def trained(
    rates: Sequence[float], seeds: Sequence[int], steps: int, dtype: torch.dtype
) -> tuple[nn.Sequential, Averages]:
    """Return nets after training side by side, one for each rate and seed."""
    images = nets.images("train", dtype)
    pairs = list(product(rates, seeds))
    stack = stacks.build("dense", "batch", [seed for _, seed in pairs], dtype)
    orders = {
        seed: data.endless_batches(
            len(images[1]), BATCH_SIZE, np.random.default_rng([seed, 1])
        )
        for seed in seeds
    }

    def batch(_: int) -> np.ndarray:
        found = {seed: next(order) for seed, order in orders.items()}
        return np.stack([found[seed] for _, seed in pairs], axis=1)

    averages = Averages(stack, steps)
    stacks.train(
        stack, images, [lr for lr, _ in pairs], batch, steps, averages.before_step
    )
    averages.before_step(steps)
    return stack, averages


def arms(
    stack: nn.Module, averages: Averages, x: torch.Tensor
) -> Iterator[tuple[str, str, nn.Module]]:
    """Yield weights, statistics and the model that has both; x renews statistics."""
    yield "last", "last", stack
    yield "last", "precise", adapt(stack, [x])
    for name in AVERAGES:
        mean = averages.kept[name, False].module
        yield name, "stale", with_statistics_of(mean, averages.first[name])
        yield name, "last", with_statistics_of(mean, stack)
        yield name, "averaged", averages.kept[name, True].module
        yield name, "precise", adapt(mean, [x])


def measure(
    rates: Sequence[float], seeds: Sequence[int], steps: int = STEPS,
    dtype: str = "float32",
) -> list[Row]:  # fmt: skip
    """Train nets side by side; return a row for each net, average and statistics."""
    dt, pairs = getattr(torch, dtype), list(product(rates, seeds))
    stack, averages = trained(rates, seeds, steps, dt)
    x = nets.images("train", dt)[0][:RENEW, None].expand(-1, len(pairs), -1)
    test, rows = nets.images("test", dt), []
    for weights, statistics, model in arms(stack, averages, x):
        found = stacks.accuracy(deepcopy(model).eval(), test, len(pairs))
        rows += [
            {"lr": lr, "weights": weights, "statistics": statistics, "seed": seed}
            | {"accuracy": round(float(share), 5)}
            for (lr, seed), share in zip(pairs, found, strict=True)
        ]
    return rows


# --- the stages -----------------------------------------------------------------------


def tasks(_: Callable[[str], Table]) -> list[Task]:
    """Return the one task: all nets side by side."""
    return [{"rates": RATES, "seeds": SEEDS}]


STAGES = (
    Stage("nets", measure, tasks),
    Stage(
        "reduced",
        measure,
        lambda _: [
            {"rates": (0.3,), "seeds": SEEDS[:2]}
            | {"steps": REDUCED_STEPS, "dtype": "float64"}
        ],
    ),
)
# In float64 twenty steps differ by 1e-10 between processors: a few images on an edge.
TOLERANCES = {"accuracy": 0.002}


# --- reading the tables ---------------------------------------------------------------


def of(lr: float, weights: str, statistics: str) -> np.ndarray:
    """Return test accuracies by seed, in percent."""
    own = rows_where(
        load("averaged", "nets"), lr=lr, weights=weights, statistics=statistics
    )
    return 100 * own["accuracy"]


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    found = []
    for name, title, source in (("swa", "The plain mean of weights", "izmailov2018"),
                                ("ema", "An exponential average of weights",
                                 "tarvainen2017")):  # fmt: skip
        gains = {f"{lr:g}": of(lr, name, "precise") - of(lr, "last", "precise")
                 for lr in RATES}  # fmt: skip
        found.append(_claim(
            f"{title}, with statistics of its own, beats the last weights with theirs",
            source, _each("points gained", gains),
            medians_at_least(gains, 0.3, "the points gained", "at rate")))  # fmt: skip
        lost = {f"{lr:g}": of(lr, name, "precise") - of(lr, name, "stale")
                for lr in RATES}  # fmt: skip
        found.append(_claim(
            f"{title} with the statistics of its beginning loses",
            "izmailov2018", _each("points lost", lost),
            medians_at_least(lost, 3, "the points lost", "at rate")))  # fmt: skip
        near = {f"{lr:g}": of(lr, name, "precise") - of(lr, name, "averaged")
                for lr in RATES}  # fmt: skip
        found.append(_claim(
            f"{title}: averaged statistics do as well as re-estimated ones",
            "control of this book", _each("points below", near),
            all_or_some({f"at {k} it is under 0.3 points below":
                         bool(np.median(v) < 0.3) for k, v in near.items()},
                        "in the median ")))  # fmt: skip
    last = {f"{lr:g}": of(lr, "swa", "precise") - of(lr, "swa", "last") for lr in RATES}
    found.append(_claim(
        "The plain mean of weights with the last net's statistics loses",
        "control of this book", _each("points lost", last),
        medians_at_least(last, 0.3, "the points lost", "at rate")))  # fmt: skip
    alone = of(1.0, "last", "precise") - of(1.0, "last", "last")
    found.append(_claim(
        "Part of the gain is the statistics alone: re-estimated, they help the last "
        "weights at the largest rate", "control of this book",
        f"points gained: {spread(alone, 1)}",
        median_at_least(alone, 0.3, 0.1, "the points gained")))  # fmt: skip
    return found


def _each(what: str, values: dict[str, np.ndarray]) -> str:
    return f"{what}: " + "; ".join(f"{k}: {spread(v, 1)}" for k, v in values.items())


def _claim(claim: str, source: str, effect: str, judged: Verdict) -> Claim:
    setting = f"digits, dense net with batch norm, {STEPS} steps at a constant rate"
    return Claim(claim, source, setting, effect, judged, "ch-adapt", SEEDS)
