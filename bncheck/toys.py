"""Small functions that stand under a student's gradient checker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def cubes(x: np.ndarray) -> float:
    """Return the sum of the cubes; its gradient is 3 x^2."""
    return float((x**3).sum())


def coupled(x: np.ndarray) -> float:
    """Return the square of the sum of x sin(k), k = 1, 2, ...; all entries matter."""
    weights = np.sin(np.arange(1, x.size + 1)).reshape(x.shape)
    return float((weights * x).sum() ** 2 + 0.5 * (x * x).sum())


def small(x: np.ndarray) -> float:
    """Return a function with small gradients: a millionth of the coupled one."""
    return 1e-6 * coupled(x)


def rippled(x: np.ndarray) -> float:
    """Return the sum of x sin(k) with a ripple of period 1/1000 in each entry.

    Steps of a whole number of periods do not see the ripple, others do.
    """
    weights = np.sin(np.arange(1, x.size + 1)).reshape(x.shape)
    return float((weights * x + 1e-3 * np.sin(2000 * np.pi * x)).sum())


TOYS: dict[str, Callable[[np.ndarray], float]] = {
    "cubes": cubes,
    "coupled": coupled,
    "small": small,
    "rippled": rippled,
}
