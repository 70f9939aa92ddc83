"""Layers with parameters and state: bookkeeping around `bnlib.functional`.

Names, keys and shapes of the state are PyTorch's, so that weights travel both ways
without renaming. There is no automatic differentiation: each layer keeps the cache of
its last forward pass, and ``backward`` walks the layers in reverse. A backward pass
takes the cache away, so that no gradient is made twice, or from the wrong pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from bnlib import functional as F
from bnlib._check import (
    Array,
    as_numbers,
    as_shape,
    check_dtype,
    check_eps,
    check_float,
    check_momentum,
    check_rng,
    check_sizes,
)

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Flatten",
    "GroupNorm",
    "IncompatibleKeys",
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


class Parameter:
    """A learned array and its gradient.

    Parameters
    ----------
    data : ndarray, float32 or float64
        The values.

    Attributes
    ----------
    data : ndarray
        The values.
    grad : ndarray or None
        Sum of the gradients since `zero_grad`; None before the first backward pass.
    """

    def __init__(self, data: Array) -> None:
        check_float("data", data)
        self.data = data
        self.grad: Array | None = None

    def accumulate(self, grad: Array | None) -> None:
        """Add a gradient to ``grad``.

        Parameters
        ----------
        grad : ndarray or None
            Gradient, like ``data``; None adds nothing.
        """
        if grad is not None:
            self.grad = grad if self.grad is None else self.grad + grad


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` found missing, and what it did not expect."""

    missing_keys: list[str]
    unexpected_keys: list[str]


NO_CACHE = "no forward pass came before it"
TAKEN = (
    "an earlier backward pass took it; go forward before each backward pass, and use a "
    "layer at one place of a network only"
)


