"""Turn the outcomes of calls into points and sentences.

A question holds checks; a check holds calls and what must come out of them, together
with what known mistakes would give. All of it is data: the grader draws it from a
secret key, the student's copy holds public numbers. No right function is needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bncheck.calls import Call, Opaque, Outcome, pack, unpack
from bncheck.observe import OBSERVERS

NOTHING_YET, ALMOST = "nothing yet", "almost"
NOT_YET, CORRECT = "not yet", "correct"
OWN_FORWARD = (
    "The gradient is right for your own forward function, which is what is wrong."
)
OWN_STATISTICS = (
    "The running statistics are right for your own batch statistics, which are what is "
    "wrong."
)
# Statistics over other axes have other shapes: what breaks later follows from that.
STRUCTURAL = frozenset(
    ("stats-over-features", "stats-over-all", "per-pixel", "per-image", "per-channel",
     "over-channels", "over-batch", "over-all", "batch-axis", "reshape-mixes", "layer",
     "interleaved", "wrong-axis")
)  # fmt: skip
FOLLOWS = " It follows from a mistake that has cost its points."
MINOR = 0.25  # what a shape that only needs a reshape costs
Run = Callable[[Sequence[Call]], list[Outcome]]


class NoAnswerError(Exception):
    """A worker gave no answer: a time limit, an exit, or too much memory."""


@dataclass(frozen=True)
class Expect:
    """What must come out of a call, and what known mistakes would give.

    Attributes
    ----------
    call : int
        Which call of the check.
    item : int or str
        Position in the result; ``"arg3.running_mean"`` for an argument afterwards,
        ``"out.weight"`` for an entry of a dict that is returned.
    value : object
        Array, number, True or False.
    label : str
        Name in sentences: ``"out"``, ``"dx"``.
    tol : float
        Largest difference, relative to the largest size in ``value``.
    wrong : dict of str to object
        For each known mistake, by its name, what it gives.
    says : str
        Sentence on a difference that no known mistake explains.
    floor : float
        Size below which differences are measured against this, not ``value``.
    loose : bool
        Whether more or fewer axes of length 1 are all right.
    """

    call: int
    item: int | str
    value: Any
    label: str
    tol: float = 1e-6
    wrong: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    floor: float = 0.0
    loose: bool = False


@dataclass(frozen=True)
class OwnForward:
    """How to judge a backward function against the student's own forward function.

    Attributes
    ----------
    call : int
        The call of the forward function in the check.
    out : Expect
        What a right forward function gives there.
    dout : ndarray
        The gradient that the backward function was given.
    h : float
        Step of the central differences.
    """

    call: int
    out: Expect
    dout: np.ndarray
    h: float = 1e-5


@dataclass(frozen=True)
class OwnStatistics:
    """How to judge running statistics against the student's own batch statistics.

    Attributes
    ----------
    momentum, eps : float
        What the calls were given.
    mean, var : ndarray of shape (D,)
        Where the running statistics started.
    """

    momentum: float
    eps: float
    mean: np.ndarray
    var: np.ndarray


@dataclass(frozen=True)
class Check:
    """Calls, what must come out of them, and what that is worth.

    Attributes
    ----------
    category : str
        What is looked at, as students are told: ``"eps"``.
    points : float
        What it costs when it fails.
    calls : tuple of Call
        What is called, in order.
    expects : tuple of Expect
        What must come out.
    own : OwnForward or OwnStatistics, optional
        For a backward function, and for running statistics.
    when : str
        The circumstances, for the sentence: ``"With a large eps"``.
    instead : Check, optional
        Another form of the check; it is enough to pass one of the two.
    """

    category: str
    points: float
    calls: tuple[Call, ...]
    expects: tuple[Expect, ...]
    own: OwnForward | OwnStatistics | None = None
    when: str = ""
    instead: Check | None = None


@dataclass(frozen=True)
class Question:
    """A question of a problem set.

    Attributes
    ----------
    key, title : str
        ``"ps1.q1"`` and its title.
    points : float
        What it is worth.
    functions : tuple of str
        Names that a student writes for it.
    checks : tuple of Check
        The first is the basic one: where it fails for no known reason, all is lost.
    sentences : dict of str to str
        For each known mistake, what to say.
    observer : str
        Looks at a wrong answer for what is odd about it; a name in `OBSERVERS`.
    fatal : tuple of str
        Mistakes that leave nothing of the question, as a function that does nothing.
    """

    key: str
    title: str
    points: float
    functions: tuple[str, ...]
    checks: tuple[Check, ...]
    sentences: dict[str, str]
    observer: str = ""
    fatal: tuple[str, ...] = ()


@dataclass
class Fault:
    """Why a check failed."""

    check: Check
    sentence: str
    bugs: set[str] = field(default_factory=set)
    credited: bool = False
    breaks: bool = False
    minor: bool = False


# --- comparing ------------------------------------------------------------------------


def close(got: Any, value: Any, tol: float, floor: float = 0.0) -> bool:
    """Say whether an answer is the value, to a tolerance relative to its largest size.

    Parameters
    ----------
    got, value : object
        The answer, and what is wanted.
    tol : float
        Largest difference, relative to the largest size in ``value``.
    floor : float
        Smallest size to measure against.

    Returns
    -------
    same : bool
        Shapes are equal and no difference is larger; nan equals nothing.
    """
    if isinstance(got, np.ndarray) and got.dtype == bool and not got.ndim:
        got = bool(got)
    if isinstance(value, list):
        same = isinstance(got, list) and len(got) == len(value)
        return same and all(
            close(g, v, tol, floor) for g, v in zip(got, value, strict=True)
        )
    if isinstance(value, (str, bool)) or value is None:
        return type(got) is type(value) and got == value
    if isinstance(got, Opaque) or got is None or isinstance(got, (str, dict, list)):
        return False
    got, value = np.asarray(got), np.asarray(value, np.float64)
    if got.shape != value.shape:
        return False
    size = max(np.abs(value).max(initial=0), floor)
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(np.float64) - value)
        return bool((difference <= tol * size).all())


def _fetch(outcome: Outcome, item: int | str) -> Any:
    """Return the item of a result, or the part of an argument after the call."""
    if isinstance(item, int):
        return outcome.outputs.get(item)
    argument, _, key = item.partition(".")
    if argument == "out":
        value = outcome.outputs.get(0)
        return value.get(key) if isinstance(value, dict) else None
    value = outcome.after.get(int(argument.removeprefix("arg")))
    return value.get(key) if key and isinstance(value, dict) else value


def _squeezed(got: Any, value: Any) -> Any:
    """Return an answer in the promised shape if only axes of length 1 differ."""
    if isinstance(got, np.ndarray) and isinstance(value, np.ndarray):
        short = [n for n in value.shape if n != 1]
        if got.shape != value.shape and [n for n in got.shape if n != 1] == short:
            return got.reshape(value.shape)
    return got


def _plainly(expect: Expect, got: Any, when: str) -> str:
    """Say how an answer differs, without a number of it."""
    if expect.says:
        return expect.says
    start = f"{when} {expect.label}" if when else expect.label
    if got is None:
        return f"{start} is missing: your function returns or stores None there."
    if isinstance(expect.value, bool):
        return f"{start} should be {expect.value}."
    if isinstance(got, (Opaque, str, dict, list)):
        kind = got.kind if isinstance(got, Opaque) else type(got).__name__
        return f"{start} is a {kind}; an array of plain numbers is expected."
    got, value = np.asarray(got), np.asarray(expect.value)
    if got.shape != value.shape:
        return f"{start} has shape {got.shape}; {value.shape} is expected."
    with np.errstate(all="ignore"):
        if not np.isfinite(got).all():
            return f"{start} holds nan or inf. Look for a division by zero or a root."
        difference = np.abs(got.astype(np.float64) - value)
    if not difference.ndim:
        return f"{start} differs from the right value."
    where = np.unravel_index(np.argmax(difference), difference.shape)
    if difference.ndim == 1:
        return f"{start} differs, most at feature {where[0]}."
    place = ", ".join(str(int(i)) for i in where)
    return f"{start} differs, most at index ({place})."


# --- judging --------------------------------------------------------------------------


def judge(question: Question, run: Run, paid: dict[str, str]) -> dict[str, Any]:
    """Judge one question.

    Parameters
    ----------
    question : Question
        Its checks.
    run : callable
        Runs calls of the student's functions; may raise `NoAnswerError`.
    paid : dict of str to str
        Mistakes that have cost points, and in which question; it is added to.

    Returns
    -------
    result : dict
        Key, title, points, score, state, findings, passed: see the grader's manual.
    """
    faults: list[Fault] = []
    passed: list[str] = []
    elsewhere: set[str] = set()
    for check in question.checks:
        try:
            outcomes = run(check.calls)
            found = _judge_check(question, check, outcomes, run)
            if found and check.instead:
                again = run(check.instead.calls)
                other = _judge_check(question, check.instead, again, run)
                found = found if other else []
        except NoAnswerError as error:
            faults.append(Fault(check, str(error)))
            later = question.checks[question.checks.index(check) + 1 :]
            faults += [Fault(c, str(error)) for c in later]
            break
        if check is question.checks[0] and outcomes:
            start = _not_started(question, outcomes)
            if start:
                return _result(question, 0.0, NOTHING_YET, [("", 0.0, start, None)], [])
        refuted = _refuted(check, outcomes)
        elsewhere |= refuted if not found else set()
        for f in found:
            f.bugs = f.bugs - refuted or f.bugs
        faults += found
        if not [f for f in found if not f.credited and not f.minor]:
            passed.append(check.category)
    for fault in faults:
        basic = fault.check is question.checks[0]
        fault.bugs = fault.bugs - elsewhere or (fault.bugs if basic else set())
    return _score(question, faults, passed, paid)


def _not_started(question: Question, outcomes: list[Outcome]) -> str:
    calls = question.checks[0].calls
    named = {o.status: c.function for c, o in zip(calls, outcomes, strict=True)}
    if "missing" in named:
        return f"There is no {question.functions[0]} yet."
    if "stub" in named:
        return f"{named['stub'].lstrip('*=')} returns None so far."
    return ""


def _judge_check(
    question: Question, check: Check, outcomes: list[Outcome], run: Run
) -> list[Fault]:
    """Return what is wrong in one check: at most one main fault, and one of shape."""
    for call, outcome in zip(check.calls, outcomes, strict=True):
        start = f"{check.when} " if check.when else ""
        if outcome.status in ("raised", "machine"):
            name = call.function.lstrip("*=")
            text = f"{start}{name} stopped with {outcome.error}."
            return [Fault(check, text, breaks=True)]
        if outcome.status in ("missing", "stub"):
            what = "is missing" if outcome.status == "missing" else "returned None"
            return [Fault(check, f"{start}{call.function} {what}.")]
    faults, failing, squeezed = [], [], ""
    for expect in check.expects:
        got = _fetch(outcomes[expect.call], expect.item)
        flat = _squeezed(got, expect.value)
        if close(flat, expect.value, expect.tol, expect.floor):
            if flat is not got and not squeezed and not expect.loose:
                squeezed = (
                    f"{expect.label} has the right values in shape {got.shape}; the "
                    f"promise is {np.shape(expect.value)}. Drop keepdims, or reshape."
                )
        else:
            failing.append((expect, flat))
    if failing and isinstance(check.own, OwnForward):
        credit = _own_forward(check, outcomes, failing, run)
        if credit:
            return [Fault(check, credit, credited=True)]
    if failing:
        bugs = _explain(failing)
        if not bugs and _fits_own_statistics(check, outcomes, failing):
            return [Fault(check, OWN_STATISTICS, credited=True)]
        consistent = any(b.startswith("forward:") for b in bugs)
        if (
            consistent
            and isinstance(check.own, OwnForward)
            and _forward_differs(check, outcomes)
        ):
            return [Fault(check, OWN_FORWARD, credited=True)]
        bugs = {b for b in bugs if not b.startswith("forward:")}
        sentence = ""
        if not bugs and question.observer:
            sentence = OBSERVERS[question.observer](check, outcomes, failing)
            if sentence and check.when and not sentence.startswith(check.when):
                sentence = f"{check.when}: {sentence}"
        sentence = sentence or _plainly(*failing[0], check.when)
        breaks = any(
            isinstance(got, np.ndarray) and _shape(got) != _shape(e.value)
            for e, got in failing
        )
        faults.append(Fault(check, sentence, bugs, breaks=breaks))
    elif squeezed:
        faults.append(Fault(check, squeezed, {"shape"}, minor=True))
    return faults


def _shape(value: Any) -> tuple:
    return value.shape if isinstance(value, np.ndarray) else ()


def _refuted(check: Check, outcomes: list[Outcome]) -> set[str]:
    """Return the known mistakes that would have spoilt an answer that is right."""
    names: set[str] = set()
    for expect in check.expects:
        outcome = outcomes[expect.call]
        if outcome.status != "ok":
            continue
        got = _squeezed(_fetch(outcome, expect.item), expect.value)
        if close(got, expect.value, expect.tol, expect.floor):
            names |= {
                n
                for n, v in expect.wrong.items()
                if not _is_any(v) and not _same_wrong(got, v, expect)
            }
    return names


def _explain(failing: list[tuple[Expect, Any]]) -> set[str]:
    """Return the known mistakes that give the failing answers.

    Of several the nearest are kept. A mistake that only says "whatever differs" counts
    if there is no other. If the answers have none in common, but each has one, those of
    the first are told.
    """
    strong, weak = [], []
    for expect, got in failing:
        strong.append(_nearest(got, expect))
        weak.append({n for n, v in expect.wrong.items() if _is_any(v)})
    together = [a | b for a, b in zip(strong, weak, strict=True)]
    for choice in (strong, together):
        common = set.intersection(*choice)
        if common:
            return common
    return together[0] if all(together) else set()


def _is_any(value: Any) -> bool:
    return isinstance(value, str) and value == "*"


def _nearest(got: Any, expect: Expect) -> set[str]:
    """Return the mistakes whose answer is this one, and none is ten times nearer."""
    errors = {}
    for name, value in expect.wrong.items():
        if not _is_any(value) and _same_wrong(got, value, expect):
            errors[name] = _distance(got, value)
    best = max(min(errors.values(), default=0.0) * 10, 1e-11)
    return {name for name, error in errors.items() if error <= best}


def _distance(got: Any, value: Any) -> float:
    """Return the largest relative difference of the finite entries."""
    if not isinstance(value, np.ndarray):
        return 0.0
    with np.errstate(all="ignore"):
        difference = np.abs(np.asarray(_squeezed(got, value), np.float64) - value)
    finite = np.isfinite(value) & np.isfinite(difference)
    size = np.abs(value[finite]).max(initial=1e-300)
    return float(difference[finite].max(initial=0.0) / size)


def _same_wrong(got: Any, value: Any, expect: Expect) -> bool:
    """Say whether an answer is what a mistake gives; nan is then equal to nan."""
    if value is None:  # a mistake that leaves nothing there
        return got is None
    got = _squeezed(got, value)
    if isinstance(value, np.ndarray) and isinstance(got, np.ndarray):
        if got.shape != value.shape:
            return False
        odd = ~np.isfinite(value)
        if odd.any():
            same = np.isfinite(got) == ~odd
            got, value = np.where(odd, 0, got), np.where(odd, 0, value)
            return bool(same.all()) and close(got, value, 1e-5, expect.floor)
    return close(got, value, max(expect.tol, 1e-6), expect.floor)


def _own_forward(check: Check, outcomes: list[Outcome], failing: list, run: Run) -> str:
    """Compare with the numerical gradient of the student's own, wrong forward."""
    own = check.own
    if not _forward_differs(check, outcomes):
        return ""
    if not own.h:
        return "This is not judged: your forward function is off here."
    call = check.calls[own.call]
    gradients = numerical_gradients(call, own.dout, own.h, run)
    if gradients is None:
        return ""
    for expect, answer in failing:
        right = gradients.get(expect.item)
        if right is None or not close(answer, right, 1e-4, 1e-6):
            return ""
    return OWN_FORWARD


