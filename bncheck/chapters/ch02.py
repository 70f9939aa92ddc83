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
    M("eps-added", "(x[own] - mu) / std", "(x[own] - mu) / (std + 1e-5)", near=True),
    M("eps-added-to-variance", "x[own].std(0)", "np.sqrt(x[own].var(0) + 1e-5)",
      of="eps-added", near=True),
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


def smallest_batch(g, target):
    """Return the smallest batch whose mean gradient has at most this noise."""
    n = len(g)
    away = g - g.mean(0)
    s2 = (away**2).sum(1).mean()
    m = s2 * n / (target**2 * (n - 1) + s2)
    return np.ceil(m)


SIZE = "s2 * n / (target**2 * (n - 1) + s2)"
LAW = Right(smallest_batch, says=SAYS["2.3"], mistakes=[
    M("not-whole", "np.ceil(m)", "m", near=True),
    M("rounded-down", "np.ceil(m)", "np.floor(m)", near=True),
    M("sample-variance", "(away**2).sum(1).mean()", "(away**2).sum() / (n - 1)",
      near=True),
    M("with-repeats", SIZE, "s2 / target**2", near=True),
    M("no-square", SIZE, "s2 * n / (target * (n - 1) + s2)"),
    M("mean-over-entries", "(away**2).sum(1).mean()", "(away**2).mean()"),
    M("not-centred", "g - g.mean(0)", "g"),
])  # fmt: skip


def wanted():
    """Draw the inputs of 2.3: a noise for few examples, for half, for nearly all.

    In the last, of 6 examples, the law gives 2.95: there the divisor of s^2 shows.
    """
    g = np.random.default_rng(23).standard_normal((40, 6)) * np.arange(1, 7) + 2.0
    few = g[:6]
    s2 = few.var(0).sum()
    near_three = np.sqrt(s2 / 2.95 * (6 - 2.95) / (6 - 1))
    return [(g, 4.0), (g, 1.5), (g[:23], 0.7), (few, float(near_three))]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "2.1": number(SAYS["2.1"], 288, known={
            "threefold": 96, "root": 32 * np.sqrt(3), "smaller": 32 / 9}),
        "2.2": function(MIXTURE, ("result",), mixtures()),
        "2.3": function(LAW, ("m",), wanted()),
        "2.4": choice(SAYS["2.4"], "c", near=("a",)),
    }  # fmt: skip
