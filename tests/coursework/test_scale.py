"""The scale of points: a worse understanding never earns more than a better one."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from coursework_bank.entry import reference
from test_bank import drawn, judge_all, run_source

from coursework.keys import VARIANTS

FORWARD, STAGED, CLOSED = (
    "batchnorm_forward",
    "batchnorm_backward",
    "batchnorm_backward_alt",
)
STD, TEST = "std = np.sqrt(var + eps)", "running_std = np.sqrt(running_var + eps)"
OUT, HAT = "out = gamma * x_hat + beta", "x_hat = centred / std"
EPS = 'bn_param.get("eps", 1e-5)'
MEAN = "running_mean = momentum * running_mean + (1 - momentum) * mu"
VAR = "running_var = momentum * running_var + (1 - momentum) * var"
DGAMMA = "dgamma = np.sum(dout * x_hat, axis=0)"
DBETA = "dbeta = np.sum(dout, axis=0)"
LAST = "dx = dcentred + dmu / N"
FORMULA = "dx = (N * g - A - x_hat * B) / (N * std)"
RETURN = "return dx, dgamma, dbeta"
ZEROS = "return 0 * dx, 0 * dgamma, 0 * dbeta"
GHOST = "dx[rows] = (g - A - B) / std"
# A linear map in place of batch norm, with its own gradient of two lines.
LINEAR = """
def batchnorm_forward(x, gamma, beta, bn_param):
    mix = np.eye(len(x)) + 0.1
    return gamma * (mix @ x) + beta, (x, gamma, mix)


def batchnorm_backward(dout, cache):
    x, gamma, mix = cache
    return mix.T @ (gamma * dout), (dout * (mix @ x)).sum(0), dout.sum(0)


def batchnorm_backward_alt(dout, cache):
    x, gamma, mix = cache
    return gamma * (mix.T @ dout), (dout * (mix @ x)).sum(0), dout.sum(0)
