"""Checks of chapter 7: the classic experiment."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib.checks import (
    ALMOST,
    Feedback,
    Wrong,
    choice_feedback,
    function_feedback,
    number_feedback,
)
from bnlib.exercises import exercise


@exercise("7.1")
def shrinking_signal(answer: Any) -> Feedback:
    """Judge the factor by which a layer with small weights shrinks the signal."""
    return number_feedback(
        answer,
        0.5,
        "Right: 0.05 times the root of 100 inputs. Ten such layers would leave a "
        "thousandth of the signal.",
        "Multiply the standard deviation of a weight by the root of the number of "
        "inputs.",
        rtol=0.02,
        known={
            5.0: "That is 0.05 times 100. Independent terms add their variances, so "
            "take the root of 100.",
            0.05: "That is the spread of one weight. A unit adds up 100 inputs.",
            0.25: "That is the factor of the variance. The question asks for the "
            "standard deviation.",
        },
    )


def _steps_to(step: np.ndarray, accuracy: np.ndarray, share: float) -> float:
    reached = step[accuracy >= share]
    return float(reached[0]) if len(reached) else np.inf


def _last_below(step: np.ndarray, accuracy: np.ndarray, share: float) -> float:
    reached = step[accuracy > share]
    return float(reached[0]) if len(reached) else np.inf


def _index(step: np.ndarray, accuracy: np.ndarray, share: float) -> float:
    reached = np.flatnonzero(accuracy >= share)
    return float(reached[0]) if len(reached) else np.inf


def _closest(step: np.ndarray, accuracy: np.ndarray, share: float) -> float:
    return float(step[np.argmin(np.abs(accuracy - share))])


def _never_is_last(step: np.ndarray, accuracy: np.ndarray, share: float) -> float:
    reached = step[accuracy >= share]
    return float(reached[0]) if len(reached) else float(step[-1])


def _never_is_first(step: np.ndarray, accuracy: np.ndarray, share: float) -> float:
    return float(step[np.argmax(accuracy >= share)])


@exercise("7.2")
def steps_to(answer: Any) -> Feedback:
    """Judge a function that finds the first step at an accuracy."""
    step = np.array([10.0, 20.0, 50.0, 100.0, 200.0])
    dip = np.array([0.2, 0.91, 0.85, 0.90, 0.95])
    exact = np.array([0.2, 0.5, 0.9, 0.93, 0.95])
    low = np.array([0.2, 0.5, 0.6, 0.7, 0.75])
    inputs = [(step, dip, 0.9), (step, exact, 0.9), (step, low, 0.9)]

    def finite(function):
        return lambda *a: np.nan_to_num(function(*a), posinf=-1.0)

    judged = answer
    if callable(answer):

        def judged(*a):
            result = answer(*a)
            return result if result is None else np.nan_to_num(result, posinf=-1.0)

    return function_feedback(
        judged,
        finite(_steps_to),
        inputs,
        "Right. A later dip does not matter, an exact hit counts, and a net that "
        "never gets there has inf.",
        known=(
            Wrong(
                finite(_index),
                "You return a position in the array. Look up step there.",
            ),
            Wrong(
                _closest,
                "You return the step whose accuracy is nearest. The question is when "
                "the accuracy is reached first.",
            ),
            Wrong(
                finite(_last_below),
                "An accuracy equal to share counts as reached: use >=, not >.",
                ALMOST,
            ),
            Wrong(
                _never_is_last,
                "Almost: a net that never reaches share must give inf, not the last "
                "step. Otherwise a failure looks like a slow success.",
                ALMOST,
            ),
            Wrong(
                _never_is_first,
                "Almost: argmax of an array without a True is 0. A net that never "
                "reaches share must give inf.",
                ALMOST,
            ),
        ),
        names=("the step",),
    )


@exercise("7.3")
def larger_rate(answer: Any) -> Feedback:
    """Judge what a tuned learning rate does to the plain net with small weights."""
    return choice_feedback(
        answer,
        "b",
        {
            "a": "Run it: the rate alone changes a lot. The small weights were only "
            "half of the plain net's trouble.",
            "b": "Right. A rate of 0.1 rescues the plain net even with small weights; "
            "batch norm still starts faster.",
            "c": "The plain net catches up much, but not all. Compare the two "
            "accuracies after 300 steps.",
        },
        close="c",
    )
