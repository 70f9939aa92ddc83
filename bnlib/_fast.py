"""Faster forms of what NumPy does slowly, by vectors of ones and zeros that are kept.

Sums over a batch as matrix products: BLAS is four times as fast as the sums of NumPy.
And the larger of an array and a row of zeros comes twice as fast as that of it and 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from bnlib._check import Array


def _kept(make: Callable[[int, np.dtype], Array]) -> Callable[[int, np.dtype], Array]:
    """Return a maker of vectors that are kept, and so cannot be written to."""

    @lru_cache(maxsize=64)
    def kept(n: int, dtype: np.dtype) -> Array:
        vector = make(n, dtype)
        vector.flags.writeable = False
        return vector

    return kept


ones, zeros = _kept(np.ones), _kept(np.zeros)


def sum_rows(a: Array) -> Array:
    """Add up the rows of a matrix, (m, d) to (d,), in the dtype of the matrix."""
    return ones(len(a), a.dtype).dot(a)


def positive_part(a: Array) -> Array:
    """Return the larger of each value and 0."""
    return np.maximum(a, zeros(a.shape[-1], a.dtype))
