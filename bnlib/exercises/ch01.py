"""Checks of the exercises of chapter 1, on the scale of the inputs."""

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
from bnlib.functional import Array


@exercise("1.1")
def _unit(answer: Any) -> Feedback:
    return number_feedback(
        answer,
        1e-6,
        "The Hessian holds the mean square of the feature: a million times as large.",
        "Ask how the mean square of the feature changes, then what 2/L does.",
        known={
            1e-3: "That is how the gradient of one weight would shrink. The Hessian "
            "holds products of two feature values.",
            1e6: "The right size, the wrong way round: a larger L means smaller steps.",
            1e3: "Larger features make the bowl steeper, so the limit falls; and "
            "the Hessian holds products of two feature values.",
            1.0: "The limit is 2/L, and L is computed from the values of the features.",
        },
    )


def _apply(train: Array, test: Array, mean: Array, std: Array) -> tuple[Array, Array]:
    return (train - mean) / std, (test - mean) / std


def _guarded(std: Array) -> Array:
    return np.where(std > 0, std, 1.0)


def _standardise(train: Array, test: Array) -> tuple[Array, Array]:
    return _apply(train, test, train.mean(axis=0), _guarded(train.std(axis=0)))


def _own_statistics(train: Array, test: Array) -> tuple[Array, Array]:
    return _standardise(train, train)[0], _standardise(test, test)[0]


def _pooled(train: Array, test: Array) -> tuple[Array, Array]:
    both = np.concatenate([train, test])
    return _apply(train, test, both.mean(axis=0), _guarded(both.std(axis=0)))


def _rows(train: Array, test: Array) -> tuple[Array, Array]:
    return tuple(
        (z - z.mean(axis=1, keepdims=True)) / _guarded(z.std(axis=1, keepdims=True))
        for z in (train, test)
    )


def _one_number(train: Array, test: Array) -> tuple[Array, Array]:
    return _apply(train, test, train.mean(), train.std())


def _unbiased(train: Array, test: Array) -> tuple[Array, Array]:
    std = _guarded(train.std(axis=0, ddof=1))
    return _apply(train, test, train.mean(axis=0), std)


def _variance(train: Array, test: Array) -> tuple[Array, Array]:
    return _apply(train, test, train.mean(axis=0), _guarded(train.var(axis=0)))


def _scaled_only(train: Array, test: Array) -> tuple[Array, Array]:
    return _apply(train, test, 0.0, _guarded(train.std(axis=0)))


def _centred_only(train: Array, test: Array) -> tuple[Array, Array]:
    return _apply(train, test, train.mean(axis=0), 1.0)


def _test_as_it_came(train: Array, test: Array) -> tuple[Array, Array]:
    return _standardise(train, test)[0], test


def _zeroed(train: Array, test: Array) -> tuple[Array, Array]:
    z_train, z_test = _standardise(train, test)
    return z_train, np.where(train.std(axis=0) > 0, z_test, 0.0)


@exercise("1.2")
def _two_sets(answer: Any) -> Feedback:
    rng = np.random.default_rng(12)
    scale, shift = np.array([0.1, 3.0, 50.0]), np.array([2.0, -5.0, 100.0])
    train = rng.standard_normal((7, 3)) * scale + shift
    test = rng.standard_normal((4, 3)) * scale * 1.7 + shift * 1.2
    flat_train, flat_test = train.copy(), test.copy()
    flat_train[:, 1] = 4.0
    with np.errstate(all="ignore"):
        return function_feedback(
            answer,
            _standardise,
            [(train, test), (flat_train, flat_test)],
            "Both sets meet the statistics of the training set, and a constant "
            "feature does no harm.",
            known=(
                Wrong(
                    _own_statistics,
                    "The test set was standardised by its own statistics. Use the "
                    "mean and the std of train for both.",
                ),
                Wrong(
                    _pooled,
                    "The statistics come from train and test together: the test set "
                    "has leaked into the model. Use train alone.",
                ),
                Wrong(
                    _rows,
                    "The mean was taken along axis 1, over the features of one "
                    "example. A feature is a column: axis 0.",
                ),
                Wrong(
                    _one_number,
                    "One mean and one std for all features together: give mean and "
                    "std the argument axis=0.",
                ),
                Wrong(
                    _unbiased,
                    "The divisor of your variance is n - 1. The exercise asks for n, "
                    "which is NumPy's default.",
                    ALMOST,
                ),
                Wrong(
                    _variance,
                    "You divide by the variance. The standard deviation is its root.",
                ),
                Wrong(_scaled_only, "The mean is missing: subtract it, then divide."),
                Wrong(_centred_only, "Centred, but not divided by the std."),
                Wrong(
                    _test_as_it_came,
                    "The test set came back unchanged. It needs the same recipe.",
                ),
                Wrong(
                    _zeroed,
                    "A feature that is constant in train need not be constant in "
                    "test: centre it and divide by one, do not set it to zero.",
                    ALMOST,
                ),
            ),
            names=("train", "test"),
        )


