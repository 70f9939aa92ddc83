"""Checks on arguments: each error names what was expected and what came.

Where PyTorch has words for an error, its words are used. What is called in each step of
a training lets the usual case out by its first line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[np.floating]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
PLAIN = (np.ndarray, np.memmap)  # a masked array or a matrix computes something else


def check_array(name: str, x: object) -> None:
    """Raise a TypeError unless x is an array, and not masked or a matrix."""
    if type(x) not in PLAIN:
        raise TypeError(f"{name} must be a plain NumPy array, got {type(x).__name__}")


def check_float(name: str, x: Any, min_ndim: int = 0) -> None:
    """Raise unless x is a float32 or float64 array with at least min_ndim axes.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    x : object
        What came.
    min_ndim : int
        Smallest number of axes.

    Raises
    ------
    TypeError
        Not an array, or another dtype.
    ValueError
        Too few axes.
    """
    if type(x) in PLAIN and x.dtype in FLOATS and x.ndim >= min_ndim:
        return
    check_array(name, x)
    if x.dtype not in FLOATS:
        foreign = "" if x.dtype.isnative else " (bytes in a foreign order)"
        raise TypeError(f"{name} must be float32 or float64, got {x.dtype}{foreign}")
    raise ValueError(
        f"{name} must have at least {min_ndim} axes, got {x.ndim} (shape {x.shape})"
    )


def check_parameter(
    name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype
) -> None:
    """Raise unless value is None or an array of this shape and dtype.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : object
        What came.
    shape : tuple of int
        Shape that is expected.
    dtype : dtype
        Dtype that is expected: the input's.

    Raises
    ------
    TypeError
        Not an array, or another dtype.
    ValueError
        Another shape; for one value per channel in PyTorch's words.
    """
    if value is None or (
        type(value) in PLAIN and value.shape == shape and value.dtype == dtype
    ):
        return
    check_array(name, value)
    if value.shape != shape:
        if len(shape) == 1 and value.ndim == 1:
            raise ValueError(
                f"{name} should contain {shape[0]} elements not {value.size}"
            )
        raise ValueError(f"{name} must have shape {shape}, got {value.shape}")
    raise TypeError(
        f"{name} must have the dtype of x, {dtype}, got {value.dtype}: convert one of "
        "them"
    )


def check_eps(eps: float) -> None:
    """Raise a ValueError unless eps is a number >= 0; nan is none."""
    if not eps >= 0:
        raise ValueError(f"eps must be >= 0, got {eps}")


def check_gradient(grad_output: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise unless grad_output has the shape and the dtype of the output."""
    came = grad_output
    if type(came) in PLAIN and came.shape == shape and came.dtype == dtype:
        return
    check_array("grad_output", grad_output)
    if grad_output.shape != shape:
        raise ValueError(
            f"grad_output must have the shape of the output, {shape}, got "
            f"{grad_output.shape}"
        )
    raise TypeError(
        f"grad_output must have the dtype of the output, {dtype}, got "
        f"{grad_output.dtype}"
    )


def check_cache(cache: Any, kind: Any, forward: str, norm: str = "") -> None:
    """Raise a TypeError unless a cache is of this kind, and of this norm if named."""
    if type(cache) is kind and (not norm or cache.norm == norm):
        return
    came = f"that of {cache.norm}" if hasattr(cache, "norm") else type(cache).__name__
    raise TypeError(f"expected the cache of {forward}, got {came}")


def check_sizes(least: int = 1, **sizes: object) -> None:
    """Raise a ValueError unless each size is an integer and not less than the least."""
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer) or size < least:
            raise ValueError(f"{name} must be an integer >= {least}, got {size!r}")


def check_momentum(momentum: float | None) -> None:
    """Raise a ValueError unless a running-average step is None or lies in 0 to 1."""
    if momentum is not None and not 0 <= momentum <= 1:
        raise ValueError(f"momentum must be None or lie in 0 to 1, got {momentum}")


def check_dtype(dtype: DTypeLike) -> None:
    """Raise a TypeError unless a layer can have parameters of this dtype."""
    if np.dtype(dtype) not in FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")


def as_shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """Return an integer or a sequence of integers >= 1 as a shape."""
    sizes = np.atleast_1d(np.asarray(normalized_shape, object)).tolist()
    if not sizes:
        raise ValueError("normalized_shape must name one axis or more, got none")
    check_sizes(**{f"normalized_shape[{i}]": size for i, size in enumerate(sizes)})
    return tuple(int(size) for size in sizes)


def as_numbers(name: str, values: ArrayLike, kinds: str = "biuf") -> NDArray:
    """Return values as an array of booleans or real numbers; a TypeError for others."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} must hold numbers, got a MaskedArray")
    array = np.asarray(values)
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} must hold numbers, got {array.dtype}")
    return array


def check_batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    eps: float,
    needs_spread: bool = True,
) -> None:
    """Raise unless the arguments of a batch norm fit each other.

    Parameters
    ----------
    x, running_mean, running_var, weight, bias, training, eps
        As in `bnlib.functional.batch_norm`.
    needs_spread : bool
        Whether one value per channel is too few in training.

    Raises
    ------
    TypeError, ValueError
        As in `bnlib.functional.batch_norm`.
    """
    check_float("x", x, min_ndim=2)
    check_eps(eps)
    shape, dtype = (x.shape[1],), x.dtype
    check_parameter("running_mean", running_mean, shape, dtype)
    check_parameter("running_var", running_var, shape, dtype)
    check_parameter("weight", weight, shape, dtype)
    check_parameter("bias", bias, shape, dtype)
    if (running_mean is None) != (running_var is None):
        raise ValueError(
            "running_mean and running_var must be given together, got only one of them"
        )
    if not training and running_mean is None:
        raise ValueError(
            "Expected running_mean and running_var to be defined when training=False"
        )
    if not training:
        return
    if running_mean is not None:
        if x.size == 0:
            raise ValueError(f"x must hold at least one value, got shape {x.shape}")
        if not (running_mean.flags.writeable and running_var.flags.writeable):
            raise ValueError(
                "running_mean and running_var are changed in training, but one of them "
                "is read-only"
            )
    if needs_spread and x.size == x.shape[1]:
        raise ValueError(
            "Expected more than 1 value per channel when training, got input size "
            f"{list(x.shape)}"
        )


def check_rng(rng: np.random.Generator) -> None:
    """Raise a TypeError unless `rng` is a numpy.random.Generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            "rng must be a numpy.random.Generator such as np.random.default_rng(0), "
            f"got {type(rng).__name__}"
        )
