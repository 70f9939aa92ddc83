"""Batch norm and its relatives in NumPy: forward and backward, without state.

All of these layers are one idea with different index sets: a value is normalized by the
mean and the variance of the set to which it belongs, then scaled and shifted by the
gamma and beta of its channel. So a layer is two ways to see x as an array of three
axes, in which set (or channel) number i is ``x[:, i, :]``:

========  =================  =========  ==========================
norm      sets               channels   what x is
========  =================  =========  ==========================
batch     N, C, L            N, C, L    N examples, C channels of L
instance  1, N * C, L        N, C, L    the same
group     1, N * G, C/G * L  N, C, L    the same, in G groups
layer     1, N, D            N, D, 1    N rows of D values
RMS       1, N, D            N, D, 1    the same; no mean removed
========  =================  =========  ==========================

The names of the arguments are PyTorch's (``weight``, ``bias``, ``running_mean``,
``momentum``, ``eps``); inside, the symbols are those of Ioffe and Szegedy (2015):
``mu``, ``var``, ``x_hat``, ``gamma``, ``beta``. Each forward function returns the
output and a cache; its backward function takes the upstream gradient and that cache.
The rest of a network stands in `bnlib.ops`; all of it can be called from here, as in
``torch.nn.functional``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bnlib._check import (
    Array,
    as_shape,
    check_batch_norm,
    check_cache,
    check_eps,
    check_float,
    check_gradient,
    check_parameter,
    check_sizes,
)
from bnlib._fast import ones
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

__all__ = [
    "NormCache",
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
    "norm_backward",
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

View = tuple[int, int, int]  # x as three axes: set, or channel, i is x[:, i, :]


class NormCache(NamedTuple):
    """What a norm keeps for its backward pass.

    Attributes
    ----------
    x_hat : ndarray, like x
        Normalized values.
    mu : ndarray of shape (sets,) or None
        Mean that was subtracted from each set: (C,) for batch norm. None for RMS norm.
    var : ndarray of shape (sets,)
        Variance that normalized each set: divisor m, without eps. For RMS norm, the
        mean square.
    inv_std : ndarray of shape (sets,)
        ``1 / sqrt(var + eps)``.
    weight, bias : ndarray or None
        Gamma and beta, as given.
    training : bool
        True when ``mu`` and ``var`` are those of x; False when they were constants.
    sets, channels : tuple of int
        The shapes in which x is seen, as in the table above.
    norm : str
        The function that it comes from, as ``"batch_norm"``.
    """

    x_hat: Array
    mu: Array | None
    var: Array
    inv_std: Array
    weight: Array | None
    bias: Array | None
    training: bool
    sets: View
    channels: View
    norm: str


# --- the core -------------------------------------------------------------------------


def _sum(a: Array) -> Array:
    """Add up each set: (A, S, B) to (S,)."""
    rows = a @ ones(a.shape[2], a.dtype) if a.shape[2] != 1 else a[:, :, 0]
    return ones(len(rows), a.dtype).dot(rows)


def _mean(a: Array) -> Array:
    """Take the mean of each set: (A, S, B) to (S,); 0 of a set without values."""
    return _sum(a) / (a.shape[0] * a.shape[2] or 1)


def _statistics(x: Array) -> tuple[Array, Array, Array]:
    """Return the mean and the biased variance of each set, and x without the mean.

    The variance takes a second pass: the one-pass formula ``E[x**2] - E[x]**2`` loses
    all digits when the mean is large.
    """
    mu = _mean(x)
    centred = x - mu[:, None]
    var = _mean(centred * centred)
    return mu, var, centred


def _transform(
    norm: str,
    x: Array,
    views: tuple[View, View],
    moments: tuple[Array | None, Array, Array],
    weight: Array | None,
    bias: Array | None,
    eps: float,
    training: bool = True,
) -> tuple[Array, NormCache]:
    """Divide the centred sets by ``sqrt(var + eps)``; scale and shift the channels."""
    (sets, channels), (mu, var, centred) = views, moments
    inv_std = 1 / np.sqrt(var + float(eps))
    own = None if mu is None else centred  # without a mean, centred is x itself
    x_hat = np.multiply(centred, inv_std[:, None], out=own).reshape(channels)
    y = x_hat.copy() if weight is None else x_hat * weight.reshape(-1, 1)
    if bias is not None:
        y += bias.reshape(-1, 1)
    x_hat, y = x_hat.reshape(x.shape), y.reshape(x.shape)
    cache = x_hat, mu, var, inv_std, weight, bias, training, sets, channels, norm
    return y, NormCache._make(cache)


def norm_backward(
    grad_output: Array, cache: NormCache, input_grad: bool = True
) -> tuple[Array | None, Array | None, Array | None]:
    r"""Backpropagate through batch, layer, group or instance norm: the closed form.

    With ``dx_hat = gamma * dy`` and means over each set,
    ``dx = (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat)) / sqrt(var + eps)``;
    where the statistics were constants, in evaluation mode, both means are left out.

    Parameters
    ----------
    grad_output : ndarray, like x
        Gradient of the loss with respect to y.
    cache : NormCache
        From the forward function; it is not changed.
    input_grad : bool
        Whether the gradient with respect to x is wanted; a first layer needs none.

    Returns
    -------
    grad_x : ndarray, like x, or None
        Gradient with respect to the input.
    grad_weight, grad_bias : ndarray, like gamma and beta, or None
        Gradients with respect to gamma and beta; None where none was given.

    Raises
    ------
    ValueError, TypeError
        Shape or dtype of ``grad_output`` differs from the output's.

    References
    ----------
    Ioffe and Szegedy (2015), section 3. Derived in the chapter on the backward pass.
    """
    check_cache(cache, NormCache, "a norm")
    check_gradient(grad_output, cache.x_hat.shape, cache.x_hat.dtype)
    dy, x_hat = grad_output.reshape(cache.channels), cache.x_hat.reshape(cache.channels)
    sum_dy, sum_dy_x_hat = _sum(dy), _sum(dy * x_hat)
    grad_weight = _like(cache.weight, sum_dy_x_hat)
    grad_bias = _like(cache.bias, sum_dy)
    if not input_grad:
        return None, grad_weight, grad_bias
    gamma = None if cache.weight is None else cache.weight.reshape(-1)
    if cache.sets == cache.channels:  # one gamma for each set: it leaves the means
        dx_hat, m = dy, dy.shape[0] * dy.shape[2] or 1
        mean: Array = sum_dy / m
        along: Array = sum_dy_x_hat / m
        scale = cache.inv_std if gamma is None else gamma * cache.inv_std
    else:
        dx_hat = (dy if gamma is None else dy * gamma[:, None]).reshape(cache.sets)
        x_hat, scale = x_hat.reshape(cache.sets), cache.inv_std
        mean, along = _mean(dx_hat), _mean(dx_hat * x_hat)
    if cache.training:
        no_mean = cache.mu is None
        grad_x = _project(dx_hat, x_hat, None if no_mean else mean, along, scale)
    else:
        grad_x = dx_hat * scale[:, None]
    return grad_x.reshape(grad_output.shape), grad_weight, grad_bias


def _backward_of(norm: str) -> Callable[..., tuple[Array | None, ...]]:
    """Return `norm_backward` for the caches of one norm alone."""

    def backward(
        grad_output: Array, cache: NormCache, input_grad: bool = True
    ) -> tuple[Array | None, ...]:
        check_cache(cache, NormCache, norm, norm)
        return norm_backward(grad_output, cache, input_grad)

    backward.__name__ = backward.__qualname__ = f"{norm}_backward"
    first = "Backpropagate through batch, layer, group or instance norm"
    own = f"Backpropagate through `{norm}`"
    backward.__doc__ = (norm_backward.__doc__ or "").replace(first, own)
    return backward


batch_norm_backward = _backward_of("batch_norm")
layer_norm_backward = _backward_of("layer_norm")
group_norm_backward = _backward_of("group_norm")
instance_norm_backward = _backward_of("instance_norm")


def _like(parameter: Array | None, grad: Array) -> Array | None:
    """Give a gradient the shape of its parameter; None where there is none."""
    return None if parameter is None else grad.reshape(parameter.shape)


def _project(
    dx_hat: Array, x_hat: Array, mean: Array | None, along: Array, scale: Array
) -> Array:
    """Remove from each set its mean and its part along x_hat; then scale it."""
    grad_x = x_hat * along[:, None]
    np.subtract(dx_hat, grad_x, out=grad_x)
    if mean is not None:
        grad_x -= mean[:, None]
    grad_x *= scale[:, None]
    return grad_x


def _sets_along(shape: tuple[int, ...], axes: tuple[int, ...]) -> View:
    """Return the view in which the sets along some axes stand in the middle."""
    kept = [i for i in range(len(shape)) if i not in axes]
    first, last = (kept[0], kept[-1]) if kept else (0, -1)
    if kept != list(range(first, last + 1)):
        raise ValueError(f"the axes that stay must be neighbours, got {tuple(kept)}")
    before, stay, after = shape[:first], shape[first : last + 1], shape[last + 1 :]
    return math.prod(before), math.prod(stay), math.prod(after)


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
        The axes that stay must be neighbours.
    eps : float, >= 0
        Added to the variance.

    Returns
    -------
    x_hat : ndarray, like x
        Normalized values.
    inv_std : ndarray, broadcastable to x
        ``1 / sqrt(var + eps)``.

    Raises
    ------
    ValueError, TypeError
        Dtype other than float32 or float64; negative eps; axes that are no neighbours.
    """
    check_float("x", x, min_ndim=1)
    check_eps(eps)
    axes = tuple(int(i) % x.ndim for i in np.atleast_1d(axes))
    sets = _sets_along(x.shape, axes)
    moments = _statistics(x.reshape(sets))
    _, cache = _transform("", x, (sets, sets), moments, None, None, eps)
    stay = [1 if i in axes else n for i, n in enumerate(x.shape)]
    return cache.x_hat, cache.inv_std.reshape(stay)


