"""The classic experiment: three hidden layers of 100 on handwritten digits.

Protocol, written before the first run
--------------------------------------
Source. Ioffe and Szegedy (2015), section 4.1, and the page this book grew from: a net
784-100-100-100-10, batches of 60, plain gradient descent, 50,000 updates. The paper
says "small random Gaussian values"; the page's example has learning rate 0.01 and
standard deviation 0.05. Batch norm stands before each activation; the linear layers
under it have no bias.

Data. The embedded MNIST subset: 7,000 images to train, 1,000 to validate, 2,000 to
test. float32.

Seeds. 0 to 4. A seed draws the initial weights and, from a second generator, the order
of the batches. The nets with and without batch norm start from the same weights and see
the same batches.

Metric. Test accuracy in evaluation mode at the steps of `evaluation_steps`; the first
of these at which 80 and 90 percent are reached. At the steps of `PROBES`, on 1,000
validation images in evaluation mode: the 15th, 50th and 85th percentiles over the
images of each input of the last hidden activation; of these the median over the 100
units, and unit 0 as one example.

Speed. Milliseconds for a training step, the four nets in turn in one process, median of
`SPEED_ROUNDS` rounds. Seconds in the book are steps times this number.

Control. What is left of the speed-up when the plain net gets a fair chance is another
experiment: `experiments.rescue`. It replaced a first control that stood here.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. 300 steps, seeds 0 and 1, small weights, the four nets; stored and run
again by the tests.
"""

from __future__ import annotations

import time

import numpy as np

from bnlib import data
from bnlib import functional as F
from bnlib.layers import Module, Sequential
from bnlib.training import SGD, accuracy, activations, fit, mlp
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    all_or_some,
    all_together,
    at_last_step,
    first_reached,
    median_at_least,
    spread,
)
from experiments.runner import Row, Stage, Task, load

SIZES = (784, 100, 100, 100, 10)
BATCH_SIZE, SMALL, LR = 60, 0.05, 0.01
SEEDS = (0, 1, 2, 3, 4)
STEPS, REDUCED_STEPS = 50_000, 300
GOOD_INIT = {"relu": "he", "sigmoid": "lecun"}
NETS = [(a, n) for a in ("relu", "sigmoid") for n in ("none", "batch")]
SPEED_ROUNDS, SPEED_STEPS = 15, 100
PROBES = {100, 200, 500, *range(1000, 10_000, 1000), *range(10_000, STEPS + 1, 2500)}


def build(activation: str, norm: str, init: str | float, seed: int) -> Sequential:
    """Return the net of the protocol."""
    rng = np.random.default_rng(seed)
    kind = None if norm == "none" else norm
    return mlp(SIZES, rng=rng, activation=activation, norm=kind, init=init)


def evaluation_steps(steps: int) -> list[int]:
    """Return the steps at which nets are evaluated: dense at first, then sparser."""
    grid = [*range(10, 200, 10), *range(200, 1000, 50), *range(1000, 10_000, 250)]
    grid += range(10_000, STEPS + 1, 500)
    return [step for step in grid if step <= steps]


