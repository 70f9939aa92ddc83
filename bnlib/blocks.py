"""Batch norm for arrays that do not fit the processor's cache, block by block.

The mathematics is that of `bnlib.functional`, and so are the passes over the data. Each
pass works on a few rows at a time and writes where the result belongs, so that nothing
as large as the input is made but x_hat, y and the gradient.
"""

from __future__ import annotations

import numpy as np

from bnlib.validate import Array

BLOCK = 64 * 1024  # values worked on at a time: a few such blocks fit an L2 cache


def as_3d(x: Array) -> Array:
    """View (N, C, H, W, ...) as (N, C, L); leave (N, C) as it is."""
    return x if x.ndim == 2 else x.reshape(*x.shape[:2], -1)


def batch_axes(x: Array) -> int | tuple[int, int]:
    """Return all axes but the channels of x, (N, C) or (N, C, L)."""
    return 0 if x.ndim == 2 else (0, 2)


def column(v: Array, x: Array) -> Array:
    """Shape one value per channel so that it broadcasts over x, (N, C) or (N, C, L)."""
    return v if x.ndim == 2 else v[:, None]


def normalize(
    x: Array,
    given: tuple[Array, Array] | None,
    gamma: Array | None,
    beta: Array | None,
    eps: float,
) -> tuple[Array, Array, Array, Array, Array]:
    """Normalize, scale and shift, in three passes over the input.

    Parameters
    ----------
    x : ndarray of shape (N, C) or (N, C, L)
        Input.
    given : tuple of ndarray of shape (C,) or None
        Mean and variance to use instead of those of the batch.
    gamma, beta : ndarray of shape (C,) or None
        Scale and shift.
    eps : float, >= 0
        Added to the variance.

    Returns
    -------
    x_hat, y : ndarray, like x
        Normalized values and output.
    mu, var, inv_std : ndarray of shape (C,)
        Mean, biased variance, and ``1 / sqrt(var + eps)``.
    """
    mu, var = _statistics(x) if given is None else given
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    x_hat, y = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    mu_, inv_std_ = column(mu, x), column(inv_std, x)
    gamma_ = 1 if gamma is None else column(gamma, x)
    for i in _rows(x):
        np.subtract(x[i], mu_, out=x_hat[i])
        np.multiply(x_hat[i], inv_std_, out=x_hat[i])
        np.multiply(x_hat[i], gamma_, out=y[i])
        if beta is not None:
            np.add(y[i], column(beta, x), out=y[i])
    return x_hat, y, mu, var, inv_std


def backward(
    dy: Array, x_hat: Array, scale: Array, training: bool
) -> tuple[Array, Array, Array]:
    """Run the closed form of the gradient in two passes.

    Parameters
    ----------
    dy, x_hat : ndarray of shape (N, C) or (N, C, L)
        Upstream gradient and normalized values.
    scale : ndarray of shape (C,)
        ``gamma / sqrt(var + eps)``.
    training : bool
        Whether the statistics were those of the batch.

    Returns
    -------
    grad_x : ndarray, like dy
        Gradient with respect to the input.
    sum_dy_x_hat, sum_dy : ndarray of shape (C,)
        Gradients with respect to gamma and beta.
    """
    m, sum_dy, sum_dy_x_hat = dy.dtype.type(dy.size // dy.shape[1]), 0, 0
    for i in _rows(dy):
        sum_dy = sum_dy + _sum(dy[i], dy.dtype)
        sum_dy_x_hat = sum_dy_x_hat + _dot(dy[i], x_hat[i])
    scale_, mean_dy = column(scale, dy), column(sum_dy / m, dy)
    along = column(sum_dy_x_hat / m, dy)
    grad_x = np.empty(dy.shape, dy.dtype)
    for i in _rows(dy):
        if training:
            np.multiply(x_hat[i], along, out=grad_x[i])
            np.subtract(dy[i], grad_x[i], out=grad_x[i])
            np.subtract(grad_x[i], mean_dy, out=grad_x[i])
            np.multiply(grad_x[i], scale_, out=grad_x[i])
        else:
            np.multiply(dy[i], scale_, out=grad_x[i])
    return grad_x, sum_dy_x_hat, sum_dy


def _statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean and the biased variance of each channel, in two passes."""
    m, total, squares = x.size // x.shape[1], 0, 0
    for i in _rows(x):
        total = total + _sum(x[i], np.float64)
    mu = (total / m).astype(x.dtype)
    for i in _rows(x):
        centred = x[i] - column(mu, x)
        squares = squares + _dot(centred, centred)
    return mu, squares / x.dtype.type(m)


def _rows(x: Array) -> list[slice]:
    """Return slices of the first axis that hold about BLOCK values each."""
    step = max(1, BLOCK * len(x) // max(x.size, 1))
    return [slice(i, i + step) for i in range(0, len(x), step)]


def _sum(x: Array, dtype: type) -> Array:
    """Sum over all axes but the channels; (N, C) or (N, C, L) to (C,)."""
    return np.add.reduce(x if x.ndim == 2 else np.add.reduce(x, 2), 0, dtype)


def _dot(a: Array, b: Array) -> Array:
    """Sum a * b over all axes but the channels, without storing the product."""
    if a.ndim == 2:
        return np.einsum("nc,nc->c", a, b)
    return np.einsum("ncl,ncl->nc", a, b).sum(0)