def standardize_backward(
    grad_x_hat: Array, x_hat: Array, inv_std: Array, axes: int | tuple[int, ...]
) -> Array:
    """Backpropagate through `standardize`: remove the mean and the part along x_hat.

    Parameters
    ----------
    grad_x_hat : ndarray, like x_hat
        Gradient with respect to the normalized values.
    x_hat, inv_std, axes
        From `standardize`, and as in it.

    Returns
    -------
    grad_x : ndarray, like x_hat
        Gradient with respect to the input.
    """
    check_float("x_hat", x_hat, min_ndim=1)
    check_gradient(grad_x_hat, x_hat.shape, x_hat.dtype)
    axes = tuple(int(i) % x_hat.ndim for i in np.atleast_1d(axes))
    sets = _sets_along(x_hat.shape, axes)
    g, seen = grad_x_hat.reshape(sets), x_hat.reshape(sets)
    grad_x = _project(g, seen, _mean(g), _mean(g * seen), inv_std.reshape(-1))
    return grad_x.reshape(x_hat.shape)


# --- batch norm -----------------------------------------------------------------------


def batch_norm(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, NormCache]:
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
        Running-average step: the weight of the new value, as in PyTorch. 1 replaces
        the running statistics exactly, whatever they were.
    eps : float, >= 0
        Added to the variance under the root. 0 is allowed, for exact identities;
        PyTorch refuses it in training.

    Returns
    -------
    y : ndarray, like x
        Output.
    cache : NormCache
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
    Sums are made in the dtype of x: in float32, a mean of ten thousand standard
    deviations leaves the output right to about a hundredth.

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
    view = _channels(x)
    seen = x.reshape(view)
    if training:
        mu, var, centred = _statistics(seen)
        m = view[0] * view[2]
        if running_mean is not None and running_var is not None:
            new = mu, var * (m / (m - 1))
            _move(running_mean, running_var, *new, momentum)
    else:
        mu, var = np.array(running_mean), np.array(running_var)
        centred = seen - mu[:, None]
    moments = mu, var, centred
    views = view, view
    return _transform("batch_norm", x, views, moments, weight, bias, eps, training)


