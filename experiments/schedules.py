"""Weight decay at a constant rate, and a growing rate without weight decay.

Protocol, written before the first run
--------------------------------------
Source. Li and Arora (2020) prove: for a scale-invariant net, gradient descent with
weight decay at a constant rate passes through the same functions as gradient descent
without weight decay at a rate that grows exponentially. The chapter derives the
schedule: for plain gradient descent lr_t = lr * c^(-2t-1) with c = 1 - lr * wd.

Nets. Those of `experiments.sphere` in float64, from He weights. Weight decay or the
growing rate act on the two scale-invariant weights only. All other parameters are
trained alike in both arms, at the constant rate 0.1 and without decay; or they are
frozen. The reference has weight decay: lr 0.1 and lr * wd = 0.005.

Arms against the reference. "growing": the schedule. "dropped": the control, without
decay at the constant rate. "growing eps": the schedule, and eps grows as eps * c^(-2t),
so that it keeps its size beside the variance of the longer weights. eps is 1e-30, or
the usual 1e-5.

With optimizer momentum 0.9 and lr * wd = 0.001 there are three arms: "dropped";
"growing", the same schedule with the same momentum; and "root": c is the larger root of
c^2 - (1 + m - lr wd) c + m = 0, the rate is lr * c^(-2t-1), the momentum m / c^2, and
the first velocity (1 - c) w_0. The root is real when lr wd <= (1 - sqrt(m))^2, here
0.0026. The chapter derives it.

Data. The embedded MNIST subset, 7,000 images to train, batches of 64.

Seeds. 0 to 4, which draw weights and batches as in `experiments.sphere`; both arms
start from the same weights and see the same batches. Trial runs with seed 100 chose
the number of steps, and showed that a product of 0.005 has no real root with momentum.

Metric. The largest difference of the losses of the two arms over all steps so far, at
some steps up to 800. Losses are equal when it is under 1e-12, and differ when it is
over 0.01. The length of the first layer in both arms.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. Growing against the reference, eps 1e-30, seeds 0 and 1, 100 steps. The
gaps are rounding, so only their size is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from bnlib import data
from experiments import nets
from experiments.claims import Claim, Verdict, all_or_some, all_together, rows_where
from experiments.runner import Row, Stage, Task, load
from experiments.sphere import (
    BATCH_SIZE,
    REST,
    SEEDS,
    TINY,
    USUAL,
    build,
    groups,
    log_steps,
)

LR, PLAIN, MOMENTUM = 0.1, 0.005, 0.001  # the products without and with momentum
STEPS, REDUCED_STEPS = 800, 100
EXACT, DIFFERENT = 1e-12, 0.01
ARMS = (
    ("growing", "trained", TINY, 0.0),
    ("growing", "frozen", TINY, 0.0),
    ("dropped", "trained", TINY, 0.0),
    ("dropped", "frozen", TINY, 0.0),
    ("growing", "trained", USUAL, 0.0),
    ("growing eps", "trained", USUAL, 0.0),
    ("dropped", "trained", TINY, 0.9),
    ("growing", "trained", TINY, 0.9),
    ("root", "trained", TINY, 0.9),
)
Update = Callable[[int, list[nn.Parameter]], None]


def root(momentum: float, lr_wd: float) -> float:
    """Return the factor by which weights shrink in a step where the gradient is 0."""
    half = (1 + momentum - lr_wd) / 2
    return half + (half**2 - momentum) ** 0.5


def descent(
    weights: list[nn.Parameter],
    rate: Callable[[int], float],
    decay: float = 0.0,
    momentum: float = 0.0,
    first: float = 0.0,
) -> Update:
    """Return an update of weights: velocity = momentum * velocity - rate * gradient.

    The first velocity is ``first`` times the weights.
    """
    velocity = [first * w.detach().clone() for w in weights]

    @torch.no_grad()
    def update(step: int, weights: list[nn.Parameter]) -> None:
        for v, w in zip(velocity, weights, strict=True):
            v.mul_(momentum).sub_(rate(step) * (w.grad + decay * w))  # type: ignore[operator]
            w += v  # type: ignore[misc]

    return update


def updates(arm: str, weights: list[nn.Parameter], momentum: float) -> Update:
    """Return the update of an arm; "reference" is the one with weight decay."""
    lr_wd = MOMENTUM if momentum else PLAIN
    c = 1 - lr_wd
    if arm == "reference":
        return descent(weights, lambda _: LR, lr_wd / LR, momentum)
    if arm == "dropped":
        return descent(weights, lambda _: LR, 0.0, momentum)
    if arm == "root":
        c = root(momentum, lr_wd)
        momentum, first = momentum / c**2, 1 - c
        return descent(weights, lambda t: LR * c ** (-2 * t - 1), 0.0, momentum, first)
    return descent(weights, lambda t: LR * c ** (-2 * t - 1), 0.0, momentum)


def compare(
    seed: int, arm: str, others: str, eps: float, momentum: float, steps: int
) -> list[Row]:
    """Train the reference and an arm side by side; return how far their losses are."""
    x, y = nets.images("train", torch.float64)
    models = [build(seed, 1.0, eps), build(seed, 1.0, eps)]
    moves = [
        updates(name, groups(model)[0], momentum)
        for name, model in zip(("reference", arm), models, strict=True)
    ]
    batches = data.endless_batches(len(y), BATCH_SIZE, np.random.default_rng([seed, 1]))
    difference, rows = 0.0, []
    for step in range(steps + 1):
        index = torch.from_numpy(next(batches))
        if arm == "growing eps":
            for norm in (models[1][1], models[1][4]):
                norm.eps = eps * (1 - PLAIN) ** (-2 * step)  # type: ignore[assignment]
        losses = [nn.functional.cross_entropy(m(x[index]), y[index]) for m in models]
        gap = abs(losses[0].item() - losses[1].item())
        difference = float(np.maximum(difference, gap))  # nan stays nan
        if step in log_steps(steps):
            lengths = [groups(m)[0][0].detach().norm().item() for m in models]
            rows.append(
                {"seed": seed, "arm": arm, "others": others, "eps": eps}
                | {"momentum": momentum, "step": step, "difference": difference}
                | {"length_decay": lengths[0], "length_arm": lengths[1]}
                | {"loss_decay": losses[0].item(), "loss_arm": losses[1].item()}
            )
        for loss, model, move in zip(losses, models, moves, strict=True):
            model.zero_grad()
            loss.backward()
            hidden, rest = groups(model)
            move(step, hidden)
            if others == "trained":
                with torch.no_grad():
                    for p in rest:
                        p -= REST * p.grad  # type: ignore[misc, operator]
    return rows


def tasks(arms: tuple[tuple, ...], seeds: tuple[int, ...], steps: int) -> list[Task]:
    """Return a task for each arm and seed."""
    return [
        {"seed": s, "arm": arm, "others": others, "eps": eps, "momentum": momentum}
        | {"steps": steps}
        for (arm, others, eps, momentum), s in product(arms, seeds)
    ]


STAGES = (
    Stage("arms", compare, lambda _: tasks(ARMS, SEEDS, STEPS)),
    Stage("reduced", compare, lambda _: tasks(ARMS[:1], SEEDS[:2], REDUCED_STEPS)),
)
# float64, 100 steps; a difference of rounding, 1e-15 or so, has no digits to compare
TOLERANCES = {
    "difference": 1e-12,
    "length_decay": 1e-7,
    "length_arm": 1e-7,
    "loss_decay": 1e-7,
    "loss_arm": 1e-7,
}


# --- reading the table ----------------------------------------------------------------


def gaps(
    arm: str, others: str = "trained", eps: float = TINY, momentum: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps (t,) and the largest difference so far (seeds, t)."""
    wanted = {"arm": arm, "others": others, "eps": eps, "momentum": momentum}
    own = rows_where(load("schedules", "arms"), **wanted)
    step = np.unique(own["step"])
    return step, own["difference"].reshape(-1, len(step))


