"""Exercises of chapter 3: the transform."""

import numpy as np

from bncheck.chapters import function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch03")


def normalize(x, gamma, beta, eps):
    """Normalize each column, scale and shift."""
    mu = x.mean(0)
    var = x.var(0)
    x_hat = (x - mu) / np.sqrt(var + eps)
    return gamma * x_hat + beta


MEAN, VAR, ROOT = "x.mean(0)", "x.var(0)", "np.sqrt(var + eps)"
NORMALIZE = Right(normalize, says=SAYS["3.2"], mistakes=[
    M("eps-outside-root", ROOT, "np.sqrt(var) + eps", near=True),
    M("sample-variance", VAR, "x.var(0, ddof=1)", near=True),
    M("no-eps", ROOT, "np.sqrt(var)", near=True),
    M("no-affine", "gamma * x_hat + beta", "x_hat", near=True),
    M("rows", MEAN, "x.mean(1, keepdims=True)", VAR, "x.var(1, keepdims=True)"),
    M("over-all", MEAN, "x.mean()", VAR, "x.var()"),
    M("variance-not-root", ROOT, "var + eps"),
    M("not-centred", "x - mu", "x"),
    M("gamma-beta-swapped", "gamma * x_hat + beta", "beta * x_hat + gamma"),
])  # fmt: skip


def batches():
    """Draw the inputs of 3.2."""
    rng = np.random.default_rng(32)
    return [
        (
            rng.normal(5, 2, size=(m, d)) * np.linspace(0.5, 2, d),
            rng.normal(2, 0.5, size=d),
            rng.normal(-3, 1, size=d),
            eps,
        )
        for m, d, eps in ((6, 4, 0.1), (3, 5, 1e-5))
    ]


def merge(mu1, var1, m1, mu2, var2, m2):
    """Return mean and variance of two parts together."""
    share = m1 / (m1 + m2)
    mu = share * mu1 + (1 - share) * mu2
    between = share * (1 - share) * (mu1 - mu2) ** 2
    return mu, share * var1 + (1 - share) * var2 + between


SHARE, BETWEEN = "m1 / (m1 + m2)", "share * var1 + (1 - share) * var2 + between"
MERGE = Right(merge, says=SAYS["3.4"], mistakes=[
    M("equal-parts", SHARE, "0.5", near=True),
    M("sample-variance", BETWEEN, f"({BETWEEN}) / (1 - 1 / (m1 + m2))", near=True),
    M("no-between", BETWEEN, "share * var1 + (1 - share) * var2"),
    M("plain-averages", SHARE, "0.5", BETWEEN, "(var1 + var2) / 2"),
])  # fmt: skip


def parts():
    """Draw the inputs of 3.4."""
    rng = np.random.default_rng(34)
    for m1, m2, d in ((3, 9, 4), (12, 5, 2)):
        a, b = rng.normal(2, 1, size=(m1, d)), rng.normal(-1, 2, size=(m2, d))
        yield a.mean(0), a.var(0), m1, b.mean(0), b.var(0), m2


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    steep = 1e-5 / (1 - 0.99**2)
    return {
        "3.1": number(SAYS["3.1"], np.sqrt(3), rtol=5e-3, known={
            "divisor": 1.5, "variance": 0.5, "distance": 6.0, "mean": 2.0}),
        "3.2": function(NORMALIZE, ("y",), batches()),
        "3.3": number(SAYS["3.3"], 0.99 * np.sqrt(steep), rtol=0.02, known={
            "of-variance": np.sqrt(99e-5), "square-of-variance": 99e-5,
            "square": 0.99**2 * steep, "half": np.sqrt(1e-5)}),
        "3.4": function(MERGE, ("mu", "var"), list(parts())),
    }  # fmt: skip