def _forward_differs(check: Check, outcomes: list[Outcome]) -> bool:
    """Say whether the student's own forward function is off in this check."""
    own = check.own
    got = _squeezed(_fetch(outcomes[own.call], own.out.item), own.out.value)
    return not close(got, own.out.value, own.out.tol, own.out.floor)


def _fits_own_statistics(
    check: Check, outcomes: list[Outcome], failing: list[tuple[Expect, Any]]
) -> bool:
    """Compare with what the student's own outputs imply for mean and variance.

    A normalized column is a straight line of its input: out = gamma (x - mean) / std +
    beta. So slope and height tell which mean and std were used.
    """
    own = check.own
    if not isinstance(own, OwnStatistics):
        return False
    mean, var = np.array(own.mean, np.float64), np.array(own.var, np.float64)
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
        mean = own.momentum * mean + (1 - own.momentum) * mu
        var = own.momentum * var + (1 - own.momentum) * (std**2 - own.eps)
    implied = {"running_mean": mean, "running_var": var}
    return all(close(got, implied.get(e.label), 1e-4) for e, got in failing)


def numerical_gradients(
    call: Call, dout: np.ndarray, h: float, run: Run
) -> dict[int, np.ndarray] | None:
    """Differentiate sum(dout * out) of a forward function by x, gamma and beta.

    Parameters
    ----------
    call : Call
        The forward call; its first three arguments are x, gamma, beta.
    dout : ndarray, like out
        The gradient that arrives from above.
    h : float
        Step, relative to the spread of the argument.
    run : callable
        Runs calls.

    Returns
    -------
    gradients : dict of int to ndarray, or None
        By position: 0 for x, 1 for gamma, 2 for beta. None if the function fails, or if
        it is no normalization: an output must depend on other rows, gamma and beta.
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
    gradients = {k: np.zeros(np.shape(call.args[k])) for k in range(3)}
    couples = False
    for n, (k, i, step) in enumerate(places):
        above, below = (o.outputs.get(0) for o in outcomes[2 * n : 2 * n + 2])
        if np.shape(above) != dout.shape or np.shape(below) != dout.shape:
            return None
        slope = (above - below) / (2 * step)
        gradients[k][i] = (slope * dout).sum()
        if k == 0:
            slope[i] = 0
            couples = couples or bool(np.abs(slope).max() > 1e-6)
    alive = all(np.abs(gradients[k]).max() > 1e-9 for k in (1, 2))
    return gradients if couples and alive else None


# --- points ---------------------------------------------------------------------------


def _score(
    question: Question, faults: list[Fault], passed: list[str], paid: dict[str, str]
) -> dict[str, Any]:
    """Let each mistake cost once: known ones their dearest check, others each check."""
    findings: list[tuple[str, float, str, str | None]] = []
    left = [f for f in faults if not f.credited]
    credited = [f for f in faults if f.credited]
    basic = question.checks[0]
    upstream = any(f"function {name}" in paid for name in question.functions)
    basic_unknown = any(
        f.check is basic and not f.bugs and not (f.breaks and upstream) for f in left
    )
    if basic_unknown:
        first = next(f for f in left if f.check is basic)
        findings.append((basic.category, -question.points, first.sentence, None))
        return _result(question, 0.0, NOT_YET, findings, [])
    order = list(question.sentences)
    while any(f.bugs for f in left):
        counts: dict[str, int] = {}
        for fault in left:
            for bug in {_root(b) for b in fault.bugs}:
                counts[bug] = counts.get(bug, 0) + 1
        ranks = {b: order.index(b) if b in order else len(order) for b in counts}
        best = min(counts, key=lambda b: (-counts[b], ranks[b]))
        mine = [f for f in left if best in map(_root, f.bugs)]
        left = [f for f in left if f not in mine]
        dearest = max(mine, key=lambda f: f.check.points)
        name = min(b for b in dearest.bugs if _root(b) == best)
        cost = MINOR if dearest.minor else dearest.check.points
        sentence = question.sentences.get(best, dearest.sentence)
        sentence = question.sentences.get(name, sentence)
        if best in paid:
            sentence += f" It has cost its points in {paid[best]}; here it costs none."
            cost = 0.0
        if best in question.fatal and any(f.check is basic for f in mine):
            findings.append((basic.category, -question.points, sentence, best))
            return _result(question, 0.0, NOT_YET, findings, [])
        paid.setdefault(best, question.key)
        if best in STRUCTURAL:
            for function in question.functions:
                paid.setdefault(f"function {function}", question.key)
        category = "shape" if dearest.minor else dearest.check.category
        findings.append((category, -cost, sentence, best))
    known = any(f"function {name}" in paid for name in question.functions)
    for fault in left:
        if fault.breaks and known:  # it follows from the known mistake
            findings.append((fault.check.category, 0.0, fault.sentence + FOLLOWS, None))
            continue
        findings.append(
            (fault.check.category, -fault.check.points, fault.sentence, None)
        )
    if credited:
        findings.append((credited[0].check.category, 0.0, credited[0].sentence, None))
    lost = -sum(cost for _, cost, _, _ in findings)
    score = max(0.0, question.points - lost)
    if len(findings) == bool(credited):  # nothing, or what another function caused
        state = CORRECT
    else:
        state = ALMOST if score >= question.points / 2 else NOT_YET
    return _result(question, score, state, findings, passed)


def _root(bug: str) -> str:
    """Return the mistake that an alias stands for: what is before the ``#``."""
    return bug.partition("#")[0]


