"""Turn the outcomes of calls into points and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bncheck import explain, form
from bncheck.calls import Outcome
from bncheck.compare import close, same_kind, where_it_differs
from bncheck.explain import Evidence
from bncheck.form import Check, Expect, Finding, Paid, Question, Result, Run
from bncheck.observe import OBSERVERS
from bncheck.says import say

MINOR = 0.25  # what a shape that only needs a reshape costs, or less


@dataclass(eq=False)
class Fault:
    """What is wrong in a check: its outputs, and the mistakes that explain them.

    `known` says whether a mistake may be named: its claim was checked.
    """

    check: Check
    sentence: str
    expects: list[Expect]
    bugs: set[str] = field(default_factory=set)
    known: bool = True
    credited: bool = False
    breaks: bool = False
    minor: bool = False
    stops: bool = False

    @property
    def unknown(self) -> bool:
        """Whether no known mistake explains it."""
        return not (self.bugs or self.minor)


def judge(question: Question, run: Run, paid: Paid) -> Result:
    """Judge a question by its calls.

    Each output has a share of its checks. A known mistake costs once, in its dearest
    check; one that leaves out a part of the answer costs in each question; one that
    leaves nothing of an output costs all that the output is worth. Other mistakes cost
    what they spoil, check by check. If no output of the first check is right, or wrong
    for a known reason, there is nothing.

    Parameters
    ----------
    question : Question
        Its checks.
    run : callable
        Runs calls of the student's functions; may raise `NoAnswerError`.
    paid : Paid
        What has cost its points already; it is added to.

    Returns
    -------
    result : Result
        Score, state, findings and passed categories.
    """
    tried: list[tuple[Check, list[Outcome]]] = []
    lost: list[Fault] = []
    for number, check in enumerate(question.checks):
        try:
            tried.append(_try(check, run))
        except form.NoAnswerError as error:
            lost = [_no_answer(c, error) for c in question.checks[number:]]
            break
        if not number and (start := _not_started(question, tried[0][1])):
            return Result.of(question, 0.0, form.NOTHING_YET, [Finding("", 0.0, start)])
    evidence = Evidence(tried, run)
    faults: list[Fault] = []
    passed: list[str] = []
    for check, outcomes in tried:
        try:
            found = _judge_check(question, check, outcomes, evidence)
        except form.NoAnswerError as error:
            found = [_no_answer(check, error)]
        faults += found
        if all(f.credited or f.minor for f in found):
            passed.append(check.category)
    basic = tried[0][0] if tried else question.checks[0]
    return _score(question, basic, faults + lost, passed, paid)


def _try(check: Check, run: Run) -> tuple[Check, list[Outcome]]:
    """Make the calls of a check; those of its other form if only these come out."""
    outcomes = run(check.calls)
    if check.instead and not _passes(check, outcomes):
        again = run(check.instead.calls)
        if _passes(check.instead, again):
            return check.instead, again
    return check, outcomes


def _passes(check: Check, outcomes: list[Outcome]) -> bool:
    """Say whether all that is expected comes out, but for axes of length 1."""
    return all(
        close(
            form.squeezed(form.fetch(outcomes[e.call], e.item), e.value),
            e.value, e.tol, e.floor,
        )
        for e in check.expects
    )  # fmt: skip


def _no_answer(check: Check, error: Exception) -> Fault:
    """Return the fault of a check that could not be run to its end."""
    return Fault(check, str(error), list(check.expects), stops=True)


def _table(question: Question) -> str:
    """Return the table of general sentences that a question takes."""
    return "open" if question.open else "told"


def _not_started(question: Question, outcomes: list[Outcome]) -> str:
    """Say so when there is no function yet, or one that returns None."""
    calls, of = question.checks[0].calls, _table(question)
    for status in ("missing", "stub"):
        for call, outcome in zip(calls, outcomes, strict=True):
            if outcome.status == status:
                return say(status, of=of, function=_name(question, call.function))
    return ""


def _name(question: Question, function: str) -> str:
    """Return what a student calls a function that is called."""
    return question.functions[0] if function[:1] == "*" else function.lstrip("=")


# --- one check ------------------------------------------------------------------------


def _judge_check(
    question: Question, check: Check, outcomes: list[Outcome], evidence: Evidence
) -> list[Fault]:
    """Return what is wrong in one check: a fault for each output, and one of shape."""
    fault = _stopped(question, check, outcomes, evidence)
    if fault:
        return [fault]
    failing: explain.Failing = []
    shapes: list[tuple[Expect, str]] = []
    for expect in check.expects:
        got = form.fetch(outcomes[expect.call], expect.item)
        flat = form.squeezed(got, expect.value)
        if not close(flat, expect.value, expect.tol, expect.floor):
            failing.append((expect, flat))
        elif flat is not got and not expect.loose:
            sizes = {"got": got.shape, "expected": flat.shape}
            shapes.append((expect, say("squeeze", label=expect.label, **sizes)))
    right, credit = evidence.own_forward(check, outcomes, failing)
    faults = [Fault(check, credit, [e], credited=True) for e, _ in right]
    left = [(e, got) for e, got in failing if all(e is not r for r, _ in right)]
    faults += [
        _explained(question, check, outcomes, left, number, evidence)
        for number in range(len(left))
    ]
    named = any(f.bugs and f.known for f in faults)
    if left and not named and explain.fits_own_statistics(check, outcomes, left):
        wrong = [e for e, _ in left]
        return [Fault(check, say("own-statistics"), wrong, credited=True)]
    if shapes:
        wrong = [e for e, _ in shapes]
        faults.append(Fault(check, shapes[0][1], wrong, {"shape"}, minor=True))
    return faults


def _stopped(
    question: Question, check: Check, outcomes: list[Outcome], evidence: Evidence
) -> Fault | None:
    """Return the fault of a call that gave no result, or not as many as promised."""
    of, every = _table(question), list(check.expects)
    for call, outcome in zip(check.calls, outcomes, strict=True):
        name, when = call.function, check.when
        if outcome.status in ("raised", "machine"):
            gaps = {"function": _name(question, name), "error": outcome.error}
            text = say("stopped", when, of=of, **gaps)
            bugs = evidence.stop(check, outcome.error)
            return Fault(check, text, every, bugs, breaks=True, stops=True)
        if outcome.status in ("missing", "stub"):
            told = "gone" if outcome.status == "missing" else "none"
            return Fault(check, say(told, when, function=name), every, stops=True)
        if question.results and outcome.count != len(question.results):
            told = "results" if len(question.results) > 1 else "result"
            names = ", ".join(question.results)
            text = say(told, of=of, count=len(question.results), names=names)
            return Fault(check, text, every, stops=True)
    return None


def _explained(
    question: Question,
    check: Check,
    outcomes: list[Outcome],
    failing: explain.Failing,
    number: int,
    evidence: Evidence,
) -> Fault:
    """Name the mistake behind an output that differs, or say where it does."""
    expect, got = failing[number]
    bugs, known = evidence.fitting(check, outcomes, failing, number)
    sentence = ""
    if known and bugs & set(expect.upstream):
        sentence = say("upstream", check.when, label=expect.label)
    elif not known and explain.forward_differs(check, outcomes):
        sentence = say("forward-off", check.when, label=expect.label)
    elif question.observer and _is_kind(got, expect.value):
        sentence = OBSERVERS[question.observer](check, [(expect, got)])
    sentence = sentence or where_it_differs(expect, got, check.when, _table(question))
    breaks = form.broken_shape(got, expect.value)
    return Fault(check, sentence, [expect], bugs, known, breaks=breaks)


def _is_kind(got: Any, value: Any) -> bool:
    """Say whether an observer can look at an answer: an array of the right kind."""
    return isinstance(got, np.ndarray) and same_kind(got, np.asarray(value))


# --- points ---------------------------------------------------------------------------


def _score(
    question: Question,
    basic: Check,
    faults: list[Fault],
    passed: list[str],
    paid: Paid,
) -> Result:
    """Let each known mistake cost once, and others what they spoil."""
    credited = [f for f in faults if f.credited]
    left = [f for f in faults if not f.credited]
    groups: list[tuple[str, list[Fault]]] = []
    while bug := _most_common(question, left):
        groups.append((bug, [f for f in left if bug in _roots(question, f)]))
        left = [f for f in left if bug not in _roots(question, f)]

    def follows(fault: Fault) -> bool:
        """Say whether a fault of shape follows from a mistake that is paid."""
        return fault.breaks and not paid.functions.isdisjoint(question.functions)

    fatal = [
        (bug, mine)
        for bug, mine in groups
        if bug in question.fatal and any(f.check is basic for f in mine)
    ]
    gone = [f for f in left if f.unknown and not follows(f)]
    gone += [f for _, mine in fatal for f in mine]
    first = [f for f in gone if f.check is basic]
    nowhere = len(faults) >= len(question.checks) and all(f.stops for f in faults)
    spoilt = [e for f in first for e in f.expects]
    shared = any(e.share for e in basic.expects)
    whole = len(spoilt) == len(basic.expects) or (bool(spoilt) and not shared)
    if nowhere or whole:
        named = fatal[0][0] if fatal else None
        told = (first or faults)[0].sentence
        told = _sentence(question, *fatal[0]) if fatal else told
        lost = Finding(basic.category, -question.points, told, named)
        return Result.of(question, 0.0, form.NOT_YET, [lost])
    findings: list[Finding] = []
    for bug, mine in groups:
        findings.append(_priced(question, basic, bug, mine, paid))
        paid.mistakes.setdefault(bug, question.key)
        if bug in question.breaks:
            paid.functions |= set(question.functions)
    findings += _unknown(left, basic, follows)
    findings += [Finding(f.check.category, 0.0, f.sentence) for f in credited[:1]]
    score = max(0.0, question.points + sum(f.points for f in findings))
    if len(findings) == bool(credited):  # nothing, or what another function caused
        state = form.CORRECT
    else:
        state = form.ALMOST if score >= question.points / 2 else form.NOT_YET
    return Result.of(question, score, state, findings, passed)


def _roots(question: Question, fault: Fault) -> set[str]:
    """Return the mistakes of a fault, each form of one under the same name."""
    return {question.of.get(bug, bug) for bug in fault.bugs}


def _most_common(question: Question, left: list[Fault]) -> str:
    """Return the mistake that explains most of what is left; the first of equals."""
    counts = Counter(bug for fault in left for bug in _roots(question, fault))
    order = list(question.sentences)

    def rank(bug: str) -> tuple[int, int]:
        return -counts[bug], order.index(bug) if bug in order else len(order)

    return min(counts, key=rank, default="")


def _worths(faults: list[Fault]) -> list[tuple[float, Fault]]:
    """Return what faults spoil in each check, with the first fault there."""
    checks: dict[int, list[Fault]] = {}
    for fault in faults:
        checks.setdefault(id(fault.check), []).append(fault)
    return [
        (mine[0].check.worth([e for f in mine for e in f.expects]), mine[0])
        for mine in checks.values()
    ]


def _sentence(question: Question, bug: str, mine: list[Fault]) -> str:
    """Return what to say of a mistake: its own sentence only where it is checked."""
    sure = [f for f in mine if f.known] or mine
    dearest = max(sure, key=lambda f: f.check.points)
    if not dearest.known:
        return dearest.sentence
    forms = sorted(b for b in dearest.bugs if question.of.get(b, b) == bug)
    said = question.sentences
    return said.get(forms[0], said.get(bug, dearest.sentence))


def _priced(
    question: Question, basic: Check, bug: str, mine: list[Fault], paid: Paid
) -> Finding:
    """Let a mistake cost its dearest check, or nothing if it has cost before."""
    cost, dearest = max(_worths(mine), key=lambda pair: pair[0])
    if dearest.minor:
        cost = min(cost, MINOR)
    if bug in question.fatal and any(f.check is basic for f in mine):
        spoilt = {e.label for f in mine for e in f.expects}
        cost = sum(
            c.worth([e for e in c.expects if e.label in spoilt])
            for c in question.checks
            if any(e.label in spoilt for e in c.expects)
        )
    if bug in question.near:
        cost = min(cost, question.points / 2)
    known = any(f.known for f in mine)
    sentence = _sentence(question, bug, mine)
    if bug in paid.mistakes and bug not in (*question.fatal, *question.parts):
        told = {"sentence": sentence, "question": paid.mistakes[bug]}
        sentence, cost = say("paid", **told), 0.0
    category = "shape" if dearest.minor else dearest.check.category
    return Finding(category, _lost(cost), sentence, bug if known else None)


def _unknown(
    left: list[Fault], basic: Check, follows: Callable[[Fault], bool]
) -> list[Finding]:
    """Let other faults cost what they spoil.

    There is one finding for what the basic check finds, and all that goes with it.
    """
    findings = []
    for fault in [f for f in left if follows(f)]:
        told = say("follows", sentence=fault.sentence)
        findings.append(Finding(fault.check.category, 0.0, told))
    left = [f for f in left if not follows(f)]
    for first in [f for f in left if f.check is basic]:
        labels = {e.label for e in first.expects}
        mine = [f for f in left if labels >= {e.label for e in f.expects}]
        left = [f for f in left if f not in mine]
        cost = sum(worth for worth, _ in _worths(mine))
        findings.append(Finding(basic.category, _lost(cost), first.sentence))
    for cost, fault in _worths(left):
        findings.append(Finding(fault.check.category, _lost(cost), fault.sentence))
    return findings


def _lost(cost: float) -> float:
    """Return points as a finding holds them, in hundredths."""
    return -round(cost, 2) or 0.0
