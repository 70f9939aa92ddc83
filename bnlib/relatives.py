"""The relatives of batch norm: layer, group, instance and RMS norm.

All of these layers are one idea with different index sets: a value is normalized by
the mean and the variance of a set of values. `standardize` writes it for any set of
axes, `standardize_backward` its closed-form gradient; the layers choose the axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bnlib.validate import (
    Array,
    check_batch_norm,
    check_eps,
    check_float,
    check_gradient,
    check_parameter,
)


class NormCache(NamedTuple):
    """What layer, group, instance and RMS norm keep for their backward pass.

    Attributes
    ----------
    x_hat : ndarray, like x
        Normalized values.
    inv_std : ndarray
        ``1 / sqrt(var + eps)``, broadcastable to ``shape``.
    shape : tuple of int
        The shape in which the values were normalized ...
    axes : tuple of int
        ... over these axes; none when the statistics were constants.
    weight : ndarray or None
        Gamma, broadcastable to x.
    affine : tuple of bool
        Whether a weight and a bias were given.
    parameter_axes : tuple of int
        The axes of x that share a weight.
    """

    x_hat: Array
    inv_std: Array
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    weight: Array | None
    affine: tuple[bool, bool]
    parameter_axes: tuple[int, ...]


def standardize(
    x: Array, axes: int | tuple[int, ...], eps: float = 1e-5
) -> tuple[Array, Array]:
    """Subtract the mean over ``axes`` and divide by ``sqrt(var + eps)``.

    Parameters
    ----------
    x : ndarray
        Input.
    axes : int or tuple of int
        The values that share a mean and a variance lie along these axes: for x of
        shape (N, C, H, W), ``(0, 2, 3)`` is batch norm and ``(1, 2, 3)`` layer norm.
    eps : float, >= 0
        Added to the variance.

    Returns
    -------
    x_hat : ndarray, like x
        Normalized values.
    inv_std : ndarray, broadcastable to x
        ``1 / sqrt(var + eps)``.
    """
    centred = x - x.mean(axes, keepdims=True, dtype=np.float64).astype(x.dtype)
    var = (centred**2).mean(axes, keepdims=True)
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    return centred * inv_std, inv_std


def standardize_backward(
    grad_x_hat: Array, x_hat: Array, inv_std: Array, axes: int | tuple[int, ...]
) -> Array:
    """Backpropagate through `standardize`: remove the mean and the part along x_hat.

    Parameters
    ----------
    grad_x_hat : ndarray, like x_hat
        Gradient with respect to the normalized values.
    x_hat, inv_std : ndarray
        From `standardize`.
    axes : int or tuple of int
        As in `standardize`.

    Returns
    -------
    grad_x : ndarray, like x_hat
        Gradient with respect to the input.
    """
    mean = grad_x_hat.mean(axes, keepdims=True)
    along_x_hat = (grad_x_hat * x_hat).mean(axes, keepdims=True)
    return inv_std * (grad_x_hat - mean - x_hat * along_x_hat)


def layer_norm(
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> tuple[Array, NormCache]:
    """Normalize each example over its last axes, then scale and shift.

    Parameters
    ----------
    x : ndarray of shape (..., *normalized_shape)
        Input.
    normalized_shape : int or sequence of int
        Shape of the trailing axes that are normalized together.
    weight, bias : ndarray of shape normalized_shape, optional
        Gamma and beta, one for each position.
    eps : float, >= 0
        Added to the variance.

    Returns
    -------
    y : ndarray, like x
        Output.
    cache : NormCache
        For `layer_norm_backward`.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype; negative eps.

    References
    ----------
    Ba, Kiros and Hinton (2016); PyTorch, ``torch.nn.functional.layer_norm``.
    """
    shape, leading = _trailing(x, normalized_shape)
    check_parameter("weight", weight, shape, x.dtype)
    check_parameter("bias", bias, shape, x.dtype)
    axes, parameter_axes = tuple(range(leading, x.ndim)), tuple(range(leading))
    return _normalize(x, x.shape, axes, weight, bias, eps, parameter_axes)


def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> tuple[Array, NormCache]:
    """Normalize groups of channels of each example, then scale and shift.

    Parameters
    ----------
    x : ndarray of shape (N, C, ...)
        Input.
    num_groups : int
        Number of groups; it must divide C.
    weight, bias : ndarray of shape (C,), optional
        Gamma and beta, one for each channel.
    eps : float, >= 0
        Added to the variance.

    Returns
    -------
    y : ndarray, like x
        Output.
    cache : NormCache
        For `group_norm_backward`.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype; C not divisible by num_groups; negative eps.

    References
    ----------
    Wu and He (2018); PyTorch, ``torch.nn.functional.group_norm``.
    """
    check_float("x", x, min_ndim=2)
    n, c = x.shape[:2]
    if num_groups < 1 or c % num_groups:
        raise ValueError(
            f"num_channels must be divisible by num_groups, got {c} channels and "
            f"num_groups={num_groups}"
        )
    check_parameter("weight", weight, (c,), x.dtype)
    check_parameter("bias", bias, (c,), x.dtype)
    weight, bias = _columns(x, weight, bias)
    shape = (n, num_groups, math.prod(x.shape[1:]) // num_groups)
    return _normalize(x, shape, (2,), weight, bias, eps, _batch_axes(x))


def instance_norm(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, NormCache]:
    """Normalize each channel of each example, then scale and shift.

    Parameters
    ----------
    x : ndarray of shape (N, C, L) or (N, C, H, W, ...)
        Input.
    running_mean, running_var : ndarray of shape (C,), optional
        Running statistics, **changed in place** when ``use_input_stats`` is True: they
        receive the mean over the batch of the examples' statistics.
    weight, bias : ndarray of shape (C,), optional
        Gamma and beta, one for each channel.
    use_input_stats : bool
        Normalize with the statistics of each example (True) or with the running ones.
    momentum : float
        Running-average step: the weight of the new value.
    eps : float, >= 0
        Added to the variance.

    Returns
    -------
    y : ndarray, like x
        Output.
    cache : NormCache
        For `instance_norm_backward`.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype; one value per channel; negative eps.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky (2016); PyTorch,
    ``torch.nn.functional.instance_norm``.
    """
    check_batch_norm(
        x, running_mean, running_var, weight, bias, False, eps, not use_input_stats
    )
    n, c = x.shape[:2]
    if not use_input_stats:
        return _normalize_by_constants(x, running_mean, running_var, weight, bias, eps)
    length = math.prod(x.shape[2:])
    if length == 1:
        raise ValueError(
            "Expected more than 1 spatial element when training, got input size "
            f"{list(x.shape)}"
        )
    if running_mean is not None:
        rows = x.reshape(n, c, length)
        running_mean += momentum * (rows.mean((0, 2)) - running_mean)
        running_var += momentum * (rows.var(2, ddof=1).mean(0) - running_var)
    return group_norm(x, c, weight, bias, eps)


def _norm_backward(
    grad_output: Array, cache: NormCache
) -> tuple[Array, Array | None, Array | None]:
    """Backpropagate through layer, group or instance norm.

    Parameters
    ----------
    grad_output : ndarray, like x
        Gradient of the loss with respect to y.
    cache : NormCache
        From the forward function; it is not changed.

    Returns
    -------
    grad_x : ndarray, like x
        Gradient with respect to the input.
    grad_weight, grad_bias : ndarray or None
        Gradients with respect to gamma and beta; None where none was given.

    Raises
    ------
    ValueError, TypeError
        Shape or dtype of ``grad_output`` differs from the output's.
    """
    check_gradient(grad_output, cache.x_hat)
    grad_x_hat = grad_output if cache.weight is None else grad_output * cache.weight
    if cache.axes:
        grad_x = standardize_backward(
            grad_x_hat.reshape(cache.shape),
            cache.x_hat.reshape(cache.shape),
            cache.inv_std,
            cache.axes,
        )
    else:
        grad_x = cache.inv_std * grad_x_hat
    has_weight, has_bias = cache.affine
    axes = cache.parameter_axes
    return (
        grad_x.reshape(grad_output.shape),
        (grad_output * cache.x_hat).sum(axes) if has_weight else None,
        grad_output.sum(axes) if has_bias else None,
    )


layer_norm_backward = group_norm_backward = instance_norm_backward = _norm_backward


def rms_norm(
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    eps: float | None = None,
) -> tuple[Array, NormCache]:
    """Divide each example by the root of its mean square; no mean is removed.

    Parameters
    ----------
    x : ndarray of shape (..., *normalized_shape)
        Input.
    normalized_shape : int or sequence of int
        Shape of the trailing axes that are normalized together.
    weight : ndarray of shape normalized_shape, optional
        Gamma, one for each position.
    eps : float, >= 0, optional
        Added to the mean square; None is the spacing of the dtype at 1, as in PyTorch.

    Returns
    -------
    y : ndarray, like x
        Output.
    cache : NormCache
        For `rms_norm_backward`.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype; negative eps.

    References
    ----------
    Zhang and Sennrich (2019); PyTorch, ``torch.nn.functional.rms_norm``.
    """
    shape, leading = _trailing(x, normalized_shape)
    check_parameter("weight", weight, shape, x.dtype)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    check_eps(eps)
    axes = tuple(range(leading, x.ndim))
    inv_rms = 1 / np.sqrt((x**2).mean(axes, keepdims=True) + x.dtype.type(eps))
    x_hat = x * inv_rms
    y = x_hat if weight is None else x_hat * weight
    affine = (weight is not None, False)
    cache = NormCache(
        x_hat, inv_rms, x.shape, axes, weight, affine, tuple(range(leading))
    )
    return y, cache


def rms_norm_backward(
    grad_output: Array, cache: NormCache
) -> tuple[Array, Array | None]:
    """Backpropagate through `rms_norm`: only the part along x_hat is removed.

    Parameters
    ----------
    grad_output : ndarray, like x
        Gradient of the loss with respect to y.
    cache : NormCache
        From `rms_norm`; it is not changed.

    Returns
    -------
    grad_x : ndarray, like x
        Gradient with respect to the input.
    grad_weight : ndarray of shape normalized_shape or None
        Gradient with respect to gamma.

    Raises
    ------
    ValueError, TypeError
        Shape or dtype of ``grad_output`` differs from the output's.
    """
    x_hat = cache.x_hat
    check_gradient(grad_output, x_hat)
    grad_x_hat = grad_output if cache.weight is None else grad_output * cache.weight
    along_x_hat = (grad_x_hat * x_hat).mean(cache.axes, keepdims=True)
    grad_x = cache.inv_std * (grad_x_hat - x_hat * along_x_hat)
    has_weight = cache.affine[0]
    grad_weight = (grad_output * x_hat).sum(cache.parameter_axes)
    return grad_x, grad_weight if has_weight else None


def _trailing(
    x: Array, normalized_shape: int | Sequence[int]
) -> tuple[tuple[int, ...], int]:
    """Return normalized_shape as a tuple, and the number of axes before it."""
    check_float("x", x, min_ndim=1)
    shape = np.atleast_1d(normalized_shape)
    shape = tuple(int(size) for size in shape)
    leading = x.ndim - len(shape)
    if not shape or leading < 0 or x.shape[leading:] != shape:
        raise ValueError(
            f"normalized_shape is {shape}, so x must have shape (*, "
            f"{', '.join(map(str, shape))}), got {x.shape}"
        )
    return shape, leading


def _normalize(
    x: Array,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    weight: Array | None,
    bias: Array | None,
    eps: float,
    parameter_axes: tuple[int, ...],
) -> tuple[Array, NormCache]:
    """Standardize x, seen in ``shape``, over ``axes``; then scale and shift."""
    check_eps(eps)
    x_hat, inv_std = standardize(x.reshape(shape), axes, eps)
    x_hat = x_hat.reshape(x.shape)
    y = x_hat if weight is None else x_hat * weight
    y = y if bias is None else y + bias
    affine = (weight is not None, bias is not None)
    return y, NormCache(x_hat, inv_std, shape, axes, weight, affine, parameter_axes)


def _normalize_by_constants(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
) -> tuple[Array, NormCache]:
    """Normalize each channel by given statistics; then scale and shift."""
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    mean, inv_std, gamma, beta = _columns(x, mean, inv_std, weight, bias)
    x_hat = (x - mean) * inv_std
    y = x_hat if gamma is None else x_hat * gamma
    y = y if beta is None else y + beta
    affine, parameter_axes = (weight is not None, bias is not None), _batch_axes(x)
    return y, NormCache(x_hat, inv_std, x.shape, (), gamma, affine, parameter_axes)


def _batch_axes(x: Array) -> tuple[int, ...]:
    """Return all axes but the channels."""
    return (0, *range(2, x.ndim))


def _columns(x: Array, *values: Array | None) -> list[Array | None]:
    """Shape one value per channel so that it broadcasts over (N, C, ...)."""
    column = (x.shape[1],) + (1,) * (x.ndim - 2)
    return [None if v is None else v.reshape(column) for v in values]
