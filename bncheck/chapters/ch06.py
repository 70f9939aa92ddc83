"""Exercises of chapter 6: convolutional layers."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch06")


def normalize_maps(x, eps):
    """Normalize each channel over the batch and the positions."""
    axes = (0, 2, 3)
    mu = x.mean(axes, keepdims=True)
    var = x.var(axes, keepdims=True)
    return (x - mu) / np.sqrt(var + eps)


AXES, VAR, ROOT = "(0, 2, 3)", "x.var(axes, keepdims=True)", "np.sqrt(var + eps)"
MAPS = Right(normalize_maps, says=SAYS["6.2"], mistakes=[
    M("over-batch", AXES, "(0,)"),
    M("over-positions", AXES, "(2, 3)"),
    M("over-example", AXES, "(1, 2, 3)"),
    M("over-all", AXES, "(0, 1, 2, 3)"),
    M("channels-last", AXES, "(0, 1, 2)"),
    M("sample-variance", VAR, "x.var(axes, ddof=1, keepdims=True)", near=True),
    M("eps-outside-root", ROOT, "np.sqrt(var) + eps", near=True),
])  # fmt: skip


def maps():
    """Draw the inputs of 6.2."""
    rng = np.random.default_rng(62)
    x = rng.normal(3, 2, (4, 3, 5, 2)) * np.array([1, 5, 0.3]).reshape(3, 1, 1)
    return [(x, 0.1), (x[:2] + 7, 1e-5)]


def fold(weight, gamma, beta, mean, var, eps):
    """Return filters and bias of a convolution that includes the batch norm."""
    scale = gamma / np.sqrt(var + eps)
    return weight * scale[:, None, None, None], beta - mean * scale


FOLD = Right(fold, says=SAYS["6.3"], mistakes=[
    M("no-mean", "beta - mean * scale", "beta"),
    M("no-eps", ROOT, "np.sqrt(var)", near=True),
    M("variance-not-root", ROOT, "var + eps"),
    M("input-channels", "scale[:, None, None, None]", "scale[None, :, None, None]"),
])  # fmt: skip


def filters():
    """Draw the input of 6.3."""
    rng = np.random.default_rng(63)
    weight, gamma, beta = rng.normal(size=(3, 3, 3, 3)), *rng.normal(size=(2, 3))
    mean, var = rng.normal(size=3), rng.uniform(0.5, 2, 3)
    return [(weight, gamma, beta, mean, var, 0.1)]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    n, area, channels = 32, 14 * 14, 64
    return {
        "6.1": number(SAYS["6.1"], n * area, rtol=1e-6, almost=0.04, known={
            "batch": n, "map": area, "array": n * area * channels,
            "example": area * channels}),
        "6.2": function(MAPS, ("the output",), maps()),
        "6.3": function(FOLD, ("the weight", "the bias"), filters()),
        "6.4": choice(SAYS["6.4"], "b"),
    }  # fmt: skip
