"""Problem set 5: folding, freezing, and the statistics of a population."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bncheck.form import Check, Question
from bncheck.spec import Right
from bncheck.spec import mistake as M
from coursework.questions import shared
from coursework.questions.shared import BASIC, Rng, batch, sentences

SINGLE = 1e-5  # what the set promises for float32


# --- q1 and q2: fold batch norm into the layer before it ------------------------------


def fold(W, b, gamma, beta, mean, var, eps):
    """Fold a batch norm into a linear layer or a convolution."""
    bias = np.zeros(len(W)) if b is None else b
    std = np.sqrt(var + eps)
    scale = gamma / std
    inner = (1,) * (W.ndim - 1)
    W2 = W * scale.reshape(-1, *inner)
    b2 = (bias - mean) * scale + beta
    return W2, b2


STD, SCALE, B2 = "np.sqrt(var + eps)", "gamma / std", "(bias - mean) * scale + beta"
W2 = "W * scale.reshape(-1, *inner)"
FOLDING = [
    M("eps-outside-root", STD, "np.sqrt(var) + eps"),
    M("no-eps", STD, "np.sqrt(var)"),
    M("eps-fixed", STD, "np.sqrt(var + 1e-5)"),
    M("variance-not-root", STD, "var + eps"),
    M("no-gamma", SCALE, "1 / std"),
    M("gamma-missing-in-bias", B2, "(bias - mean) / std + beta"),
    M("mean-not-scaled", B2, "bias * scale - mean + beta"),
    M("bias-dropped", B2, "beta - mean * scale"),
    M("bias-not-scaled", B2, "bias - mean * scale + beta"),
    M("mean-dropped", B2, "bias * scale + beta"),
    M("mean-added", B2, "(bias + mean) * scale + beta"),
    M("beta-dropped", B2, "(bias - mean) * scale"),
    M("wrong-axis", W2, "W * scale.reshape(-1, *inner[1:])", breaks=True),
    M("weights-unscaled", W2, "W", grave=True),
    M("input-overwritten"),
]
BOTH, KEPT = {"W2": 0, "b2": 1}, {"W": "arg0", "b": "arg1"}


def layer(rng: Rng, shape: tuple, eps: float, kind: type = float) -> list:
    """Draw a layer with weights of a shape, and the batch norm after it."""
    d = shape[0]
    drawn = (rng.normal(size=shape), rng.normal(size=d) + 1, *shared.parameters(rng, d),
             rng.normal(size=d) * 2, rng.uniform(0.3, 4, d))  # fmt: skip
    return [*(a.astype(kind) for a in drawn), eps]


def folding(number: str, name: str, points: tuple, *shapes: tuple) -> Callable:
    """Return the question of folding into layers with weights of three shapes."""
    right = Right(fold, says=sentences("ps5", number), mistakes=FOLDING,
                  called={"fold": name})  # fmt: skip

    def question(rng: Rng) -> Question:
        bare, kept = layer(rng, shapes[2], 1e-5), layer(rng, shapes[0], 1e-3)
        bare[1] = None
        plan = [
            ("values", layer(rng, shapes[0], 1e-5), BASIC, 0.0),
            ("eps", layer(rng, shapes[1], shared.large_eps(rng)), 1e-6, 0.0),
            ("no bias", bare, BASIC, 0.0),
            ("float32", layer(rng, shapes[0], 1e-3, np.float32), SINGLE, 1.0),
        ]
        checks = [
            right.check(
                category,
                worth,
                [(name, *args)],
                BOTH,
                tol,
                floor=floor,
                shares={"W2": 0.5, "b2": 0.5},
            )
            for worth, (category, args, tol, floor) in zip(points, plan, strict=True)
        ]
        checks.append(right.check("no mutation", 0.25, [(name, *kept)], KEPT, 0.0,
                                  whatever=["input-overwritten"]))  # fmt: skip
        return right.question(f"ps5.{number}", checks)

    return question


linear = folding("q1", "fold_linear", (0.75, 0.5, 0.25, 0.25), (4, 4), (3, 5), (5, 3))
conv = folding("q2", "fold_conv", (1.25, 0.75, 0.5, 0.25), (4, 4, 3, 2), (3, 2, 1, 3),
               (2, 3, 3, 3))  # fmt: skip


# --- q3: freeze the batch-norm layers -------------------------------------------------


def freeze(x, steps, deep):
    """Return what `bncheck.glue.freeze` finds: no drift, and what should hold."""
    return np.array(0.0), np.array(0.0), True, True


DRIFT, MISSED = "statistics-drift", "layers-missed"
FROZEN = Right(freeze, says=sentences("ps5", "q3"), mistakes=[
    *map(M, ("batch-used", DRIFT, "parameters-drift", "nothing-learns")),
    M(MISSED, grave=True),
])  # fmt: skip
FOUND = {
    "the drift of the running statistics": (DRIFT, MISSED),
    "the change of weight and bias": ("parameters-drift", MISSED),
    "that other layers learn": ("nothing-learns",),
    "that training mode gives what evaluation mode gives": (
        "batch-used",
        DRIFT,
        MISSED,
    ),
}


def frozen(rng: Rng) -> Question:
    """Question 3: freeze the batch-norm layers of two models."""
    plan = (("values", 1.75, False), ("nested layers and maps", 1.25, True))
    return FROZEN.question("ps5.q3", [
        FROZEN.check(category, points,
                     [("*freeze", rng.normal(size=(12, 8)) * 2 + 3, 5, deep)],
                     {label: i for i, label in enumerate(FOUND)}, 1e-7,
                     whatever=FOUND, floor=1.0)
        for category, points, deep in plan
    ], functions=("freeze_batch_norm",))  # fmt: skip


# --- q4: statistics of all batches together -------------------------------------------


def population_statistics(batches):
    """Return mean and variance of all rows: the law of total variance."""
    counts = np.array([[len(x)] for x in batches])
    means = np.stack([x.mean(0) for x in batches])
    within = np.stack([x.var(0) for x in batches])
    share = counts / counts.sum()
    mean = (share * means).sum(0)
    var = (share * (within + (means - mean) ** 2)).sum(0)
    return mean, var


RETURN = "return mean, var"
POPULATION = Right(population_statistics, says=sentences("ps5", "q4"), mistakes=[
    M("means-unweighted", "counts / counts.sum()", "1 / len(counts)"),
    M("between-missing", "within + (means - mean) ** 2", "within"),
    M("sample-variance", RETURN, "n = counts.sum()\nreturn mean, var * n / (n - 1)"),
    M("sample-variance-inside", "x.var(0)", "x.var(0, ddof=1)", of="sample-variance"),
    M("last-only", RETURN, "return means[-1], within[-1]"),
    M("one-pass-variance"),
    M("input-overwritten"),
])  # fmt: skip


def batches(rng: Rng, *sizes: int) -> list:
    """Draw batches of some sizes, each further from 0 than the one before."""
    return [batch(rng, max(n, 2), 3)[:n] + 2 * i for i, n in enumerate(sizes)]


def population(rng: Rng) -> Question:
    """Question 4: mean and variance of batches of several sizes."""

    def look(category: str, points: float, batches: list, places: dict,
             tol: float, *whatever: str) -> Check:  # fmt: skip
        call, proofs = ("population_statistics", batches), ()
        if category == "large mean":
            proofs = shared.one_pass(POPULATION, call, 1, places)
        return POPULATION.check(category, points, [call], places, tol, proofs=proofs,
                                shares={"mean": 1 / 3, "var": 2 / 3},
                                whatever=whatever)  # fmt: skip

    both = {"mean": 0, "var": 1}
    large = [x + shared.LARGE_MEAN for x in batches(rng, 6, 4, 8)]
    return POPULATION.question("ps5.q4", [
        look("values", 1.0, batches(rng, 5, 2, 9), both, 1e-8),
        look("a batch of one row", 0.25, batches(rng, 1, 6, 3), both, 1e-8),
        look("large mean", 0.5, large, {"var": 1}, BASIC, "one-pass-variance"),
        look("no mutation", 0.25, batches(rng, 4, 3), {"batches": "arg0"}, 0.0,
             "input-overwritten"),
    ])  # fmt: skip


def questions(rng: Rng, variant: str) -> list[Question]:
    """Draw the questions of the set."""
    return [linear(rng), conv(rng), frozen(rng), population(rng)]
