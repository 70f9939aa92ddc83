"""Layers with parameters and state: bookkeeping around `bnlib.functional`.

Names, keys and shapes of the state are PyTorch's, so that weights travel both ways
without renaming. There is no automatic differentiation: each layer keeps the cache of
its last forward pass, and ``backward`` walks the layers in reverse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from bnlib import functional as F
from bnlib.module import Module, Parameter, Sequential
from bnlib.validate import Array

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Flatten",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "LayerNorm",
    "Linear",
    "Module",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
]


class Linear(Module):
    """Fully connected layer, ``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of input and output.
    bias : bool
        Whether a bias, at first 0, is added.
    rng : numpy.random.Generator
        Source of the initial weights.
    init : {"he", "lecun"} or float
        Standard deviation of the Gaussian weights: sqrt(2/in), sqrt(1/in), or a number.
    dtype : dtype
        float32 or float64.
    """

    can_skip_input_grad = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: np.random.Generator,
        init: str | float = "he",
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        weight = _gaussian((out_features, in_features), in_features, init, rng, dtype)
        # Laid out column by column: then weight.T is what the matrix product reads
        # fastest. Index and shape are as in PyTorch.
        self.weight = Parameter(np.asfortranarray(weight))
        self.bias = Parameter(np.zeros(out_features, dtype)) if bias else None

    def forward(self, x: Array) -> Array:
        """Compute the output of shape (N, out) from x of shape (N, in)."""
        y, self._cache = F.linear(x, self.weight.data, _data(self.bias))
        return y

    def backward(self, grad_output: Array, input_grad: bool = True) -> Array | None:
        """Backpropagate; a first layer needs no ``input_grad``."""
        grad_x, grad_weight, grad_bias = F.linear_backward(
            grad_output, self._saved(), input_grad
        )
        self.weight.accumulate(grad_weight)
        if grad_bias is not None:
            self.bias.accumulate(grad_bias)
        return grad_x


class Conv2d(Module):
    """Convolutional layer (cross-correlation, as everywhere in deep learning).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of input and output.
    kernel_size, stride, padding : int
        Size of the square filters, step, and zeros added on each side.
    bias : bool
        Whether a bias, at first 0, is added.
    rng : numpy.random.Generator
        Source of the initial weights.
    init : {"he", "lecun"} or float
        As in `Linear`; the fan-in is ``in_channels * kernel_size**2``.
    dtype : dtype
        float32 or float64.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        *,
        rng: np.random.Generator,
        init: str | float = "he",
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        weight = _gaussian(shape, in_channels * kernel_size**2, init, rng, dtype)
        self.weight = Parameter(weight)
        self.bias = Parameter(np.zeros(out_channels, dtype)) if bias else None

    def forward(self, x: Array) -> Array:
        """Compute the output (N, out, H', W') from x of shape (N, in, H, W)."""
        y, self._cache = F.conv2d(
            x, self.weight.data, _data(self.bias), self.stride, self.padding
        )
        return y

    def backward(self, grad_output: Array) -> Array:
        """Backpropagate through the convolution."""
        grad_x, grad_weight, grad_bias = F.conv2d_backward(grad_output, self._saved())
        self.weight.accumulate(grad_weight)
        if grad_bias is not None:
            self.bias.accumulate(grad_bias)
        return grad_x


class _Norm(Module):
    """What all normalization layers share: gamma of ones, beta of zeros, backward."""

    _backward = staticmethod(F.layer_norm_backward)

    def __init__(
        self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: DTypeLike
    ) -> None:
        super().__init__()
        gamma, beta = np.ones(shape, dtype), np.zeros(shape, dtype)
        self.weight = Parameter(gamma) if weight else None
        self.bias = Parameter(beta) if bias else None

    def backward(self, grad_output: Array) -> Array:
        """Backpropagate through the last forward pass."""
        grad_x, *grads = self._backward(grad_output, self._saved())
        for parameter, grad in zip((self.weight, self.bias), grads, strict=False):
            if parameter is not None:
                parameter.accumulate(grad)
        return grad_x


class _RunningNorm(_Norm):
    """A norm with running statistics; ``ndims`` are the numbers of axes it accepts."""

    ndims: tuple[int, ...] = ()
    buffer_names = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__((num_features,), affine, affine, dtype)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.running_mean = np.zeros(num_features, dtype)
            self.running_var = np.ones(num_features, dtype)
            self.num_batches_tracked = np.array(0, np.int64)

    def _check_input(self, x: Array) -> None:
        if np.ndim(x) not in self.ndims:
            expected = " or ".join(f"{n}D" for n in self.ndims)
            raise ValueError(f"expected {expected} input (got {np.ndim(x)}D input)")
        if x.shape[1] != self.num_features:
            raise ValueError(
                f"expected input with {self.num_features} channels, got "
                f"{x.shape[1]} (shape {x.shape})"
            )


class BatchNorm1d(_RunningNorm):
    """Batch norm of (N, C) or (N, C, L): `bnlib.functional.batch_norm` with state.

    Parameters
    ----------
    num_features : int
        Number of channels C.
    eps : float
        Added to the variance.
    momentum : float or None
        Running-average step, the weight of the new value; None is the cumulative
        average over all batches.
    affine : bool
        Whether gamma (``weight``, at first 1) and beta (``bias``, at first 0) exist.
    track_running_stats : bool
        Whether running statistics are kept; without them evaluation mode uses those of
        the batch, as in PyTorch.
    dtype : dtype
        float32 or float64.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 2; PyTorch, ``torch.nn.BatchNorm1d``.
    """

    ndims = (2, 3)
    _backward = staticmethod(F.batch_norm_backward)

    def forward(self, x: Array) -> Array:
        """Normalize x; in training mode, update the running statistics."""
        self._check_input(x)
        tracked = self.running_mean is not None
        step = 0.0
        if tracked and self.training:
            step = self.momentum
            if step is None:  # cumulative average
                step = 1.0 / (int(self.num_batches_tracked) + 1)
        y, self._cache = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            _data(self.weight),
            _data(self.bias),
            self.training or not tracked,
            step,
            self.eps,
        )
        if tracked and self.training:
            self.num_batches_tracked += 1
        return y