def _result(
    question: Question,
    score: float,
    state: str,
    findings: list[tuple[str, float, str, str | None]],
    passed: list[str],
) -> dict[str, Any]:
    names = ("category", "points", "sentence", "bug")
    return {
        "key": question.key,
        "title": question.title,
        "points": question.points,
        "score": round(score, 2),
        "state": state,
        "findings": [dict(zip(names, f, strict=True)) for f in findings],
        "passed": list(dict.fromkeys(passed)),
    }


# --- JSON -----------------------------------------------------------------------------

CLASSES = {
    c.__name__: c for c in (Call, Expect, OwnForward, OwnStatistics, Check, Question)
}


def to_json(thing: Any) -> Any:
    """Turn a question, a check or a part of one into what JSON can hold."""
    name = type(thing).__name__
    if name in CLASSES:
        fields = {k: to_json(getattr(thing, k)) for k in thing.__dataclass_fields__}
        return {"is": name, **fields}
    if type(thing) is tuple:  # and no named one, as Handle
        return {"tuple": [to_json(t) for t in thing]}
    return {"value": pack(thing)}


def from_json(thing: Any) -> Any:
    """Turn what `to_json` made back."""
    if "is" in thing:
        fields = {k: from_json(v) for k, v in thing.items() if k != "is"}
        return CLASSES[thing["is"]](**fields)
    if "tuple" in thing:
        return tuple(from_json(t) for t in thing["tuple"])
    return unpack(thing["value"])
