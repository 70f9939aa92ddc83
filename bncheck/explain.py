"""Find which known mistake, or which other function, explains a wrong answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.calls import Call, Outcome
from bncheck.compare import close, distance, same_wrong
from bncheck.form import Check, Expect, Own, Run, fetch, squeezed
from bncheck.says import say

Failing = list[tuple[Expect, Any]]


def explain(failing: Failing) -> set[str]:
    """Return the known mistakes that give the failing answers.

    Of several the nearest are kept. A mistake that only says "whatever differs" counts
    if there is no other. If the answers have none in common, but each has one, those of
    the first are told.
    """
    strong = [_nearest(got, expect) for expect, got in failing]
    weak = [set(expect.whatever) for expect, _ in failing]
    together = [a | b for a, b in zip(strong, weak, strict=True)]
    for choice in (strong, together):
        common = set.intersection(*choice)
        if common:
            return common
    return together[0] if all(together) else set()


def _nearest(got: Any, expect: Expect) -> set[str]:
    """Return the mistakes whose answer is this one, and none is ten times nearer."""
    errors = {
        name: distance(got, value)
        for name, value in expect.wrong.items()
        if name not in expect.whatever and same_wrong(got, value, expect)
    }
    best = max(min(errors.values(), default=0.0) * 10, 1e-11)
    return {name for name, error in errors.items() if error <= best}


def refuted(check: Check, outcomes: list[Outcome]) -> set[str]:
    """Return the known mistakes that would have spoilt an answer that is right."""
    names: set[str] = set()
    for expect in check.expects:
        outcome = outcomes[expect.call]
        got = squeezed(fetch(outcome, expect.item), expect.value)
        if outcome.status == "ok" and close(
            got, expect.value, expect.tol, expect.floor
        ):
            names |= {
                name
                for name, value in expect.wrong.items()
                if name not in (*expect.whatever, *expect.upstream)
                and not same_wrong(got, value, expect)
            }
    return names


# --- the student's own functions upstream ---------------------------------------------


def fits_own_forward(
    check: Check, outcomes: list[Outcome], failing: Failing, run: Run
) -> str:
    """Compare with the numerical gradient of the student's own, wrong forward."""
    if not forward_differs(check, outcomes):
        return ""
    assert check.own
    if not check.own.h:
        return say("not-judged")
    call = failing[0][0].call
    gradients = _numerical_gradients(
        check.calls[0], check.calls[call].args[0], check.own.h, run
    )
    for expect, answer in failing:
        right = gradients.get(expect.item)
        if right is None or not close(answer, right, 1e-4, 1e-6):
            return ""
    return say("own-forward")


def forward_differs(check: Check, outcomes: list[Outcome]) -> bool:
    """Say whether the student's own forward function is off in this check."""
    out = check.own.out if check.own else None
    if out is None:
        return False
    got = squeezed(fetch(outcomes[out.call], out.item), out.value)
    return not close(got, out.value, out.tol, out.floor)


def _numerical_gradients(
    call: Call, dout: np.ndarray, h: float, run: Run
) -> dict[int | str, np.ndarray]:
    """Differentiate sum(dout * out) of a student's forward by x, gamma and beta.

    All the calls go over at once. There are no gradients, by position of the argument,
    if the function fails, or is no normalization: an output must depend on other rows,
    on gamma and on beta.
    """
    calls, places = [], []
    for k in range(3):
        argument = np.asarray(call.args[k], np.float64)
        step = h * max(float(argument.std()), 1.0)
        for i in np.ndindex(argument.shape):
            for sign in (1, -1):
                moved = argument.copy()
                moved[i] += sign * step
                args = (*call.args[:k], moved, *call.args[k + 1 :])
                calls.append(Call(call.function, args))
            places.append((k, i, step))
    outcomes = run(calls)
    gradients: dict[int | str, np.ndarray]
    gradients = {k: np.zeros(np.shape(call.args[k])) for k in range(3)}
    couples = False
    for n, (k, i, step) in enumerate(places):
        above, below = (fetch(o, 0) for o in outcomes[2 * n : 2 * n + 2])
        if np.shape(above) != dout.shape or np.shape(below) != dout.shape:
            return {}
        slope = (above - below) / (2 * step)
        gradients[k][i] = (slope * dout).sum()
        if k == 0:
            slope[i] = 0
            couples = couples or bool(np.abs(slope).max() > 1e-6)
    alive = all(np.abs(gradients[k]).max() > 1e-9 for k in (1, 2))
    return gradients if couples and alive else {}


def fits_own_statistics(
    check: Check, outcomes: list[Outcome], failing: Failing
) -> bool:
    """Compare with what the student's own outputs imply for mean and variance.

    A normalized column is a straight line of its input: out = gamma (x - mean) / std +
    beta. So slope and height tell which mean and std were used.
    """
    if check.own != Own():
        return False
    given = check.calls[0].args[3]
    momentum, eps = given.get("momentum", 0.9), given.get("eps", 1e-5)
    mean, var = (given.get(f"running_{k}", 0.0) for k in ("mean", "var"))
    for call, outcome in zip(check.calls, outcomes, strict=True):
        x, gamma, beta = (np.asarray(a, np.float64) for a in call.args[:3])
        out = outcome.outputs.get(0)
        if not isinstance(out, np.ndarray) or out.shape != x.shape:
            return False
        with np.errstate(all="ignore"):
            away = x - x.mean(0)
            slope = (away * out).sum(0) / (away * away).sum(0)
            line = out.mean(0) + slope * away
            std = gamma / slope
            mu = x.mean(0) - (out.mean(0) - beta) / slope
        if not close(line, out, 1e-6) or not np.isfinite(mu + std).all():
            return False
        mean = momentum * mean + (1 - momentum) * mu
        var = momentum * var + (1 - momentum) * (std**2 - eps)
    implied = {"running_mean": mean, "running_var": var}
    return all(close(got, implied.get(e.label), 1e-4) for e, got in failing)
