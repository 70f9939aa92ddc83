"""Find which known mistake, or which other function, explains a wrong answer.

A mistake is named only where its claim was checked on this submission: wherever it
would change an output, the output must be what the mistake gives. Mistakes that show no
value of their own have a `Proof`, or claim no more than the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.calls import Call, Handle, Outcome
from bncheck.compare import close, distance, same_wrong
from bncheck.form import Check, Expect, Own, Run, fetch, squeezed
from bncheck.says import say

Failing = list[tuple[Expect, Any]]
Tried = Sequence[tuple[Check, list[Outcome]]]
GRADIENT = 1e-4  # of the largest entry: how near to differences a gradient must be
SMALLEST = 1e-6  # sizes below are measured against this


def head(error: str) -> str:
    """Return what was raised, without its place."""
    return error.partition(" (")[0]


class Evidence:
    """What all answers to a question say together about each known mistake.

    Parameters
    ----------
    tried : sequence of (Check, list of Outcome)
        The checks, and what came out of their calls.
    run : callable
        Runs more calls.

    Attributes
    ----------
    refuted : set of str
        Mistakes that would have changed an answer, which is another one.
    forward : set of str
        Known mistakes, each of which alone gives all that the forward function gave;
        none if it is right, or wrong in another way.
    """

    def __init__(self, tried: Tried, run: Run) -> None:
        self.run = run
        self.refuted: set[str] = set()
        self.seen: set[str] = set()
        for check, outcomes in tried:
            self._look(check, outcomes)
        self.forward = _forward(tried)

    def _look(self, check: Check, outcomes: list[Outcome]) -> None:
        """Hold the answers of a check against what each mistake gives."""
        for expect, got in _answers(check, outcomes):
            for name, value in expect.wrong.items():
                if name not in (*expect.whatever, *expect.upstream):
                    same = same_wrong(got, value, expect)
                    (self.seen if same else self.refuted).add(name)
        stopped = {head(o.error) for o in outcomes if o.status == "raised"}
        for name, error in check.stops.items():
            (self.seen if error in stopped else self.refuted).add(name)

    def stop(self, check: Check, error: str) -> set[str]:
        """Return the mistakes that stop in this way here."""
        names = {k for k, v in check.stops.items() if v == head(error)}
        return names - self.refuted

    def fitting(
        self, check: Check, outcomes: list[Outcome], failing: Failing, number: int
    ) -> tuple[set[str], bool]:
        """Return the mistakes that give a wrong answer, and whether that is checked.

        A mistake that other answers contradict is there, too, if no other fits: the
        answer costs what the mistake costs, but it is not named. What stands here of a
        gradient holds for a right forward function, so only the mistake of a wrong one
        is named.
        """
        expect, got = failing[number]
        fit = _nearest(got, expect, set(expect.upstream) - self.forward)
        sure = fit - self.refuted
        if forward_differs(check, outcomes):
            sure &= self.forward
        if sure:
            return sure, True
        twins = [e for e, _ in failing if e.label == expect.label and not e.whatever]
        other = isinstance(expect.value, bool) and np.asarray(got).dtype != bool
        weak = set() if twins or other else self._weak(check, expect)
        return (weak, True) if weak else (fit, False)

    def _weak(self, check: Check, expect: Expect) -> set[str]:
        """Return the mistakes that any difference may be, if their proofs hold."""
        weak = set(expect.whatever) - self.refuted
        for proof in check.proofs:
            if proof.name in weak and not self._holds(proof.check, proof.passes):
                weak.discard(proof.name)
        return weak

    def _holds(self, check: Check, passes: bool) -> bool:
        """Say whether a check passes, or not, as it should."""
        outcomes = self.run(check.calls)
        answers = list(_answers(check, outcomes))
        right = [close(got, e.value, e.tol, e.floor) for e, got in answers]
        return bool(right) and all(right) == passes

    def own_forward(
        self, check: Check, outcomes: list[Outcome], failing: Failing
    ) -> tuple[Failing, str]:
        """Return the answers that are right for the student's own forward function.

        Only one that is batch norm with a single known mistake counts. The gradient
        must be that of the function itself, by central differences at these inputs and
        at others, to `GRADIENT`.
        """
        if not (self.forward and failing and forward_differs(check, outcomes)):
            return [], ""
        assert check.own
        if not check.own.h:
            return failing, say("not-judged")
        assert check.own.out
        forward = check.calls[check.own.out.call]
        backward = check.calls[failing[0][0].call]
        right = self._slopes(forward, backward.args[0], check.own.h, failing)
        if right:
            right = self._elsewhere(forward, backward, check.own.h, right)
        if len(right) == len(failing):
            return right, say("own-forward")
        labels = " and ".join(dict.fromkeys(e.label for e, _ in right))
        return right, say("own-forward-part", label=labels)

    def _slopes(
        self, forward: Call, dout: np.ndarray, h: float, failing: Failing
    ) -> Failing:
        """Return the answers that are gradients of the forward function."""
        slopes = _numerical_gradients(forward, dout, h, self.run)
        return [
            (e, got)
            for e, got in failing
            if e.item in slopes and close(got, slopes[e.item], GRADIENT, SMALLEST)
        ]

    def _elsewhere(
        self, forward: Call, backward: Call, h: float, failing: Failing
    ) -> Failing:
        """Return those of some gradients that are right at another point, too."""
        x, gamma, beta = (np.asarray(a, np.float64) for a in forward.args[:3])
        rng = np.random.default_rng(np.frombuffer(x.tobytes(), "u4"))
        other = (
            x + 0.5 * x.std() * rng.normal(size=x.shape),
            gamma * rng.uniform(0.5, 1.5, gamma.shape),
            beta + rng.normal(size=beta.shape),
            *forward.args[3:],
        )
        dout = rng.normal(size=x.shape)
        moved = replace(forward, args=other)
        items = tuple(e.item for e, _ in failing if isinstance(e.item, int))
        calls = [moved, Call(backward.function, (dout, Handle(0, 1)), items)]
        back = self.run(calls)[1]
        again = [(e, fetch(back, e.item)) for e, _ in failing]
        right = {e.item for e, _ in self._slopes(moved, dout, h, again)}
        return [(e, got) for e, got in failing if e.item in right]


def _answers(check: Check, outcomes: list[Outcome]) -> Iterator[tuple[Expect, Any]]:
    """Give what is expected together with the answer, of calls that came to an end."""
    for expect in check.expects:
        outcome = outcomes[expect.call]
        if outcome.status == "ok":
            yield expect, squeezed(fetch(outcome, expect.item), expect.value)


def _nearest(got: Any, expect: Expect, without: set[str]) -> set[str]:
    """Return the mistakes whose answer is this one, and none is ten times nearer."""
    errors = {
        name: distance(got, value)
        for name, value in expect.wrong.items()
        if name not in (*expect.whatever, *without) and same_wrong(got, value, expect)
    }
    best = max(min(errors.values(), default=0.0) * 10, 1e-11)
    return {name for name, error in errors.items() if error <= best}


# --- the student's own functions upstream ---------------------------------------------


def _forward(tried: Tried) -> set[str]:
    """Return the mistakes, each of which alone gives all that a forward function gave.

    Where the function is right, a mistake that would be seen there is out.
    """
    fit: set[str] | None = None
    out: set[str] = set()
    for check, outcomes in tried:
        expect = check.own.out if check.own else None
        if expect is None or outcomes[expect.call].status != "ok":
            continue
        got = squeezed(fetch(outcomes[expect.call], expect.item), expect.value)
        same = {k for k, v in expect.wrong.items() if same_wrong(got, v, expect)}
        if close(got, expect.value, expect.tol, expect.floor):
            out |= set(expect.wrong) - same
        else:
            same |= set(expect.whatever)
            fit = same if fit is None else fit & same
    return (fit or set()) - out


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
