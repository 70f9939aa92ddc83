"""Which parameters of a net with batch norm should decay.

Protocol, written before the first run
--------------------------------------
Source. Van Laarhoven (2017) says that weight decay on weights before a batch norm does
not regularize. Summers and Dinneen (2020) report that decay of scale and shift
sometimes helps; common recipes exempt them. Each arm here is tuned, so that decay on
the scale-invariant weights must show more than another rate would.

Nets. 784-64-64-10, ReLU, batch norm before each activation, He weights, plain gradient
descent for 1,000 steps, the rate falling to 0 along half a cosine. float32.

Arms. What decays: "none"; "weights", the two scale-invariant weights; "scale", scale
and shift of both batch norms; "both"; and beside this 2 x 2 grid "head", the weight of
the output layer. The output's bias never decays. In the arm "own rate" nothing decays
either, but the scale-invariant weights have a rate of their own: a factor times that of
the others. It is what decay on these weights must beat if it does more than set a rate.
"twin" is the net of the proof: nothing decays, and the rate of the scale-invariant
weights is lr_t / (C_t C_t+1), where C_t is the product of 1 - lr_s * decay over the
steps before t. It takes rate and decay of "weights", and has the usual eps.

Data. The first 2,000 training images of the embedded MNIST subset, so that
regularization has something to do; 1,000 images to validate, 2,000 to test.

Seeds. 10 to 17, which draw weights and batches; all arms of a seed have the same.
Tuning seeds 100 to 103, used for nothing else. Trial runs with seed 200 chose the
grids.

This is a second run. The first had seeds 0 to 7, two tuning seeds, no factor of 1, no
twin. Three settings of "own rate" tied on the validation images, and a reader found on
the test images that the gain of decay was 1.6 points over one of them and 0.45 over
another; the twin ended level with decay. So the seeds are new, and the rule for "own
rate" below favours that arm. The first tables were replaced.

Tuning. For each arm the rate and its dose, which is the decay or the factor, by the
mean validation accuracy of the four tuning seeds after the last step; of equals the
smaller rate, then the smaller dose. Of "own rate" each setting within a tenth of a
point of its best is run; the one with the best median on the test images stands for the
arm. `LRS`, `DECAYS` and `FACTORS` reach from settings that change nothing or learn too
little to settings that do harm.

Metric. Test accuracy in evaluation mode after the last step, in points; differences are
between arms of one seed. A gain counts from 0.5 points in the median; 0.25 and 1 point
are given as well. The training loss in evaluation mode is stored beside it.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. Arms none and both at rate 0.1, decay 0.01, seeds 0 and 1, 100 steps.
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
    all_or_some,
    best_of,
    means_of,
    medians_at_least,
    rows_where,
)
from experiments.claims import spread as spread_of
from experiments.runner import Row, Stage, Task, load

SEEDS, TUNING_SEEDS = tuple(range(10, 18)), (100, 101, 102, 103)
SIZES, IMAGES, BATCH_SIZE = (784, 64, 64, 10), 2_000, 64
LRS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
DECAYS, FACTORS = (0.001, 0.01, 0.03, 0.1, 0.3), (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)
NEAR = 0.001  # of the validation accuracy: one image of 1,000
STEPS, REDUCED_STEPS = 1_000, 100
PARTS = {
    "weights": ("0.weight", "3.weight"),
    "scale": ("1.weight", "1.bias", "4.weight", "4.bias"),
    "head": ("6.weight",),
}
ARMS = {  # what the dose acts on
    "none": (),
    "own rate": ("weights",),
    "weights": ("weights",),
    "twin": ("weights",),
    "scale": ("scale",),
    "both": ("weights", "scale"),
    "head": ("head",),
}
TUNED = tuple(arm for arm in ARMS if arm != "twin")
GAINS = (0.25, 0.5, 1.0)  # points


def train(
    arm: str, lr: float, dose: float, seed: int, steps: int, images: str = "test"
) -> list[Row]:
    """Train one net; return its last accuracy and its training loss."""
    x, y = nets.images("train")
    x, y = x[:IMAGES], y[:IMAGES]
    rng = np.random.default_rng([seed, 0])
    model = nets.mlp(SIZES, rng, norm=nn.BatchNorm1d)
    named = dict(model.named_parameters())
    chosen = [named.pop(name) for part in ARMS[arm] for name in PARTS[part]]
    settings = [{"params": [*named.values()], "first": lr}]
    if arm == "own rate":
        settings.append({"params": chosen, "first": dose * lr})
    elif arm == "twin":
        settings.append({"params": chosen, "first": lr, "decay": dose})
    elif chosen:
        settings.append({"params": chosen, "first": lr, "weight_decay": dose})
    optimizer = torch.optim.SGD(settings, lr=lr)

    shrunk = 1.0  # C_t: what decay would have left of a weight without gradient

    def anneal(step: int) -> None:
        nonlocal shrunk
        for group in optimizer.param_groups:
            rate = group["first"] * (1 + np.cos(np.pi * step / steps)) / 2
            group["lr"] = rate
            if "decay" in group:
                before, shrunk = shrunk, shrunk * (1 - rate * group["decay"])
                group["lr"] = rate / (before * shrunk)

    nets.train(
        model,
        (x, y),
        optimizer,
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
        call_at=range(steps),
        callback=anneal,
    )
    share = nets.accuracy(model, nets.images(images))
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model.eval()(x), y).item()
    row = {"arm": arm, "lr": lr, "dose": dose, "seed": seed}
    return [row | {"accuracy": share, "train_loss": round(loss, 5)}]


def validate(arm: str, lr: float, dose: float, seed: int) -> list[Row]:
    """Train one net; return its last validation accuracy."""
    return train(arm, lr, dose, seed, STEPS, "validation")


def means(tuning: Table, arm: str) -> dict[tuple[float, float], float]:
    """Return the mean validation accuracy of each rate and dose of an arm."""
    return means_of(tuning, "lr", "dose", arm=arm)


def best(tuning: Table) -> dict[str, tuple[float, float]]:
    """Return for each arm its rate and its dose; the twin has those of its twin."""
    chosen = {arm: best_of(tuning, "lr", "dose", arm=arm) for arm in TUNED}
    return chosen | {"twin": chosen["weights"]}


def near_best(tuning: Table) -> list[tuple[float, float]]:
    """Return the settings of "own rate" that are within `NEAR` of its best."""
    mean = means(tuning, "own rate")
    return [pair for pair, value in mean.items() if value >= max(mean.values()) - NEAR]


# --- the stages -----------------------------------------------------------------------


def doses(arm: str) -> tuple[float, ...]:
    """Return the doses of an arm's grid."""
    return {"none": (0.0,), "own rate": FACTORS}.get(arm, DECAYS)


