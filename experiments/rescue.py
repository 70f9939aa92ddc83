"""How much of batch norm's speed-up is rescue? The control of the classic experiment.

Protocol, written before the first run
--------------------------------------
Source. `experiments.classic` compares nets that start small (standard deviation 0.05)
at a low learning rate (0.01). A first control gave the plain net a good start and a
tuned rate at once, tuned for accuracy only, and was judged at 90 percent only. It found
median ratios of steps, plain to batch norm, of 2.5, 1.7 and 1.3 at 80, 90 and 95
percent for ReLU, and of 10 and 2.0 at 80 and 90 percent for sigmoid. These numbers were
known when this protocol was written; it replaces that control.

Nets. Those of `experiments.classic`: 784-100-100-100-10, ReLU or sigmoid, plain or with
batch norm before each activation. Two starts: "small", 0.05 in every layer; "good", He
weights for ReLU and LeCun weights for sigmoid. Three rates: "low", 0.01; "end" and
"speed", chosen for each net and each start by the two criteria below. So one thing can
be changed at a time. Small weights at the low rate are the runs of the classic table.

Data. The embedded MNIST subset: 7,000 images to train, 1,000 to validate, 2,000 to
test. float32.

Seeds. 0 to 4, which draw weights and batches as in `experiments.classic`: compared nets
start from the same weights and see the same batches. Tuning seeds 100 and 101, used for
nothing else. Trial runs, to see where the grid must end, used seed 200.

Tuning. `GRID`, 5,000 steps, validation images, mean of the two tuning seeds. "end": the
best accuracy over the steps 4,000 to 5,000. "speed": fewest steps to 90 percent, ties
(never reached, too) by the larger area. The grid reaches from rates at which each net
stays under 50 percent to rates at which it does so again; a test looks. (The first run
began at 0.0001, where three of the nets with batch norm were still above; 0.00001 was
added, and the tuning run again. No chosen rate changed.)

Metric. Test accuracy in evaluation mode at the steps of `evaluation_steps`. Of these:
the first step at 80, 90 and 95 percent; the area, which is the mean accuracy over the
first 1,000 steps; the end, which is the mean accuracy over the steps 9,000 to 10,000.
Low rates run 50,000 steps, tuned rates 10,000. A ratio of steps is that of a pair with
one seed. Never against a number is infinite, a number against never 0, never against
never 1.

Decomposition. Start, rate ("speed") and batch norm are three switches; all eight nets
are measured. Walking from the plain net with small weights at the low rate to the net
that has all three, each switch divides the steps to an accuracy by a factor; in log2
the factors add up to the whole. What a switch takes away depends on the order, so all
six orders are given. A run that never arrives counts as its last step, and the count of
such runs is given. Rescue is what start and rate take away before batch norm. ReLU is
judged at 90 percent; sigmoid at 80, because the classic plain net never reaches 90.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. 300 steps, seeds 0 and 1, good start at the low rate, the four nets.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import numpy as np

from bnlib import data
from bnlib.layers import Module
from bnlib.training import accuracy, fit
from experiments import classic
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    all_or_some,
    first_reached,
    mean_between,
    medians_at_least,
    ratio,
    rows_where,
    spread,
)
from experiments.classic import BATCH_SIZE, GOOD_INIT, LR, NETS, SEEDS, SMALL
from experiments.runner import Row, Stage, Task, load

TUNING_SEEDS = (100, 101)
GRID = (1e-5, 1e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
TUNING_STEPS, TUNED_STEPS, REDUCED_STEPS, BAND = 5_000, 10_000, 300, 1_000
STARTS, CRITERIA, SHARES = ("small", "good"), ("end", "speed"), (0.8, 0.9, 0.95)
SWITCHES = ("start", "rate", "batch norm")
JUDGED_AT = {"relu": 0.9, "sigmoid": 0.8}  # the decomposition
ASKED = ("end", "to90", "area")  # what the two criteria ask of a validation curve
NAMES = {"relu": "ReLU", "sigmoid": "sigmoid"}


def evaluation_steps(steps: int) -> list[int]:
    """Return the steps at which nets are evaluated: every second one at first."""
    early = [*range(2, 40, 2), *range(40, 100, 5)]
    return sorted({*early, *classic.evaluation_steps(steps)} & {*range(steps + 1)})


def train(
    activation: str,
    norm: str,
    start: str,
    lr: float,
    seed: int,
    steps: int,
    images: str = "test",
) -> list[Row]:
    """Train one net; return a row for each evaluation."""
    x, y = data.load_mnist10k("train")
    judged = data.load_mnist10k(images)
    init = SMALL if start == "small" else GOOD_INIT[activation]
    model = classic.build(activation, norm, init, seed)
    net = {"activation": activation, "norm": norm, "start": start, "lr": lr}
    rows: list[Row] = []

    def evaluate(step: int, _: Module) -> None:
        share = accuracy(model, *judged)
        rows.append(net | {"seed": seed, "step": step, "accuracy": share})

    with np.errstate(over="ignore", invalid="ignore"):  # a net may diverge
        fit(
            model,
            x,
            y,
            steps=steps,
            lr=lr,
            batch_size=BATCH_SIZE,
            rng=np.random.default_rng([seed, 1]),
            eval_at=evaluation_steps(steps),
            callback=evaluate,
        )
    return rows


def validate(activation: str, norm: str, start: str, lr: float, seed: int) -> list[Row]:
    """Train one net; return what the two criteria ask of its validation accuracy."""
    rows = train(activation, norm, start, lr, seed, TUNING_STEPS, "validation")
    curve = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    row = {"activation": activation, "norm": norm, "start": start, "lr": lr}
    row |= {"seed": seed, "end": round(end(curve).item(), 4)}
    row["area"] = round(area(curve).item(), 4)
    return [row | {"to90": first_reached(curve, 0.9).item()}]


def area(curve: Table) -> np.ndarray:
    """Return for each seed the mean accuracy over the first 1,000 steps."""
    return mean_between(curve, 0, BAND)


def end(curve: Table) -> np.ndarray:
    """Return for each seed the mean accuracy over the last 1,000 steps."""
    stop = curve["step"].max()
    return mean_between(curve, stop - BAND, stop)


# --- the stages -----------------------------------------------------------------------


def best_rates(tuning: Table) -> dict[tuple[str, str, str, str], float]:
    """Return for each (activation, norm, start, criterion) its learning rate."""
    best = {}
    for (activation, norm), start in product(NETS, STARTS):
        net = rows_where(tuning, activation=activation, norm=norm, start=start)
        mean = {k: {r: rows_where(net, lr=r)[k].mean() for r in GRID} for k in ASKED}
        best[activation, norm, start, "end"] = max(GRID, key=mean["end"].__getitem__)
        order = {r: (mean["to90"][r], -mean["area"][r]) for r in GRID}
        best[activation, norm, start, "speed"] = min(GRID, key=order.__getitem__)
    return best


def tuning_tasks(_load: object) -> list[Task]:
    """Return a task for each net, start, learning rate and tuning seed."""
    return [
        {"activation": a, "norm": n, "start": start, "lr": lr, "seed": s}
        for (a, n), start, lr, s in product(NETS, STARTS, GRID, TUNING_SEEDS)
    ]


def cell_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each net, start, rate and seed; equal rates run once."""
    best, tasks = best_rates(load_table("tuning")), []
    for (a, n), start in product(NETS, STARTS):
        lrs = {best[a, n, start, criterion] for criterion in CRITERIA}
        if start == "good":  # the small start at the low rate is in the classic table
            lrs.add(LR)
        for lr, seed in product(sorted(lrs), SEEDS):
            steps = classic.STEPS if lr == LR else TUNED_STEPS
            task = {"activation": a, "norm": n, "start": start, "lr": lr}
            tasks.append(task | {"seed": seed, "steps": steps})
    return tasks


