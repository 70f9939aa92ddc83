"""Checks of chapter 4: training and inference."""

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

Array = np.ndarray


@exercise("4.1")
def running_mean(answer: Any) -> Feedback:
    """Judge a running mean after three updates."""
    return number_feedback(
        answer,
        2.71,
        "Right: the distance from 10 shrinks by a tenth at each update.",
        "Each update goes a tenth of the way from the present value to 10.",
        rtol=2e-3,
        known={
            3.0: "That adds 1 three times. The second step is a tenth of the distance "
            "that is left, 9.",
            7.29: "That is how far the mean still is from 10.",
            9.99: "There 0.1 was the weight of the old value, as in Keras. Here it is "
            "the weight of the new one.",
            1.0: "That is the value after one update.",
            1.9: "That is the value after two updates.",
        },
    )


def _update(
    mean: Array, var: Array, x: Array, momentum: float, ddof: int = 1
) -> tuple[Array, Array]:
    return (
        (1 - momentum) * mean + momentum * x.mean(0),
        (1 - momentum) * var + momentum * x.var(0, ddof=ddof),
    )


def _with_deviation(
    mean: Array, var: Array, x: Array, momentum: float
) -> tuple[Array, Array]:
    new_mean, _ = _update(mean, var, x, momentum)
    return new_mean, (1 - momentum) * var + momentum * x.std(0, ddof=1)


@exercise("4.2")
def update(answer: Any) -> Feedback:
    """Judge the update of the running statistics."""
    rng = np.random.default_rng(42)
    inputs = [
        (
            rng.normal(1, 1, size=d),
            rng.uniform(0.5, 2, size=d),
            rng.normal(5, 2, size=(m, d)),
            momentum,
        )
        for m, d, momentum in ((6, 4, 0.1), (3, 5, 0.3))
    ]
    return function_feedback(
        answer,
        _update,
        inputs,
        "Right: the new value weighs rho, and the stored variance divides by m - 1.",
        (
            Wrong(
                lambda mean, var, x, rho: _update(mean, var, x, rho, 0),
                "Your stored variance divides by m. Algorithm 2 and PyTorch store the "
                "unbiased one, divisor m - 1.",
                ALMOST,
            ),
            Wrong(
                lambda mean, var, x, rho: _update(mean, var, x, 1 - rho),
                "You give momentum to the old value, as Keras does. In PyTorch it is "
                "the weight of the new one.",
            ),
            Wrong(
                lambda mean, var, x, rho: _update(mean, var, x, 1 - rho, 0),
                "You give momentum to the old value, and your variance divides by m. "
                "PyTorch has both the other way.",
            ),
            Wrong(
                lambda mean, var, x, rho: (x.mean(0), x.var(0, ddof=1)),
                "You return the statistics of the mini-batch. Average them with the "
                "old ones.",
            ),
            Wrong(
                lambda mean, var, x, rho: (
                    mean + rho * x.mean(0),
                    var + rho * x.var(0, ddof=1),
                ),
                "You add the new value and keep the old one whole. The two weights "
                "must sum to 1.",
            ),
            Wrong(
                _with_deviation,
                "You average the standard deviation. The running variance is an "
                "average of variances.",
            ),
        ),
        names=("running_mean", "running_var"),
    )


def _fold(
    W: Array,
    b: Array,
    mean: Array,
    var: Array,
    gamma: Array,
    beta: Array,
    eps: float,
) -> tuple[Array, Array]:
    s = gamma / np.sqrt(var + eps)
    return s[:, None] * W, s * (b - mean) + beta


def _eps_outside(
    W: Array, b: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Array]:
    s = gamma / (np.sqrt(var) + eps)
    return s[:, None] * W, s * (b - mean) + beta


def _bias_unscaled(
    W: Array, b: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Array]:
    s = gamma / np.sqrt(var + eps)
    return s[:, None] * W, b - s * mean + beta


def _weights_unscaled(
    W: Array, b: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Array]:
    return W, _fold(W, b, mean, var, gamma, beta, eps)[1]


@exercise("4.3")
def fold(answer: Any) -> Feedback:
    """Judge the linear layer that includes a batch norm."""
    rng = np.random.default_rng(43)
    inputs = []
    for out, n, eps in ((3, 5, 0.1), (4, 4, 1e-5)):
        inputs.append(
            (
                rng.normal(size=(out, n)),
                rng.normal(2, 1, size=out),
                rng.normal(-3, 1, size=out),
                rng.uniform(0.5, 3, size=out),
                rng.normal(1.5, 0.5, size=out),
                rng.normal(1, 1, size=out),
                eps,
            )
        )
    return function_feedback(
        answer,
        _fold,
        inputs,
        "Right: at inference this batch norm costs nothing.",
        (
            Wrong(
                _eps_outside,
                "Your eps stands outside the root. It is added to the variance, then "
                "the root is taken.",
                ALMOST,
            ),
            Wrong(
                _bias_unscaled,
                "The weights are right. The old bias b goes through the slope too: "
                "s * (b - mean) + beta.",
                ALMOST,
            ),
            Wrong(
                lambda W, b, mean, var, g, beta, eps: (
                    _fold(W, b, mean, var, g, beta, eps)[0],
                    _fold(W, 0 * b, mean, var, g, beta, eps)[1],
                ),
                "You have lost the old bias b. Put W u + b into s * x + c.",
            ),
            Wrong(
                lambda W, b, mean, var, g, beta, eps: (
                    _fold(W, b, mean, var, g, beta, eps)[0],
                    _fold(W, b, 0 * mean, var, g, beta, eps)[1],
                ),
                "You do not subtract the running mean.",
            ),
            Wrong(
                _weights_unscaled,
                "The bias is right. The weights have to be scaled too, row by row.",
            ),
            Wrong(
                lambda W, b, mean, var, g, beta, eps: _fold(
                    W, b, mean, var**2 + 2 * eps * var + eps**2 - eps, g, beta, eps
                ),
                "You divide by the variance. Divide by its root.",
            ),
        ),
        names=("W2", "b2"),
    )


@exercise("4.4")
def last_batch_only(answer: Any) -> Feedback:
    """Judge what a running-average step of 1 does."""
    return choice_feedback(
        answer,
        "b",
        {
            "a": "Measure again: 60 examples are a usable estimate. After 5 updates "
            "being fresh matters more than being smooth.",
            "b": "Right: early on a fresh rough estimate beats a stale one, and later "
            "60 examples are enough for this network.",
            "c": "The weights are the same, but evaluation mode reads the running "
            "statistics, and those differ. Look at step 5.",
        },
    )