def _move(
    running_mean: Array, running_var: Array, mu: Array, var: Array, step: float
) -> None:
    """Move the running statistics towards new ones; 1 replaces them, 0 leaves them."""
    if step == 1:  # whatever they were: even nan, or so large that new ones are lost
        running_mean[...], running_var[...] = mu, var
    elif step != 0:
        running_mean += step * (mu - running_mean)
        running_var += step * (var - running_var)


def _channels(x: Array) -> View:
    """Return the view (N, C, L) of x, which has its channels on axis 1."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def batch_norm_backward_six(
    grad_output: Array, cache: NormCache
) -> tuple[Array, Array | None, Array | None]:
    """Backpropagate with the six equations of the paper, one line for each.

    Parameters
    ----------
    grad_output, cache
        As in `norm_backward`; the cache comes from `batch_norm` in training mode.

    Returns
    -------
    grad_x, grad_weight, grad_bias
        As from `norm_backward`.

    Raises
    ------
    ValueError
        The cache comes from evaluation mode.

    References
    ----------
    Ioffe and Szegedy (2015), section 3, the six unnumbered equations.
    """
    check_cache(cache, NormCache, "batch_norm", "batch_norm")
    check_gradient(grad_output, cache.x_hat.shape, cache.x_hat.dtype)
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
    return dx, _like(cache.weight, dgamma), _like(cache.bias, dbeta)


# --- its relatives --------------------------------------------------------------------


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
    eps
        As in `batch_norm`.

    Returns
    -------
    y, cache
        As from `batch_norm`; for `layer_norm_backward`.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype; negative eps.

    References
    ----------
    Ba, Kiros and Hinton (2016); PyTorch, ``torch.nn.functional.layer_norm``.
    """
    views = _rows(x, normalized_shape, weight, bias, eps)
    moments = _statistics(x.reshape(views[0]))
    return _transform("layer_norm", x, views, moments, weight, bias, eps)


