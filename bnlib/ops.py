"""The rest of a network: linear, convolution, activations and the loss.

Stateless, like `bnlib.functional`: each forward function returns the output and a
cache, each backward function takes the upstream gradient and that cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bnlib._check import (
    Array,
    check_array,
    check_cache,
    check_float,
    check_gradient,
    check_parameter,
    check_sizes,
)
from bnlib._fast import positive_part, sum_rows


class LinearCache(NamedTuple):
    """What `linear` keeps: its input, its weight, and whether there is a bias."""

    x: Array
    weight: Array
    has_bias: bool


class Conv2dCache(NamedTuple):
    """What `conv2d` keeps: shapes of x and y, windows as columns, and its options."""

    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    patches: Array
    weight: Array
    has_bias: bool
    stride: int
    padding: int


class EntropyCache(NamedTuple):
    """What `cross_entropy` keeps: the softmax of the logits, and the right classes."""

    softmax: Array
    target: NDArray[np.integer]


def linear(
    x: Array, weight: Array, bias: Array | None = None
) -> tuple[Array, LinearCache]:
    """Compute ``x @ weight.T + bias``.

    Parameters
    ----------
    x : ndarray of shape (N, in)
        Input.
    weight : ndarray of shape (out, in)
        Weights.
    bias : ndarray of shape (out,), optional
        Bias.

    Returns
    -------
    y : ndarray of shape (N, out)
        Output.
    cache : LinearCache
        For `linear_backward`.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype.
    """
    check_float("x", x, min_ndim=2)
    check_array("weight", weight)
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"x must have shape (N, in) and weight (out, in), got {x.shape} and "
            f"{weight.shape}"
        )
    check_parameter("weight", weight, weight.shape, x.dtype)
    check_parameter("bias", bias, weight.shape[:1], x.dtype)
    y = x @ weight.T
    if bias is not None:
        y += bias
    return y, LinearCache(x, weight, bias is not None)


def linear_backward(
    grad_output: Array, cache: LinearCache, input_grad: bool = True
) -> tuple[Array | None, Array, Array | None]:
    """Backpropagate through `linear`.

    Parameters
    ----------
    grad_output : ndarray of shape (N, out)
        Gradient with respect to y.
    cache : LinearCache
        From `linear`.
    input_grad : bool
        Whether the gradient with respect to x is wanted; a first layer needs none.

    Returns
    -------
    grad_x : ndarray of shape (N, in) or None
        Gradient with respect to x.
    grad_weight : ndarray of shape (out, in)
        Gradient with respect to the weights.
    grad_bias : ndarray of shape (out,) or None
        Gradient with respect to the bias.

    Raises
    ------
    ValueError, TypeError
        Shape or dtype of ``grad_output`` differs from the output's; the cache of
        another function.
    """
    check_cache(cache, LinearCache, "linear")
    x, weight, has_bias = cache
    check_gradient(grad_output, (len(x), len(weight)), x.dtype)
    grad_x = grad_output @ weight if input_grad else None
    grad_weight = (x.T @ grad_output).T  # laid out as Linear lays out its weight
    return grad_x, grad_weight, sum_rows(grad_output) if has_bias else None


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int = 0,
) -> tuple[Array, Conv2dCache]:
    """Slide each filter over the image and take dot products (cross-correlation).

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        Input.
    weight : ndarray of shape (out, C, k, l)
        Filters.
    bias : ndarray of shape (out,), optional
        Bias, one for each output channel.
    stride, padding : int
        Step between positions, and zeros added on each side.

    Returns
    -------
    y : ndarray of shape (N, out, H', W')
        Output; ``H' = (H + 2*padding - k) // stride + 1``.
    cache : Conv2dCache
        For `conv2d_backward`.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype.
    """
    check_float("x", x, min_ndim=4)
    check_array("weight", weight)
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            "x must have shape (N, C, H, W) and weight (out, C, k, l), got "
            f"{x.shape} and {weight.shape}"
        )
    check_parameter("weight", weight, weight.shape, x.dtype)
    check_parameter("bias", bias, weight.shape[:1], x.dtype)
    check_sizes(stride=stride)
    check_sizes(0, padding=padding)
    k, l = weight.shape[2:]
    if x.shape[2] + 2 * padding < k or x.shape[3] + 2 * padding < l:
        raise ValueError(
            f"the filter, {(k, l)}, is larger than the padded input, "
            f"{(x.shape[2] + 2 * padding, x.shape[3] + 2 * padding)}"
        )
    sides = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    windows = sliding_window_view(np.pad(x, sides), (k, l), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]  # (N, C, H', W', k, l)
    n, c, rows, columns = windows.shape[:4]
    # Each position's window as a column; kept, since the backward pass needs it, too.
    patches = windows.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * k * l, rows * columns)
    y = weight.reshape(len(weight), -1) @ patches  # (N, out, H'W')
    if bias is not None:
        y += bias[:, None]
    y = y.reshape(n, len(weight), rows, columns)
    has_bias = bias is not None
    return y, Conv2dCache(x.shape, y.shape, patches, weight, has_bias, stride, padding)


def conv2d_backward(
    grad_output: Array, cache: Conv2dCache, input_grad: bool = True
) -> tuple[Array | None, Array, Array | None]:
    """Backpropagate through `conv2d`.

    Parameters
    ----------
    grad_output : ndarray of shape (N, out, H', W')
        Gradient with respect to y.
    cache : Conv2dCache
        From `conv2d`.
    input_grad : bool
        Whether the gradient with respect to x is wanted; a first layer needs none.

    Returns
    -------
    grad_x : ndarray of shape (N, C, H, W) or None
        Gradient with respect to x.
    grad_weight : ndarray of shape (out, C, k, l)
        Gradient with respect to the filters.
    grad_bias : ndarray of shape (out,) or None
        Gradient with respect to the bias.

    Raises
    ------
    ValueError, TypeError
        Shape or dtype of ``grad_output`` differs from the output's; the cache of
        another function.
    """
    check_cache(cache, Conv2dCache, "conv2d")
    (n, c, height, width), y_shape, patches, weight, has_bias, stride, padding = cache
    check_gradient(grad_output, y_shape, weight.dtype)
    out, _, k, l = weight.shape
    rows, columns = y_shape[2:]
    grad_y = grad_output.reshape(n, out, rows * columns)
    grad_weight = (grad_y @ patches.transpose(0, 2, 1)).sum(0).reshape(weight.shape)
    grad_bias = grad_output.sum((0, 2, 3)) if has_bias else None
    if not input_grad:
        return None, grad_weight, grad_bias
    grad_patches = weight.reshape(out, -1).T @ grad_y
    grad_patches = grad_patches.reshape(n, c, k, l, rows, columns)
    padded = np.zeros((n, c, height + 2 * padding, width + 2 * padding), weight.dtype)
    for i in range(k):
        for j in range(l):
            down = slice(i, i + stride * rows, stride)
            across = slice(j, j + stride * columns, stride)
            padded[:, :, down, across] += grad_patches[:, :, i, j]
    grad_x = padded[:, :, padding : padding + height, padding : padding + width]
    return grad_x, grad_weight, grad_bias


def relu(x: Array) -> tuple[Array, Array]:
    """Return ``max(x, 0)``.

    Parameters
    ----------
    x : ndarray, float32 or float64
        Input, one axis or more.

    Returns
    -------
    y : ndarray, like x
        Output.
    cache : ndarray, like x
        The derivative: 1 where x > 0; at 0 it is 0, as in PyTorch.
    """
    check_float("x", x, min_ndim=1)
    y = positive_part(x)
    return y, (y != 0).astype(x.dtype)


def sigmoid(x: Array) -> tuple[Array, Array]:
    """Return ``1 / (1 + exp(-x))``, without overflow.

    Parameters
    ----------
    x : ndarray, float32 or float64
        Input, one axis or more.

    Returns
    -------
    y : ndarray, like x
        Output in [0, 1]. Near 0 and 1 it is rounded to the spacing of the dtype at 1.
    cache : ndarray, like x
        The derivative, ``y * (1 - y)``.
    """
    check_float("x", x, min_ndim=1)
    y = np.tanh(x * x.dtype.type(0.5))
    y += 1
    y *= x.dtype.type(0.5)
    return y, y * (1 - y)


def tanh(x: Array) -> tuple[Array, Array]:
    """Return the hyperbolic tangent.

    Parameters
    ----------
    x : ndarray, float32 or float64
        Input, one axis or more.

    Returns
    -------
    y : ndarray, like x
        Output in [-1, 1].
    cache : ndarray, like x
        The derivative, ``1 - y**2``.
    """
    check_float("x", x, min_ndim=1)
    y = np.tanh(x)
    return y, 1 - y * y


def relu_backward(grad_output: Array, cache: Array) -> Array:
    """Backpropagate through an activation: multiply by its derivative.

    Parameters
    ----------
    grad_output : ndarray
        Gradient with respect to y.
    cache : ndarray
        The derivative, from the activation.

    Returns
    -------
    grad_x : ndarray
        Gradient with respect to x.

    Raises
    ------
    ValueError, TypeError
        Shape or dtype of ``grad_output`` differs from the output's; the cache of
        another function.
    """
    check_cache(cache, np.ndarray, "an activation")
    check_gradient(grad_output, cache.shape, cache.dtype)
    return grad_output * cache


sigmoid_backward = tanh_backward = relu_backward


def cross_entropy(
    logits: Array, target: NDArray[np.integer]
) -> tuple[float, EntropyCache]:
    """Return the mean of ``-log softmax(logits)[target]`` over the batch, in nats.

    Parameters
    ----------
    logits : ndarray of shape (N, K)
        Scores, one column for each class.
    target : ndarray of int, shape (N,)
        Index of the right class, 0 to K - 1.

    Returns
    -------
    loss : float
        The mean over the batch.
    cache : EntropyCache
        For `cross_entropy_backward`.

    Raises
    ------
    ValueError, TypeError
        Wrong shape, dtype, or a class outside 0 to K - 1.
    """
    check_float("logits", logits, min_ndim=2)
    check_array("target", target)
    if target.dtype.kind not in "iu":
        raise TypeError(f"target must hold integers, got {target.dtype}")
    if logits.ndim != 2 or target.shape != logits.shape[:1] or not len(target):
        raise ValueError(
            f"target must have shape ({len(logits)},) and logits (N, K) with N > 0, "
            f"got {target.shape} and {logits.shape}"
        )
    k = logits.shape[1]
    low, high = np.minimum.reduce(target), np.maximum.reduce(target)
    if low < 0 or high >= k:
        raise ValueError(f"target must lie in 0 to {k - 1}, got {low} to {high}")
    shifted = logits - np.maximum.reduce(logits, 1, keepdims=True)
    softmax = np.exp(shifted)
    total = np.add.reduce(softmax, 1)
    softmax /= total[:, None]
    right = shifted[np.arange(len(target)), target]
    loss = np.add.reduce(np.log(total) - right) / len(target)
    return float(loss), EntropyCache(softmax, target)


def cross_entropy_backward(cache: EntropyCache) -> Array:
    """Return the gradient of `cross_entropy` with respect to the logits.

    Parameters
    ----------
    cache : EntropyCache
        From `cross_entropy`.

    Returns
    -------
    grad_logits : ndarray of shape (N, K)
        ``(softmax - one_hot(target)) / N``.

    Raises
    ------
    TypeError
        The cache of another function.
    """
    check_cache(cache, EntropyCache, "cross_entropy")
    softmax, target = cache
    grad = softmax.copy()
    grad[np.arange(len(target)), target] -= 1
    grad /= len(target)
    return grad
