"""The layer as it should be, and as known mistakes write it.

One function per pass, with a `Recipe` of how it is written: the default recipe is
right, and each known mistake changes one entry. The tests hold the default against
bnlib and PyTorch. Nothing of this file goes to students.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """How a batch-norm layer is written; the defaults are right.

    Attributes
    ----------
    axis : int or None
        Axis of the statistics; None takes all numbers together.
    ddof : int
        What is taken off N in the divisor of the variance.
    spread : str
        ``"root"`` of the variance, the ``"variance"`` itself, ``"sum"`` of squares,
        ``"around-zero"`` without taking off the mean, ``"mean-distance"``.
    eps : str
        ``"inside"`` the root, ``"outside"``, ``"none"``, ``"output"`` (added to x_hat),
        ``"squared"``, or a fixed number as text.
    centre, scale, shift : bool
        Whether the mean is taken off, gamma multiplied, beta added.
    affine : str
        ``"scale-shift"``, ``"shift-scale"``, or ``"swapped"`` (beta scales).
    """

    axis: int | None = 0
    ddof: int = 0
    spread: str = "root"
    eps: str = "inside"
    centre: bool = True
    scale: bool = True
    shift: bool = True
    affine: str = "scale-shift"


RIGHT = Recipe()
FORWARD_BUGS = {
    "sample-variance": Recipe(ddof=1),
    "eps-outside-root": Recipe(eps="outside"),
    "no-eps": Recipe(eps="none"),
    "eps-fixed": Recipe(eps="1e-5"),
    "eps-fixed#8": Recipe(eps="1e-8"),
    "eps-fixed#7": Recipe(eps="1e-7"),
    "eps-fixed#6": Recipe(eps="1e-6"),
    "eps-fixed#3": Recipe(eps="1e-3"),
    "eps-squared": Recipe(eps="squared"),
    "eps-on-output": Recipe(eps="output"),
    "eps-root-outside": Recipe(eps="root-outside"),
    "eps-twice": Recipe(eps="twice"),
    "variance-not-root": Recipe(spread="variance"),
    "sum-not-variance": Recipe(spread="sum"),
    "variance-around-zero": Recipe(spread="around-zero"),
    "mean-distance": Recipe(spread="mean-distance"),
    "stats-over-features": Recipe(axis=1),
    "stats-over-all": Recipe(axis=None),
    "not-centred": Recipe(centre=False),
    "no-gamma": Recipe(scale=False),
    "no-beta": Recipe(shift=False),
    "no-affine": Recipe(scale=False, shift=False),
    "shift-before-scale": Recipe(affine="shift-scale"),
    "gamma-beta-swapped": Recipe(affine="swapped"),
}


def statistics(x: Array, recipe: Recipe = RIGHT) -> tuple[Array, Array]:
    """Return mean and variance as a recipe computes them.

    Parameters
    ----------
    x : ndarray of shape (N, D)
        A batch.
    recipe : Recipe
        How.

    Returns
    -------
    mu, var : ndarray
        Of shape (D,) if right.
    """
    mu = x.mean(recipe.axis)
    away = x - (mu[:, None] if recipe.axis == 1 else mu)
    if recipe.spread == "around-zero":
        away = x
    if recipe.spread == "mean-distance":
        return mu, np.abs(away).mean(recipe.axis) ** 2
    count = x.size if recipe.axis is None else x.shape[recipe.axis]
    total = (away * away).sum(recipe.axis)
    return mu, total if recipe.spread == "sum" else total / max(
        count - recipe.ddof, 0.1
    )


def divide(away: Array, var: Array, eps: float, recipe: Recipe = RIGHT) -> Array:
    """Divide by the standard deviation as a recipe does it."""
    kind = recipe.eps
    with np.errstate(all="ignore"):
        if recipe.spread == "variance":
            return away / (var + eps)
        if kind == "outside":
            return away / (np.sqrt(var) + eps)
        if kind == "root-outside":
            return away / (np.sqrt(var) + np.sqrt(eps))
        if kind == "twice":
            return away / (np.sqrt(var + eps) + eps)
        if kind == "output":
            return away / np.sqrt(var) + eps
        added = {"inside": eps, "none": 0.0, "squared": eps**2}
        return away / np.sqrt(var + (added[kind] if kind in added else float(kind)))


def affine(x_hat: Array, gamma: Array, beta: Array, recipe: Recipe = RIGHT) -> Array:
    """Scale and shift as a recipe does it."""
    if recipe.affine == "swapped":
        return beta * x_hat + gamma
    if recipe.affine == "shift-scale":
        return gamma * (x_hat + beta)
    out = gamma * x_hat if recipe.scale else x_hat
    return out + beta if recipe.shift else out


def forward(
    x: Array, gamma: Array, beta: Array, eps: float = 1e-5, recipe: Recipe = RIGHT
) -> Array:
    """Normalize a batch in training mode (Ioffe and Szegedy 2015, Algorithm 1).

    Parameters
    ----------
    x : ndarray of shape (N, D)
        The batch; computed in float64.
    gamma, beta : ndarray of shape (D,)
        Scale and shift.
    eps : float
        Added to the variance.
    recipe : Recipe
        How it is written.

    Returns
    -------
    out : ndarray of shape (N, D)
        The output.
    """
    x = np.asarray(x, np.float64)
    mu, var = statistics(x, recipe)
    if recipe.axis == 1:
        mu, var = mu[:, None], var[:, None]
    away = x - mu if recipe.centre else x
    return affine(divide(away, var, eps, recipe), gamma, beta, recipe)


def evaluate(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float = 1e-5,
    recipe: Recipe = RIGHT,
) -> Array:
    """Normalize with running statistics (Algorithm 2); shapes as in `forward`."""
    away = np.asarray(x, np.float64) - (mean if recipe.centre else 0)
    return affine(divide(away, var, eps, recipe), gamma, beta, recipe)


EVAL_BUGS = {
    name: FORWARD_BUGS[name]
    for name in [
        "eps-outside-root",
        "no-eps",
        "eps-fixed",
        "eps-fixed#8",
        "eps-squared",
        "eps-on-output",
        "eps-root-outside",
        "eps-twice",
        "variance-not-root",
        "not-centred",
        "no-gamma",
        "no-beta",
        "shift-before-scale",
        "gamma-beta-swapped",
    ]
}


# --- the backward pass ----------------------------------------------------------------

GRADIENT_BUGS = [
    "beta-for-gamma-in-dx",
    "eps-fixed-in-dx",
    "eps-fixed-in-dx#dx",
    "eps-fixed-in-dx#std",
    "eps-outside-in-dx",
    "eps-outside-in-dx#dx",
    "eps-outside-in-dx#all",
    "variance-path-without-eps",
    "variance-path-power",
    "variance-path-power#up",
    "mean-path-missing",
    "variance-path-missing",
    "statistics-constant",
    "no-gamma-in-dx",
    "gamma-squared-in-dx",
    "direct-divided",
    "mean-sum-not-divided",
    "variance-sum-not-divided",
    "rows-only",
    "variance-half",
    "variance-twice",
    "sign-of-mean-path",
    "sign-of-variance-path",
    "no-eps-in-dx",
    "no-eps-in-dx#dx",
    "no-eps-in-dx#all",
    "sample-variance-in-dx",
    "sample-variance-in-dx#dx",
    "sample-variance-in-dx#all",
    "sample-variance-in-dx#no-eps",
    "std-lost-in-dx",
    "divided-by-variance",
    "dx-divided-by-N",
    "dout-missing-in-dx",
    "dgamma-uses-x",
    "dgamma-uses-centred",
    "dgamma-uses-out",
    "dgamma-uses-out#scaled",
    "dgamma-uses-out#cache",
    "dgamma-uses-out#cache-scaled",
    "dgamma-mean",
    "dgamma-no-dout",
    "dbeta-mean",
    "dbeta-no-sum",
    "dgamma-no-sum",
    "dbeta-over-features",
    "dgamma-over-features",
    "dgamma-dbeta-swapped",
]


@np.errstate(all="ignore")
def backward(
    dout: Array,
    x: Array,
    gamma: Array,
    eps: float = 1e-5,
    bug: str = "",
    beta: Array | float = 0.0,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `forward` (Ioffe and Szegedy 2015, section 3).

    Parameters
    ----------
    dout : ndarray of shape (N, D)
        Gradient of the loss by the output.
    x, gamma, eps
        As in `forward`.
    bug : str
        One of `GRADIENT_BUGS`, or nothing.
    beta : ndarray of shape (D,)
        Needed for one of the mistakes only.

    Returns
    -------
    dx, dgamma, dbeta : ndarray
        Gradients of shapes (N, D), (D,), (D,).
    """
    x, dout = np.asarray(x, np.float64), np.asarray(dout, np.float64)
    m = len(x)
    mu, var = x.mean(0), x.var(0)
    root, _, form = bug.partition("#")  # forms: std alone, x_hat of dx, also of dgamma
    form = form or {"eps-fixed-in-dx": "all"}.get(root, "std")
    x_hat = (x - mu) / np.sqrt(var + eps)
    std = {
        "no-eps-in-dx": np.sqrt(var),
        "eps-fixed-in-dx": np.sqrt(var + 1e-5),
        "eps-outside-in-dx": np.sqrt(var) + eps,
        "sample-variance-in-dx": np.sqrt(
            x.var(0, ddof=1) + (0 if form == "no-eps" else eps)
        ),
    }.get(root, np.sqrt(var + eps))
    inner = (x - mu) / std if form in ("dx", "all") else x_hat
    x_hat = inner if form == "all" else x_hat
    if bug.startswith("forward:"):  # right, but for the divisor of a wrong forward pass
        recipe = FORWARD_BUGS[bug.removeprefix("forward:")]
        with np.errstate(all="ignore"):
            std = 1 / divide(np.ones_like(var), statistics(x, recipe)[1], eps, recipe)
            x_hat = inner = (x - mu) / std
    if form.startswith("cache"):  # the forward pass spoilt x_hat after it was cached
        inner = gamma * x_hat + (beta if form == "cache" else 0)
    g = dout if bug == "no-gamma-in-dx" else gamma * dout
    if bug == "beta-for-gamma-in-dx":
        g = beta * dout
    if bug == "gamma-squared-in-dx":
        g = gamma**2 * dout
    if bug == "dout-missing-in-dx":
        g = gamma * np.ones_like(dout)
    along_mean, along_var = g.sum(0) / m, inner * (g * inner).sum(0) / m
    if bug in ("mean-path-missing", "statistics-constant"):
        along_mean = 0.0
    if bug in ("variance-path-missing", "statistics-constant"):
        along_var = 0.0
    if bug == "mean-sum-not-divided":
        along_mean = along_mean * m
    if bug == "variance-sum-not-divided":
        along_var = along_var * m
    if bug == "variance-path-without-eps":
        with np.errstate(all="ignore"):
            along_var = along_var * (var + eps) / var
    if bug == "variance-path-power":
        along_var = along_var * std
    if bug == "variance-path-power#up":
        along_var = along_var / std
    if bug in ("variance-half", "variance-twice"):
        along_var = along_var * (2 if bug == "variance-twice" else 0.5)
    if bug == "rows-only":
        along_mean, along_var = g / m, x_hat * g * x_hat / m
    signs = {"sign-of-mean-path": (-1, 1), "sign-of-variance-path": (1, -1)}
    s, t = signs.get(bug, (1, 1))
    power = {"std-lost-in-dx": 0, "divided-by-variance": 2}.get(bug, 1)
    direct = g / m if bug == "direct-divided" else g
    dx = (direct - s * along_mean - t * along_var) / std**power
    if bug == "dx-divided-by-N":
        dx = dx / m
    return dx, *parameter_gradients(dout, x, x_hat, mu, gamma, beta, bug)


