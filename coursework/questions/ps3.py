"""Problem set 3: tests that students write, and bugs that they name."""

from __future__ import annotations

import numpy as np

from bncheck.form import Question
from bncheck.kinds import Pair
from bncheck.spec import Right
from bncheck.spec import mistake as M
from coursework import keys
from coursework.questions.ps1 import (
    EVALUATION,
    OUT,
    RUNNING,
    TRAIN,
    VAR,
    batchnorm_forward,
)
from coursework.questions.ps2 import CACHE, STAGED, batchnorm_backward
from coursework.questions.shared import Rng, sentences

STRATA = {"easy": 2, "middle": 6, "hard": 4}  # of a student's twelve mutants
LISTINGS = [
    "eps-outside-root", "eval-batch-stats", "frozen-but-updating", "input-overwritten",
    "last-batch-kept", "mean-not-sum", "mean-path-missing", "momentum-swapped",
    "one-pass-variance", "sample-variance", "stats-over-features",
    "stats-updated-in-test", "std-not-var-stored", "train-mode-at-test",
]  # fmt: skip
OUTPUT, STORED, TEST, GRADIENTS, EFFECTS = (
    "the training output",
    "the running statistics",
    "test mode",
    "the gradients",
    "side effects",
)
# How many simple tests miss it, and its place: see `tests/coursework/test_tests.py`.
MUTANTS = {
    "easy": {
        OUTPUT: "stats-over-features stats-over-all variance-not-root not-centred "
        "sum-not-variance no-gamma",
        GRADIENTS: "statistics-constant",
        STORED: "never-written",
    },
    "middle": {
        OUTPUT: "shift-before-scale sample-variance no-beta",
        STORED: "momentum-swapped last-batch-kept std-not-var-stored var-never-written "
        "weights-not-one start-ignored",
        TEST: "eval-batch-stats test:variance-not-root test:no-beta test:not-centred",
        GRADIENTS: "mean-path-missing variance-path-missing variance-half dgamma-mean "
        "dbeta-mean dgamma-uses-x no-gamma-in-dx dgamma-no-dout",
    },
    "hard": {
        OUTPUT: "eps-outside-root eps-fixed one-pass-variance",
        STORED: "eps-stored stored:sample-variance momentum-fixed",
        TEST: "test:eps-outside-root test:no-eps",
        EFFECTS: "stats-updated-in-test input-overwritten dout-overwritten "
        "cache-overwritten cache-shared",
        GRADIENTS: "no-eps-in-dx",
    },
}
POOL = {
    stratum: {name: place for place, names in places.items() for name in names.split()}
    for stratum, places in MUTANTS.items()
}


def questions(rng: Rng, variant: str) -> list[Question]:
    """Return the two questions: kinds of their own, see `bncheck.kinds`."""
    titles = [sentences("ps3", key)["title"] for key in ("q1", "q2")]
    return [
        Question("ps3.q1", titles[0], 10.0, ("test_*",), (), {}, kind="tests"),
        Question("ps3.q2", titles[1], 3.0, ("names",), (), {}, kind="names"),
    ]


def draw_listings(key: bytes) -> list[str]:
    """Draw the term's three listings, in the order a, b, c."""
    drawn = keys.rng(key, "listings").choice(LISTINGS, 3, replace=False)
    return [str(name) for name in drawn]


def draw_mutants(rng: Rng) -> list[tuple[str, str]]:
    """Draw a student's mutants: name and place, of each stratum its number."""
    drawn = []
    for stratum, count in STRATA.items():
        names = sorted(POOL[stratum])
        chosen = rng.choice(names, count, replace=False)
        drawn += [(str(n), POOL[stratum][str(n)]) for n in chosen]
    return [drawn[i] for i in rng.permutation(len(drawn))]


# --- wrong implementations ------------------------------------------------------------

