"""Batch normalization in NumPy: forward and backward, without state.

The names of the arguments are PyTorch's (``weight``, ``bias``, ``running_mean``,
``momentum``, ``eps``); inside, the symbols are those of Ioffe and Szegedy (2015):
``mu``, ``var``, ``x_hat``, ``gamma``, ``beta``. Each forward function returns the
output and a cache; its backward function takes the upstream gradient and that cache.

The other normalization layers stand in `bnlib.relatives`, the rest of a network in
`bnlib.ops`; all of them can be called from here, as in ``torch.nn.functional``.

The bodies below are the mathematics on the whole array. Arrays that do not fit the
processor's cache take the same passes block by block, in `bnlib.blocks`; the tests hold
the two against each other and against `bnlib.relatives.standardize`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bnlib import blocks
from bnlib.blocks import as_3d, batch_axes, column
from bnlib.ops import (
    conv2d,
    conv2d_backward,
    cross_entropy,
    cross_entropy_backward,
    linear,
    linear_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from bnlib.relatives import (
    group_norm,
    group_norm_backward,
    instance_norm,
    instance_norm_backward,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
    standardize,
    standardize_backward,
)
from bnlib.validate import Array, check_batch_norm, check_gradient

__all__ = [
    "BatchNormCache",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_backward_six",
    "conv2d",
    "conv2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "relu",
    "relu_backward",
    "rms_norm",
    "rms_norm_backward",
    "sigmoid",
    "sigmoid_backward",
    "standardize",
    "standardize_backward",
    "tanh",
    "tanh_backward",
]


class BatchNormCache(NamedTuple):
    """What `batch_norm` keeps for its backward pass.

    Attributes
    ----------
    x_hat : ndarray, like x
        Normalized values.
    mu : ndarray of shape (C,)
        Mean that was subtracted.
    var : ndarray of shape (C,)
        Variance that normalized the input: divisor m, without eps.
    inv_std : ndarray of shape (C,)
        ``1 / sqrt(var + eps)``.
    weight : ndarray of shape (C,) or None
        Gamma, as given.
    affine : tuple of bool
        Whether a weight and a bias were given.
    training : bool
        True when ``mu`` and ``var`` came from this batch.
    """

    x_hat: Array
    mu: Array
    var: Array
    inv_std: Array
    weight: Array | None
    affine: tuple[bool, bool]
    training: bool


def batch_norm(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, BatchNormCache]:
    """Normalize each channel over the batch, then scale and shift.

    ``y = gamma * (x - mu) / sqrt(var + eps) + beta``. In training mode ``mu`` and
    ``var`` are those of the batch, and the running statistics, when given, are
    updated in place. In evaluation mode ``mu`` and ``var`` are the running statistics.

    Parameters
    ----------
    x : ndarray of shape (N, C) or (N, C, ...), float32 or float64
        Input; the channels stand on axis 1.
    running_mean, running_var : ndarray of shape (C,), optional
        Running statistics; needed in evaluation mode, **changed in place** in training.
    weight, bias : ndarray of shape (C,), optional
        Gamma and beta; 1 and 0 when not given.
    training : bool
        Use the statistics of the batch (True) or the running ones (False).
    momentum : float
        Running-average step: the weight of the new value, as in PyTorch.
    eps : float, >= 0
        Added to the variance under the root. 0 is allowed, for exact identities;
        PyTorch refuses it in training.

    Returns
    -------
    y : ndarray, like x
        Output.
    cache : BatchNormCache
        For `batch_norm_backward`.

    Raises
    ------
    ValueError
        Wrong shape, negative eps, one value per channel in training, or no running
        statistics in evaluation.
    TypeError
        Dtype other than float32 or float64, or dtypes that differ.

    Notes
    -----
    The batch is normalized with the biased variance (divisor m). The running variance
    receives the unbiased one (divisor m - 1), as Algorithm 2 of the paper has it.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithms 1 and 2, section 3.2; PyTorch,
    ``torch.nn.functional.batch_norm``. Derived in the chapters on the transform and
    on training and inference.

    Examples
    --------
    >>> y, cache = batch_norm(np.array([[1.0], [3.0]]), training=True, eps=0.0)
    >>> y.ravel()
    array([-1.,  1.])
    """
    check_batch_norm(x, running_mean, running_var, weight, bias, training, eps)
    given = None if training else (running_mean.copy(), running_var.copy())
    normalize = _normalize if x.size <= blocks.BLOCK else blocks.normalize
    x_hat, y, mu, var, inv_std = normalize(as_3d(x), given, weight, bias, eps)
    if training and running_mean is not None:
        m = x.size // x.shape[1]
        running_mean += momentum * (mu - running_mean)
        running_var += momentum * (var * (m / (m - 1)) - running_var)
    x_hat, y = x_hat.reshape(x.shape), y.reshape(x.shape)
    affine = (weight is not None, bias is not None)
    return y, BatchNormCache(x_hat, mu, var, inv_std, weight, affine, training)


def _normalize(
    x: Array,
    given: tuple[Array, Array] | None,
    gamma: Array | None,
    beta: Array | None,
    eps: float,
) -> tuple[Array, Array, Array, Array, Array]:
    """Run Algorithm 1 on x of shape (N, C) or (N, C, L), line by line.

    The variance takes two passes: the one-pass formula ``E[x**2] - E[x]**2`` loses all
    digits when the mean is large. The mean is summed in float64. ``given`` replaces the
    statistics of the batch in evaluation mode.
    """
    axes, m = batch_axes(x), x.dtype.type(x.size // x.shape[1])
    if given is None:
        mu = (np.add.reduce(x, axes, np.float64) / m).astype(x.dtype)
        centred = x - column(mu, x)
        var = np.add.reduce(centred * centred, axes) / m
    else:
        mu, var = given
        centred = x - column(mu, x)
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    x_hat = centred * column(inv_std, x)
    y = x_hat * (1 if gamma is None else column(gamma, x))
    if beta is not None:
        y += column(beta, x)
    return x_hat, y, mu, var, inv_std


def batch_norm_backward(
    grad_output: Array, cache: BatchNormCache
) -> tuple[Array, Array | None, Array | None]:
    r"""Backpropagate through `batch_norm` with the closed form.

    In training mode,
    ``dx = gamma / (m * sqrt(var + eps)) * (m*dy - sum(dy) - x_hat * sum(dy*x_hat))``;
    in evaluation mode the statistics are constants and ``dx = gamma * inv_std * dy``.

    Parameters
    ----------
    grad_output : ndarray, like x
        Gradient of the loss with respect to y.
    cache : BatchNormCache
        From `batch_norm`; it is not changed.

    Returns
    -------
    grad_x : ndarray, like x
        Gradient with respect to the input.
    grad_weight, grad_bias : ndarray of shape (C,) or None
        Gradients with respect to gamma and beta; None where none was given.

    Raises
    ------
    ValueError, TypeError
        Shape or dtype of ``grad_output`` differs from the output's.

    References
    ----------
    Ioffe and Szegedy (2015), section 3. Derived in the chapter on the backward pass.
    """
    check_gradient(grad_output, cache.x_hat)
    dy, x_hat = as_3d(grad_output), as_3d(cache.x_hat)
    gamma = 1 if cache.weight is None else cache.weight
    backward = _backward if dy.size <= blocks.BLOCK else blocks.backward
    grad_x, sum_dy_x_hat, sum_dy = backward(
        dy, x_hat, gamma * cache.inv_std, cache.training
    )
    has_weight, has_bias = cache.affine
    return (
        grad_x.reshape(grad_output.shape),
        sum_dy_x_hat if has_weight else None,
        sum_dy if has_bias else None,
    )


def _backward(
    dy: Array, x_hat: Array, scale: Array, training: bool
) -> tuple[Array, Array, Array]:
    """Run the closed form on arrays of shape (N, C) or (N, C, L)."""
    axes, m = batch_axes(dy), dy.dtype.type(dy.size // dy.shape[1])
    sum_dy, sum_dy_x_hat = np.add.reduce(dy, axes), np.add.reduce(dy * x_hat, axes)
    if training:
        mean_dy, along = column(sum_dy / m, dy), column(sum_dy_x_hat / m, dy)
        grad_x = (dy - mean_dy - x_hat * along) * column(scale, dy)
    else:
        grad_x = dy * column(scale, dy)
    return grad_x, sum_dy_x_hat, sum_dy


def batch_norm_backward_six(
    grad_output: Array, cache: BatchNormCache
) -> tuple[Array, Array | None, Array | None]:
    """Backpropagate with the six equations of the paper, one line for each.

    Same arguments and results as `batch_norm_backward`, training mode only.

    Parameters
    ----------
    grad_output : ndarray, like x
        Gradient of the loss with respect to y.
    cache : BatchNormCache
        From `batch_norm` in training mode.

    Returns
    -------
    grad_x, grad_weight, grad_bias : ndarray
        As in `batch_norm_backward`.

    Raises
    ------
    ValueError
        The cache comes from evaluation mode.

    References
    ----------
    Ioffe and Szegedy (2015), section 3, the six unnumbered equations.
    """
    check_gradient(grad_output, cache.x_hat)
    if not cache.training:
        raise ValueError(
            "the six equations hold in training mode; this cache is from evaluation "
            "mode: use batch_norm_backward"
        )
    axes = (0, *range(2, grad_output.ndim))
    column = (-1,) + (1,) * (grad_output.ndim - 2)
    m = grad_output.size // grad_output.shape[1]
    inv_std = cache.inv_std.reshape(column)
    gamma = 1 if cache.weight is None else cache.weight.reshape(column)
    centred = cache.x_hat / inv_std

    dx_hat = grad_output * gamma
    dvar = (dx_hat * centred).sum(axes, keepdims=True) * -0.5 * inv_std**3
    dmu = -(dx_hat * inv_std).sum(axes, keepdims=True) + dvar * (-2 * centred).mean(
        axes, keepdims=True
    )
    dx = dx_hat * inv_std + dvar * 2 * centred / m + dmu / m
    dgamma = (grad_output * cache.x_hat).sum(axes)
    dbeta = grad_output.sum(axes)

    has_weight, has_bias = cache.affine
    return dx, dgamma if has_weight else None, dbeta if has_bias else None
