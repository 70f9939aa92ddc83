"""Problem set 5: folding, freezing, and the statistics of a population."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.calls import Call
from bncheck.form import Check, Expect
from coursework.questions.build import (
    ANY,
    LARGE_MEAN,
    batch,
    parameters,
    unchanged,
    wrong,
)
from coursework.questions.old import Question

Rng = np.random.Generator
Array = np.ndarray
SINGLE = 1e-5  # what the set promises for float32


def questions(rng: Rng, variant: str) -> list[Question]:
    """Draw the questions of the set; see `ps1.questions`."""
    return [linear(rng), conv(rng), freeze(rng), population(rng)]


FOLD_SAYS = {
    "eps-outside-root": "With a large eps the folded layer differs: divide by sqrt(var + eps), not by sqrt(var) + eps.",
    "no-eps": "With a large eps the folded layer differs: eps is missing. Divide by sqrt(var + eps).",
    "eps-fixed": "Changing eps does not change the folded layer as it should: use the eps that you are given.",
    "variance-not-root": "You divide by the variance. Divide by the root of (var + eps).",
    "no-gamma": "gamma is missing in the folded weights and bias.",
    "gamma-missing-in-bias": "W2 is right, b2 is not: (b - mean) must be multiplied by gamma / sqrt(var + eps), too.",
    "mean-not-scaled": "W2 is right, b2 is not: you take off mean itself. It must be multiplied by gamma / sqrt(var + eps).",
    "bias-dropped": "The old bias b is lost: b2 = (b - mean) * gamma / sqrt(var + eps) + beta.",
    "bias-not-scaled": "The old bias b is added unchanged. It passes through the batch norm, too: scale it.",
    "mean-dropped": "mean is missing in b2.",
    "mean-added": "mean has the wrong sign in b2: it is taken off.",
    "beta-dropped": "beta is missing in b2.",
    "wrong-axis": "You scale the inputs of the layer. gamma / sqrt(var + eps) has one number for each output: it scales the first axis of W.",
    "weights-unscaled": "W2 is the old W: multiply each output's weights by gamma / sqrt(var + eps).",
    "input-overwritten": "Your function changes W or b. Return new arrays.",
}


@np.errstate(all="ignore")
def fold(W: Array, b: Array | None, gamma: Array, beta: Array, mean: Array, var: Array,
         eps: float, bug: str = "") -> tuple[Array, Array]:  # fmt: skip
    """Fold a batch norm into the layer before it, with or without a mistake."""
    eps = {"no-eps": 0.0, "eps-fixed": 1e-5}.get(bug, eps)
    root = np.sqrt(var + eps)
    if bug == "eps-outside-root":
        root = np.sqrt(var) + eps
    if bug == "variance-not-root":
        root = var + eps
    scale = 1 / root if bug == "no-gamma" else gamma / root
    old = np.zeros(len(W)) if b is None or bug == "bias-dropped" else b
    shape = (-1,) + (1,) * (W.ndim - 1)
    W2 = W if bug == "weights-unscaled" else W * scale.reshape(shape)
    if bug == "wrong-axis" and W.shape[0] == W.shape[1]:
        W2 = W * scale.reshape((1, -1) + (1,) * (W.ndim - 2))
    shifts = {
        "gamma-missing-in-bias": (old - mean) / root + beta,
        "mean-not-scaled": old * scale - mean + beta,
        "bias-not-scaled": old - mean * scale + beta,
        "mean-dropped": old * scale + beta,
        "mean-added": (old + mean) * scale + beta,
        "beta-dropped": (old - mean) * scale,
    }
    return W2, shifts.get(bug, (old - mean) * scale + beta)


def _folded(args: tuple, tol: float, floor: float = 0.0) -> tuple[Expect, ...]:
    """Expect the right folded layer."""
    right = fold(*args)
    made = {b: fold(*args, b) for b in FOLD_SAYS if b != "input-overwritten"}
    return tuple(
        Expect(0, i, right[i], label, tol,
               wrong(right[i], {b: v[i] for b, v in made.items()}), floor=floor)
        for i, label in enumerate(("W2", "b2"))
    )  # fmt: skip


def _fold_question(
    rng: Rng, key: str, title: str, name: str, shapes: list, points: list
) -> Question:
    checks = []
    plan = (("values", None, True, ""), ("eps", rng.uniform(0.2, 0.6), True, "With a large eps"),
            ("no bias", None, False, "With b = None"))  # fmt: skip
    for (category, eps, biased, when), shape, worth in zip(
        plan, shapes, points[:3], strict=True
    ):
        out = shape[0]
        W, (gamma, beta) = rng.normal(size=shape), parameters(rng, out)
        b = rng.normal(size=out) + 1 if biased else None
        mean, var = rng.normal(size=out) * 2, rng.uniform(0.3, 4, out)
        args = (W, b, gamma, beta, mean, var, 1e-5 if eps is None else eps)
        expects = _folded(args, 1e-4 if eps is None else 1e-6)
        call = Call(name, args, take=(0, 1))
        checks.append(Check(category, worth, (call,), expects, when=when))
    W, (gamma, beta) = rng.normal(size=shapes[0]), parameters(rng, shapes[0][0])
    b, mean, var = (
        rng.normal(size=len(W)),
        rng.normal(size=len(W)),
        rng.uniform(0.3, 4, len(W)),
    )
    single = [a.astype(np.float32) for a in (W, b, gamma, beta, mean, var)]
    expects = _folded((*(a.astype(np.float64) for a in single), 1e-3), SINGLE, 1.0)
    call = Call(name, (*single, 1e-3), take=(0, 1))
    checks.append(
        Check("float32", points[3], (call,), expects, when="With float32 arrays")
    )
    call = Call(name, (W, b, gamma, beta, mean, var, 1e-3), after=(0, 1))
    says = "Your function changes W or b."
    kept = (unchanged(0, 0, W, "W", "input-overwritten", says),
            unchanged(0, 1, b, "b", "input-overwritten", says))  # fmt: skip
    checks.append(Check("no mutation", points[4], (call,), kept))
    return Question(key, title, sum(points), (name,), tuple(checks), FOLD_SAYS)


def linear(rng: Rng) -> Question:
    """Question 1: fold into a linear layer."""
    shapes = [(4, 4), (3, 5), (5, 3)]
    points = [0.75, 0.5, 0.25, 0.25, 0.25]
    return _fold_question(
        rng, "ps5.q1", "Fold into a linear layer", "fold_linear", shapes, points
    )


def conv(rng: Rng) -> Question:
    """Question 2: fold into a convolution."""
    shapes = [(4, 4, 3, 2), (3, 2, 1, 3), (2, 3, 3, 3)]
    points = [1.25, 0.75, 0.5, 0.25, 0.25]
    return _fold_question(
        rng, "ps5.q2", "Fold into a convolution", "fold_conv", shapes, points
    )


FREEZE_SAYS = {
    "batch-used": "In training mode the frozen layers still normalize with the batch: their output differs from evaluation mode.",
    "statistics-drift": "The running statistics drift while the model is fine-tuned. requires_grad does not stop them, and model.train() switches the layers back: keep them in evaluation mode whatever is called.",
    "parameters-drift": "weight or bias of a batch-norm layer still learns: set requires_grad to False.",
    "nothing-learns": "A layer that is no batch norm does not learn any more. Freeze the batch-norm layers only.",
    "layers-missed": "A batch-norm layer is not frozen at all: its statistics drift, and weight and bias learn. Look at every layer, as model.modules() finds them, and at each kind of batch norm.",
}


def freeze(rng: Rng) -> Question:
    """Question 3: freeze the batch-norm layers."""
    checks = []
    for category, points, deep, when in (
        ("values", 1.75, False, ""), ("nested layers and maps", 1.25, True, "In a model with a nested block"),
    ):  # fmt: skip
        x = rng.normal(size=(12, 8)) * 2 + 3
        call = Call("*freeze", (x, 5, deep), take=(0, 1, 2, 3))
        expects = (
            Expect(0, 0, np.array(0.0), "the drift of the running statistics", 1e-7,
                   {"statistics-drift": ANY, "layers-missed": ANY}, floor=1.0),
            Expect(0, 1, np.array(0.0), "the change of weight and bias", 1e-7,
                   {"parameters-drift": ANY, "layers-missed": ANY}, floor=1.0),
            Expect(0, 2, True, "that other layers learn", 0.0, {"nothing-learns": ANY}),
            Expect(0, 3, True, "that training mode gives what evaluation mode gives", 0.0,
                   {"batch-used": ANY, "statistics-drift": ANY, "layers-missed": ANY}),
        )  # fmt: skip
        checks.append(Check(category, points, (call,), expects, when=when))
    return Question("ps5.q3", "Freeze batch norm", 3.0, ("freeze_batch_norm",),
                    tuple(checks), FREEZE_SAYS, fatal=("layers-missed",))  # fmt: skip


POPULATION_SAYS = {
    "means-unweighted": "You average the batches with equal weights. A batch counts with its number of rows.",
    "between-missing": "Your variance lacks the spread between the batch means: add the mean of (batch mean - mean)^2.",
    "sample-variance": "Your variance divides by the number of all rows less one. It divides by the number of all rows.",
    "sample-variance#inside": "You take the variance inside each batch with N_i - 1. Use the divisor N_i, and the parts add up to the variance of all rows.",
    "last-only": "You return the statistics of the last batch.",
    "one-pass-variance": "With inputs near 100,000,000 your variance has no correct digit left: combine distances from the mean, not squares of the values.",
    "input-overwritten": "Your function changes one of the batches.",
}


def population(rng: Rng) -> Question:
    """Question 4: statistics of all batches together."""
    name = "population_statistics"
    checks = []
    for category, points, sizes, offset in (
        ("values", 1.0, (5, 2, 9), 0.0), ("a batch of one row", 0.25, (1, 6, 3), 0.0),
        ("large mean", 0.5, (6, 4, 8), LARGE_MEAN),
    ):  # fmt: skip
        batches = [
            batch(rng, max(n, 2), 3)[:n] + 2 * i + offset for i, n in enumerate(sizes)
        ]
        rows = np.concatenate(batches)
        means = np.stack([b.mean(0) for b in batches])
        within = np.stack([b.var(0) for b in batches])
        count = np.array(sizes)[:, None]
        share = count / sum(sizes)
        with np.errstate(all="ignore"):  # a batch of one row has no such variance
            inside = within * count / (count - 1)
        right = (rows.mean(0), rows.var(0))
        others: dict[str, tuple[Any, Any]] = {
            "means-unweighted": (means.mean(0), within.mean(0) + means.var(0)),
            "between-missing": (right[0], (share * within).sum(0)),
            "sample-variance": (right[0], rows.var(0, ddof=1)),
            "sample-variance#inside": (
                right[0],
                (share * (inside + (means - right[0]) ** 2)).sum(0),
            ),
            "last-only": (means[-1], within[-1]),
        }
        expects = tuple(
            Expect(0, i, right[i], label, 1e-4 if offset and i else 1e-8,
                   wrong(right[i], {k: v[i] for k, v in others.items()}) | ({"one-pass-variance": ANY} if offset and i else {}))
            for i, label in enumerate(("mean", "var"))
        )  # fmt: skip
        call = Call(name, (batches,), take=(0, 1))
        checks.append(Check(category, points, (call,), expects))
    first = [batch(rng, 4, 2), batch(rng, 3, 2)]
    call = Call(name, (first,), take=(0, 1), after=(0,))
    expect = Expect(0, "arg0", first, "batches", 0.0, {"input-overwritten": ANY})
    checks.append(Check("no mutation", 0.25, (call,), (expect,)))
    return Question("ps5.q4", "Statistics of the population", 2.0, (name,),
                    tuple(checks), POPULATION_SAYS)  # fmt: skip
