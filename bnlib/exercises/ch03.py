"""Checks of chapter 3: the transform."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnlib.checks import (
    ALMOST,
    Feedback,
    Wrong,
    function_feedback,
    number_feedback,
)
from bnlib.exercises import exercise


@exercise("3.1")
def largest_value(answer: Any) -> Feedback:
    """Judge the normalized value of 8 among 0, 0, 0, 8."""
    return number_feedback(
        answer,
        np.sqrt(3),
        "Right: 6 over the root of 12. No value among four can get past the root of 3.",
        "The distances are -2, -2, -2 and 6; so divide 6 by the root of 12.",
        rtol=5e-3,
        known={
            1.5: "That uses the divisor m - 1 = 3. The transform divides by m = 4.",
            0.5: "That divides by the variance, 12. Divide by its root.",
            6.0: "That is the distance from the mean. It still has to be divided by "
            "the standard deviation.",
            2.0: "That is the mean of the four numbers, or the root of m. The mean "
            "moves with the outlier, so the bound is the root of m - 1.",
        },
    )


def _normalize(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float
) -> np.ndarray:
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta


def _other_axis(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float
) -> np.ndarray:
    mu, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    return gamma * (x - mu) / np.sqrt(var + eps) + beta


def _over_all(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float
) -> np.ndarray:
    return gamma * (x - x.mean()) / np.sqrt(x.var() + eps) + beta


_MISTAKES = (
    Wrong(
        lambda x, g, b, eps: g * (x - x.mean(0)) / (x.std(0) + eps) + b,
        "Your eps stands outside the root. It is added to the variance, then the root "
        "is taken.",
        ALMOST,
    ),
    Wrong(
        lambda x, g, b, eps: g * (x - x.mean(0)) / np.sqrt(x.var(0, ddof=1) + eps) + b,
        "Your variance has the divisor m - 1. The transform divides by m.",
        ALMOST,
    ),
    Wrong(
        lambda x, g, b, eps: g * (x - x.mean(0)) / x.std(0) + b,
        "Your eps is not used. Add it to the variance, under the root.",
        ALMOST,
    ),
    Wrong(
        lambda x, g, b, eps: (x - x.mean(0)) / np.sqrt(x.var(0) + eps),
        "The normalization is right. Now scale by gamma and shift by beta.",
        ALMOST,
    ),
    Wrong(
        _other_axis,
        "You normalize each row, axis 1. Each column has its own mean and variance: "
        "axis 0.",
    ),
    Wrong(
        _over_all,
        "You use one mean and one variance for the whole array. Each column has its "
        "own: axis 0.",
    ),
    Wrong(
        lambda x, g, b, eps: g * (x - x.mean(0)) / (x.var(0) + eps) + b,
        "You divide by the variance. Divide by its root.",
    ),
    Wrong(
        lambda x, g, b, eps: g * x / np.sqrt(x.var(0) + eps) + b,
        "You do not subtract the mean.",
    ),
    Wrong(
        lambda x, g, b, eps: b * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + g,
        "Gamma and beta have changed places: gamma multiplies, beta is added.",
    ),
)


@exercise("3.2")
def normalize(answer: Any) -> Feedback:
    """Judge the transform."""
    rng = np.random.default_rng(32)
    inputs = [
        (
            rng.normal(5, 2, size=(m, d)) * np.linspace(0.5, 2, d),
            rng.normal(2, 0.5, size=d),
            rng.normal(-3, 1, size=d),
            eps,
        )
        for m, d, eps in ((6, 4, 0.1), (3, 5, 1e-5))
    ]
    return function_feedback(
        answer,
        _normalize,
        inputs,
        "Right: four lines, in the order of the equation.",
        _MISTAKES,
        names=("y",),
    )


@exercise("3.3")
def breaking_point(answer: Any) -> Feedback:
    """Judge the factor at which the output spread has fallen to 0.99."""
    return number_feedback(
        answer,
        0.99 * np.sqrt(1e-5 / (1 - 0.99**2)),
        "Right: about seven times the root of eps. Below that, the weights' scale "
        "shows in the output.",
        "Solve a / sqrt(a**2 + 1e-5) = 0.99 for a, or search with np.geomspace.",
        rtol=0.02,
        known={
            float(np.sqrt(99e-5)): "There the variance has fallen to 0.99. The "
            "question asks for the standard deviation.",
            99e-5: "That is the square of a. Take the root, and ask for the standard "
            "deviation, not the variance.",
            float(0.99**2 * 1e-5 / (1 - 0.99**2)): "That is the square of a. Take the "
            "root.",
            float(np.sqrt(1e-5)): "There the output variance is one half. The question "
            "asks for the first one percent.",
        },
    )


Numbers = np.ndarray


def _merge(
    mu1: Numbers, var1: Numbers, m1: int, mu2: Numbers, var2: Numbers, m2: int
) -> tuple[Numbers, Numbers]:
    share = m1 / (m1 + m2)
    mu = share * mu1 + (1 - share) * mu2
    between = share * (1 - share) * (mu1 - mu2) ** 2
    return mu, share * var1 + (1 - share) * var2 + between


def _without_between(
    mu1: Numbers, var1: Numbers, m1: int, mu2: Numbers, var2: Numbers, m2: int
) -> tuple[Numbers, Numbers]:
    share = m1 / (m1 + m2)
    return share * mu1 + (1 - share) * mu2, share * var1 + (1 - share) * var2


def _unbiased(
    mu1: Numbers, var1: Numbers, m1: int, mu2: Numbers, var2: Numbers, m2: int
) -> tuple[Numbers, Numbers]:
    mu, var = _merge(mu1, var1, m1, mu2, var2, m2)
    return mu, var * (m1 + m2) / (m1 + m2 - 1)


@exercise("3.4")
def merge(answer: Any) -> Feedback:
    """Judge the merged statistics of two parts of a mini-batch."""
    rng = np.random.default_rng(34)
    inputs = []
    for m1, m2, d in ((3, 9, 4), (12, 5, 2)):
        a, b = rng.normal(2, 1, size=(m1, d)), rng.normal(-1, 2, size=(m2, d))
        inputs.append((a.mean(0), a.var(0), m1, b.mean(0), b.var(0), m2))
    return function_feedback(
        answer,
        _merge,
        inputs,
        "Right: the variance inside the parts, plus the variance between their means.",
        (
            Wrong(
                lambda mu1, v1, m1, mu2, v2, m2: _merge(mu1, v1, 1, mu2, v2, 1),
                "Right for parts of equal size. Weight each part by its number of "
                "examples.",
                ALMOST,
            ),
            Wrong(
                _unbiased,
                "Your variance has the divisor m - 1. The parts came with the divisor "
                "m, and so does the whole.",
                ALMOST,
            ),
            Wrong(
                _without_between,
                "You average the two variances. The distance between the two means "
                "belongs to the variance too.",
            ),
            Wrong(
                lambda mu1, v1, m1, mu2, v2, m2: _without_between(
                    mu1, v1, 1, mu2, v2, 1
                ),
                "You average means and variances with equal weights. Weight them by m1 "
                "and m2, and add the distance between the means.",
            ),
        ),
        names=("mu", "var"),
    )