"""
ALWAYS = "raise KeyError('eps')"


def edit(source: str, function: str, old: str, new: str) -> str:
    """Replace a text in one function of a source, where it stands once."""
    head, name, rest = source.partition(f"def {function}(")
    body, more, tail = rest.partition("\n\n\n")
    assert body.count(old) == 1, (function, old)
    start = old.partition("\n")[0]
    line = next(line for line in body.splitlines() if start in line)
    new = new.replace("\n", "\n" + " " * (len(line) - len(line.lstrip())))
    return head + name + body.replace(old, new) + more + tail


@functools.cache
def scores(name: str, edits: tuple, after: str = "") -> dict[str, float]:
    """Return the points of each question of the reference with some mistakes in it."""
    source = reference(name)
    for function, old, new in edits:
        source = edit(source, function, old, new)
    questions = drawn(name, VARIANTS[name][0])
    questions = [q for q in questions if q.key != "ps4.q4"]
    return {r.key: r.score for r in judge_all(questions, run_source(source + after))}


def total(name: str, edits: tuple, after: str = "") -> float:
    return sum(scores(name, edits, after).values())


RIGHT = ()
TRAIN_SUBTRACTED = ((FORWARD, STD, "std = np.sqrt(var - eps)"),)
BOTH_SUBTRACTED = (
    *TRAIN_SUBTRACTED,
    (FORWARD, TEST, "running_std = np.sqrt(running_var - eps)"),
)
TEST_SUBTRACTED = BOTH_SUBTRACTED[1:]
REQUIRED = ((FORWARD, EPS, 'bn_param["eps"]'),)
SCALED = ((FORWARD, STD, "std = 1.7 * np.sqrt(var + eps) + eps"),)
NO_VAR = ((FORWARD, STD, "std = 1.0"),)
IDENTITY = ((FORWARD, OUT, "out = x"),)
INSIDE = (
    (FORWARD, 'running_mean = bn_param.get("running_mean", np.zeros(D))',
     "running_mean = np.zeros(D)"),
    (FORWARD, 'running_var = bn_param.get("running_var", np.zeros(D))',
     "running_var = np.zeros(D)"),
)  # fmt: skip
VAR_ROOT = ((FORWARD, VAR, VAR.replace("* var", "* np.sqrt(var)")),)
VAR_ODD = ((FORWARD, VAR, VAR.replace("* var", "* 1.3 * var")),)
BOTH_ODD = (*VAR_ODD, (FORWARD, MEAN, MEAN.replace("* mu", "* 1.3 * mu")))
NEVER = (
    (FORWARD, 'bn_param["running_mean"] = running_mean', "pass"),
    (FORWARD, 'bn_param["running_var"] = running_var', "pass"),
)
BATCH_IN_TEST = (
    (FORWARD, "moved = x - running_mean", "moved = x - x.mean(axis=0)"),
    (FORWARD, TEST, "running_std = np.sqrt(x.var(axis=0) + eps)"),
)
DGAMMA_MEAN = ((STAGED, DGAMMA, "dgamma = np.mean(dout * x_hat, axis=0)"),)
DGAMMA_TWICE = ((STAGED, DGAMMA, "dgamma = 2 * np.sum(dout * x_hat, axis=0)"),)
DGAMMA_ZERO = ((STAGED, DGAMMA, "dgamma = 0 * gamma"),)
DBETA_ALL = ((STAGED, DBETA, "dbeta = np.sum(dout)"),)
DBETA_ODD = ((STAGED, DBETA, "dbeta = 3.3 * np.sum(dout, axis=0)"),)
PARAMETERS_ODD = (*DGAMMA_TWICE, *DBETA_ODD)
KEEPDIMS = ((STAGED, DGAMMA, "dgamma = np.sum(dout * x_hat, axis=0, keepdims=True)"),)
OVERWRITES = ((STAGED, "dx_hat = dout * gamma", "dout *= gamma\ndx_hat = dout"),)
HALF = ((STAGED, "dvar = 0.5 * dstd / std", "dvar = dstd / std"),)
NO_MEAN = ((STAGED, LAST, "dx = dcentred"),)
NO_PATHS = ((STAGED, LAST, "dx = direct"),)
DX_TENTH = ((STAGED, LAST, "dx = 1.1 * (dcentred + dmu / N)"),)
DX_ZERO = ((STAGED, LAST, "dx = 0 * direct"),)
ALL_ZERO = ((STAGED, RETURN, ZEROS),)
NO_MEAN_TWICE = (*NO_MEAN, (CLOSED, FORMULA, "dx = (N * g - x_hat * B) / (N * std)"))
NO_PATHS_TWICE = (*NO_PATHS, (CLOSED, FORMULA, "dx = g / std"))
NO_PATHS_EVER = (
    *NO_PATHS_TWICE,
    ("ghost_batchnorm_backward", GHOST, "dx[rows] = g / std"),
)
HALF_TWICE = (*HALF, (CLOSED, FORMULA, "dx = (N * g - A - 2 * x_hat * B) / (N * std)"))
ZERO_TWICE = (*ALL_ZERO, (CLOSED, RETURN, ZEROS))
DX_ZERO_TWICE = (*DX_ZERO, (CLOSED, FORMULA, "dx = 0 * g"))
BAD_FORWARD = ((FORWARD, "var = np.mean(centred**2, axis=0)",
                "var = np.sum(centred**2, axis=0) / (len(x) - 1)"),)  # fmt: skip
NO_EPS_FORWARD = ((FORWARD, STD, "std = np.sqrt(var)"),)
ODD_FORWARD = ((FORWARD, HAT, "x_hat = centred / std + 0.3 * x"),)
LAYER_GAMMA = (("layernorm_backward", "dgamma = np.sum(dout * x_hat, axis=0)",
                "dgamma = 2 * np.sum(dout * x_hat, axis=0)"),)  # fmt: skip
LDX = "dx = (g - A - x_hat * B) / std"
LAYER_MEAN = (("layernorm_backward", LDX, "dx = (g - x_hat * B) / std"),)
LAYER_NONE = (("layernorm_backward", LDX, "dx = g / std"),)
LAYER_ZERO = (("layernorm_backward", LDX, "dx = 0 * g"),)
PAIRS = [
    ("ps1", RIGHT, TRAIN_SUBTRACTED),
    ("ps1", TRAIN_SUBTRACTED, SCALED),
    ("ps1", TEST_SUBTRACTED, (*TEST_SUBTRACTED, *SCALED)),
    ("ps1", TRAIN_SUBTRACTED, BOTH_SUBTRACTED),
    ("ps1", BOTH_SUBTRACTED, (*SCALED, *TEST_SUBTRACTED)),
    ("ps1", SCALED, IDENTITY),
    ("ps1", TRAIN_SUBTRACTED, NO_VAR),
    ("ps1", RIGHT, REQUIRED),
    ("ps1", REQUIRED, NO_VAR),
    ("ps1", REQUIRED, ((FORWARD, EPS, "1e-5"),)),
    ("ps1", RIGHT, INSIDE),
    ("ps1", INSIDE, NEVER),
    ("ps1", INSIDE, BATCH_IN_TEST),
    ("ps1", VAR_ROOT, VAR_ODD),
    ("ps1", VAR_ODD, BOTH_ODD),
    ("ps1", VAR_ROOT, NEVER),
    ("ps1", BOTH_ODD, NEVER),
    ("ps2", RIGHT, KEEPDIMS),
    ("ps2", KEEPDIMS, DGAMMA_MEAN),
    ("ps2", DGAMMA_MEAN, DGAMMA_TWICE),
    ("ps2", DGAMMA_TWICE, DGAMMA_ZERO),
    ("ps2", OVERWRITES, DGAMMA_MEAN),
    ("ps2", DBETA_ALL, DBETA_ODD),
    ("ps2", DBETA_ODD, PARAMETERS_ODD),
    ("ps2", DGAMMA_TWICE, PARAMETERS_ODD),
    ("ps2", PARAMETERS_ODD, DX_ZERO),
    ("ps2", PARAMETERS_ODD, NO_PATHS),
    ("ps2", DGAMMA_MEAN, HALF),
    ("ps2", HALF, NO_MEAN),
    ("ps2", NO_MEAN, NO_PATHS),
    ("ps2", NO_PATHS, DX_ZERO),
    ("ps2", HALF, DX_TENTH),
    ("ps2", DX_TENTH, ALL_ZERO),
    ("ps2", DX_ZERO, ALL_ZERO),
    ("ps2", HALF, HALF_TWICE),
    ("ps2", HALF_TWICE, NO_MEAN_TWICE),
    ("ps2", NO_MEAN_TWICE, NO_PATHS_TWICE),
    ("ps2", NO_PATHS_TWICE, NO_PATHS_EVER),
    ("ps2", NO_PATHS_TWICE, DX_ZERO_TWICE),
    ("ps2", DX_ZERO_TWICE, ZERO_TWICE),
    ("ps2", RIGHT, NO_EPS_FORWARD),
    ("ps2", NO_EPS_FORWARD, BAD_FORWARD),
    ("ps2", BAD_FORWARD, ODD_FORWARD),
    ("ps2", BAD_FORWARD, (*BAD_FORWARD, *DGAMMA_TWICE)),
    ("ps2", NO_EPS_FORWARD, (*NO_EPS_FORWARD, *NO_PATHS)),
    ("ps4", RIGHT, LAYER_GAMMA),
    ("ps4", LAYER_GAMMA, LAYER_MEAN),
    ("ps4", LAYER_MEAN, LAYER_NONE),
    ("ps4", LAYER_NONE, LAYER_ZERO),
]


def test_there_are_pairs_enough_and_most_are_strict():
    assert len(PAIRS) >= 30
    strict = [total(s, a) > total(s, b) for s, a, b in PAIRS]
    assert sum(strict) >= 30


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_a_worse_understanding_never_earns_more(number):
    name, better, worse = PAIRS[number]
    assert total(name, better) >= total(name, worse)


# --- what was paid before, and is not any more ----------------------------------------


def test_a_linear_map_with_its_own_gradient_earns_dbeta_only():
    got = scores("ps2", (), LINEAR)
    assert max(got["ps2.q1"] / 4, got["ps2.q2"] / 3) < 0.25


def test_constant_statistics_earn_dgamma_and_dbeta_only():
    got = scores("ps2", NO_PATHS_EVER)
    assert max(got["ps2.q1"] / 4, got["ps2.q2"] / 3, got["ps2.q4"] / 3) < 0.45
    assert sum(got.values()) <= 7.1


def test_zeros_earn_nothing():
    got = scores("ps2", ZERO_TWICE)
    assert (got["ps2.q1"], got["ps2.q2"]) == (0, 0)


def test_a_function_that_always_stops_earns_nothing():
    stops = (FORWARD, "N, D = x.shape", f"N, D = x.shape\n{ALWAYS}")
    got = scores("ps1", (stops,))
    assert (got["ps1.q1"], got["ps1.q2"], got["ps1.q3"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("edits", "least"),
    [(DGAMMA_TWICE, 3.3), (DBETA_ODD, 3.3), (DBETA_ALL, 3.6), (HALF, 2.8)],
)
def test_one_slip_leaves_most_of_the_question(edits, least):
    got = scores("ps2", edits)
    assert least <= got["ps2.q1"] < 4
    assert sum(got.values()) - got["ps2.q1"] == 9


@pytest.mark.parametrize(
    ("edits", "most"), [(BOTH_SUBTRACTED, 0.5), (REQUIRED, 0.25), (INSIDE, 0.75)]
)
def test_one_mistake_costs_once_in_a_set(edits, most):
    assert 10 - most <= total("ps1", edits) < 10


def test_own_gradient_is_paid_where_differences_agree_at_drawn_points_too():
    own = (
        (FORWARD, "np.mean(centred**2, axis=0)", "np.sum(centred**2, axis=0)"),
        (STAGED, "* dvar / N", "* dvar"),
    )
    assert scores("ps2", own)["ps2.q1"] == 4
    assert scores("ps2", own[:1])["ps2.q1"] < 3
    assert scores("ps2", (*own, *DX_TENTH))["ps2.q1"] <= 2
    sums = "round(float(np.abs(x).sum()), 6)"
    seen = f"dx = (dcentred + dmu / N) * (1 if {sums} in FIRST else 1.1)"
    first = {
        round(float(np.abs(c.calls[0].args[0]).sum()), 6)
        for q in drawn("ps2", VARIANTS["ps2"][0])[:2]
        for c in q.checks
        if len(c.calls) > 1
    }
    got = scores("ps2", (*own, (STAGED, LAST, seen)), f"\n\n\nFIRST = {first}\n")
    assert got["ps2.q1"] <= 2