class Module:
    """Base of all layers, and of your own networks.

    Layers and parameters that are attributes, or stand in attributes that are lists,
    tuples or dicts, belong to the module. Their names are PyTorch's:
    ``blocks.0.weight``.

    Attributes
    ----------
    training : bool
        Training mode (True at first) or evaluation mode.
    buffer_names : tuple of str
        Attributes that belong to the state and are not learned.
    """

    buffer_names: tuple[str, ...] = ()
    training: bool = True
    _cache: Any = NO_CACHE  # what the layer's backward function takes, or why not

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """Compute the output and keep what the backward pass needs.

        Parameters
        ----------
        x : ndarray
            Input.

        Returns
        -------
        y : ndarray
            Output.
        """
        raise NotImplementedError

    def backward(self, grad_output: Array, input_grad: bool = True) -> Array | None:
        """Backpropagate through the last forward pass; parameters collect gradients.

        Parameters
        ----------
        grad_output : ndarray
            Gradient with respect to the output.
        input_grad : bool
            Whether the gradient with respect to the input is wanted. Training needs
            none for the first layer, and may save a large product.

        Returns
        -------
        grad_x : ndarray or None
            Gradient with respect to the input.

        Raises
        ------
        RuntimeError
            There was no forward pass, or its cache was taken.
        """
        raise NotImplementedError

    def _saved(self) -> Any:
        """Take the cache of the last forward pass away, or say why there is none."""
        cache = self._cache
        if isinstance(cache, str):
            raise RuntimeError(f"{type(self).__name__}.backward has no cache: {cache}")
        self._cache = TAKEN
        return cache

    def _own(self, kind: type) -> Iterator[tuple[str, Any]]:
        """Yield the name and the value of each attribute, or part of one, of a kind."""
        for name, value in vars(self).items():
            if name != "_cache":
                yield from _inside(name, value, kind)

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the name and the module of each module right inside this one."""
        return self._own(Module)

    def _places(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield prefix and module, this one first; a shared one at each of its places.

        A prefix ends with a dot, so that a name can follow.
        """
        yield prefix, self
        for name, module in self.children():
            yield from module._places(f"{prefix}{name}.")

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield the name and the module, this one first, each once."""
        places = ((prefix[:-1], module) for prefix, module in self._places())
        return _each_once(places)

    def modules(self) -> Iterator[Module]:
        """Yield this module and those inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield the name, as in the state dict, and the parameter, each once."""
        return _each_once(
            (f"{prefix}{name}", parameter)
            for prefix, module in self._places()
            for name, parameter in module._own(Parameter)
        )

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Module:
        """Set training mode (or, with False, evaluation mode) here and inside.

        Parameters
        ----------
        mode : bool
            True for training.

        Returns
        -------
        self : Module
            For chaining.

        Raises
        ------
        ValueError
            ``mode`` is not True or False.
        """
        if not isinstance(mode, bool):
            raise ValueError(f"mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set evaluation mode here and inside; return self."""
        return self.train(False)

    def _state(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the arrays of the state dict: parameters, then buffers."""
        for prefix, module in self._places():
            for name, parameter in module._own(Parameter):
                yield f"{prefix}{name}", parameter.data
            for name in module.buffer_names:
                if getattr(module, name) is not None:
                    yield f"{prefix}{name}", getattr(module, name)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and buffers under PyTorch's keys.

        Returns
        -------
        state : dict of str to ndarray
            ``{k: torch.from_numpy(v)}`` of it loads into the same torch module.
        """
        return {name: np.array(value, order="C") for name, value in self._state()}

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy parameters and buffers from a state dict; all of it or nothing.

        Parameters
        ----------
        state : mapping of str to array_like
            From `state_dict`, or a torch state dict. Numbers of another dtype are
            converted. ``num_batches_tracked`` may be missing, and may have the shape
            (1,): so it is in old checkpoints.
        strict : bool
            Whether the keys must be the same.

        Returns
        -------
        keys : IncompatibleKeys
            ``missing_keys`` and ``unexpected_keys``, as PyTorch returns them.

        Raises
        ------
        KeyError
            Keys are missing or not expected, and strict is True.
        ValueError, TypeError
            A shape differs, or a value holds no numbers. Nothing was changed.
        """
        own = dict(self._state())
        keys = IncompatibleKeys(
            [k for k in own if k not in state and not k.endswith(COUNT)],
            [k for k in state if k not in own],
        )
        if strict and any(keys):
            raise KeyError(f"missing keys {keys[0]}, unexpected keys {keys[1]}")
        new = {k: _loaded(k, state[k], own[k]) for k in own if k in state}
        for name, value in new.items():
            own[name][...] = value
        return keys


COUNT = "num_batches_tracked"


def _loaded(name: str, value: Any, own: np.ndarray) -> np.ndarray:
    """Return a value of a state dict as a new array that fits what it replaces."""
    if isinstance(value, Parameter):
        value = value.data
    elif hasattr(value, "detach"):  # a tensor: it may need a gradient, or be bfloat16
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value
    value = as_numbers(name, value)
    if own.shape == () and value.shape == (1,):
        value = value[0]
    if value.shape != own.shape:
        raise ValueError(f"{name} must have shape {own.shape}, got {value.shape}")
    if not own.flags.writeable:
        raise ValueError(f"{name} cannot be loaded: the layer's array is read-only")
    return np.array(value, own.dtype)


def _inside(name: str, value: object, kind: type) -> Iterator[tuple[str, Any]]:
    """Yield a value of a kind, or those that lists, tuples and dicts hold, by name."""
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, list | tuple | dict):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from _inside(f"{name}.{key}", part, kind)


def _each_once(named: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield each thing under the first of its names."""
    seen: set[int] = set()
    for name, thing in named:
        if id(thing) not in seen:
            seen.add(id(thing))
            yield name, thing


class Sequential(Module):
    """Layers, one after the other; index, iterate and take the length as of a list.

    Parameters
    ----------
    *layers : Module
        The layers, in order.
    """

    def __init__(self, *layers: Module) -> None:
        self.layers = layers

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        part = self.layers[index]
        return Sequential(*part) if isinstance(part, tuple) else part

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield "0", "1", ... and the layers; then those that are attributes."""
        for name, module in super().children():
            yield name.removeprefix("layers."), module

    def forward(self, x: Array) -> Array:
        """Pass x through all layers."""
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, grad_output: Array, input_grad: bool = True) -> Array | None:
        """Pass the gradient through all layers in reverse."""
        grad: Any = grad_output
        for i, layer in reversed(list(enumerate(self.layers))):
            grad = layer.backward(grad, input_grad or i > 0)
        return grad


class _Learned(Module):
    """A layer with a weight and a bias, of which either may be missing."""

    _backward: Any = staticmethod(F.norm_backward)

    def __init__(self, weight: Array | None, bias: Array | None) -> None:
        self.weight = None if weight is None else Parameter(weight)
        self.bias = None if bias is None else Parameter(bias)

    def _values(self) -> tuple[Any, Any]:
        """Return the arrays of weight and bias, None where there is none."""
        weight, bias = self.weight, self.bias
        return weight and weight.data, bias and bias.data

    def backward(self, grad_output: Array, input_grad: bool = True) -> Array | None:
        """Backpropagate; weight and bias collect their gradients."""
        grad_x, *grads = self._backward(grad_output, self._saved(), input_grad)
        for parameter, grad in zip((self.weight, self.bias), grads, strict=False):
            if parameter is not None:
                parameter.accumulate(grad)
        return grad_x


class Linear(_Learned):
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

    _backward = staticmethod(F.linear_backward)

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
        check_sizes(in_features=in_features, out_features=out_features)
        weight = _gaussian((out_features, in_features), in_features, init, rng, dtype)
        # Laid out column by column: then weight.T is what the matrix product reads
        # fastest. Index and shape are as in PyTorch.
        weight = np.asfortranarray(weight)
        super().__init__(weight, np.zeros(out_features, dtype) if bias else None)

    def forward(self, x: Array) -> Array:
        """Compute the output of shape (N, out) from x of shape (N, in)."""
        y, self._cache = F.linear(x, *self._values())
        return y


class Conv2d(_Learned):
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
    init, dtype
        As in `Linear`; the fan-in is ``in_channels * kernel_size**2``.
    """

    _backward = staticmethod(F.conv2d_backward)

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
        check_sizes(in_channels=in_channels, out_channels=out_channels)
        check_sizes(kernel_size=kernel_size, stride=stride)
        check_sizes(0, padding=padding)
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        weight = _gaussian(shape, in_channels * kernel_size**2, init, rng, dtype)
        super().__init__(weight, np.zeros(out_channels, dtype) if bias else None)
        self.stride, self.padding = stride, padding

    def forward(self, x: Array) -> Array:
        """Compute the output (N, out, H', W') from x of shape (N, in, H, W)."""
        y, self._cache = F.conv2d(x, *self._values(), self.stride, self.padding)
        return y


class _Norm(_Learned):
    """What all normalization layers share: gamma of ones and beta of zeros."""

    def __init__(
        self,
        shape: tuple[int, ...],
        eps: float | None,
        weight: bool,
        bias: bool,
        dtype: DTypeLike,
    ) -> None:
        check_eps(0.0 if eps is None else eps)
        check_dtype(dtype)
        self.eps: Any = eps
        gamma, beta = np.ones(shape, dtype), np.zeros(shape, dtype)
        super().__init__(gamma if weight else None, beta if bias else None)


class _RunningNorm(_Norm):
    """A norm with running statistics; ``ndims`` are the numbers of axes it accepts."""

    ndims: tuple[int, ...] = ()
    buffer_names = ("running_mean", "running_var", COUNT)

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
        check_sizes(num_features=num_features)
        check_momentum(momentum)
        super().__init__((num_features,), eps, affine, affine, dtype)
        self.num_features, self.momentum = num_features, momentum
        tracked = track_running_stats
        self.running_mean = np.zeros(num_features, dtype) if tracked else None
        self.running_var = np.ones(num_features, dtype) if tracked else None
        self.num_batches_tracked = np.array(0, np.int64) if tracked else None

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1, the count to 0."""
        for name, start in zip(self.buffer_names, (0, 1, 0), strict=True):
            if getattr(self, name) is not None:
                getattr(self, name)[...] = start

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

    ndims: tuple[int, ...] = (2, 3)

    def forward(self, x: Array) -> Array:
        """Normalize x; in training mode, update the running statistics."""
        self._check_input(x)
        count, step = self.num_batches_tracked, self.momentum
        if step is None:  # cumulative average
            step = 0.0 if count is None else 1.0 / (int(count) + 1)
        of_batch = self.training or self.running_mean is None
        statistics = self.running_mean, self.running_var
        y, self._cache = F.batch_norm(
            x, *statistics, *self._values(), of_batch, step, self.eps
        )
        if self.training and count is not None:
            count[()] += 1
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
        as in PyTorch; and momentum None is 0, which leaves the running statistics.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky (2016); PyTorch, ``torch.nn.InstanceNorm1d``.
    """

    ndims = (3,)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
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
        of_batch = self.training or self.running_mean is None
        statistics = self.running_mean, self.running_var
        step = 0.0 if self.momentum is None else self.momentum
        y, self._cache = F.instance_norm(
            x, *statistics, *self._values(), of_batch, step, self.eps
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
    elementwise_affine, bias : bool
        Whether gamma exists, and with it beta.
    eps, dtype
        As in `BatchNorm1d`.
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
        self.normalized_shape = as_shape(normalized_shape)
        affine = elementwise_affine
        super().__init__(self.normalized_shape, eps, affine, affine and bias, dtype)

    def forward(self, x: Array) -> Array:
        """Normalize each example over its last axes."""
        shape = self.normalized_shape
        y, self._cache = F.layer_norm(x, shape, *self._values(), self.eps)
        return y


class GroupNorm(_Norm):
    """Group norm: `bnlib.functional.group_norm` with state.

    Parameters
    ----------
    num_groups, num_channels : int
        Groups, and channels C that they divide.
    eps, affine, dtype
        As in `BatchNorm1d`.
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
        check_sizes(num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(
                "num_channels must be divisible by num_groups, got "
                f"{num_channels} and {num_groups}"
            )
        super().__init__((num_channels,), eps, affine, affine, dtype)
        self.num_groups = num_groups

    def forward(self, x: Array) -> Array:
        """Normalize groups of channels of each example."""
        y, self._cache = F.group_norm(x, self.num_groups, *self._values(), self.eps)
        return y


class RMSNorm(_Norm):
    """RMS norm over the last axes: `bnlib.functional.rms_norm` with state.

    Parameters
    ----------
    normalized_shape, elementwise_affine, dtype
        As in `LayerNorm`; there is no beta.
    eps : float or None
        Added to the mean square; None is the spacing of the dtype at 1.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.normalized_shape = as_shape(normalized_shape)
        super().__init__(self.normalized_shape, eps, elementwise_affine, False, dtype)

    def forward(self, x: Array) -> Array:
        """Divide each example by its root mean square."""
        weight, _ = self._values()
        y, self._cache = F.rms_norm(x, self.normalized_shape, weight, self.eps)
        return y


class _Activation(Module):
    """An activation: a pair of functions from `bnlib.ops`."""

    _pair = (F.relu, F.relu_backward)

    def forward(self, x: Array) -> Array:
        """Apply the activation to each value."""
        y, self._cache = self._pair[0](x)
        return y

    def backward(self, grad_output: Array, input_grad: bool = True) -> Array | None:
        """Multiply by the derivative."""
        cache = self._saved()
        return self._pair[1](grad_output, cache) if input_grad else None


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
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, grad_output: Array, input_grad: bool = True) -> Array | None:
        """Reshape back."""
        shape = self._saved()
        return grad_output.reshape(shape) if input_grad else None


def _gaussian(
    shape: tuple[int, ...],
    fan_in: int,
    init: str | float,
    rng: np.random.Generator,
    dtype: DTypeLike,
) -> Array:
    """Draw Gaussian weights; see `Linear` for init."""
    check_dtype(dtype)
    check_rng(rng)
    named = {"he": np.sqrt(2 / fan_in), "lecun": np.sqrt(1 / fan_in)}
    if isinstance(init, str) and init not in named:
        raise ValueError(f"init must be 'he', 'lecun' or a number, got {init!r}")
    std = named[init] if isinstance(init, str) else float(init)
    return rng.normal(0.0, std, shape).astype(dtype)