def last(*setting: Any) -> np.ndarray:
    """Return the largest difference over all steps, one per seed."""
    return gaps(*setting)[1][:, -1]


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored table; the rules were set before the run."""
    growing = {others: last("growing", others) for others in ("trained", "frozen")}
    dropped = {others: last("dropped", others) for others in ("trained", "frozen")}
    usual = last("growing", "trained", USUAL)
    mended = last("growing eps", "trained", USUAL)
    naive, exact = (last(a, "trained", TINY, 0.9) for a in ("growing", "root"))
    other = last("dropped", "trained", TINY, 0.9)
    plain = f"lr wd {PLAIN:g}, {STEPS} steps, float64"
    with_momentum = f"optimizer momentum 0.9, lr wd {MOMENTUM:g}, eps {TINY:g}"
    return [
        _claim(
            "A growing rate without weight decay gives the losses of a constant rate "
            "with weight decay",
            "li2020",
            f"{plain}, eps {TINY:g}",
            _sizes({f"others {name}": v for name, v in growing.items()}),
            all_together({_under(f"with the others {name}"): bool(v.max() < EXACT)
                          for name, v in growing.items()}),
        ),
        _claim(
            "Weight decay matters: dropping it alone gives other losses",
            "control of this book",
            f"{plain}, eps {TINY:g}",
            _sizes({f"others {name}": v for name, v in dropped.items()}),
            all_or_some({f"the largest difference is over {DIFFERENT:g} with the "
                         f"others {name}": bool(v.min() > DIFFERENT)
                         for name, v in dropped.items()}),
        ),
        _claim(
            "The growing rate gives the same losses with the usual eps, too",
            "control of this book",
            f"{plain}, eps {USUAL:g}",
            _sizes({"growing rate": usual}),
            all_together({_under(f"at eps {USUAL:g}"): bool(usual.max() < EXACT)}),
        ),
        _claim(
            "It does so with the usual eps when eps grows with the square of the "
            "weights",
            "control of this book",
            f"{plain}, eps {USUAL:g} at the start",
            _sizes({"growing rate and eps": mended}),
            all_together({_under(f"at eps {USUAL:g}"): bool(mended.max() < EXACT)}),
        ),
        _claim(
            "The same schedule works with optimizer momentum",
            "control of this book",
            with_momentum,
            _sizes({"same schedule": naive, "decay dropped": other}),
            all_together({_under("with momentum 0.9"): bool(naive.max() < EXACT)}),
        ),
        _claim(
            "With optimizer momentum the root of a quadratic gives the schedule",
            "li2020",
            with_momentum,
            _sizes({"schedule of the root": exact}),
            all_together({_under("with momentum 0.9"): bool(exact.max() < EXACT)}),
        ),
    ]  # fmt: skip


def _under(where: str) -> str:
    return f"the largest difference of the losses is under {EXACT:g} {where}"


def _sizes(values: dict[str, np.ndarray]) -> str:
    """Write medians and ranges; a run that broke off counts as infinite."""
    words = []
    for name, v in values.items():
        v = np.where(np.isfinite(v), v, np.inf)
        words.append(f"{name} {np.median(v):.1e} ({v.min():.1e} to {v.max():.1e})")
    return f"largest difference of the losses: {'; '.join(words)}"


def _claim(
    claim: str, source: str, setting: str, effect: str, judged: Verdict
) -> Claim:
    return Claim(claim, source, setting, effect, judged, "ch-scale-free", SEEDS)
