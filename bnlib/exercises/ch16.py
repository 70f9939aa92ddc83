"""Checks of chapter 16: the frameworks."""

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
from bnlib.functional import Array


@exercise("16.1")
def translate_setting(answer: Any) -> Feedback:
    """Judge PyTorch's momentum for a Keras layer."""
    return number_feedback(
        answer,
        0.01,
        "Right: the old value keeps 0.99, so the new one has the weight 0.01.",
        "Old and new weight add up to one.",
        rtol=1e-6,
        almost=0.15,
        known={
            0.99: "That is the number itself. In PyTorch it would be the weight of the "
            "new batch, and the layer would remember almost nothing else.",
            0.1: "That is PyTorch's default: ten times the step that Keras takes.",
            0.9: "That is one minus PyTorch's default, in the words of Keras.",
        },
    )


def _merge(counts: Array, means: Array, variances: Array) -> tuple[Array, Array]:
    w = counts[:, None] / counts.sum()
    mean = (w * means).sum(axis=0)
    return mean, (w * (variances + (means - mean) ** 2)).sum(axis=0)


def _unweighted(counts: Array, means: Array, variances: Array) -> tuple:
    return means.mean(axis=0), variances.mean(axis=0)


def _right_mean_only(counts: Array, means: Array, variances: Array) -> tuple:
    return _merge(counts, means, variances)[0], variances.mean(axis=0)


def _no_between(counts: Array, means: Array, variances: Array) -> tuple:
    w = counts[:, None] / counts.sum()
    return (w * means).sum(axis=0), (w * variances).sum(axis=0)


def _equal_shards(counts: Array, means: Array, variances: Array) -> tuple:
    return _merge(np.ones_like(counts), means, variances)


def _sums(counts: Array, means: Array, variances: Array) -> tuple:
    mean, variance = _merge(counts, means, variances)
    return mean, variance * counts.sum()


def _unbiased(counts: Array, means: Array, variances: Array) -> tuple:
    mean, variance = _merge(counts, means, variances)
    return mean, variance * counts.sum() / (counts.sum() - 1)


def _first_mean(counts: Array, means: Array, variances: Array) -> tuple:
    w = counts[:, None] / counts.sum()
    mean, middle = (w * means).sum(axis=0), means.mean(axis=0)
    return mean, (w * (variances + (means - middle) ** 2)).sum(axis=0)


@exercise("16.2")
def merge_statistics(answer: Any) -> Feedback:
    """Judge the merging of unequal shards."""
    rng = np.random.default_rng(162)
    inputs = [
        (np.array([7, 2, 5]), rng.normal(3, 2, (3, 4)), rng.uniform(0.5, 3, (3, 4))),
        (np.array([1, 9]), rng.normal(-5, 1, (2, 3)), rng.uniform(0.1, 1, (2, 3))),
    ]
    return function_feedback(
        answer,
        _merge,
        inputs,
        "Right: the variance inside the shards and the variance between them, both "
        "weighted by the counts.",
        known=(
            Wrong(
                _unweighted,
                "You average means and variances with equal weights. A shard of two "
                "rows must not count like one of seven, and the distance between the "
                "shards is missing.",
            ),
            Wrong(
                _right_mean_only,
                "The mean is right; the variance is the plain mean of the variances. "
                "Weigh by the counts, and add the distance between the shards.",
            ),
            Wrong(
                _no_between,
                "The weights are right, and the distance between the shards is "
                "missing: add (means - mean) ** 2 inside the sum.",
            ),
            Wrong(
                _equal_shards,
                "That holds for shards of equal size. Weigh each of them by its count.",
            ),
            Wrong(
                _first_mean,
                "Almost: measure the distance between the shards from the weighted "
                "mean, not from the plain mean of the means.",
                ALMOST,
            ),
            Wrong(
                _sums,
                "Almost: that is the sum of squared distances. Divide it by the number "
                "of rows.",
                ALMOST,
            ),
            Wrong(
                _unbiased,
                "Almost: your variance has the divisor n - 1. The batch is normalized "
                "with the divisor n.",
                ALMOST,
            ),
        ),
        names=("the mean", "the variance"),
    )


def _time_constant(momentum: float, batch_size: int) -> float:
    return -batch_size / np.log(1 - momentum)


@exercise("16.3")
def time_constant(answer: Any) -> Feedback:
    """Judge the time constant of CNTK for PyTorch's momentum."""
    return function_feedback(
        answer,
        _time_constant,
        [(0.1, 60), (0.3, 7), (0.01, 256)],
        "Right: the same weight for batches of this size, and only of this size.",
        known=(
            Wrong(
                lambda momentum, batch_size: -batch_size / np.log(momentum),
                "You took the number as the weight of the old value. In PyTorch it is "
                "the weight of the new one: the old value keeps 1 - momentum.",
            ),
            Wrong(
                lambda momentum, batch_size: batch_size / np.log(1 - momentum),
                "The sign is wrong: a time constant is positive, and the logarithm of "
                "a number below 1 is not.",
            ),
            Wrong(
                lambda momentum, batch_size: -1 / np.log(1 - momentum),
                "That counts batches. CNTK counts examples: the batch size is missing.",
            ),
            Wrong(
                lambda momentum, batch_size: 1 / momentum,
                "That is the memory in batches, and roughly. CNTK counts examples, "
                "and the exponential asks for a logarithm.",
            ),
            Wrong(
                lambda momentum, batch_size: batch_size / momentum,
                "Almost: that is right for small steps only. Solve "
                "1 - momentum = exp(-N / T) exactly, with a logarithm.",
                ALMOST,
            ),
        ),
        names=("the time constant",),
    )


@exercise("16.4")
def hidden_copy(answer: Any) -> Feedback:
    """Judge how much a copied setting costs with large batches."""
    return choice_feedback(
        answer,
        "b",
        {
            "a": "That is the loss with batches of 8. Sixty images estimate a mean and "
            "a variance much better: run it with m=60.",
            "b": "Right: a loss of a point or two, easily taken for noise. The fault "
            "is the same, and waits for smaller batches.",
            "c": "Look at the medians again, of all networks and all updates: there "
            "is a loss, and it is larger than a tenth of a point.",
        },
    )
