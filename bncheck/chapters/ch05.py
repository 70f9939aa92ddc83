"""Exercises of chapter 5: the backward pass."""

import numpy as np

from bncheck.chapters import choice, function, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch05")


def layer_norm(dy, x_hat, gamma, inv_std):
    """Return the gradients of layer norm: gamma stays inside the means of a row."""
    g = dy * gamma
    mean = g.mean(1, keepdims=True)
    along = (g * x_hat).mean(1, keepdims=True)
    dx = inv_std * (g - mean - x_hat * along)
    dgamma = (dy * x_hat).sum(0)
    dbeta = dy.sum(0)
    return dx, dgamma, dbeta


SCALED, DX = "dy * gamma", "inv_std * (g - mean - x_hat * along)"
MEAN, ALONG = "g.mean(1, keepdims=True)", "(g * x_hat).mean(1, keepdims=True)"
DGAMMA, DBETA = "dy * x_hat", "dy.sum(0)"
LAYER = Right(layer_norm, says=SAYS["5.2"], mistakes=[
    M("gamma-outside", SCALED, "dy + 0", DX, f"gamma * {DX}"),
    M("batch", MEAN, "g.mean(0)", ALONG, "(g * x_hat).mean(0)"),
    M("constants", DX, "inv_std * g"),
    M("no-mean", DX, "inv_std * (g - x_hat * along)"),
    M("no-x-hat", DX, "inv_std * (g - mean)"),
    M("sums", MEAN, "g.sum(1, keepdims=True)",
      ALONG, "(g * x_hat).sum(1, keepdims=True)"),
    M("no-gamma", SCALED, "dy + 0", near=True),
    M("gamma-in-dgamma", DGAMMA, "g * x_hat", near=True),
    M("order", "dx, dgamma, dbeta", "dx, dbeta, dgamma", near=True),
    M("means", f"({DGAMMA}).sum(0)", f"({DGAMMA}).mean(0)",
      DBETA, "dy.mean(0)", near=True),
    M("rows-of-gamma", f"({DGAMMA}).sum(0)", f"({DGAMMA}).sum(1)",
      DBETA, "dy.sum(1)", near=True),
])  # fmt: skip


def layer():
    """Draw the inputs of 5.2: more features than examples, and as many."""
    rng = np.random.default_rng(52)
    calls = []
    for shape in ((3, 5), (4, 4)):
        x = rng.normal(3, 2, shape)
        inv_std = 1 / np.sqrt(x.var(1, keepdims=True) + 0.1)
        x_hat = (x - x.mean(1, keepdims=True)) * inv_std
        dy, gamma = rng.normal(1, 2, shape), rng.normal(0, 2, shape[1])
        calls.append((dy, x_hat, gamma, inv_std))
    return calls


def centring(dy):
    """Return the gradients of a layer that removes the mean and adds beta."""
    dx = dy - dy.mean(0)
    dbeta = dy.sum(0)
    return dx, dbeta


CENTRING = Right(centring, says=SAYS["5.4"], mistakes=[
    M("constant", "dy - dy.mean(0)", "dy.copy()"),
    M("sum", "dy - dy.mean(0)", "dy - dy.sum(0)"),
    M("rows", "dy - dy.mean(0)", "dy - dy.mean(1, keepdims=True)"),
    M("everything", "dy - dy.mean(0)", "dy - dy.mean()"),
    M("mean-of-beta", "dbeta = dy.sum(0)", "dbeta = dy.mean(0)", near=True),
])  # fmt: skip


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    dy = np.random.default_rng(54).normal(2, 1, (6, 3))
    return {
        "5.1": choice(SAYS["5.1"], "b", near=("c",)),
        "5.2": function(LAYER, ("dx", "dgamma", "dbeta"), layer()),
        "5.3": choice(SAYS["5.3"], "d"),
        "5.4": function(CENTRING, ("dx", "dbeta"), [(dy,)]),
    }  # fmt: skip