class BatchNorm2d(BatchNorm1d):
    """Batch norm of images (N, C, H, W); parameters as in `BatchNorm1d`."""

    ndims = (4,)


class InstanceNorm1d(_RunningNorm):
    """Instance norm of (N, C, L): each channel of each example by itself.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, dtype
        As in `BatchNorm1d`, but by default without gamma, beta and running statistics,
        as in PyTorch.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky (2016); PyTorch, ``torch.nn.InstanceNorm1d``.
    """

    ndims = (3,)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, dtype=dtype
        )

    def forward(self, x: Array) -> Array:
        """Normalize x; with tracking, use running statistics in evaluation mode."""
        self._check_input(x)
        own = self.training or self.running_mean is None
        y, self._cache = F.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            _data(self.weight),
            _data(self.bias),
            own,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return y


class InstanceNorm2d(InstanceNorm1d):
    """Instance norm of images (N, C, H, W); parameters as in `InstanceNorm1d`."""

    ndims = (4,)


class LayerNorm(_Norm):
    """Layer norm over the last axes: `bnlib.functional.layer_norm` with state.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Shape of the trailing axes.
    eps : float
        Added to the variance.
    elementwise_affine, bias : bool
        Whether gamma exists, and with it beta.
    dtype : dtype
        float32 or float64.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        shape = tuple(int(n) for n in np.atleast_1d(normalized_shape))
        affine = elementwise_affine
        super().__init__(shape, affine, affine and bias, dtype)
        self.normalized_shape, self.eps = shape, eps

    def forward(self, x: Array) -> Array:
        """Normalize each example over its last axes."""
        y, self._cache = F.layer_norm(
            x, self.normalized_shape, _data(self.weight), _data(self.bias), self.eps
        )
        return y


class GroupNorm(_Norm):
    """Group norm: `bnlib.functional.group_norm` with state.

    Parameters
    ----------
    num_groups, num_channels : int
        Groups, and channels C that they divide.
    eps : float
        Added to the variance.
    affine : bool
        Whether gamma and beta exist.
    dtype : dtype
        float32 or float64.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                "num_channels must be divisible by num_groups, got "
                f"{num_channels} and {num_groups}"
            )
        super().__init__((num_channels,), affine, affine, dtype)
        self.num_groups, self.eps = num_groups, eps

    def forward(self, x: Array) -> Array:
        """Normalize groups of channels of each example."""
        y, self._cache = F.group_norm(
            x, self.num_groups, _data(self.weight), _data(self.bias), self.eps
        )
        return y


class RMSNorm(_Norm):
    """RMS norm over the last axes: `bnlib.functional.rms_norm` with state.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Shape of the trailing axes.
    eps : float or None
        Added to the mean square; None is the spacing of the dtype at 1.
    elementwise_affine : bool
        Whether gamma exists.
    dtype : dtype
        float32 or float64.
    """

    _backward = staticmethod(F.rms_norm_backward)

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        shape = tuple(int(n) for n in np.atleast_1d(normalized_shape))
        super().__init__(shape, elementwise_affine, False, dtype)
        self.normalized_shape, self.eps = shape, eps

    def forward(self, x: Array) -> Array:
        """Divide each example by its root mean square."""
        y, self._cache = F.rms_norm(
            x, self.normalized_shape, _data(self.weight), self.eps
        )
        return y


class _Activation(Module):
    """An activation: a pair of functions from `bnlib.ops`."""

    _pair = (F.relu, F.relu_backward)

    def forward(self, x: Array) -> Array:
        """Apply the activation to each value."""
        y, self._cache = self._pair[0](x)
        return y

    def backward(self, grad_output: Array) -> Array:
        """Multiply by the derivative."""
        return self._pair[1](grad_output, self._saved())


class ReLU(_Activation):
    """``max(x, 0)``."""


class Sigmoid(_Activation):
    """``1 / (1 + exp(-x))``."""

    _pair = (F.sigmoid, F.sigmoid_backward)


class Tanh(_Activation):
    """Hyperbolic tangent."""

    _pair = (F.tanh, F.tanh_backward)


class Flatten(Module):
    """(N, ...) to (N, D)."""

    def forward(self, x: Array) -> Array:
        """Reshape to two axes."""
        self._cache = x.shape
        return x.reshape(len(x), -1)

    def backward(self, grad_output: Array) -> Array:
        """Reshape back."""
        return grad_output.reshape(self._saved())


def _data(parameter: Parameter | None) -> Array | None:
    return None if parameter is None else parameter.data


def _gaussian(
    shape: tuple[int, ...],
    fan_in: int,
    init: str | float,
    rng: np.random.Generator,
    dtype: DTypeLike,
) -> Array:
    """Draw Gaussian weights; see `Linear` for init."""
    named = {"he": np.sqrt(2 / fan_in), "lecun": np.sqrt(1 / fan_in)}
    if isinstance(init, str) and init not in named:
        raise ValueError(f"init must be 'he', 'lecun' or a number, got {init!r}")
    std = named[init] if isinstance(init, str) else float(init)
    return rng.normal(0.0, std, shape).astype(dtype)