def train(
    activation: str, norm: str, init: str | float, lr: float, seed: int, steps: int
) -> list[Row]:
    """Train one net; return a row for each evaluation."""
    x, y = data.load_mnist10k("train")
    x_probe, _ = data.load_mnist10k("validation")
    x_test, y_test = data.load_mnist10k("test")
    model = build(activation, norm, init, seed)
    rows: list[Row] = []

    def evaluate(step: int, _: Module) -> None:
        row = {"activation": activation, "norm": norm, "lr": lr, "seed": seed}
        row |= {"step": step, "accuracy": accuracy(model, x_test, y_test)}
        rows.append(row | percentiles(model, x_probe, step))

    with np.errstate(over="ignore", invalid="ignore"):  # a net may diverge
        history = fit(
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
    for row in rows:  # loss: mean of the 10 batches before the evaluation
        step = row["step"]
        row["loss"] = round(float(history.loss[step - 10 : step].mean()), 5)
    return rows


def percentiles(model: Sequential, x: np.ndarray, step: int) -> Row:
    """Return the percentiles of the last hidden activation's input, if step asks."""
    names = ("p15", "p50", "p85")
    if step not in PROBES:
        return dict.fromkeys([*names, *(f"{name}_unit0" for name in names)])
    model.eval()
    inputs = activations(model, x)[-3]  # then the activation and the output layer
    model.train()
    bands = np.percentile(inputs, (15, 50, 85), axis=0)  # (3, units)
    row = {n: round(float(np.median(b)), 5) for n, b in zip(names, bands, strict=True)}
    unit = {
        f"{n}_unit0": round(float(b[0]), 5) for n, b in zip(names, bands, strict=True)
    }
    return row | unit


def speed() -> list[Row]:
    """Time a training step of each net, in turn in this process."""
    x, y = data.load_mnist10k("train")
    rng = np.random.default_rng(0)
    batches = [rng.permutation(len(x))[:BATCH_SIZE] for _ in range(SPEED_STEPS)]
    models = {net: build(*net, SMALL, 0) for net in NETS}
    optimizers = {net: SGD(m.parameters(), LR) for net, m in models.items()}
    times: dict[tuple, list[float]] = {net: [] for net in NETS}
    for _ in range(SPEED_ROUNDS):
        for net, model in models.items():
            started = time.perf_counter()
            for i in batches:
                _, cache = F.cross_entropy(model(x[i]), y[i])
                optimizers[net].zero_grad()
                model.backward(F.cross_entropy_backward(cache), input_grad=False)
                optimizers[net].step()
            times[net].append((time.perf_counter() - started) / SPEED_STEPS * 1e3)
    return [
        {
            "activation": net[0],
            "norm": net[1],
            "median_ms": round(float(np.median(ms)), 4),
            "min_ms": round(min(ms), 4),
            "max_ms": round(max(ms), 4),
        }
        for net, ms in times.items()
    ]


# --- the stages -----------------------------------------------------------------------


def net_tasks(seeds: tuple[int, ...], **more: object) -> list[Task]:
    """Return a task for each net and seed."""
    return [
        {"activation": a, "norm": n, "seed": s} | more for a, n in NETS for s in seeds
    ]


SMALL_START = {"init": SMALL, "lr": LR}
STAGES = (
    Stage("speed", speed, lambda _: [{}], alone=True),
    Stage("curves", train, lambda _: net_tasks(SEEDS, **SMALL_START, steps=STEPS)),
    Stage(
        "reduced",
        train,
        lambda _: net_tasks(SEEDS[:2], **SMALL_START, steps=REDUCED_STEPS),
    ),
)
# How far rows of the reduced form may be from the stored ones: a step of training in
# float32 may differ in the last bits. 0.01 of the accuracy are 20 of 2,000 images.
TOLERANCES = {"accuracy": 0.01, "loss": 0.01, "p15": 0.02, "p50": 0.02, "p85": 0.02}
TOLERANCES |= {"p15_unit0": 0.02, "p50_unit0": 0.02, "p85_unit0": 0.02}


# --- reading the tables ---------------------------------------------------------------


def steps_to(table: Table, share: float) -> dict[tuple[str, str], np.ndarray]:
    """Return for each net the first evaluated step at an accuracy, one per seed.

    Parameters
    ----------
    table : dict of str to ndarray
        The table ``curves``.
    share : float
        Accuracy, 0 to 1.

    Returns
    -------
    steps : dict of (activation, norm) to ndarray of shape (seeds,)
        inf where it was not reached.
    """
    return {(a, n): first_reached(table, share, activation=a, norm=n) for a, n in NETS}


def final(table: Table, column: str = "accuracy") -> dict[tuple[str, str], np.ndarray]:
    """Return for each net the last value of a column, one per seed."""
    return {(a, n): at_last_step(table, column, activation=a, norm=n) for a, n in NETS}


def width_growth(table: Table) -> dict[tuple[str, str], np.ndarray]:
    """Return how many times the 15-85 width grows from step 100 to the end."""
    width = {**table, "width": table["p85"] - table["p15"]}
    early = {key: values[table["step"] <= 100] for key, values in width.items()}
    end, start = final(width, "width"), final(early, "width")
    return {net: end[net] / start[net] for net in NETS}


def step_milliseconds() -> dict[tuple[str, str], float]:
    """Return the stored duration of a training step of each net."""
    table = load("classic", "speed")
    nets = zip(table["activation"], table["norm"], strict=True)
    return dict(zip(nets, table["median_ms"], strict=True))


# --- the claims -----------------------------------------------------------------------


def _claim(
    claim: str, source: str, setting: str, effect: str, judged: Verdict
) -> Claim:
    return Claim(claim, source, setting, effect, judged, "ch-classic", SEEDS)


def claims() -> list[Claim]:
    """Judge what the paper and the page say, by the stored tables.

    The rules were set before the run.
    """
    curves, ms = load("classic", "curves"), step_milliseconds()
    to80, to90, ends = steps_to(curves, 0.8), steps_to(curves, 0.9), final(curves)
    growth = width_growth(curves)
    steps = to90["relu", "none"] / to90["relu", "batch"]
    seconds = steps * ms["relu", "none"] / ms["relu", "batch"]
    gap = {a: ends[a, "batch"] - ends[a, "none"] for a in GOOD_INIT}
    small = "small weights, lr 0.01"
    widths = {
        a: f"{spread(growth[a, 'none'], 1)} plain, {spread(growth[a, 'batch'], 1)} "
        "batch norm"
        for a in GOOD_INIT
    }
    return [
        _claim(
            "A ReLU net needs far fewer steps with batch norm",
            "neerc2019; ioffe2015",
            small,
            f"steps to 90 %, plain / batch norm: {spread(steps)}",
            median_at_least(steps, 5, 2),
        ),
        _claim(
            "It is faster in seconds, too, although each step costs more",
            "neerc2019",
            small,
            f"seconds to 90 %, plain / batch norm: {spread(seconds)}",
            median_at_least(seconds, 2, 1),
        ),
        _claim(
            "A plain sigmoid net needs tens of thousands of steps to 80 %; "
            "with batch norm 90 % comes early",
            "neerc2019; ioffe2015",
            small,
            f"plain to 80 %: {spread(to80['sigmoid', 'none'])} steps; "
            f"batch norm to 90 %: {spread(to90['sigmoid', 'batch'])} steps",
            all_together(
                {
                    "the plain net needs more than 20,000 steps to 80 %": bool(
                        to80["sigmoid", "none"].min() > 20_000
                    ),
                    "batch norm less than 10,000 to 90 %": bool(
                        to90["sigmoid", "batch"].max() < 10_000
                    ),
                }
            ),
        ),
        _claim(
            "The final accuracy is higher with batch norm",
            "ioffe2015",
            small,
            f"points after 50,000 steps: ReLU {spread(100 * gap['relu'], 1)}, "
            f"sigmoid {spread(100 * gap['sigmoid'], 1)}",
            all_or_some(
                {
                    "the ReLU net gains more than 0 points": gap["relu"].min() > 0,
                    "the sigmoid net gains more than 0": gap["sigmoid"].min() > 0,
                }
            ),
        ),
        _claim(
            "Batch norm keeps the input of the last activation stable",
            "ioffe2015",
            small,
            f"growth of the 15-85 width: ReLU {widths['relu']}; sigmoid "
            f"{widths['sigmoid']}",
            all_or_some(
                {
                    f"the {name} net's width grows more than 3 times as much without": (
                        growth[a, "none"].min() > 3 * growth[a, "batch"].max()
                    )
                    for a, name in (("relu", "ReLU"), ("sigmoid", "sigmoid"))
                }
            ),
        ),
    ]
