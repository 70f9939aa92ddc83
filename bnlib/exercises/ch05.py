"""Checks of chapter 5: the backward pass."""

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


@exercise("5.1")
def two_examples(answer: Any) -> Feedback:
    """Judge what flows back through a batch of two."""
    return choice_feedback(
        answer,
        "c",
        {
            "a": "That would hold in evaluation mode. In training mode the mean and "
            "the part along x-hat are removed: what is left of two numbers?",
            "b": "Close: the mean is removed, but so is the part along x-hat, and of "
            "two numbers nothing is left.",
            "c": "Right. Two numbers, two directions removed: with eps = 0 the "
            "gradient is exactly zero. The output is always plus and minus one.",
        },
        close="b",
    )


def _backward(dy: Array, x_hat: Array, gamma: Array, inv_std: Array):
    along = (dy * x_hat).mean(0)
    dx = gamma * inv_std * (dy - dy.mean(0) - x_hat * along)
    return dx, (dy * x_hat).sum(0), dy.sum(0)


def _variant(no_mean=False, no_x_hat=False, no_gamma=False, sums=False):
    def backward(dy: Array, x_hat: Array, gamma: Array, inv_std: Array):
        average = Array.sum if sums else Array.mean
        dx = dy.copy()
        if not no_mean:
            dx = dx - average(dy, 0)
        if not no_x_hat:
            dx = dx - x_hat * average(dy * x_hat, 0)
        dx = dx * inv_std * (1 if no_gamma else gamma)
        return dx, (dy * x_hat).sum(0), dy.sum(0)

    return backward


def _gamma_in_dgamma(dy: Array, x_hat: Array, gamma: Array, inv_std: Array):
    dx, dgamma, dbeta = _backward(dy, x_hat, gamma, inv_std)
    return dx, dgamma * gamma, dbeta


def _swapped(dy: Array, x_hat: Array, gamma: Array, inv_std: Array):
    dx, dgamma, dbeta = _backward(dy, x_hat, gamma, inv_std)
    return dx, dbeta, dgamma


def _means(dy: Array, x_hat: Array, gamma: Array, inv_std: Array):
    dx, dgamma, dbeta = _backward(dy, x_hat, gamma, inv_std)
    return dx, dgamma / len(dy), dbeta / len(dy)


@exercise("5.2")
def closed_form(answer: Any) -> Feedback:
    """Judge the closed form of the backward pass."""
    rng = np.random.default_rng(52)
    x = rng.normal(3, 2, (5, 3))
    inv_std = 1 / np.sqrt(x.var(0) + 0.1)
    x_hat = (x - x.mean(0)) * inv_std
    dy, gamma = rng.normal(1, 2, (5, 3)), rng.normal(0, 2, 3)
    return function_feedback(
        answer,
        _backward,
        [(dy, x_hat, gamma, inv_std)],
        "Right: three terms for x, two sums for gamma and beta.",
        known=(
            Wrong(
                _variant(no_mean=True, no_x_hat=True),
                "You treat the statistics as constants: that is the backward pass of "
                "evaluation mode. Subtract the mean of dy and the part along x-hat.",
            ),
            Wrong(
                _variant(no_mean=True),
                "The mean of dy is missing. It comes from the path through mu.",
            ),
            Wrong(
                _variant(no_x_hat=True),
                "The part along x-hat is missing. It comes from the path through the "
                "variance.",
            ),
            Wrong(
                _variant(sums=True),
                "You subtract sums where means are needed: divide both by m.",
            ),
            Wrong(_variant(no_gamma=True), "Gamma is missing in dx.", ALMOST),
            Wrong(
                _gamma_in_dgamma,
                "dx is right. The gradient of gamma must not contain gamma: y is "
                "gamma times x-hat.",
                ALMOST,
            ),
            Wrong(
                _swapped,
                "All three are right, but the order is dx, dgamma, dbeta.",
                ALMOST,
            ),
            Wrong(
                _means,
                "dx is right. The gradients of gamma and beta are sums over the "
                "batch, not means.",
                ALMOST,
            ),
        ),
        names=("dx", "dgamma", "dbeta"),
    )


@exercise("5.3")
def residual(answer: Any) -> Feedback:
    """Judge the part along x-hat that eps lets through."""
    return number_feedback(
        answer,
        0.25,
        "Right: eps / (var + eps). With the usual eps of 1e-5 it is far below one "
        "percent.",
        "Use dy = x_hat and look at the factor between dx and gamma * dy / std.",
        rtol=0.01,
        almost=0.3,
        known={
            0.0: "That holds for eps = 0. Here eps is a third of the variance.",
            0.75: "That is var / (var + eps), the part that is removed.",
            1 / 3: "That is eps / var. The root in the forward pass holds var + eps.",
        },
    )


@exercise("5.4")
def centring(answer: Any) -> Feedback:
    """Judge the backward pass of a layer that removes the mean only."""
    rng = np.random.default_rng(54)
    dy = rng.normal(2, 1, (6, 3))

    def right(dy: Array) -> tuple:
        return dy - dy.mean(0), dy.sum(0)

    return function_feedback(
        answer,
        right,
        [(dy,)],
        "Right: the gradient loses its mean, as the values did.",
        known=(
            Wrong(
                lambda dy: (dy.copy(), dy.sum(0)),
                "You treat the mean as a constant. It depends on each x: one more "
                "path.",
            ),
            Wrong(
                lambda dy: (dy - dy.sum(0), dy.sum(0)),
                "You subtract the sum. Each x enters the mean with weight 1/m.",
            ),
            Wrong(
                lambda dy: (dy - dy.mean(1, keepdims=True), dy.sum(0)),
                "You average over the features, axis 1. The batch is axis 0.",
            ),
            Wrong(
                lambda dy: (dy - dy.mean(0), dy.mean(0)),
                "dx is right. The gradient of beta is the sum over the batch.",
                ALMOST,
            ),
        ),
        names=("dx", "dbeta"),
    )
