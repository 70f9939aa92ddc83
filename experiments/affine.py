"""How far a random net comes when only gamma and beta are trained.

Protocol, written before the first run
--------------------------------------
Source. Frankle, Schwab and Morcos (2021) freeze all weights of residual nets at their
random values and train the gammas and betas alone: 82 percent on CIFAR-10 for a deep
one, far more than when as many other parameters, chosen at random, are trained. About a
third of the gammas end near 0, so that features are switched off.

Nets. 784, then 3 or 9 hidden layers of 32 or 128 units with batch norm before each
ReLU, 10 outputs, He weights. No residual paths and no convolution, unlike the source.

Arms. "affine": gamma and beta of each batch norm. "weights": as many weights, two of
the incoming ones of each hidden unit, chosen by the seed; gamma 1 and beta 0 are
frozen. "output": the output layer, weights and bias. "all": all parameters. What is not
trained stays at its start.

Data. The embedded MNIST subset: 7,000 images to train, 1,000 to validate, 2,000 to
test. float32, batches of 64, Adam, 300 steps.

Seeds. 0 to 4, tuning seeds 100 and 101: weights, the choice of weights, and batches;
the arms start from the same weights and see the same batches. Trial runs, to see where
the grid must end, used seed 200. They showed that no rate is too large for the output
layer alone, whose answers do not depend on the scale of its weights; and that under 2
percent of the gammas end under 0.01.

Tuning. `GRID`, validation accuracy after 300 steps, mean of the tuning seeds, for each
net and arm. A net whose loss is not finite counts as 0.

Metric. Test accuracy in evaluation mode after the last step; the share of gammas with
absolute value under 0.01 (and under 0.05 and 0.1) in the arm "affine".

Decision. In each of the four nets: "affine" is at least a threshold above "weights", in
the median of paired differences; thresholds of 2, 5 and 10 points are given. The same
against "output". Width and depth: paired difference of "affine" between widths (128
minus 32, at each depth) and depths (9 minus 3, at each width) of at least 2 points.
Gammas: a median share under 0.01 of at least 0.3 in the nets of width 128 is
reproduced, of at least 0.1 partly; the shares under 0.05 and 0.1 are given.

What would refute. Random weights, as many, that do as well; no gammas near 0.
The rules are written beside the claims in `claims`.

Reduced form. Width 32, 3 layers, seeds 0 and 1, rate 0.03, 20 steps. The tolerance is
40 of 2,000 images, and for shares of gammas 2 of 96: float32.
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
    best_of,
    median_at_least,
    medians_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

NETS = tuple(product((32, 128), (3, 9)))  # width, hidden layers
ARMS = ("affine", "weights", "output", "all")
GRID = (1e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 100.0)
STEPS, REDUCED_STEPS, BATCH_SIZE = 300, 20, 64
SEEDS, TUNING_SEEDS, POINTS, MORE = (0, 1, 2, 3, 4), (100, 101), (2, 5, 10), 2
NEAR_ZERO, THIRD, TENTH = (0.01, 0.05, 0.1), 0.3, 0.1


def freeze(net: nn.Sequential, arm: str, rng: np.random.Generator) -> int:
    """Freeze what an arm does not train, **in place**; return how much it trains.

    Of a hidden layer that is trained in part, the gradient of the other weights is set
    to 0; Adam then leaves them where they are.
    """
    trained = 0
    for i, layer in enumerate(net):
        if isinstance(layer, nn.Linear):
            keep = arm == "all" or (arm == "output" and i == len(net) - 1)
        else:
            keep = arm in ("affine", "all")
        for parameter in layer.parameters():
            parameter.requires_grad_(keep)
            trained += parameter.numel() * keep
        if arm == "weights" and isinstance(layer, nn.Linear) and i < len(net) - 1:
            mask = torch.zeros_like(layer.weight)
            for row in mask:
                row[torch.from_numpy(rng.choice(len(row), 2, replace=False))] = 1
            layer.weight.requires_grad_(True)
            layer.weight.register_hook(lambda g, mask=mask: g * mask)
            trained += int(mask.sum())
    return trained


def train(
    width: int,
    layers: int,
    arm: str,
    lr: float,
    seed: int,
    steps: int,
    part: str = "test",
) -> list[Row]:
    """Train what an arm trains of one net; return accuracy and shares of gammas."""
    net = nets.mlp(
        (784, *[width] * layers, 10),
        np.random.default_rng(seed),
        norm=nn.BatchNorm1d,
    )
    trained = freeze(net, arm, np.random.default_rng([seed, 2]))
    losses = nets.train(
        net,
        nets.images("train"),
        torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=lr),
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
    )
    finite = bool(np.isfinite(losses).all())
    share = nets.accuracy(net, nets.images(part)) if finite else 0.0
    norms = [m.weight.detach() for m in net if isinstance(m, nn.BatchNorm1d)]
    gamma = torch.cat(norms).abs()
    row: Row = {"width": width, "layers": layers, "arm": arm, "lr": lr, "seed": seed}
    row |= {"steps": steps, "trained": trained, "accuracy": round(share, 4)}
    for limit in NEAR_ZERO:
        row[f"under_{limit:g}"] = round((gamma < limit).double().mean().item(), 4)
    return [row]


def validate(width: int, layers: int, arm: str, lr: float, seed: int) -> list[Row]:
    """Train one net; return its validation accuracy."""
    return train(width, layers, arm, lr, seed, STEPS, "validation")


# --- the stages -----------------------------------------------------------------------


def best_rates(tuning: Table) -> dict[tuple[int, int, str], float]:
    """Return for each net and arm the rate of the best mean validation accuracy."""
    return {
        (w, d, arm): best_of(tuning, "lr", width=w, layers=d, arm=arm)
        for (w, d), arm in product(NETS, ARMS)
    }


def tuning_tasks(_load: object) -> list[Task]:
    """Return a task for each net, arm, rate and tuning seed."""
    return [
        {"width": w, "layers": d, "arm": arm, "lr": lr, "seed": s}
        for (w, d), arm, lr, s in product(NETS, ARMS, GRID, TUNING_SEEDS)
    ]


def test_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each net, arm and seed, at the chosen rate."""
    best = best_rates(load_table("tuning"))
    return [
        {"width": w, "layers": d, "arm": arm, "lr": best[w, d, arm], "seed": s}
        | {"steps": STEPS}
        for (w, d), arm, s in product(NETS, ARMS, SEEDS)
    ]


