"""Turn the outcomes of calls into points and sentences."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from bncheck import explain, form
from bncheck.calls import Outcome
from bncheck.compare import close, where_it_differs
from bncheck.form import Check, Finding, Paid, Question, Result, Run
from bncheck.observe import OBSERVERS
from bncheck.says import say

MINOR = 0.25  # what a shape that only needs a reshape costs


@dataclass(eq=False)
class Fault:
    """Why a check failed."""

    check: Check
    sentence: str
    bugs: set[str] = field(default_factory=set)
    credited: bool = False
    breaks: bool = False
    minor: bool = False


def judge(question: Question, run: Run, paid: Paid) -> Result:
    """Judge a question by its calls.

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
    faults: list[Fault] = []
    passed: list[str] = []
    elsewhere: set[str] = set()
    basic = question.checks[0]
    for number, check in enumerate(question.checks):
        try:
            outcomes = run(check.calls)
            found = _judge_check(question, check, outcomes, run)
            if found and check.instead:
                again = run(check.instead.calls)
                found = _judge_check(question, check.instead, again, run) and found
        except form.NoAnswerError as error:
            faults += [Fault(c, str(error)) for c in question.checks[number:]]
            break
        if check is basic and (start := _not_started(question, outcomes)):
            return Result.of(question, 0.0, form.NOTHING_YET, [Finding("", 0.0, start)])
        right = explain.refuted(check, outcomes)
        elsewhere |= right if not found else set()
        for fault in found:
            fault.bugs = fault.bugs - right or fault.bugs
        faults += found
        if all(f.credited or f.minor for f in found):
            passed.append(check.category)
    for fault in faults:
        kept = fault.bugs if fault.check is basic else set()
        fault.bugs = fault.bugs - elsewhere or kept
    return _score(question, faults, passed, paid)


def _table(question: Question) -> str:
    """Return the table of general sentences that a question takes."""
    return "open" if question.open else "told"


def _not_started(question: Question, outcomes: list[Outcome]) -> str:
    """Say so when there is no function yet, or one that returns None."""
    calls, of = question.checks[0].calls, _table(question)
    named = {o.status: c.function for c, o in zip(calls, outcomes, strict=True)}
    if "missing" in named:
        glue = named["missing"].startswith("*")
        name = question.functions[0] if glue else named["missing"].lstrip("=")
        return say("missing", of=of, function=name)
    if "stub" in named:
        return say("stub", of=of, function=named["stub"].lstrip("*="))
    return ""


# --- one check ------------------------------------------------------------------------


def _judge_check(
    question: Question, check: Check, outcomes: list[Outcome], run: Run
) -> list[Fault]:
    """Return what is wrong in one check: at most one main fault, and one of shape."""
    fault = _stopped(question, check, outcomes)
    if fault:
        return [fault]
    failing, squeeze = [], ""
    for expect in check.expects:
        got = form.fetch(outcomes[expect.call], expect.item)
        flat = form.squeezed(got, expect.value)
        if not close(flat, expect.value, expect.tol, expect.floor):
            failing.append((expect, flat))
        elif flat is not got and not squeeze and not expect.loose:
            shapes = {"got": got.shape, "expected": flat.shape}
            squeeze = say("squeeze", label=expect.label, **shapes)
    if failing:
        return [_explained(question, check, outcomes, failing, run)]
    return [Fault(check, squeeze, {"shape"}, minor=True)] if squeeze else []


def _stopped(question: Question, check: Check, outcomes: list[Outcome]) -> Fault | None:
    """Return the fault of a call that gave no result, or not as many as promised."""
    of = _table(question)
    for call, outcome in zip(check.calls, outcomes, strict=True):
        name, when = call.function, check.when
        if outcome.status in ("raised", "machine"):
            gaps = {"function": name.lstrip("*="), "error": outcome.error}
            return Fault(check, say("stopped", when, of=of, **gaps), breaks=True)
        if outcome.status in ("missing", "stub"):
            told = "gone" if outcome.status == "missing" else "none"
            return Fault(check, say(told, when, function=name))
        if question.results and outcome.count != len(question.results):
            told = "results" if len(question.results) > 1 else "result"
            names = ", ".join(question.results)
            return Fault(
                check, say(told, of=of, count=len(question.results), names=names)
            )
    return None