HAT, GIVEN = (
    "test_hat = (x - running_mean) / root",
    "(x, mu, var, eps, std, x_hat, gamma, beta)",
)
GRADIENT = "return dx, dgamma, dbeta"
UPDATE = """
bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * x.mean(0)
bn_param["running_var"] = momentum * running_var + (1 - momentum) * x.var(0)
"""
SPOILT = Right(batchnorm_forward, batchnorm_backward, says={}, mistakes=[
    M("one-pass-variance", VAR, "np.abs((x * x).mean(0) - mu**2)"),
    M("stats-updated-in-test", HAT, UPDATE + HAT),
    M("input-overwritten", f"out = {OUT}", f"x -= mu\nout = {OUT}"),
    M("dout-overwritten", GRADIENT, f"dout *= gamma\n{GRADIENT}"),
    M("cache-overwritten", GRADIENT, f"x_hat *= gamma\n{GRADIENT}"),
    M("cache-shared", f"return out, {GIVEN}",
      f"batchnorm_forward.kept = {GIVEN}\nreturn out, batchnorm_forward.kept",
      CACHE, CACHE.replace("cache", "batchnorm_forward.kept")),
])  # fmt: skip
WRONG = {OUTPUT: TRAIN, STORED: RUNNING, TEST: EVALUATION, GRADIENTS: STAGED}


def implementation(bug: str) -> Pair:
    """Return forward and backward with a mistake of `POOL` in them."""
    place = next(names[bug] for names in POOL.values() if bug in names)
    spoilt = SPOILT if bug in SPOILT.wrong else WRONG[place]
    names = SPOILT.right | spoilt.wrong[bug.rpartition(":")[2]]
    return names["batchnorm_forward"], names["batchnorm_backward"]


# --- right implementations ------------------------------------------------------------


def forward_by_loops(x, gamma, beta, bn_param):
    """Normalize with a loop over the features."""
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    n, d = x.shape
    mean = np.array(bn_param.get("running_mean", np.zeros(d)), float)
    var = np.array(bn_param.get("running_var", np.zeros(d)), float)
    out, x_hat, roots = np.empty((n, d)), np.empty((n, d)), np.empty(d)
    for j in range(d):
        m, v = mean[j], var[j]
        if bn_param["mode"] == "train":
            m = sum(x[:, j]) / n
            v = sum((x[i, j] - m) ** 2 for i in range(n)) / n
            mean[j] += (1 - momentum) * (m - mean[j])
            var[j] += (1 - momentum) * (v - var[j])
        roots[j] = (v + eps) ** 0.5
        x_hat[:, j] = (x[:, j] - m) / roots[j]
        out[:, j] = gamma[j] * x_hat[:, j] + beta[j]
    if bn_param["mode"] == "train":
        bn_param["running_mean"], bn_param["running_var"] = mean, var
    return out, (x_hat, roots, gamma)


def backward_by_loops(dout, cache):
    """Send dout back with a loop over the features."""
    x_hat, roots, gamma = cache
    n, d = dout.shape
    dx = np.empty((n, d))
    for j in range(d):
        a, b = dout[:, j].mean(), (dout[:, j] * x_hat[:, j]).mean()
        dx[:, j] = gamma[j] / roots[j] * (dout[:, j] - a - x_hat[:, j] * b)
    return dx, (dout * x_hat).sum(0), dout.sum(0)


def forward_by_matrices(x, gamma, beta, bn_param):
    """Normalize with einsum."""
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    n, d = x.shape
    zeros = np.zeros(d, x.dtype)
    old = [bn_param.get(k, zeros) for k in ("running_mean", "running_var")]
    if bn_param["mode"] == "test":
        scale = gamma / np.sqrt(old[1] + eps)
        return x * scale + (beta - old[0] * scale), None
    mean = np.einsum("nd->d", x) / n
    away = x - mean[None]
    var = np.einsum("nd,nd->d", away, away) / n
    bn_param["running_mean"] = old[0] * momentum + mean * (1 - momentum)
    bn_param["running_var"] = old[1] * momentum + var * (1 - momentum)
    inverse = 1 / np.sqrt(var + eps)
    x_hat = away * inverse
    return x_hat * gamma + beta, {"x_hat": x_hat, "scale": gamma * inverse}


def backward_by_matrices(dout, cache):
    """Send dout back by the closed formula, with einsum."""
    x_hat, n = cache["x_hat"], len(dout)
    dgamma, dbeta = np.einsum("nd,nd->d", dout, x_hat), dout.sum(axis=0)
    return cache["scale"] / n * (n * dout - dbeta - x_hat * dgamma), dgamma, dbeta


RIGHT = [
    (batchnorm_forward, batchnorm_backward),
    (forward_by_loops, backward_by_loops),
    (forward_by_matrices, backward_by_matrices),
]
