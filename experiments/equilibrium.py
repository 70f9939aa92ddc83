"""Weight decay on scale-invariant weights: the length at which they settle.

Protocol, written before the first run
--------------------------------------
Source. Van Laarhoven (2017) says that weight decay does not regularize weights that are
followed by batch norm: it sets their length, and so the rate at which their direction
moves. Wan et al. (2021) give the angle of an update at equilibrium, sqrt(2 lr wd). The
chapter derives both.

Nets. Those of `experiments.sphere` in float64, usual eps. Weight decay acts on the two
scale-invariant weights only; all other parameters have the rate 0.1 and no decay. Two
starts: He weights times 1 and times 0.1. Products lr * wd: 0 (no decay), 0.001, 0.002,
0.005, 0.01, at lr = 0.1. Second table: one product, 0.001, at the rates 0.03, 0.1, 0.3
and 1, from He weights (0.1 is in the first table). 3,000 steps of plain gradient
descent at constant rates.

Data. The embedded MNIST subset: 7,000 images to train, batches of 64; 2,000 to test.

Seeds. 0 to 4, which draw weights and batches as in `experiments.sphere`. Trial runs
with seed 100 chose products and steps, and saw what the claims say at 4,000 steps: at
0.0005 the weights had not settled then, so the smallest product here is 0.001.

Metric. Of each hidden layer every 100 steps: the length of its weights as one vector,
and the root of the mean square of the angle between its weights before and after an
update, over the 100 steps. "At the end" is the mean over the last ten such records
(1,000 steps). The effective rate is lr / |w|^2. Test accuracy in evaluation mode.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict. Angles count as settled at 0.9 to 1.1 times sqrt(2 lr wd); two starts have met
when their lengths differ by less than a tenth, and stay apart when one is twice the
other; effective rates agree when the largest is under 1.5 times the smallest.

Reduced form. Product 0.005 from He weights, seeds 0 and 1, 200 steps.
"""

from __future__ import annotations

from itertools import product
from math import nan

import numpy as np
import torch

from bnlib.pytorch.measure import angle
from experiments import nets
from experiments.claims import Claim, Verdict, all_or_some, rows_where, spread
from experiments.runner import Row, Stage, Task, load
from experiments.sphere import BATCH_SIZE, SEEDS, build, groups, sgd

PRODUCTS = (0.0, 0.001, 0.002, 0.005, 0.01)
GAINS, LR, LRS, ONE_PRODUCT = (0.1, 1.0), 0.1, (0.03, 0.1, 0.3, 1.0), 0.001
STEPS, REDUCED_STEPS, EVERY, LAST = 3_000, 200, 100, 10
LAYERS = (1, 2)


def train(seed: int, gain: float, lr: float, product: float, steps: int) -> list[Row]:
    """Train one net; return length, angle and accuracy every 100 steps."""
    model = build(seed, gain)
    hidden, _ = groups(model)
    before = [w.detach().clone() for w in hidden]
    squares, rows = np.zeros(len(hidden)), []
    test = nets.images("test", torch.float64)

    def watch(step: int) -> None:
        for i, w in enumerate(hidden):
            if step:
                squares[i] += angle(before[i], w).item() ** 2
            before[i].copy_(w.detach())
        if step % EVERY:
            return
        share = nets.accuracy(model, test)
        for i, w in enumerate(hidden):
            rows.append(
                {"seed": seed, "gain": gain, "lr": lr, "product": product}
                | {"step": step, "layer": i + 1, "length": w.detach().norm().item()}
                | {"angle": (float(squares[i]) / EVERY) ** 0.5 if step else nan}
                | {"accuracy": share}
            )
        squares[:] = 0

    nets.train(
        model,
        nets.images("train", torch.float64),
        sgd(model, lr, product / lr),
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
        call_at=range(steps + 1),
        callback=watch,
    )
    return rows


def tasks(
    products: tuple[float, ...],
    gains: tuple[float, ...],
    lrs: tuple[float, ...],
    seeds: tuple[int, ...],
    steps: int,
) -> list[Task]:
    """Return a task for each product, start, rate and seed."""
    return [
        {"seed": s, "gain": gain, "lr": lr, "product": p, "steps": steps}
        for p, gain, lr, s in product(products, gains, lrs, seeds)
    ]


STAGES = (
    Stage("meeting", train, lambda _: tasks(PRODUCTS, GAINS, (LR,), SEEDS, STEPS)),
    Stage(
        "rates",
        train,
        lambda _: tasks((ONE_PRODUCT,), (1.0,), (LRS[0], *LRS[2:]), SEEDS, STEPS),
    ),
    Stage(
        "reduced",
        train,
        lambda _: tasks((0.005,), (1.0,), (LR,), SEEDS[:2], REDUCED_STEPS),
    ),
)
# float64, 200 steps: lengths and angles keep seven digits; 5 of 2,000 images may flip
TOLERANCES = {"length": 1e-6, "angle": 1e-6, "accuracy": 0.0025}