FORWARD_DIVISORS = tuple(
    f"forward:{name}"
    for name in ("sample-variance", "eps-outside-root", "no-eps", "eps-fixed",
                 "eps-fixed#8", "eps-squared", "eps-root-outside", "eps-twice")
)  # fmt: skip


def parameter_gradients(
    dout: Array,
    x: Array,
    x_hat: Array,
    mu: Array,
    gamma: Array,
    beta: Array | float,
    bug: str,
) -> tuple[Array, Array]:
    """Return dgamma and dbeta as a mistake writes them; see `backward`."""
    factors = {
        "dgamma-uses-x": x,
        "dgamma-uses-centred": x - mu,
        "dgamma-uses-out": gamma * x_hat + beta,
        "dgamma-uses-out#scaled": gamma * x_hat,
        "dgamma-uses-out#cache": gamma * x_hat + beta,
        "dgamma-uses-out#cache-scaled": gamma * x_hat,
    }
    product = x_hat if bug == "dgamma-no-dout" else dout * factors.get(bug, x_hat)
    sums = {"mean": lambda a: a.mean(0), "no-sum": lambda a: a}
    sums["over-features"] = lambda a: a.sum(1)
    dgamma = sums.get(bug.removeprefix("dgamma-"), lambda a: a.sum(0))(product)
    dbeta = sums.get(bug.removeprefix("dbeta-"), lambda a: a.sum(0))(dout)
    if bug == "dgamma-dbeta-swapped":
        return dbeta, dgamma
    return dgamma, dbeta


