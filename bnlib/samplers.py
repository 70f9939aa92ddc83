"""Batch samplers: iterators over index arrays that cut a data set into mini-batches."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["batches", "check_rng", "endless_batches"]


def check_rng(rng: np.random.Generator) -> None:
    """Raise a TypeError unless `rng` is a numpy.random.Generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            "rng must be a numpy.random.Generator such as np.random.default_rng(0), "
            f"got {type(rng).__name__}"
        )


def batches(
    y: int | ArrayLike,
    batch_size: int,
    rng: np.random.Generator,
    *,
    kind: str = "mixed",
    drop_last: bool = False,
) -> Iterator[NDArray[np.int64]]:
    """Cut one epoch into mini-batches and return an iterator over index arrays.

    Parameters
    ----------
    y : int or array_like of shape (n,)
        The labels, or for ``kind="mixed"`` the number of examples will do.
    batch_size : int
        Examples in a mini-batch.
    rng : numpy.random.Generator
        Source of randomness.
    kind : {"mixed", "sorted", "one class"}
        ``"mixed"`` shuffles everything. ``"sorted"`` visits the classes one after
        the other, so most mini-batches hold one class and a few hold two.
        ``"one class"`` never mixes classes, and shuffles the mini-batches.
        Examples of a class are shuffled in each of the three.
    drop_last : bool
        Drop the mini-batches that are not full. A rest of one example is an error
        for a batch-norm layer in training.

    Yields
    ------
    ndarray of shape (batch_size,) or shorter
        Indices of int64; an epoch visits each example at most once.

    Raises
    ------
    TypeError
        If `rng` is not a Generator, or `batch_size` is not an integer.
    ValueError
        If the sizes do not fit, `kind` is unknown, or labels are needed and missing.
    """
    labels, n = _check_batches(y, batch_size, rng, kind, drop_last)
    return _epoch(labels, n, int(batch_size), rng, kind, drop_last)


def endless_batches(
    y: int | ArrayLike,
    batch_size: int,
    rng: np.random.Generator,
    *,
    kind: str = "mixed",
    drop_last: bool = True,
) -> Iterator[NDArray[np.int64]]:
    """Return an iterator that starts a new epoch of `batches` whenever one ends.

    Parameters are those of `batches`, but `drop_last` is True by default, so that
    every step sees a full mini-batch. Give it to ``fit(..., batches=...)``.
    """
    labels, n = _check_batches(y, batch_size, rng, kind, drop_last)

    def forever() -> Iterator[NDArray[np.int64]]:
        while True:
            yield from _epoch(labels, n, int(batch_size), rng, kind, drop_last)

    return forever()


def _check_batches(
    y: int | ArrayLike,
    batch_size: int,
    rng: np.random.Generator,
    kind: str,
    drop_last: bool,
) -> tuple[NDArray, int]:
    """Check the arguments of a sampler and return the labels and their number."""
    check_rng(rng)
    if kind not in ("mixed", "sorted", "one class"):
        raise ValueError(
            f"unknown kind {kind!r}, expected 'mixed', 'sorted' or 'one class'"
        )
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
        raise TypeError(f"batch_size must be an integer, got {batch_size!r}")
    labels = np.asarray(y)
    if labels.ndim == 0:
        if kind != "mixed":
            raise ValueError(f"kind {kind!r} needs the labels, got the number {y}")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"y must be labels or an integer, got {y!r}")
        labels = np.zeros(max(int(y), 0), dtype=np.int64)
    if labels.ndim != 1:
        raise ValueError(f"y must have shape (n,), got {labels.shape}")
    n = len(labels)
    if n == 0:
        raise ValueError("there are no examples to draw from (n is 0)")
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch_size must lie in 1..{n} (n is {n}), got {batch_size}")
    if kind == "one class" and drop_last:
        largest = int(np.unique(labels, return_counts=True)[1].max())
        if batch_size > largest:
            raise ValueError(
                f"no class has {batch_size} examples (the largest has {largest}), "
                "so drop_last=True would leave nothing"
            )
    return labels, n


def _epoch(
    labels: NDArray,
    n: int,
    batch_size: int,
    rng: np.random.Generator,
    kind: str,
    drop_last: bool,
) -> Iterator[NDArray[np.int64]]:
    """Yield the mini-batches of one epoch."""
    order = rng.permutation(n).astype(np.int64)
    groups = [order]
    if kind != "mixed":
        order = order[np.argsort(labels[order], kind="stable")]
        groups = [order]
    if kind == "one class":
        edges = np.flatnonzero(np.diff(labels[order])) + 1
        groups = np.split(order, edges)
    parts = [
        group[start : start + batch_size]
        for group in groups
        for start in range(0, len(group), batch_size)
    ]
    if drop_last:
        parts = [part for part in parts if len(part) == batch_size]
    if kind == "one class":
        parts = [parts[i] for i in rng.permutation(len(parts))]
    yield from parts