# --- reading the tables ---------------------------------------------------------------


def series(table: str, column: str, layer: int, **wanted: float) -> np.ndarray:
    """Return a column of one setting and layer, one row of records for each seed."""
    own = rows_where(load("equilibrium", table), layer=layer, **wanted)
    return own[column].reshape(len(np.unique(own["seed"])), -1)


def at_end(table: str, column: str, layer: int, **wanted: float) -> np.ndarray:
    """Return the mean of a column over the last 1,000 steps, one per seed."""
    return series(table, column, layer, **wanted)[:, -LAST:].mean(axis=1)


def turned(p: float, gain: float, layer: int) -> np.ndarray:
    """Return the angle at the end over sqrt(2 lr wd), one per seed."""
    settled = at_end("meeting", "angle", layer, product=p, gain=gain)
    return settled / (2 * p) ** 0.5


def apart(p: float, layer: int) -> np.ndarray:
    """Return the larger of two lengths at the end over the smaller, one per seed."""
    both = [at_end("meeting", "length", layer, product=p, gain=g) for g in GAINS]
    return np.max(both, axis=0) / np.min(both, axis=0)


def effective_rates(layer: int) -> np.ndarray:
    """Return lr / |w|^2 at the end, for each rate (rows) and seed (columns)."""
    one = {"product": ONE_PRODUCT, "gain": 1.0}
    tables = {lr: "meeting" if lr == LR else "rates" for lr in LRS}
    lengths = [
        at_end(table, "length", layer, lr=lr, **one) for lr, table in tables.items()
    ]
    return np.array(LRS)[:, None] / np.square(lengths)


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    decays = PRODUCTS[1:]
    angles = {
        p: np.array([turned(p, g, k) for g, k in product(GAINS, LAYERS)])
        for p in decays
    }
    ratios = {p: np.array([apart(p, k) for k in LAYERS]) for p in PRODUCTS}
    rates = [
        np.max(r, axis=0) / np.min(r, axis=0) for r in map(effective_rates, LAYERS)
    ]
    both = "both layers from both starts"
    return [
        _claim(
            "Weight decay settles the angle of an update at sqrt(2 lr wd)",
            "wan2021; vanlaarhoven2017",
            f"{both}, lr {LR:g}, last 1,000 of {STEPS:,} steps",
            "angle / sqrt(2 lr wd): "
            + "; ".join(f"lr wd {p:g}: {spread(a, 3)}" for p, a in angles.items()),
            all_or_some({f"for lr wd {p:g} {both} lie between 0.9 and 1.1": bool(
                a.min() > 0.9 and a.max() < 1.1) for p, a in angles.items()}),
        ),
        _claim(
            "With weight decay two starts meet at one length",
            "vanlaarhoven2017",
            f"starts 1 and 0.1 times He, lr {LR:g}, {STEPS:,} steps",
            "longer / shorter at the end, both layers: "
            + "; ".join(f"lr wd {p:g}: {spread(ratios[p], 2)}" for p in decays),
            all_or_some({f"for lr wd {p:g} the lengths differ by less than a tenth "
                         "(ratio under 1.1)": bool(ratios[p].max() < 1.1)
                         for p in decays}),
        ),
        _claim(
            "Without weight decay the two starts stay apart",
            "vanlaarhoven2017",
            f"starts 1 and 0.1 times He, lr {LR:g}, {STEPS:,} steps",
            "longer / shorter at the end: "
            + "; ".join(f"layer {k} {spread(apart(0.0, k), 1)}" for k in LAYERS),
            all_or_some({f"the ratio of the lengths of layer {k} is over 2": bool(
                apart(0.0, k).min() > 2) for k in LAYERS}),
        ),
        _claim(
            "One product lr wd gives one effective rate, whatever the rate",
            "vanlaarhoven2017",
            f"lr wd {ONE_PRODUCT:g}, rates {', '.join(f'{r:g}' for r in LRS)}",
            "largest / smallest effective rate: "
            + "; ".join(f"layer {k} {spread(r, 2)}"
                        for k, r in zip(LAYERS, rates, strict=True)),
            all_or_some({f"the largest effective rate of layer {k} is under 1.5 times "
                         "the smallest": bool(r.max() < 1.5)
                         for k, r in zip(LAYERS, rates, strict=True)}),
        ),
    ]  # fmt: skip


def _claim(
    claim: str, source: str, setting: str, effect: str, judged: Verdict
) -> Claim:
    return Claim(claim, source, setting, effect, judged, "ch-scale-free", SEEDS)