def numerical(
    function: Any, args: tuple, k: int, dout: Array, h: float = 1e-6
) -> Array:
    """Differentiate sum(dout * function(*args)) by argument k, numerically."""
    value = np.array(args[k], np.float64)
    gradient = np.empty_like(value)
    for i in np.ndindex(value.shape):
        ends = []
        for sign in (1, -1):
            moved = value.copy()
            moved[i] += sign * h
            ends.append((dout * function(*args[:k], moved, *args[k + 1 :])).sum())
        gradient[i] = (ends[0] - ends[1]) / (2 * h)
    return gradient


# --- relatives and variants -----------------------------------------------------------


def ghost(x: Array, gamma: Array, beta: Array, eps: float, k: int) -> Array:
    """Normalize every k consecutive rows as a batch of its own."""
    return np.concatenate(
        [forward(x[i : i + k], gamma, beta, eps) for i in range(0, len(x), k)]
    )


def weighted(
    x: Array, gamma: Array, beta: Array, eps: float, w: Array, power: int = 1
) -> Array:
    """Normalize all rows with weighted statistics."""
    w = np.asarray(w, np.float64)[:, None]
    mu = (w * x).sum(0) / w.sum()
    var = (w**power * (x - mu) ** 2).sum(0) / (w**power).sum()
    return gamma * (x - mu) / np.sqrt(var + eps) + beta