def rms_norm(
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    eps: float | None = None,
) -> tuple[Array, NormCache]:
    """Divide each example by the root of its mean square; no mean is removed.

    Parameters
    ----------
    x, normalized_shape, weight
        As in `layer_norm`; there is no beta.
    eps : float, >= 0, optional
        Added to the mean square; None is the spacing of the dtype at 1, as in PyTorch.

    Returns
    -------
    y, cache
        As from `layer_norm`; for `rms_norm_backward`.

    Raises
    ------
    ValueError, TypeError
        As `layer_norm`.

    References
    ----------
    Zhang and Sennrich (2019); PyTorch, ``torch.nn.functional.rms_norm``.
    """
    check_float("x", x, min_ndim=1)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    views = _rows(x, normalized_shape, weight, None, eps)
    rows = x.reshape(views[0])
    moments = None, _mean(rows * rows), rows
    return _transform("rms_norm", x, views, moments, weight, None, eps)


def rms_norm_backward(
    grad_output: Array, cache: NormCache, input_grad: bool = True
) -> tuple[Array | None, Array | None]:
    """Backpropagate through `rms_norm`: only the part along x_hat is removed.

    Parameters
    ----------
    grad_output, cache, input_grad
        As in `norm_backward`.

    Returns
    -------
    grad_x, grad_weight : ndarray or None
        As from `norm_backward`; there is no beta.
    """
    check_cache(cache, NormCache, "rms_norm", "rms_norm")
    return norm_backward(grad_output, cache, input_grad)[:2]


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
    weight, bias, eps
        As in `batch_norm`.

    Returns
    -------
    y, cache
        As from `batch_norm`; for `group_norm_backward`.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype; C not divisible by num_groups; negative eps.

    References
    ----------
    Wu and He (2018); PyTorch, ``torch.nn.functional.group_norm``.
    """
    check_float("x", x, min_ndim=2)
    check_eps(eps)
    check_sizes(num_groups=num_groups)
    n, c, length = _channels(x)
    if c % num_groups:
        raise ValueError(
            f"num_channels must be divisible by num_groups, got {c} channels and "
            f"num_groups={num_groups}"
        )
    check_parameter("weight", weight, (c,), x.dtype)
    check_parameter("bias", bias, (c,), x.dtype)
    if n * c * length == num_groups:  # one group of one value
        raise ValueError(
            "Expected more than 1 value per channel when training, got input size "
            f"{[n * c // num_groups, num_groups, *x.shape[2:]]}"
        )
    return _grouped("group_norm", x, num_groups, weight, bias, eps)


def _grouped(
    norm: str,
    x: Array,
    num_groups: int,
    weight: Array | None,
    bias: Array | None,
    eps: float,
) -> tuple[Array, NormCache]:
    """Normalize groups of channels of each example; the arguments are checked."""
    n, c, length = channels = _channels(x)
    sets = 1, n * num_groups, c // num_groups * length
    moments = _statistics(x.reshape(sets))
    return _transform(norm, x, (sets, channels), moments, weight, bias, eps)


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
    use_input_stats : bool
        Normalize with the statistics of each example (True) or, as batch norm does in
        evaluation mode, with the running ones.
    weight, bias, momentum, eps
        As in `batch_norm`.

    Returns
    -------
    y, cache
        As from `batch_norm`; for `instance_norm_backward`.

    Raises
    ------
    ValueError, TypeError
        As `batch_norm`; one value per channel.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky (2016); PyTorch,
    ``torch.nn.functional.instance_norm``.
    """
    if not use_input_stats:
        y, cache = batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
        return y, cache._replace(norm="instance_norm")
    check_batch_norm(x, running_mean, running_var, weight, bias, True, eps, False)
    n, c, length = _channels(x)
    if length == 1:
        raise ValueError(
            "Expected more than 1 spatial element when training, got input size "
            f"{list(x.shape)}"
        )
    y, cache = _grouped("instance_norm", x, c, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        mu, var = (np.array(v).reshape(n, c).mean(0) for v in (cache.mu, cache.var))
        new = mu, var * (length / (length - 1))
        _move(running_mean, running_var, *new, momentum)
    return y, cache


def _rows(
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None,
    bias: Array | None,
    eps: float,
) -> tuple[View, View]:
    """Check the arguments of layer or RMS norm; return the views as sets and channels.

    Each row of N, all of ``normalized_shape``, is a set; each position is a channel.
    """
    check_float("x", x, min_ndim=1)
    check_eps(eps)
    shape = as_shape(normalized_shape)
    leading = x.ndim - len(shape)
    if leading < 0 or x.shape[leading:] != shape:
        raise ValueError(
            f"normalized_shape is {shape}, so x must have shape (*, "
            f"{', '.join(map(str, shape))}), got {x.shape}"
        )
    check_parameter("weight", weight, shape, x.dtype)
    check_parameter("bias", bias, shape, x.dtype)
    n, d = math.prod(x.shape[:leading]), math.prod(shape)
    return (1, n, d), (n, d, 1)