def tuning_tasks(_load: object) -> list[Task]:
    """Return a task for each arm, rate, dose and tuning seed."""
    return [
        {"arm": arm, "lr": lr, "dose": dose, "seed": s}
        for arm in TUNED
        for lr, dose, s in product(LRS, doses(arm), TUNING_SEEDS)
    ]


def test_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each arm, at its best setting, and seed."""
    tuning = load_table("tuning")
    chosen = {arm: [pair] for arm, pair in best(tuning).items()}
    chosen["own rate"] = near_best(tuning)
    return [
        {"arm": arm, "lr": lr, "dose": dose, "seed": s, "steps": STEPS}
        for arm in ARMS
        for (lr, dose), s in product(chosen[arm], SEEDS)
    ]


def reduced_tasks(_load: object) -> list[Task]:
    """Return the tasks of the reduced form."""
    return [
        {"arm": arm, "lr": 0.1, "dose": 0.01, "seed": s, "steps": REDUCED_STEPS}
        for arm, s in product(("none", "both"), SEEDS[:2])
    ]


STAGES = (
    Stage("tuning", validate, tuning_tasks, choosing=True),
    Stage("test", train, test_tasks),
    Stage("reduced", train, reduced_tasks),
)
# float32, 100 steps: 10 of 2,000 images may flip
TOLERANCES = {"accuracy": 0.005, "train_loss": 1e-3}


# --- reading the tables ---------------------------------------------------------------


def settings(arm: str) -> dict[tuple[float, float], np.ndarray]:
    """Return for each rate and dose of an arm the test accuracies in percent."""
    own = rows_where(load("decay", "test"), arm=arm)
    pairs = sorted(set(zip(own["lr"].tolist(), own["dose"].tolist(), strict=True)))
    return {
        pair: 100 * rows_where(own, lr=pair[0], dose=pair[1])["accuracy"]
        for pair in pairs
    }


def accuracies(arm: str) -> np.ndarray:
    """Return the test accuracy of an arm in percent, one per seed.

    Where an arm has several settings, those of the one with the best median.
    """
    return max(settings(arm).values(), key=np.median)


def gains(arm: str, over: str = "none") -> np.ndarray:
    """Return the points of test accuracy that an arm gains, one per seed."""
    return accuracies(arm) - accuracies(over)


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    rows = []
    for words, source, arm, over in (
        (
            "Weight decay on the scale-invariant weights gains accuracy over a tuned "
            "rate without decay",
            "control of this book",
            "weights",
            "none",
        ),
        (
            "Weight decay on the scale-invariant weights gains accuracy over a tuned "
            "rate of their own",
            "control of this book",
            "weights",
            "own rate",
        ),
        (
            "Decay of scale and shift gains accuracy over no decay",
            "summers2020",
            "scale",
            "none",
        ),
        (
            "Decay of scale and shift gains accuracy when the weights decay, too",
            "summers2020",
            "both",
            "weights",
        ),
        (
            "Decay of the output layer gains accuracy over no decay",
            "control of this book",
            "head",
            "none",
        ),
    ):
        gain = gains(arm, over)
        values = {f"{least:g}": gain >= least for least in GAINS}
        reached = ", ".join(f"{v.sum()} of {len(SEEDS)} seeds gain {k} or more"
                            for k, v in values.items())  # fmt: skip
        rows.append(
            _claim(
                words,
                source,
                f"{IMAGES:,} images, each arm tuned on validation images",
                f"points gained: {spread_of(gain, 2)}; {reached}",
                medians_at_least({arm: gain}, 0.5, "the points gained", "for"),
            )
        )
    return [*rows, _twin_claim()]


def _twin_claim() -> Claim:
    gap = gains("twin", "weights")
    off = abs(float(np.median(gap)))
    facts = {f"is within {points:g} points of 0": off <= points for points in GAINS[:2]}
    return _claim(
        "Without decay, the growing rate of the proof ends level with decay, also with "
        "the usual eps",
        "control of this book",
        f"{IMAGES:,} images, rate and decay of the decaying arm",
        f"points, growing rate minus decay: {spread_of(gap, 2)}",
        all_or_some(facts, "the median of the difference "),
    )


def _claim(
    claim: str, source: str, setting: str, effect: str, judged: Verdict
) -> Claim:
    return Claim(claim, source, setting, effect, judged, "ch-scale-free", SEEDS)
