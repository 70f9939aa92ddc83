"""Exercises of chapter 2: batches and covariate shift."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch02")


def by_domain(x, domain):
    """Standardise the rows of each domain by their own statistics."""
    z = np.empty_like(x)
    for k in np.unique(domain):
        own = domain == k
        mu, std = x[own].mean(0), x[own].std(0)
        z[own] = (x[own] - mu) / std
    return z


BOTH = "mu, std = x[own].mean(0), x[own].std(0)"
FIRST = "x[domain == domain[0]]"
MIXTURE = Right(by_domain, says=SAYS["2.2"], mistakes=[
    M("one-domain", BOTH, "mu, std = x.mean(0), x.std(0)"),
    M("first-domain", BOTH, f"mu, std = {FIRST}.mean(0), {FIRST}.std(0)"),
    M("sorted", "return z", "return z[np.argsort(domain, kind='stable')]", near=True),
    M("sample-variance", "x[own].std(0)", "x[own].std(0, ddof=1)", near=True),
    M("not-scaled", "(x[own] - mu) / std", "x[own] - mu"),
    M("std-of-all", "x[own].std(0)", "x.std(0)"),
    M("mean-of-all", "x[own].mean(0)", "x.mean(0)"),
    M("one-number", BOTH, "mu, std = x[own].mean(), x[own].std()"),
])  # fmt: skip


def mixtures():
    """Draw the inputs of 2.2: three domains, and one alone."""
    rng = np.random.default_rng(22)
    domain = np.array([2, 5, 2, 7, 5, 7, 2, 5, 7, 2, 5])
    x = rng.standard_normal((11, 3)) * (1 + domain[:, None]) + 3.0 * domain[:, None]
    return [(x, domain), (rng.uniform(5, 9, (6, 2)), np.zeros(6, np.int64))]


def noise(g, m):
    """Return the noise of the mean of m of the n rows of g, drawn once each."""
    n = len(g)
    away = g - g.mean(0)
    s2 = (away**2).sum(1).mean()
    return np.sqrt(s2 / m * ((n - m) / (n - 1)))


DRAWS, NOISE = "(n - m) / (n - 1)", "np.sqrt(s2 / m * ((n - m) / (n - 1)))"
LAW = Right(noise, says=SAYS["2.3"], mistakes=[
    M("with-repeats", DRAWS, "1", near=True),
    M("divisor", DRAWS, "(n - m) / n", near=True),
    M("variance", NOISE, f"{NOISE} ** 2"),
    M("no-root-of-m", NOISE, f"np.sqrt(s2) / m * np.sqrt({DRAWS})"),
    M("mean-over-entries", "(away**2).sum(1).mean()", "(away**2).mean()"),
    M("not-centred", "g - g.mean(0)", "g"),
    M("one-example", NOISE, "np.sqrt(s2)"),
])  # fmt: skip


def gradients():
    """Draw the inputs of 2.3."""
    g = np.random.default_rng(23).standard_normal((20, 6)) * np.arange(1, 7) + 2.0
    return [(g, 8), (g, 1), (g[:9], 9)]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "2.1": number(SAYS["2.1"], 288, known={
            "threefold": 96, "root": 32 * np.sqrt(3), "smaller": 32 / 9}),
        "2.2": function(MIXTURE, ("the result",), mixtures()),
        "2.3": function(LAW, ("the noise",), gradients()),
        "2.4": choice(SAYS["2.4"], "b", near=("c",)),
    }  # fmt: skip
