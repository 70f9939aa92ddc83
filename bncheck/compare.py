"""Compare an answer with a value, and say where it differs."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.calls import Opaque
from bncheck.form import Expect, squeezed
from bncheck.says import say


def close(got: Any, value: Any, tol: float, floor: float = 0.0) -> bool:
    """Say whether an answer is the value, to a tolerance relative to its largest size.

    Parameters
    ----------
    got, value : object
        The answer, and what is wanted.
    tol : float
        Largest difference, relative to the largest size in ``value``.
    floor : float
        Smallest size to measure against.

    Returns
    -------
    same : bool
        Shapes and kinds are equal and no difference is larger; nan equals nothing,
        inf only inf, and an array without values another one of its shape.
    """
    if isinstance(got, np.ndarray | np.generic) and got.dtype == bool and not got.ndim:
        got = bool(got)
    if isinstance(value, list):
        same = isinstance(got, list) and len(got) == len(value)
        return same and all(
            close(g, v, tol, floor) for g, v in zip(got, value, strict=True)
        )
    if isinstance(value, (str, bool)) or value is None:
        return type(got) is type(value) and bool(got == value)
    if isinstance(got, Opaque) or got is None or isinstance(got, (str, dict, list)):
        return False
    got, value = np.asarray(got), np.asarray(value)
    if got.shape != value.shape or not same_kind(got, value):
        return False
    size = max(np.abs(value[np.isfinite(value)]).max(initial=0), floor)
    difference = _differences(got, value)
    return bool((difference <= tol * size).all())


def same_kind(got: np.ndarray, value: np.ndarray) -> bool:
    """Say whether both hold booleans, or both hold real numbers."""
    kinds = "b" if value.dtype.kind == "b" else "iuf"
    return got.dtype.kind in kinds and not isinstance(got, np.ma.MaskedArray)


def _differences(got: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the distances, 0 where both are the same infinity."""
    with np.errstate(all="ignore"):
        got, value = got.astype(np.float64), value.astype(np.float64)
        return np.where(got == value, 0.0, np.abs(got - value))


def distance(got: Any, value: Any) -> float:
    """Return the largest relative difference of the finite entries."""
    if not isinstance(value, np.ndarray):
        return 0.0
    value = value.astype(np.float64)
    with np.errstate(all="ignore"):
        difference = np.abs(np.asarray(squeezed(got, value), np.float64) - value)
    finite = np.isfinite(value) & np.isfinite(difference)
    size = np.abs(value[finite]).max(initial=1e-300)
    return float(difference[finite].max(initial=0.0) / size)


def same_wrong(got: Any, value: Any, expect: Expect) -> bool:
    """Say whether an answer is what a mistake gives; nan is then equal to nan."""
    if value is None:  # a mistake that leaves nothing there
        return got is None
    got = squeezed(got, value)
    if isinstance(value, np.ndarray) and isinstance(got, np.ndarray):
        if got.shape != value.shape or not same_kind(got, value):
            return False
        odd = ~np.isfinite(value)
        if odd.any():
            same = np.isfinite(got) == ~odd
            got, value = np.where(odd, 0, got), np.where(odd, 0, value)
            return bool(same.all()) and close(got, value, 1e-5, expect.floor)
    return close(got, value, max(expect.tol, 1e-6), expect.floor)


def where_it_differs(expect: Expect, got: Any, when: str, table: str = "told") -> str:
    """Say how an answer differs; with its numbers only where they may be told."""

    def told(name: str, **gaps: Any) -> str:
        return say(name, when, of=table, label=expect.label, **gaps)

    if got is None:
        return told("absent")
    if isinstance(expect.value, (bool, str)):
        return told("should-be", value=expect.value)
    kind = got.kind if isinstance(got, Opaque) else _kind(got)
    if kind.startswith("complex"):
        return told("complex")
    if isinstance(got, (Opaque, str, dict, list)):
        return told("kind", kind=kind)
    got, value = np.asarray(got), np.asarray(expect.value)
    if not same_kind(got, value):
        return told("kind", kind=got.dtype.name)
    if got.shape != value.shape:
        return told("shape", got=got.shape, expected=value.shape)
    if not np.isfinite(got).all() and np.isfinite(value).all():
        return told("nan")
    difference = np.nan_to_num(_differences(got, value), nan=np.inf)
    where = np.unravel_index(np.argmax(difference), difference.shape)
    place = ", ".join(str(int(i)) for i in where)
    name = ("differs", "differs-at-feature", "differs-at-index")[min(value.ndim, 2)]
    mine, right = apart(float(got[where]), float(value[where]))
    return told(name, place=place, mine=mine, right=right)


def apart(mine: float, right: float) -> tuple[str, str]:
    """Write two numbers with four digits, or with as many as tell them apart."""
    texts = ((f"{mine:.{n}g}", f"{right:.{n}g}") for n in range(4, 18))
    return next((pair for pair in texts if pair[0] != pair[1]), (str(mine), str(right)))


def _kind(got: Any) -> str:
    """Return the type of an answer, or of the numbers in an array."""
    return got.dtype.name if isinstance(got, np.ndarray) else type(got).__name__