def reduced_tasks(_load: object) -> list[Task]:
    """Return the tasks of the reduced form."""
    return [
        {"activation": a, "norm": n, "start": "good", "lr": LR, "seed": s}
        | {"steps": REDUCED_STEPS}
        for (a, n), s in product(NETS, SEEDS[:2])
    ]


STAGES = (
    Stage("tuning", validate, tuning_tasks, choosing=True),
    Stage("cells", train, cell_tasks),
    Stage("reduced", train, reduced_tasks),
)
TOLERANCES = {"accuracy": 0.01}  # 20 of 2,000 images, as in the classic experiment


# --- reading the tables ---------------------------------------------------------------


def curves(activation: str, norm: str, start: str, rate: str) -> Table:
    """Return the rows of one net of the control.

    Parameters
    ----------
    activation, norm : str
        As in `classic.NETS`.
    start : {"small", "good"}
        Initial weights.
    rate : {"low", "end", "speed"}
        0.01, or tuned by a criterion for this net and this start.

    Returns
    -------
    rows : dict of str to ndarray
        With the columns ``seed``, ``step`` and ``accuracy``.
    """
    net = {"activation": activation, "norm": norm}
    if (start, rate) == ("small", "low"):
        return rows_where(load("classic", "curves"), **net)
    best = best_rates(load("rescue", "tuning")) if rate != "low" else {}
    lr = best.get((activation, norm, start, rate), LR)
    return rows_where(load("rescue", "cells"), **net, start=start, lr=lr)


