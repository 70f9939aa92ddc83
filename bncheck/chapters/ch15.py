"""Exercises of chapter 15: balanced blocks, clipping by unit, the edge of a map."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch15")


def clipped(grad, weight, limit, eps):
    """Return the gradient, clipped by column."""
    most = limit * np.maximum(np.linalg.norm(weight, axis=0), eps)
    length = np.linalg.norm(grad, axis=0)
    return grad * np.minimum(1, most / length)


CLIPPED = Right(clipped, says=SAYS["15.2"], mistakes=[
    M("rows",
      "np.linalg.norm(weight, axis=0)",
      "np.linalg.norm(weight, axis=1, keepdims=True)",
      "np.linalg.norm(grad, axis=0)", "np.linalg.norm(grad, axis=1, keepdims=True)"),
    M("whole", "np.linalg.norm(weight, axis=0)", "np.linalg.norm(weight)",
      "np.linalg.norm(grad, axis=0)", "np.linalg.norm(grad)"),
    M("always", "np.minimum(1, most / length)", "(most / length)"),
    M("lengthened", "np.minimum(1, most / length)", "np.maximum(1, most / length)"),
    M("no-floor", "np.maximum(np.linalg.norm(weight, axis=0), eps)",
      "np.linalg.norm(weight, axis=0)"),
    M("added-floor", "np.maximum(np.linalg.norm(weight, axis=0), eps)",
      "(np.linalg.norm(weight, axis=0) + eps)", near=True),
    M("floor-of-all", "limit * np.maximum(np.linalg.norm(weight, axis=0), eps)",
      "np.maximum(limit * np.linalg.norm(weight, axis=0), eps)"),
    M("fixed-length", "limit * np.maximum(np.linalg.norm(weight, axis=0), eps)",
      "limit"),
])  # fmt: skip


def gradients():
    """Return the arguments of 15.2: long and short columns, and weights near 0."""
    rng = np.random.default_rng(0)
    size = np.array([0.001, 1.0, 20.0])
    found = []
    for n_in, limit, eps in ((4, 0.1, 0.05), (3, 0.5, 0.2)):
        grad = rng.normal(size=(n_in, 3)) * size
        weight = rng.normal(size=(n_in, 3)) * rng.permutation([0.01, 1.0, 2.0])
        found.append((grad, weight, limit, eps))
    grad = rng.normal(size=(5, 2))
    return [*found, (grad, 0.01 * rng.normal(size=(5, 2)), 0.3, 0.5)]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "15.1": number(SAYS["15.1"], 1 / 31, known={
            "halves": 0.5**30, "branches": 30 / 31, "one-off": 1 / 30,
            "last": 1 / 32, "root": 31**-0.5, "equal": (1 - 1 / 31) ** 30}),
        "15.2": function(CLIPPED, ("gradient",), gradients()),
        "15.3": choice(SAYS["15.3"], "c"),
    }  # fmt: skip
