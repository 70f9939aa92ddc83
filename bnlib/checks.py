"""Comparing arrays, and checking gradients by differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def relative_error(a: ArrayLike, b: ArrayLike) -> float:
    """Return the largest difference, relative to the largest value of both.

    Parameters
    ----------
    a, b : array_like, same shape
        What to compare.

    Returns
    -------
    error : float
        ``max|a - b| / max(max|a|, max|b|)``; 0 when both are all zero.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes must be equal, got {a.shape} and {b.shape}")
    size = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    with np.errstate(invalid="ignore"):  # inf / inf is nan: no agreement
        return float(np.abs(a - b).max(initial=0) / size) if size else 0.0


def compare(
    name: str, ours: ArrayLike, reference: ArrayLike, tol: float = 1e-10
) -> bool:
    """Print and return whether two arrays agree; if not, say how much and where.

    Parameters
    ----------
    name : str
        What is compared, for the printed line.
    ours, reference : array_like
        The two arrays.
    tol : float
        Largest `relative_error` that counts as agreement.

    Returns
    -------
    agree : bool
        Whether the shapes are equal and the error is at most ``tol``.

    Examples
    --------
    >>> compare("forward", [1.0, 2.0], [1.0, 2.0])
    forward: agree to 1e-10: True
    True
    """
    ours, reference = np.asarray(ours), np.asarray(reference)
    if ours.shape != reference.shape:
        print(f"{name}: shapes differ, {ours.shape} and {reference.shape}")
        return False
    error = relative_error(ours, reference)
    if error <= tol:
        print(f"{name}: agree to {tol:.0e}: True")
        return True
    index = np.unravel_index(np.argmax(np.abs(ours - reference)), ours.shape)
    where = tuple(int(i) for i in index)
    print(
        f"{name}: agree to {tol:.0e}: False; relative error {error:.1e}, "
        f"largest difference at {where}: {ours[where]:.6g} and {reference[where]:.6g}"
    )
    return False


def numerical_gradient(
    f: Callable[[NDArray[np.float64]], float], x: ArrayLike, h: float = 1e-5
) -> NDArray[np.float64]:
    """Estimate the gradient of a scalar function by central differences.

    Parameters
    ----------
    f : callable
        Takes an array like x and returns a number; it must not change its argument.
    x : array_like
        Where to take the gradient; float64 is used.
    h : float
        Half of the distance between the two points.

    Returns
    -------
    gradient : ndarray, like x
        ``(f(x + h e_i) - f(x - h e_i)) / (2 h)`` for each entry i.
    """
    x = np.array(x, np.float64)
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        old = x[i]
        x[i] = old + h
        above = f(x)
        x[i] = old - h
        below = f(x)
        x[i] = old
        gradient[i] = (above - below) / (2 * h)
    return gradient


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
        Largest `relative_error`; central differences themselves err by about 1e-9.

    Returns
    -------
    agree : bool
        Whether the two agree.
    """
    return compare(name, gradient, numerical_gradient(f, x), tol)
