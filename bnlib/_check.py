"""Checks on arguments: each error names what was expected and what came.

Where PyTorch has words for an error, its words are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def check_float(name: str, x: object, min_ndim: int = 0) -> None:
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
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(x).__name__}")
    if x.dtype not in FLOATS:
        raise TypeError(f"{name} must be float32 or float64, got {x.dtype}")
    if x.ndim < min_ndim:
        raise ValueError(
            f"{name} must have at least {min_ndim} axes, got {x.ndim} (shape {x.shape})"
        )


def check_parameter(
    name: str, value: object, shape: tuple[int, ...], dtype: np.dtype
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
    if value is None:
        return
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    if value.shape != shape:
        if len(shape) == 1 and value.ndim == 1:
            raise ValueError(
                f"{name} should contain {shape[0]} elements not {value.size}"
            )
        raise ValueError(f"{name} must have shape {shape}, got {value.shape}")
    if value.dtype != dtype:
        raise TypeError(
            f"{name} must have the dtype of x, {dtype}, got {value.dtype}: "
            "convert one of them"
        )


def check_eps(eps: float) -> None:
    """Raise unless eps is a number >= 0.

    Parameters
    ----------
    eps : float
        What came.

    Raises
    ------
    ValueError
        Negative, or not a number.
    """
    if not eps >= 0:
        raise ValueError(f"eps must be >= 0, got {eps}")


def check_gradient(grad_output: object, output: Array) -> None:
    """Raise unless grad_output has the shape and dtype of the output.

    Parameters
    ----------
    grad_output : object
        What came.
    output : ndarray
        An array like the output of the forward pass.

    Raises
    ------
    TypeError
        Not an array, or another dtype.
    ValueError
        Another shape.
    """
    if not isinstance(grad_output, np.ndarray):
        raise TypeError(
            f"grad_output must be a NumPy array, got {type(grad_output).__name__}"
        )
    if grad_output.shape != output.shape:
        raise ValueError(
            "grad_output must have the shape of the output, "
            f"{output.shape}, got {grad_output.shape}"
        )
    if grad_output.dtype != output.dtype:
        raise TypeError(
            "grad_output must have the dtype of the output, "
            f"{output.dtype}, got {grad_output.dtype}"
        )


def check_batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    eps: float,
    needs_running: bool | None = None,
) -> None:
    """Raise unless the arguments of a batch norm fit each other.

    Parameters
    ----------
    x, running_mean, running_var, weight, bias, training, eps
        As in `bnlib.functional.batch_norm`.
    needs_running : bool, optional
        Whether the running statistics are needed; not in training when left out.

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
    needs_running = not training if needs_running is None else needs_running
    if needs_running and running_mean is None:
        raise ValueError(
            "Expected running_mean and running_var to be defined when training=False"
        )
    if x.size == 0:
        raise ValueError(f"x must hold at least one value, got shape {x.shape}")
    if training and x.size == x.shape[1]:
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
