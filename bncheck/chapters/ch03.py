"""Exercises of chapter 3: the transform."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch03")


def weighted(x, w, gamma, beta, eps):
    """Transform each column; row i counts w[i] times."""
    share = w / w.sum()
    mu = share @ x
    var = share @ (x - mu) ** 2
    x_hat = (x - mu) / np.sqrt(var + eps)
    return gamma * x_hat + beta


SHARES, ROOT = "w / w.sum()", "np.sqrt(var + eps)"
MEAN, VAR = "mu = share @ x", "var = share @ (x - mu) ** 2"
OUT = "gamma * x_hat + beta"
WEIGHTED = Right(weighted, says=SAYS["3.2"], mistakes=[
    M("variance-unweighted", VAR, "var = ((x - mu) ** 2).mean(0)", near=True),
    M("mean-unweighted", MEAN, "mu = x.mean(0)", near=True),
    M("eps-outside-root", ROOT, "np.sqrt(var) + eps", near=True),
    M("no-eps", ROOT, "np.sqrt(var)", near=True),
    M("no-affine", OUT, "x_hat", near=True),
    M("no-beta", OUT, "gamma * x_hat", near=True),
    M("no-gamma", OUT, "x_hat + beta", near=True),
    M("sample-variance", VAR, "var = w @ (x - mu) ** 2 / (w.sum() - 1)", near=True),
    M("unweighted", SHARES, "np.ones(len(x)) / len(x)"),
    M("divisor-m", SHARES, "w / len(w)"),
    M("sums", SHARES, "w"),
    M("output-weighted", OUT, "w[:, None] * (gamma * x_hat + beta)"),
    M("input-weighted", MEAN, "x = w[:, None] * x\nmu = x.mean(0)",
      VAR, "var = x.var(0)"),
    M("axis", MEAN, "mu = x.mean(1, keepdims=True)",
      VAR, "var = x.var(1, keepdims=True)"),
    M("variance-not-root", ROOT, "var + eps"),
    M("not-centred", "(x - mu) / np.sqrt(var + eps)", "x / np.sqrt(var + eps)"),
    M("gamma-beta-swapped", OUT, "beta * x_hat + gamma"),
])  # fmt: skip


def batches():
    """Draw the inputs of 3.2: whole weights, a zero among them, and others."""
    rng = np.random.default_rng(32)
    whole = np.array([1.0, 3.0, 0.0, 2.0, 1.0, 1.0])
    return [
        (
            rng.normal(5, 2, size=(len(w), d)) * np.linspace(0.5, 2, d),
            w,
            rng.normal(2, 0.5, size=d),
            rng.normal(-3, 1, size=d),
            eps,
        )
        for w, d, eps in ((whole, 4, 0.1), (rng.uniform(0.2, 2, size=4), 5, 0.1))
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
    M("no-square", "(mu1 - mu2) ** 2", "np.abs(mu1 - mu2)"),
    M("no-square-signed", "(mu1 - mu2) ** 2", "(mu1 - mu2)", of="no-square"),
    M("deviation", BETWEEN, f"np.sqrt({BETWEEN})"),
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
        "3.2": function(WEIGHTED, ("y",), batches()),
        "3.3": number(SAYS["3.3"], 0.99 * np.sqrt(steep), rtol=0.02, known={
            "of-variance": np.sqrt(99e-5), "square-of-variance": 99e-5,
            "square": 0.99**2 * steep, "half": np.sqrt(1e-5)}),
        "3.4": function(MERGE, ("mu", "var"), list(parts())),
        "3.5": choice(SAYS["3.5"], "d"),
    }  # fmt: skip