def pair(
    activation: str, start: str, rate: str, of: Callable[..., np.ndarray], *more: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a number of each seed's plain net, and of its net with batch norm."""
    plain, batch = (
        of(curves(activation, norm, start, rate), *more) for norm in ("none", "batch")
    )
    return plain, batch


def cube(activation: str, share: float) -> dict[frozenset[str], np.ndarray]:
    """Return log2 of the steps to an accuracy, one per seed, for each set of switches.

    A run that never arrives counts as its last step.
    """
    logs = {}
    for start, rate, norm in product(STARTS, ("low", "speed"), ("none", "batch")):
        on = (start == "good", rate == "speed", norm == "batch")
        own = curves(activation, norm, start, rate)
        steps = np.minimum(first_reached(own, share), own["step"].max())
        logs[frozenset(np.array(SWITCHES)[[*on]].tolist())] = np.log2(steps)
    return logs


def walk(
    logs: dict[frozenset[str], np.ndarray], order: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return what each switch takes away of log2 steps when they come in an order."""
    parts, on = {}, frozenset[str]()
    for switch in order:
        parts[switch] = logs[on] - logs[on | {switch}]
        on |= {switch}
    return parts


def walks(activation: str, share: float) -> dict[tuple[str, ...], dict]:
    """Return the parts of each of the six orders."""
    logs = cube(activation, share)
    return {order: walk(logs, order) for order in permutations(SWITCHES)}


def percent(parts: dict[str, np.ndarray], *switches: str) -> np.ndarray:
    """Return how many percent of the whole some switches take away, one per seed."""
    some = np.sum([parts[s] for s in switches], axis=0)
    with np.errstate(invalid="ignore"):  # 0 of 0 is nan: no whole, no share
        return 100 * some / np.sum([*parts.values()], axis=0)


def good_rates(activation: str, norm: str, start: str) -> int:
    """Count the rates of the grid whose end is within 2 points of the best."""
    net = {"activation": activation, "norm": norm, "start": start}
    own = rows_where(load("rescue", "tuning"), **net)
    means = np.array([rows_where(own, lr=lr)["end"].mean() for lr in GRID])
    return int((means > means.max() - 0.02).sum())


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    return [*speed_claims(), *tuned_claims(), *alone_claims(), *share_claims()]


def _claim(claim: str, setting: str, effect: str, judged: Verdict) -> Claim:
    source = "control of this book"
    return Claim(claim, source, setting, effect, judged, "ch-classic", SEEDS)


def _both(values: dict[str, np.ndarray], digits: int = 0) -> str:
    return ", ".join(f"{NAMES[a]} {spread(v, digits)}" for a, v in values.items())


def speed_claims() -> list[Claim]:
    """Judge the speed-up with a good start, for both nets and both criteria."""
    rows = []
    for activation, rate in product(NAMES, CRITERIA):
        values = {
            f"{100 * share:.0f} %": ratio(
                *pair(activation, "good", rate, first_reached, share)
            )
            for share in SHARES
        }
        effect = ", ".join(f"{spread(v, 1)} at {at}" for at, v in values.items())
        rows.append(
            _claim(
                f"The {NAMES[activation]} net needs half the steps with batch norm, "
                f"also with a good start and a rate tuned for {rate}",
                f"good start, each net's own rate, tuned for {rate}",
                f"steps, plain / batch norm: {effect}",
                medians_at_least(values, 2, "the ratio of steps"),
            )
        )
    return rows


def tuned_claims() -> list[Claim]:
    """Judge area, end and width of the search, with a good start and a tuned rate."""
    early, late = (
        {a: 100 * np.diff(pair(a, "good", rate, of), axis=0)[0] for a in NAMES}
        for rate, of in (("speed", area), ("end", end))
    )
    counts = {net: good_rates(*net, "good") for net in NETS}
    width = {a: np.array([counts[a, "batch"] - counts[a, "none"]]) for a in NAMES}
    rates = "; ".join(
        f"{NAMES[a]} {counts[a, 'none']} plain, {counts[a, 'batch']} batch norm"
        for a in NAMES
    )
    wider = _claim(
        "With batch norm more learning rates end well",
        "good start, validation images",
        f"rates within 2 points of the net's best, of {len(GRID)}: {rates}",
        medians_at_least(_named(width), 2, "the number of such rates gained", "for"),
    )
    return [
        _claim(
            "Batch norm raises the mean accuracy over the first 1,000 steps",
            "good start, each net's own rate, tuned for speed",
            f"points gained: {_both(early, 1)}",
            all_or_some({f"{_net(a)} gains over 1 point": early[a].min() > 1
                         for a in NAMES}),
        ),
        _claim(
            "Batch norm raises the accuracy at the end",
            "good start, each net's own rate, tuned for end",
            f"points gained, steps 9,000 to 10,000: {_both(late, 1)}",
            all_or_some({f"{_net(a)} gains over 0.5 points": late[a].min() > 0.5
                         for a in NAMES}),
        ),
        wider._replace(seeds=TUNING_SEEDS, source="ioffe2015"),
    ]  # fmt: skip


def _net(activation: str) -> str:
    return f"the {NAMES[activation]} net"


def _named(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {_net(a): v for a, v in values.items()}


def alone_claims() -> list[Claim]:
    """Judge what start and rate do alone, one change at a time."""
    rows = []
    for switch, words in (("start", "A good start"), ("rate", "A tuned rate")):
        factor = {}
        for a in NAMES:
            logs = cube(a, JUDGED_AT[a])
            factor[a] = 2 ** (logs[frozenset()] - logs[frozenset({switch})])
        rows.append(
            _claim(
                f"{words} alone halves the steps of the plain net",
                "plain net, one change (ReLU to 90 %, sigmoid to 80 %)",
                f"steps before / after: {_both(factor, 1)}",
                medians_at_least(_named(factor), 2, "the ratio of steps", "for"),
            )
        )
    return rows


def share_claims() -> list[Claim]:
    """Judge the decomposition: what comes before batch norm, and batch norm first."""
    forms = (
        ("Start and rate, before batch norm, give", SWITCHES, SWITCHES[:2]),
        ("Batch norm, before start and rate, gives", SWITCHES[::-1], SWITCHES[2:]),
    )
    rows = []
    for words, order, switches in forms:
        share = {
            a: percent(walk(cube(a, JUDGED_AT[a]), order), *switches) for a in NAMES
        }
        rows.append(
            _claim(
                f"{words} more than half of the whole speed-up",
                "eight nets: start, rate, batch norm (ReLU to 90 %, sigmoid to 80 %)",
                f"percent of the whole, in log2 of steps: {_both(share)}",
                all_or_some({f"more than 50 % for {_net(a)}": share[a].min() > 50
                             for a in NAMES}),
            )
        )  # fmt: skip
    return rows
