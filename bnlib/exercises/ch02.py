"""Checks of the exercises of chapter 2, on batches and covariate shift."""

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


@exercise("2.1")
def _less_noise(answer: Any) -> Feedback:
    return number_feedback(
        answer,
        288,
        "The noise goes as 1/sqrt(m): a third of the noise takes nine times as many.",
        "Solve sqrt(32/m) = 1/3 for m.",
        known={
            96: "Three times as many examples divide the variance by 3, and the noise "
            "by sqrt(3) only.",
            32 * np.sqrt(3): "The root goes the other way: the noise falls with the "
            "root of m, so m grows with the square of the factor.",
            32 / 9: "A smaller batch is noisier: the batch has to grow.",
        },
    )


def _standardise(x: Array, by: Array, ddof: int = 0) -> Array:
    return (x - by.mean(axis=0)) / by.std(axis=0, ddof=ddof)


def _by_domain(x: Array, domain: Array, ddof: int = 0) -> Array:
    z = np.empty_like(x)
    for k in np.unique(domain):
        own = domain == k
        z[own] = _standardise(x[own], x[own], ddof)
    return z


def _in_order_of_domains(x: Array, domain: Array) -> Array:
    groups = [x[domain == k] for k in np.unique(domain)]
    return np.concatenate([_standardise(group, group) for group in groups])


def _centred_only(x: Array, domain: Array) -> Array:
    z = np.empty_like(x)
    for k in np.unique(domain):
        z[domain == k] = x[domain == k] - x[domain == k].mean(axis=0)
    return z


def _own_mean_one_std(x: Array, domain: Array) -> Array:
    return _centred_only(x, domain) / x.std(axis=0)


def _own_std_one_mean(x: Array, domain: Array) -> Array:
    z = x - x.mean(axis=0)
    for k in np.unique(domain):
        z[domain == k] /= x[domain == k].std(axis=0)
    return z


def _all_features_together(x: Array, domain: Array) -> Array:
    z = np.empty_like(x)
    for k in np.unique(domain):
        own = domain == k
        z[own] = (x[own] - x[own].mean()) / x[own].std()
    return z


@exercise("2.2")
def _mixture(answer: Any) -> Feedback:
    rng = np.random.default_rng(22)
    domain = np.array([2, 5, 2, 7, 5, 7, 2, 5, 7, 2, 5])
    x = rng.standard_normal((11, 3)) * (1 + domain[:, None]) + 3.0 * domain[:, None]
    one = rng.uniform(5, 9, (6, 2))
    return function_feedback(
        answer,
        _by_domain,
        [(x, domain), (one, np.zeros(6, np.int64))],
        "Each domain has mean 0 and variance 1 now, and the clouds lie on each other.",
        known=(
            Wrong(
                lambda x, domain: _standardise(x, x),
                "One mean and one std for all rows: that is what failed on the "
                "mixture. Compute them for each domain.",
            ),
            Wrong(
                lambda x, domain: _standardise(x, x[domain == domain[0]]),
                "All rows meet the statistics of one domain. Each needs its own.",
            ),
            Wrong(
                _in_order_of_domains,
                "The right values in another order: the rows come back sorted by "
                "domain. Write them to their old places with a mask.",
                ALMOST,
            ),
            Wrong(
                lambda x, domain: _by_domain(x, domain, ddof=1),
                "The divisor of your variance is n - 1. The exercise asks for n, "
                "which is NumPy's default.",
                ALMOST,
            ),
            Wrong(
                _centred_only,
                "Centred by domain, but not divided by the std of the domain.",
            ),
            Wrong(
                _own_mean_one_std,
                "The mean is that of the domain, the std that of all rows. Both "
                "belong to the domain.",
            ),
            Wrong(
                _own_std_one_mean,
                "The std is that of the domain, the mean that of all rows. Both "
                "belong to the domain.",
            ),
            Wrong(
                _all_features_together,
                "One mean and one std for all features of a domain: give both the "
                "argument axis=0.",
            ),
        ),
    )


def _s2(g: Array) -> float:
    return ((g - g.mean(axis=0)) ** 2).sum(axis=1).mean()


def _noise(g: Array, m: int) -> float:
    n = len(g)
    return np.sqrt(_s2(g) / m * (n - m) / (n - 1))


@exercise("2.3")
def _noise_law(answer: Any) -> Feedback:
    rng = np.random.default_rng(23)
    g = rng.standard_normal((20, 6)) * np.arange(1, 7) + 2.0

    return function_feedback(
        answer,
        _noise,
        [(g, 8), (g, 1), (g[:9], 9)],
        "Small batches follow 1/sqrt(m), and the full batch has no noise.",
        known=(
            Wrong(
                lambda g, m: np.sqrt(_s2(g) / m),
                "That is s/sqrt(m), for draws with repeats. The factor "
                "sqrt((n - m)/(n - 1)) is missing.",
                ALMOST,
            ),
            Wrong(
                lambda g, m: np.sqrt(_s2(g) / m * (len(g) - m) / len(g)),
                "The correction has n - 1 in its divisor, not n.",
                ALMOST,
            ),
            Wrong(
                lambda g, m: _noise(g, m) ** 2,
                "That is the variance. The noise is its root.",
            ),
            Wrong(
                lambda g, m: np.sqrt(_s2(g)) / m * np.sqrt((len(g) - m) / (len(g) - 1)),
                "You divide by m. The noise falls with the root of m.",
            ),
            Wrong(
                lambda g, m: _noise(g, m) / np.sqrt(g.shape[1]),
                "The squared distance of a row is a sum over its entries. You have "
                "taken the mean over them.",
            ),
            Wrong(
                lambda g, m: np.sqrt(
                    (g**2).sum(axis=1).mean() / m * (len(g) - m) / (len(g) - 1)
                ),
                "Distances are taken from the mean gradient: subtract g.mean(axis=0).",
            ),
            Wrong(
                lambda g, m: np.sqrt(_s2(g)),
                "That is s, the noise of a single example. Where does m come in?",
            ),
        ),
        names=("the noise",),
    )


@exercise("2.4")
def _skewed(answer: Any) -> Feedback:
    return choice_feedback(
        answer,
        "b",
        {
            "a": "Run it: the share falls by more than ten points. The mean of a set "
            "of roses is not the mean of the domain.",
            "b": "The average rose is moved to the origin, so the cloud slides to the "
            "side of the other shapes. Statistics carry the share of the classes.",
            "c": "It does fall, but count the mistakes of each class: the cloud slides "
            "the other way, and it is roses that are lost.",
        },
        close="c",
    )
