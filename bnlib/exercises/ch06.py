"""Checks of chapter 6: convolutional layers."""

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


@exercise("6.1")
def values_per_mean(answer: Any) -> Feedback:
    """Judge how many values share a mean."""
    return number_feedback(
        answer,
        32 * 14 * 14,
        "Right: 32 examples times 14 times 14 positions, and one channel.",
        "Count the examples and the positions of one channel.",
        rtol=1e-6,
        almost=0.04,
        known={
            32: "That is the batch size alone. A map holds 14 times 14 values for each "
            "example, and all of them share the mean.",
            196: "That is one map of one example: the set of instance norm.",
            32
            * 14
            * 14
            * 64: "That is the whole array; each channel has its own mean.",
            14 * 14 * 64: "That is one whole example: the set of layer norm.",
        },
    )


def _maps(x: np.ndarray, eps: float, axes: tuple = (0, 2, 3), ddof: int = 0):
    var = x.var(axes, keepdims=True, ddof=ddof)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(var + eps)


@exercise("6.2")
def normalize_maps(answer: Any) -> Feedback:
    """Judge the normalization of feature maps."""
    rng = np.random.default_rng(62)
    x = rng.normal(3, 2, (4, 3, 5, 2)) * np.array([1, 5, 0.3]).reshape(3, 1, 1)
    outside = "Almost: eps stands outside the root. Add it to the variance, then take "
    return function_feedback(
        answer,
        _maps,
        [(x, 0.1), (x[:2] + 7, 1e-5)],
        "Right: one mean and one variance for each channel, over batch and positions.",
        known=(
            Wrong(
                lambda x, eps: _maps(x, eps, (0,)),
                "You average over the batch only, so each position has its own mean. "
                "All positions of a map must share it: add axes 2 and 3.",
            ),
            Wrong(
                lambda x, eps: _maps(x, eps, (2, 3)),
                "You average over positions only, so each example has its own mean. "
                "That is instance norm: add axis 0.",
            ),
            Wrong(
                lambda x, eps: _maps(x, eps, (1, 2, 3)),
                "You average over channels and positions. That is layer norm: leave "
                "out axis 1, add axis 0.",
            ),
            Wrong(
                lambda x, eps: _maps(x, eps, (0, 1, 2, 3)),
                "You average over everything. Each channel needs its own mean.",
            ),
            Wrong(
                lambda x, eps: _maps(x, eps, (0, 1, 2)),
                "You average over axes 0, 1, 2: that fits (N, H, W, C). Here the "
                "channels stand on axis 1.",
            ),
            Wrong(
                lambda x, eps: _maps(x, eps, ddof=1),
                "Almost: your variance has divisor m' - 1. The transform divides by "
                "m'.",
                ALMOST,
            ),
            Wrong(
                lambda x, eps: (
                    (x - x.mean((0, 2, 3), keepdims=True))
                    / (x.std((0, 2, 3), keepdims=True) + eps)
                ),
                outside + "the root.",
                ALMOST,
            ),
        ),
        names=("the output",),
    )


def _fold(
    weight: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray]:
    scale = gamma / np.sqrt(var + eps)
    return weight * scale[:, None, None, None], beta - mean * scale


def _fold_without_mean(weight, gamma, beta, mean, var, eps):
    return _fold(weight, gamma, beta, mean, var, eps)[0], beta


def _fold_without_eps(weight, gamma, beta, mean, var, eps):
    return _fold(weight, gamma, beta, mean, var, 0.0)


def _fold_var(weight, gamma, beta, mean, var, eps):
    scale = gamma / (var + eps)
    return weight * scale[:, None, None, None], beta - mean * scale


def _fold_wrong_axis(weight, gamma, beta, mean, var, eps):
    scale = gamma / np.sqrt(var + eps)
    return weight * scale[None, :, None, None], beta - mean * scale


@exercise("6.3")
def fold(answer: Any) -> Feedback:
    """Judge the folding of a batch norm into the convolution before it."""
    rng = np.random.default_rng(63)
    weight, gamma, beta = rng.normal(size=(3, 3, 3, 3)), *rng.normal(size=(2, 3))
    mean, var = rng.normal(size=3), rng.uniform(0.5, 2, 3)
    return function_feedback(
        answer,
        _fold,
        [(weight, gamma, beta, mean, var, 0.1)],
        "Right: one multiplication of the filters, one shift, and the layer is gone.",
        known=(
            Wrong(
                _fold_without_mean,
                "The filters are right; the bias leaves out the running mean. Put "
                "x = 0 into the evaluation formula.",
            ),
            Wrong(
                _fold_without_eps,
                "Almost: eps is missing. The trained layer had it under the root.",
                ALMOST,
            ),
            Wrong(
                _fold_var,
                "You divide by the variance. The layer divides by its root.",
            ),
            Wrong(
                _fold_wrong_axis,
                "You scale the input channels, axis 1. Batch norm scales the output "
                "channels, axis 0.",
            ),
        ),
        names=("the weight", "the bias"),
    )


@exercise("6.4")
def independent_values(answer: Any) -> Feedback:
    """Judge how many independent values an image is worth."""
    return choice_feedback(
        answer,
        "b",
        {
            "a": "That would hold for independent pixels. Neighbours in a digit are "
            "alike: compare the two variances again.",
            "b": "Right. For the channel mean, an image of 784 pixels is worth a few "
            "dozen independent values.",
            "c": "Then the positions would add nothing. Divide the variance of the "
            "pixels by the variance of the images' means.",
        },
    )