def clipped(x: Array, gamma: Array, beta: Array, eps: float, floor: float) -> Array:
    """Normalize with a variance of at least floor."""
    var = np.maximum(x.var(0), floor)
    return gamma * (x - x.mean(0)) / np.sqrt(var + eps) + beta


def corrected_statistics(batches: Array, momentum: float) -> tuple[Array, Array]:
    """Average batch statistics from zero, and correct for the start."""
    mean, var = np.zeros(batches.shape[2]), np.zeros(batches.shape[2])
    for x in batches:
        mean = momentum * mean + (1 - momentum) * x.mean(0)
        var = momentum * var + (1 - momentum) * x.var(0)
    correction = 1 - momentum ** len(batches)
    return mean / correction, var / correction


def to_rows(x: Array) -> Array:
    """Turn maps (N, C, H, W) into rows (N H W, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def to_maps(rows: Array, shape: tuple[int, ...]) -> Array:
    """Turn rows (N H W, C) back into maps (N, C, H, W)."""
    n, c, h, w = shape
    return np.moveaxis(rows.reshape(n, h, w, c), -1, 1)


def layer(x: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """Normalize each row over its features."""
    mu, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    return gamma * (x - mu) / np.sqrt(var + eps) + beta


def groups(x: Array, gamma: Array, beta: Array, sizes: list[int], eps: float) -> Array:
    """Normalize maps over groups of channels of the given sizes."""
    parts, start = [], 0
    for size in sizes:
        part = x[:, start : start + size]
        mu = part.mean((1, 2, 3), keepdims=True)
        var = part.var((1, 2, 3), keepdims=True)
        parts.append((part - mu) / np.sqrt(var + eps))
        start += size
    x_hat = np.concatenate(parts, axis=1)
    return gamma[:, None, None] * x_hat + beta[:, None, None]


def masked(x: Array, gamma: Array, beta: Array, mask: Array, eps: float) -> Array:
    """Normalize maps with the statistics of the pixels where the mask is 1."""
    rows, keep = to_rows(x), mask.reshape(-1)
    return to_maps(weighted(rows, gamma, beta, eps, keep), x.shape)


def twisted(recipe: Recipe, **changes: Any) -> Recipe:
    """Return a recipe with other entries."""
    return replace(recipe, **changes)