def _design(x: Array) -> Array:
    return np.column_stack([x, np.ones(len(x))])


def _largest_rate(x: Array) -> float:
    design = _design(x)
    return 2 / np.linalg.eigvalsh(design.T @ design / len(x))[-1]


def _spectrum(matrix: Array) -> Array:
    return np.linalg.eigvalsh(matrix)


@exercise("1.3")
def _limit(answer: Any) -> Feedback:
    rng = np.random.default_rng(13)
    first = rng.standard_normal((9, 2)) * [0.5, 2.0] + [1.0, 3.0]
    second = rng.uniform(0, 1, (30, 4)) * [1, 10, 5, 2]

    def features(x: Array) -> Array:
        return x.T @ x / len(x)

    def both(x: Array) -> Array:
        return _design(x).T @ _design(x) / len(x)

    return function_feedback(
        answer,
        _largest_rate,
        [(first,), (second,)],
        "Above this rate the steepest direction explodes, whatever the targets are.",
        known=(
            Wrong(
                lambda x: 2 / _spectrum(features(x))[-1],
                "The bias is missing: put a column of ones beside the features.",
                ALMOST,
            ),
            Wrong(
                lambda x: 2 / (len(x) * _spectrum(both(x))[-1]),
                "The factor 1/n is missing: the loss is a mean, and so is its Hessian.",
            ),
            Wrong(
                lambda x: 1 / _spectrum(both(x))[-1],
                "1/L is a safe rate. The limit is twice as large.",
                ALMOST,
            ),
            Wrong(
                lambda x: 2 / _spectrum(both(x))[0],
                "That is 2 over the smallest eigenvalue. The steepest direction sets "
                "the limit: take the largest.",
            ),
            Wrong(
                lambda x: 2 / _spectrum(both(x))[[0, -1]].sum(),
                "That is the best rate, 2/(L + smallest). The exercise asks for the "
                "limit, 2/L.",
            ),
            Wrong(
                lambda x: 2 / np.linalg.norm(_design(x), 2),
                "That is 2 over the largest singular value of the features. The "
                "Hessian holds its square, divided by n.",
            ),
            Wrong(
                lambda x: 2 / _spectrum(features(x - x.mean(axis=0)))[-1],
                "You have centred the features first; the exercise takes them as "
                "they come.",
            ),
            Wrong(
                lambda x: _spectrum(both(x))[-1],
                "That is L itself. The limit is 2/L.",
            ),
        ),
        names=("the rate",),
    )


@exercise("1.4")
def _correlation(answer: Any) -> Feedback:
    return number_feedback(
        answer,
        99 / 101,
        "(1 + r)/(1 - r) = 100. Standardising treats each feature alone and does not "
        "see this.",
        "The eigenvalues are 1 + r and 1 - r; their ratio has to be 100.",
        rtol=5e-4,
        almost=0.03,
        known={
            0.99: "At r = 0.99 the smaller eigenvalue is 0.01, but the larger one is "
            "1.99: the ratio is 199.",
            -99 / 101: "The condition number is 100 there too, but the exercise asks "
            "for the positive r.",
        },
    )
