"""Comparing arrays, and checking gradients by differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnlib._check import as_numbers

NOISE = 1e-8  # what central differences may be wrong by; their sizes could flip below


def _differences(a: ArrayLike, b: ArrayLike) -> tuple[NDArray, float]:
    """Return the distances of two arrays, and the largest value of both.

    Nan and infinity differ from everything, from themselves, too.
    """
    arrays = [as_numbers("an array", v, "biufc") for v in (a, b)]
    kinds = [v.dtype.kind == "b" for v in arrays]
    if kinds[0] != kinds[1]:
        raise TypeError(f"kinds differ, {arrays[0].dtype} and {arrays[1].dtype}")
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(f"shapes differ, {arrays[0].shape} and {arrays[1].shape}")
    if not arrays[0].size:
        raise ValueError(f"there is nothing to compare, shape {arrays[0].shape}")
    x, y = (v.astype(np.complex128) for v in arrays)
    with np.errstate(all="ignore"):  # what overflows is infinite, and so a difference
        distances = np.abs(x - y)
    distances = np.where(np.isfinite(distances), distances, np.inf)
    return distances, float(max(np.abs(x).max(), np.abs(y).max()))


def relative_error(a: ArrayLike, b: ArrayLike) -> float:
    """Return the largest difference, relative to the largest value of both.

    Parameters
    ----------
    a, b : array_like, same shape
        What to compare: numbers, also complex ones, or booleans.

    Returns
    -------
    error : float
        ``max|a - b| / max(max|a|, max|b|)``; 0 when both are all zero, and infinite
        when one of them holds nan or infinity.

    Raises
    ------
    ValueError
        The shapes differ, or there is no value.
    TypeError
        No numbers; or booleans in one array and numbers in the other.
    """
    distances, size = _differences(a, b)
    largest = float(distances.max())
    return largest / size if 0 < largest < np.inf else largest


def compare(
    name: str, ours: ArrayLike, reference: ArrayLike, tol: float = 1e-10
) -> bool:
    """Print how far two arrays are apart, and return whether they agree.

    The size is the `relative_error` in the words of `size_of`. Where the arrays do not
    agree, the line says so, and where the largest difference stands.

    Parameters
    ----------
    name : str
        What is compared, for the printed line.
    ours, reference : array_like
        The two arrays.
    tol : float
        Largest `relative_error` that counts as agreement. No size far below it
        is told: with a rough reference it may change.

    Returns
    -------
    agree : bool
        Whether shapes and kinds are equal, there are values, all of them are finite,
        and the error is at most ``tol``.

    Examples
    --------
    >>> compare("forward", [1.0, 2.0], [1.0, 2.0])
    forward: largest difference below 1e-12
    True
    """
    return _compare(name, ours, reference, tol, tol / 500)


def _compare(
    name: str, ours: ArrayLike, reference: ArrayLike, tol: float, noise: float
) -> bool:
    """Compare; tell no size below the noise of the reference."""
    try:
        distances, _ = _differences(ours, reference)
        error = relative_error(ours, reference)
    except (TypeError, ValueError) as refusal:
        print(f"{name}: {refusal}")
        return False
    if error <= tol:
        print(f"{name}: largest difference {size_of(max(error, noise))}")
        return True
    index = np.unravel_index(np.argmax(distances), distances.shape)
    where = tuple(int(i) for i in index)
    mine, right = np.asarray(ours)[where], np.asarray(reference)[where]
    print(
        f"{name}: not equal; relative error {error:.1e}, "
        f"largest difference at {where}: {mine:.6g} and {right:.6g}"
    )
    return False


def size_of(gap: float) -> str:
    """Write the size of a difference in words that do not hang on a last digit.

    Parameters
    ----------
    gap : float, >= 0
        The difference.

    Returns
    -------
    words : str
        ``"below 1e-12"``, ``1e-9``, ``1e-6`` or ``1e-3``, or ``"above 1e-3"``; the
        number to one place from 0.1 on.

    Examples
    --------
    >>> size_of(3e-14), size_of(2e-7), size_of(0.25)
    ('below 1e-12', 'below 1e-6', '0.2')
    """
    powers = (k for k in (12, 9, 6, 3) if gap < 10.0**-k)
    large = "above 1e-3" if gap < 0.1 else f"{gap:.1f}"
    return next((f"below 1e-{k}" for k in powers), large)


def numerical_gradient(
    f: Callable[[NDArray[np.float64]], float], x: ArrayLike, h: float = 1e-5
) -> NDArray[np.float64]:
    """Estimate the gradient of a scalar function by central differences.

    Parameters
    ----------
    f : callable
        Takes an array like x and returns a real number.
    x : array_like
        Where to take the gradient; float64 is used.
    h : float
        Half of the distance between the two points.

    Returns
    -------
    gradient : ndarray, like x
        ``(f(x + h e_i) - f(x - h e_i)) / (2 h)`` for each entry i. It is nan where
        x is so large that h does not move it.

    Raises
    ------
    TypeError, ValueError
        x or ``f(x)`` holds no real numbers, or f returns more than one.
    """
    x = as_numbers("x", x, "iuf").astype(np.float64)
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()  # f may change its argument
        above[i] += h
        below[i] -= h
        step = above[i] - below[i]  # not quite 2 h
        with np.errstate(divide="ignore", invalid="ignore"):
            gradient[i] = (_number(f, above) - _number(f, below)) / step
    return gradient


def _number(f: Callable[[NDArray[np.float64]], float], x: NDArray) -> np.float64:
    """Return f(x), or say that it is not one real number."""
    value = as_numbers("f(x)", f(x), "iuf")
    if value.size != 1:
        raise ValueError(f"f must return one number, got shape {value.shape}")
    return np.float64(value.item())


def gradient_check(
    name: str,
    f: Callable[[NDArray[np.float64]], float],
    x: ArrayLike,
    gradient: ArrayLike,
    tol: float = 1e-7,
) -> bool:
    """Compare a gradient with the numerical one; print and return the verdict.

    Parameters
    ----------
    name : str
        What is checked, for the printed line.
    f, x
        As in `numerical_gradient`.
    gradient : array_like, like x
        The gradient to check.
    tol : float
        Largest `relative_error`; central differences themselves err by about 1e-9,
        so that no size below 1e-6 is told.

    Returns
    -------
    agree : bool
        Whether the two agree.
    """
    return _compare(name, gradient, numerical_gradient(f, x), tol, NOISE)
