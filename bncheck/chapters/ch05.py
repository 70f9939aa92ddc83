"""Exercises of chapter 5: the backward pass."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch05")


def backward(dy, x_hat, gamma, inv_std):
    """Return the gradients of batch norm: three terms for x, two sums."""
    mean = dy.mean(0)
    along = x_hat * (dy * x_hat).mean(0)
    dx = gamma * inv_std * (dy - mean - along)
    dgamma = (dy * x_hat).sum(0)
    dbeta = dy.sum(0)
    return dx, dgamma, dbeta


DX, DGAMMA = "gamma * inv_std * (dy - mean - along)", "(dy * x_hat).sum(0)"
CLOSED = Right(backward, says=SAYS["5.2"], mistakes=[
    M("constants", DX, "gamma * inv_std * dy"),
    M("no-mean", DX, "gamma * inv_std * (dy - along)"),
    M("no-x-hat", DX, "gamma * inv_std * (dy - mean)"),
    M("sums", "dy.mean(0)", "dy.sum(0)", "(dy * x_hat).mean(0)", DGAMMA),
    M("no-gamma", DX, "inv_std * (dy - mean - along)", near=True),
    M("gamma-in-dgamma", DGAMMA, f"{DGAMMA} * gamma", near=True),
    M("order", "dx, dgamma, dbeta", "dx, dbeta, dgamma", near=True),
    M("means", DGAMMA, "(dy * x_hat).mean(0)", "dy.sum(0)", "dy.mean(0)", near=True),
])  # fmt: skip


def layer():
    """Draw the input of 5.2."""
    rng = np.random.default_rng(52)
    x = rng.normal(3, 2, (5, 3))
    inv_std = 1 / np.sqrt(x.var(0) + 0.1)
    x_hat = (x - x.mean(0)) * inv_std
    dy, gamma = rng.normal(1, 2, (5, 3)), rng.normal(0, 2, 3)
    return [(dy, x_hat, gamma, inv_std)]


def centring(dy):
    """Return the gradients of a layer that removes the mean and adds beta."""
    dx = dy - dy.mean(0)
    dbeta = dy.sum(0)
    return dx, dbeta


CENTRING = Right(centring, says=SAYS["5.4"], mistakes=[
    M("constant", "dy - dy.mean(0)", "dy.copy()"),
    M("sum", "dy - dy.mean(0)", "dy - dy.sum(0)"),
    M("rows", "dy - dy.mean(0)", "dy - dy.mean(1, keepdims=True)"),
    M("mean-of-beta", "dbeta = dy.sum(0)", "dbeta = dy.mean(0)", near=True),
])  # fmt: skip


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    dy = np.random.default_rng(54).normal(2, 1, (6, 3))
    return {
        "5.1": choice(SAYS["5.1"], "c", near=("b",)),
        "5.2": function(CLOSED, ("dx", "dgamma", "dbeta"), layer()),
        "5.3": number(SAYS["5.3"], 0.25, rtol=0.01, almost=0.3, known={
            "no-eps": 0.0, "removed": 0.75, "of-variance": 1 / 3}),
        "5.4": function(CENTRING, ("dx", "dbeta"), [(dy,)]),
    }  # fmt: skip