def _explained(
    question: Question, check: Check, outcomes: list[Outcome], failing: list, run: Run
) -> Fault:
    """Name the mistake behind what differs, or say whose fault it is, or where."""
    if check.own and check.own.out:
        credit = explain.fits_own_forward(check, outcomes, failing, run)
        if credit:
            return Fault(check, credit, credited=True)
    bugs = explain.explain(failing)
    if not bugs and explain.fits_own_statistics(check, outcomes, failing):
        return Fault(check, say("own-statistics"), credited=True)
    upstream = bugs & {name for expect, _ in failing for name in expect.upstream}
    if upstream and explain.forward_differs(check, outcomes):
        return Fault(check, say("own-forward"), credited=True)
    bugs -= upstream
    sentence = ""
    if not bugs and question.observer:
        sentence = OBSERVERS[question.observer](check, failing)
    sentence = sentence or where_it_differs(
        failing[0][0], failing[0][1], check.when, _table(question)
    )
    breaks = any(form.broken_shape(got, expect.value) for expect, got in failing)
    return Fault(check, sentence, bugs, breaks=breaks)


# --- points ---------------------------------------------------------------------------


def _score(
    question: Question, faults: list[Fault], passed: list[str], paid: Paid
) -> Result:
    """Let each mistake cost once: known ones their dearest check, others each check."""
    basic = question.checks[0]
    left = [f for f in faults if not f.credited]
    credited = [f for f in faults if f.credited]

    def follows(fault: Fault) -> bool:
        """Say whether a fault of shape follows from a mistake that is paid."""
        return fault.breaks and not paid.functions.isdisjoint(question.functions)

    def nothing_left(sentence: str, bug: str | None = None) -> Result:
        lost = Finding(basic.category, -question.points, sentence, bug)
        return Result.of(question, 0.0, form.NOT_YET, [lost])

    for fault in left:
        if fault.check is basic and not fault.bugs and not follows(fault):
            return nothing_left(fault.sentence)
    findings: list[Finding] = []
    while bug := _most_common(question, left):
        mine = [f for f in left if bug in _roots(question, f)]
        left = [f for f in left if f not in mine]
        finding = _priced(question, bug, mine, paid)
        if bug in question.fatal and any(f.check is basic for f in mine):
            return nothing_left(finding.sentence, bug)
        findings.append(finding)
        paid.mistakes.setdefault(bug, question.key)
        if bug in question.breaks:
            paid.functions |= set(question.functions)
    for fault in left:
        cost, sentence = fault.check.points, fault.sentence
        if follows(fault):
            cost, sentence = 0.0, say("follows", sentence=sentence)
        findings.append(Finding(fault.check.category, -cost or 0.0, sentence))
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


def _priced(question: Question, bug: str, mine: list[Fault], paid: Paid) -> Finding:
    """Let a mistake cost its dearest check, or nothing if it has cost before."""
    dearest = max(mine, key=lambda f: f.check.points)
    cost = MINOR if dearest.minor else dearest.check.points
    if bug in question.near:
        cost = min(cost, question.points / 2)
    forms = sorted(b for b in dearest.bugs if question.of.get(b, b) == bug)
    said = question.sentences
    sentence = said.get(forms[0], said.get(bug, dearest.sentence))
    if bug in paid.mistakes:
        told = {"sentence": sentence, "question": paid.mistakes[bug]}
        sentence, cost = say("paid", **told), 0.0
    category = "shape" if dearest.minor else dearest.check.category
    return Finding(category, -cost or 0.0, sentence, bug)
