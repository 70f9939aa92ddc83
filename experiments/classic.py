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

Control. The claim of a large speed-up is compared with a plain net that was given a
fair chance: He weights (ReLU) or LeCun weights (sigmoid), and for each net, with and
without batch norm, the learning rate of `GRID` with the best mean validation accuracy
after 5,000 steps, seeds 100 and 101. Then seeds 0 to 4, 20,000 steps, test accuracy.

What would refute the claims is written beside each of them in `claims`.

Reduced form. 300 steps, seeds 0 and 1, small weights, the four nets; stored and run
again by the tests.
"""

from __future__ import annotations

import time

import numpy as np

from bnlib import data
from bnlib import functional as F
from bnlib.layers import Module
from bnlib.training import SGD, accuracy, activations, fit, mlp
from experiments.runner import Row, load, run_tasks

SIZES = (784, 100, 100, 100, 10)
BATCH_SIZE, SMALL, LR = 60, 0.05, 0.01
SEEDS, TUNING_SEEDS = (0, 1, 2, 3, 4), (100, 101)
STEPS, TUNING_STEPS, CONTROL_STEPS, REDUCED_STEPS = 50_000, 5_000, 20_000, 300
GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
GOOD_INIT = {"relu": "he", "sigmoid": "lecun"}
NETS = [(a, n) for a in ("relu", "sigmoid") for n in ("none", "batch")]
SPEED_ROUNDS, SPEED_STEPS = 15, 100
PROBES = {100, 200, 500, *range(1000, 10_000, 1000), *range(10_000, STEPS + 1, 2500)}


def build(activation: str, norm: str, init: str | float, seed: int) -> Module:
    """Return the net of the protocol."""
    rng = np.random.default_rng(seed)
    norm = None if norm == "none" else norm
    return mlp(SIZES, rng=rng, activation=activation, norm=norm, init=init)


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

    def evaluate(step: int, model: Module) -> None:
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


def percentiles(model: Module, x: np.ndarray, step: int) -> Row:
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


def validate(activation: str, norm: str, lr: float, seed: int) -> list[Row]:
    """Train one net of the control; return its validation accuracy."""
    x, y = data.load_mnist10k("train")
    x_validation, y_validation = data.load_mnist10k("validation")
    model = build(activation, norm, GOOD_INIT[activation], seed)
    with np.errstate(over="ignore", invalid="ignore"):
        fit(
            model,
            x,
            y,
            steps=TUNING_STEPS,
            lr=lr,
            batch_size=BATCH_SIZE,
            rng=np.random.default_rng([seed, 1]),
        )
        share = accuracy(model, x_validation, y_validation)
    row = {"activation": activation, "norm": norm, "lr": lr, "seed": seed}
    return [row | {"validation_accuracy": share}]


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


def best_rates(tuning: list[Row]) -> dict[tuple[str, str], float]:
    """Return for each net the learning rate with the best mean validation accuracy."""
    best = {}
    for net in NETS:
        rows = [r for r in tuning if (r["activation"], r["norm"]) == net]
        means = {
            lr: np.mean([r["validation_accuracy"] for r in rows if r["lr"] == lr])
            for lr in GRID
        }
        best[net] = max(means, key=means.get)
    return best


def run(jobs: int = 1, dask: str | None = None) -> dict[str, list[Row]]:
    """Run the whole protocol; return the tables."""
    names = ("activation", "norm")
    print("classic: the speed of a step")
    tables = {"speed": speed()}
    print("classic: 50,000 steps with small weights")
    small = {"init": SMALL, "lr": LR, "steps": STEPS}
    tasks = [dict(zip(names, net, strict=True)) | small for net in NETS]
    tables["curves"] = run_tasks(
        train, [t | {"seed": s} for t in tasks for s in SEEDS], jobs, dask
    )
    print("classic: the control, learning rates on the validation images")
    nets = [dict(zip(names, net, strict=True)) for net in NETS]
    tables["tuning"] = run_tasks(
        validate,
        [n | {"lr": lr, "seed": s} for n in nets for lr in GRID for s in TUNING_SEEDS],
        jobs,
        dask,
    )
    print("classic: the control, tuned nets")
    best = best_rates(tables["tuning"])
    tasks = [
        {
            "activation": a,
            "norm": n,
            "init": GOOD_INIT[a],
            "lr": best[a, n],
            "seed": s,
            "steps": CONTROL_STEPS,
        }
        for a, n in NETS
        for s in SEEDS
    ]
    tables["control"] = run_tasks(train, tasks, jobs, dask)
    tables["reduced"] = reduced()
    return tables


def reduced() -> list[Row]:
    """Run the reduced form of the protocol."""
    return [
        row
        for activation, norm in NETS
        for seed in SEEDS[:2]
        for row in train(activation, norm, SMALL, LR, seed, REDUCED_STEPS)
    ]


# --- reading the tables ---------------------------------------------------------------


def steps_to(table: dict[str, np.ndarray], share: float) -> dict[tuple, np.ndarray]:
    """Return for each net the first evaluated step at an accuracy, one per seed.

    Parameters
    ----------
    table : dict of str to ndarray
        ``classic_curves`` or ``classic_control``.
    share : float
        Accuracy, 0 to 1.

    Returns
    -------
    steps : dict of (activation, norm) to ndarray of shape (seeds,)
        inf where it was not reached.
    """
    steps = {}
    for net in NETS:
        own = (table["activation"] == net[0]) & (table["norm"] == net[1])
        steps[net] = np.array(
            [
                min(
                    table["step"][
                        own & (table["seed"] == seed) & (table["accuracy"] >= share)
                    ],
                    default=np.inf,
                )
                for seed in SEEDS
            ]
        )
    return steps


def final(table: dict[str, np.ndarray], column: str = "accuracy") -> dict:
    """Return for each net the last value of a column, one per seed."""
    last = table["step"] == table["step"].max()
    return {
        net: table[column][
            last & (table["activation"] == net[0]) & (table["norm"] == net[1])
        ]
        for net in NETS
    }


def width_growth(table: dict[str, np.ndarray]) -> dict[tuple, np.ndarray]:
    """Return how many times the 15-85 width grows from step 100 to the end."""
    width = {**table, "width": table["p85"] - table["p15"]}
    early = {key: values[table["step"] <= 100] for key, values in width.items()}
    end, start = final(width, "width"), final(early, "width")
    return {net: end[net] / start[net] for net in NETS}


def step_milliseconds() -> dict[tuple[str, str], float]:
    """Return the stored duration of a training step of each net."""
    table = load("classic_speed")
    nets = zip(table["activation"], table["norm"], strict=True)
    return dict(zip(nets, table["median_ms"], strict=True))


def claims() -> list[Row]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    curves, control = load("classic_curves"), load("classic_control")
    ms = step_milliseconds()
    relu, sigmoid = (("relu", "none"), ("relu", "batch")), NETS[2:]
    to80, to90 = steps_to(curves, 0.8), steps_to(curves, 0.9)
    tuned90, ends = steps_to(control, 0.9), final(curves)
    tuned_ends, growth = final(control), width_growth(curves)
    small, good = "small weights, lr 0.01", "He or LeCun weights, tuned lr"

    ratio = _ratio(to90, *relu)
    wall = ratio * ms["relu", "none"] / ms["relu", "batch"]
    tuned_relu, tuned_sigmoid = _ratio(tuned90, *relu), _ratio(tuned90, *sigmoid)
    gap = {a: ends[a, "batch"] - ends[a, "none"] for a in GOOD_INIT}
    tuned_gap = tuned_ends["relu", "batch"] - tuned_ends["relu", "none"]
    return [
        _claim(
            "A ReLU net needs far fewer steps with batch norm",
            "neerc2019; ioffe2015",
            small,
            f"steps to 90 %, plain / batch norm: {_spread(ratio)}",
            _grade(np.median(ratio), 5, 2),
        ),
        _claim(
            "It is faster in seconds, too, although each step costs more",
            "neerc2019",
            small,
            f"seconds to 90 %, plain / batch norm: {_spread(wall)}",
            _grade(np.median(wall), 2, 1),
        ),
        _claim(
            "A plain sigmoid net needs tens of thousands of steps to 80 %; "
            "with batch norm 90 % comes early",
            "neerc2019; ioffe2015",
            small,
            f"plain to 80 %: {_spread(to80['sigmoid', 'none'])} steps; "
            f"batch norm to 90 %: {_spread(to90['sigmoid', 'batch'])} steps",
            "reproduced"
            if to80["sigmoid", "none"].min() > 20_000
            and to90["sigmoid", "batch"].max() < 10_000
            else "not at this size",
        ),
        _claim(
            "The final accuracy is higher with batch norm",
            "ioffe2015",
            small,
            f"points after 50,000 steps: ReLU {_spread(100 * gap['relu'], 1)}, "
            f"sigmoid {_spread(100 * gap['sigmoid'], 1)}",
            _all_or_some([gap["relu"].min() > 0, gap["sigmoid"].min() > 0]),
        ),
        _claim(
            "Batch norm keeps the input of the last activation stable",
            "ioffe2015",
            small,
            f"growth of the 15-85 width: ReLU {_spread(growth['relu', 'none'], 1)} "
            f"plain, {_spread(growth['relu', 'batch'], 1)} batch norm; sigmoid "
            f"{_spread(growth['sigmoid', 'none'], 1)} plain, "
            f"{_spread(growth['sigmoid', 'batch'], 1)} batch norm",
            _all_or_some(
                [
                    growth[a, "none"].min() > 3 * growth[a, "batch"].max()
                    for a in GOOD_INIT
                ]
            ),
        ),
        _claim(
            "The speed-up of the ReLU net remains with good start and tuned rate",
            "control of this book",
            good,
            f"steps to 90 %, plain / batch norm: {_spread(tuned_relu, 1)}",
            _grade(np.median(tuned_relu), 5, 2),
        ),
        _claim(
            "The speed-up of the sigmoid net remains with good start and tuned rate",
            "control of this book",
            good,
            f"steps to 90 %, plain / batch norm: {_spread(tuned_sigmoid, 1)}",
            _grade(np.median(tuned_sigmoid), 5, 2),
        ),
        _claim(
            "The tuned ReLU net ends higher with batch norm",
            "control of this book",
            good,
            f"points after 20,000 steps: {_spread(100 * tuned_gap, 1)}",
            _all_or_some([tuned_gap.min() > 0]),
        ),
    ]


def _ratio(steps: dict[tuple, np.ndarray], plain: tuple, batch: tuple) -> np.ndarray:
    return steps[plain] / steps[batch]


def _spread(values: np.ndarray, digits: int = 0) -> str:
    """Write the median and the range over the seeds."""
    numbers = (np.median(values), np.min(values), np.max(values))
    words = [f"{v:,.{digits}f}" if np.isfinite(v) else "never" for v in numbers]
    return "{} ({} to {})".format(*words)


def _grade(value: float, full: float, part: float) -> str:
    if value >= full:
        return "reproduced"
    return "partly" if value >= part else "not at this size"


def _all_or_some(facts: list[bool]) -> str:
    if all(facts):
        return "reproduced"
    return "partly" if any(facts) else "not at this size"


def _claim(claim: str, source: str, setting: str, effect: str, verdict: str) -> Row:
    return {
        "claim": claim,
        "source": source,
        "kind": "measured here, seeds 0 to 4",
        "setting": setting,
        "effect": effect,
        "verdict": verdict,
        "chapter": "ch-classic",
    }
