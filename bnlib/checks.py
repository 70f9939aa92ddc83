"""Comparing, gradient checking, and feedback on exercises in four states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

NOTHING_YET, ALMOST = "nothing yet", "almost"
NOT_YET, CORRECT = "not yet", "correct"
STATES = (NOTHING_YET, ALMOST, NOT_YET, CORRECT)


class Feedback(NamedTuple):
    """One of the four states, and a sentence that teaches.

    Attributes
    ----------
    state : str
        ``"nothing yet"``, ``"almost"``, ``"not yet"`` or ``"correct"``.
    message : str
        What was observed, why, and where to look.
    """

    state: str
    message: str

    @property
    def sentence(self) -> str:
        """The message, under the name that it has in bncheck."""
        return self.message


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


# --- exercises ------------------------------------------------------------------------


def choice_feedback(
    answer: Any, right: str, why: Mapping[str, str], close: str | None = None
) -> Feedback:
    """Judge the answer to a question with lettered options.

    Parameters
    ----------
    answer : str or None
        The letter that was chosen.
    right : str
        The right letter.
    why : mapping of str to str
        For each letter, the sentence that teaches.
    close : str, optional
        A wrong letter that deserves "almost".

    Returns
    -------
    feedback : Feedback
        The state and the sentence.
    """
    letters = ", ".join(repr(letter) for letter in why)
    if answer is None:
        return Feedback(NOTHING_YET, f"Replace None by one of {letters}.")
    letter = answer.strip().lower() if isinstance(answer, str) else answer
    if not isinstance(letter, str) or letter not in why:
        return Feedback(NOT_YET, f"Expected one of {letters}, got {answer!r}.")
    state = CORRECT if letter == right else ALMOST if letter == close else NOT_YET
    return Feedback(state, why[letter])


def number_feedback(
    answer: Any,
    right: float,
    message: str,
    hint: str,
    rtol: float = 1e-3,
    almost: float = 0.1,
    known: Mapping[float, str] | None = None,
) -> Feedback:
    """Judge a number.

    Parameters
    ----------
    answer : number or None
        What was given.
    right : float
        The right number.
    message, hint : str
        Sentence for the right answer, and for a wrong one that is not known.
    rtol, almost : float
        Relative distances that count as correct and as almost.
    known : mapping of float to str, optional
        Numbers that known mistakes give, and their sentences.

    Returns
    -------
    feedback : Feedback
        The state and the sentence.
    """
    if answer is None:
        return Feedback(NOTHING_YET, "Replace None by a number.")
    try:
        value = float(answer)
    except (TypeError, ValueError):
        kind = type(answer).__name__
        return Feedback(NOT_YET, f"Expected one number, got {kind}: {answer!r}.")
    size = abs(right) if right else 1.0
    if abs(value - right) <= rtol * size:
        return Feedback(CORRECT, message)
    for wrong, sentence in (known or {}).items():
        if abs(value - wrong) <= rtol * (abs(wrong) or 1.0):
            return Feedback(NOT_YET, sentence)
    if abs(value - right) <= almost * size:
        return Feedback(ALMOST, f"{value:g} is close. {hint}")
    return Feedback(NOT_YET, f"{value:g} is not it. {hint}")


class Wrong(NamedTuple):
    """A known mistake: a function that makes it, its sentence, and how near it is.

    Attributes
    ----------
    function : callable
        Computes what the mistake computes.
    message : str
        The sentence that teaches.
    state : str
        ``"not yet"`` or ``"almost"``.
    """

    function: Callable[..., Any]
    message: str
    state: str = NOT_YET


def function_feedback(
    answer: Any,
    reference: Callable[..., Any],
    inputs: list[tuple],
    message: str,
    known: tuple[Wrong, ...] = (),
    names: tuple[str, ...] = (),
    tol: float = 1e-6,
) -> Feedback:
    """Judge a function by what it returns on given inputs.

    Parameters
    ----------
    answer : callable or None
        The learner's function.
    reference : callable
        The right one; returns an array, a number, or a tuple of them.
    inputs : list of tuple
        Arguments of each call; arrays are copied, so that a change in place shows.
    message : str
        Sentence for a right answer.
    known : tuple of Wrong
        Known mistakes, tried in order when the answer differs.
    names : tuple of str
        Names of the results, when there are several.
    tol : float
        Largest `relative_error`.

    Returns
    -------
    feedback : Feedback
        The state and the sentence.
    """
    if answer is None:
        return Feedback(NOTHING_YET, "Write the function, then run this cell again.")
    if not callable(answer):
        kind = type(answer).__name__
        return Feedback(NOT_YET, f"Expected a function, got {kind}.")
    for arguments in inputs:
        own = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        try:
            got = answer(*own)
        except Exception as error:  # a learner's function may raise anything
            kind = type(error).__name__
            return Feedback(NOT_YET, f"Your function stopped with {kind}: {error}")
        if got is None or (isinstance(got, tuple) and all(g is None for g in got)):
            return Feedback(NOTHING_YET, "Your function returns None so far.")
        for before, after in zip(arguments, own, strict=True):
            if isinstance(before, np.ndarray) and not np.array_equal(
                before, after, equal_nan=True
            ):
                return Feedback(
                    ALMOST,
                    "Your function changes its input. Work on a copy: write "
                    "x = x - mu, not x -= mu.",
                )
        problem = _difference(got, reference(*arguments), names, tol)
        if problem:
            for wrong in known:
                if not _difference(got, wrong.function(*arguments), names, tol):
                    return Feedback(wrong.state, wrong.message)
            return Feedback(NOT_YET, problem)
    return Feedback(CORRECT, message)


def _difference(got: Any, expected: Any, names: tuple[str, ...], tol: float) -> str:
    """Return a sentence on the first difference, or an empty string."""
    several = isinstance(expected, tuple)
    if several and not (isinstance(got, tuple) and len(got) == len(expected)):
        listed = ", ".join(names)
        return f"Return a tuple of {len(expected)} results: {listed}."
    pairs = zip(got, expected, strict=True) if several else [(got, expected)]
    for i, (mine, right) in enumerate(pairs):
        name = names[i] if i < len(names) else "the result"
        try:
            mine = np.asarray(mine, np.float64)
        except (TypeError, ValueError):
            return f"Expected numbers for {name}, got {type(mine).__name__}."
        right = np.asarray(right, np.float64)
        if mine.shape != right.shape:
            return f"{name} has shape {mine.shape}; expected {right.shape}."
        if not np.isfinite(mine).all() and np.isfinite(right).all():
            return f"{name} holds nan or inf. Look for a division by zero."
        if not relative_error(mine, right) <= tol:  # nan is a difference, too
            index = np.unravel_index(np.argmax(np.abs(mine - right)), right.shape)
            where = tuple(int(k) for k in index)
            return (
                f"{name} differs, most at {where}: "
                f"{mine[where]:.4g} instead of {right[where]:.4g}."
            )
    return ""