def reduced_tasks(_load: object) -> list[Task]:
    """Return the tasks of the reduced form."""
    return [
        {"width": 32, "layers": 3, "arm": arm, "lr": 0.03, "seed": s}
        | {"steps": REDUCED_STEPS}
        for arm, s in product(ARMS, SEEDS[:2])
    ]


STAGES = (
    Stage("tuning", validate, tuning_tasks, choosing=True),
    Stage("trained", train, test_tasks),
    Stage("reduced", train, reduced_tasks),
)
TOLERANCES = {"accuracy": 0.02} | {f"under_{x:g}": 0.021 for x in NEAR_ZERO}


# --- reading the tables, and the claims -----------------------------------------------


def of_arm(width: int, layers: int, arm: str, column: str = "accuracy") -> np.ndarray:
    """Return a column of the test runs, one value per seed."""
    own = rows_where(load("affine", "trained"), width=width, layers=layers, arm=arm)
    return own[column]


def claims() -> list[Claim]:
    """Judge the claims by the stored table; the rules were set before the run."""
    percent = {(net, arm): 100 * of_arm(*net, arm) for net, arm in product(NETS, ARMS)}
    names = {net: f"width {net[0]}, {net[1]} layers" for net in NETS}
    rows = []
    for rival, words in (
        ("weights", "as many weights chosen at random"),
        ("output", "the output layer"),
    ):
        gain = {names[n]: percent[n, "affine"] - percent[n, rival] for n in NETS}
        effect = "; ".join(
            f"{names[n]}: {spread(percent[n, 'affine'], 0)} % against "
            f"{spread(percent[n, rival], 0)} %, gain {spread(gain[names[n]], 1)}"
            for n in NETS
        )
        rows += [
            _claim(
                f"Training gamma and beta alone beats training {words}, by {points} "
                "points",
                effect,
                medians_at_least(gain, points, "the gain in points", "for"),
            )
            for points in POINTS
        ]
    for words, pairs in (
        ("width", {f"{d} layers": ((128, d), (32, d)) for d in (3, 9)}),
        ("depth", {f"width {w}": ((w, 9), (w, 3)) for w in (32, 128)}),
    ):
        more = {
            where: percent[big, "affine"] - percent[small, "affine"]
            for where, (big, small) in pairs.items()
        }
        effect = ", ".join(f"{spread(v, 1)} at {where}" for where, v in more.items())
        rows.append(
            _claim(
                f"What gamma and beta alone reach grows with {words}",
                f"points, large minus small: {effect}",
                medians_at_least(more, MORE, "the gain in points"),
            )
        )
    wide = [net for net in NETS if net[0] == 128]
    share = {
        limit: np.mean([of_arm(*n, "affine", f"under_{limit:g}") for n in wide], 0)
        for limit in NEAR_ZERO
    }
    effect = ", ".join(
        f"under {limit:g}: {spread(100 * v, 1)} %" for limit, v in share.items()
    )
    return [
        *rows,
        _claim(
            "A third of the gammas end near 0 when only gamma and beta are trained",
            f"share of |gamma|, width 128, mean of both depths: {effect}",
            median_at_least(
                share[NEAR_ZERO[0]], THIRD, TENTH, f"the share under {NEAR_ZERO[0]:g}"
            ),
        ),
    ]


def _claim(claim: str, effect: str, judged: Verdict) -> Claim:
    setting = f"random nets without skips, {STEPS} steps of Adam, each arm's own rate"
    return Claim(claim, "frankle2021", setting, effect, judged, "ch-depth", SEEDS)
