"""The kinds of questions: each is judged by a function of question, run and paid.

``run`` is called with calls and returns their outcomes, in a student's notebook or in
the grader's worker; a `Notebook` also knows the tests that stand in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bncheck.calls import Call, Opaque, Outcome, run_calls
from bncheck.compare import close
from bncheck.form import (
    ALMOST,
    CORRECT,
    NOT_YET,
    NOTHING_YET,
    Finding,
    Paid,
    Question,
    Result,
    Run,
)
from bncheck.judge import judge
from bncheck.says import say
from bncheck.toys import TOYS

Pair = tuple[Callable, Callable]


class Notebook:
    """Runs calls of the functions in a namespace, here and now."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace

    def __call__(self, calls: Sequence[Call]) -> list[Outcome]:
        """Run calls."""
        return run_calls(calls, self.namespace, TOYS)

    def tests(self) -> dict[str, Callable]:
        """Return the tests in the notebook."""
        names = self.namespace.items()
        return {k: f for k, f in names if k.startswith("test_") and callable(f)}


# --- answers to a chapter's exercises -------------------------------------------------


def judge_function(question: Question, run: Run, paid: Paid) -> Result:
    """Judge a function, after a look at whether it is one."""
    value = _answer(question, run)
    if value is not None and not isinstance(value, Opaque):
        text = say("no-function", of="open", kind=type(value).__name__)
        return _told(question, NOT_YET, text)
    return judge(question, run, paid)


def judge_number(question: Question, run: Run, paid: Paid) -> Result:
    """Judge a number: right, near, one that a known mistake gives, or another."""
    right, near = question.checks[0].expects
    answer = _answer(question, run)
    if answer is None:
        return _told(question, NOTHING_YET, say("no-number", of="open"))
    try:
        value = float(answer)
    except (TypeError, ValueError):
        text = say("one-number", of="open", kind=_kind(answer), answer=repr(answer))
        return _told(question, NOT_YET, text)
    if close(value, right.value, right.tol, right.floor):
        return _told(question, CORRECT)
    for name, wrong in right.wrong.items():
        if close(value, wrong, right.tol, 0.0 if wrong else 1.0):
            return _told(question, NOT_YET, question.sentences[name], name)
    is_near = close(value, near.value, near.tol, near.floor)
    told = "close-number" if is_near else "other-number"
    text = say(told, of="open", value=value, hint=question.sentences["hint"])
    return _told(question, ALMOST if is_near else NOT_YET, text)


def judge_choice(question: Question, run: Run, paid: Paid) -> Result:
    """Judge a letter: each has its sentence."""
    answer = _answer(question, run)
    letters = ", ".join(map(repr, question.sentences))
    if answer is None:
        text = say("no-letter", of="open", letters=letters)
        return _told(question, NOTHING_YET, text)
    letter = answer.strip().lower() if isinstance(answer, str) else answer
    if not isinstance(letter, str) or letter not in question.sentences:
        given = _kind(answer) if isinstance(answer, Opaque) else repr(answer)
        text = say("other-letter", of="open", letters=letters, answer=given)
        return _told(question, NOT_YET, text)
    if letter == question.checks[0].expects[0].value:
        return _told(question, CORRECT)
    state = ALMOST if letter in question.near else NOT_YET
    return _told(question, state, question.sentences[letter], letter)


def _answer(question: Question, run: Run) -> Any:
    """Return the answer itself."""
    (outcome,) = run([Call(f"={question.functions[0]}", ())])
    return outcome.outputs.get(0)


def _kind(answer: Any) -> str:
    return answer.kind if isinstance(answer, Opaque) else type(answer).__name__


def _told(
    question: Question,
    state: str,
    text: str = "",
    bug: str | None = None,
    passed: Sequence[str] = (),
) -> Result:
    """Make the result of what is judged as a whole, for no points."""
    findings = [Finding("", 0.0, text, bug)] if text else []
    return Result.of(question, 0.0, state, findings, passed)


# --- tests, names, and a report of runs -----------------------------------------------


def wrappers(forward: Callable, backward: Callable) -> dict[str, Pair]:
    """Return mutants of a student's functions of sets 1 and 2, by what they spoil."""

    def eps_ignored(x: Any, gamma: Any, beta: Any, bn_param: dict) -> tuple:
        given = bn_param.get("eps", 1e-5)
        bn_param["eps"] = 1e-5
        result = forward(x, gamma, beta, bn_param)
        bn_param["eps"] = given
        return result

    def never_stored(x: Any, gamma: Any, beta: Any, bn_param: dict) -> tuple:
        return forward(x, gamma, beta, dict(bn_param))

    def shifted_in_test(x: Any, gamma: Any, beta: Any, bn_param: dict) -> tuple:
        out, cache = forward(x, gamma, beta, bn_param)
        return (out + 0.1 if bn_param["mode"] == "test" else out), cache

    def averaged(dout: Any, cache: Any) -> tuple:
        dx, dgamma, dbeta = backward(dout, cache)
        return dx, dgamma / len(dout), dbeta

    def input_spoiled(x: Any, gamma: Any, beta: Any, bn_param: dict) -> tuple:
        result = forward(x, gamma, beta, bn_param)
        x *= 2
        return result

    return {
        "the training output": (eps_ignored, backward),
        "the running statistics": (never_stored, backward),
        "test mode": (shifted_in_test, backward),
        "the gradients": (forward, averaged),
        "side effects": (input_spoiled, backward),
    }


def fails(test: Callable, pair: Pair) -> bool:
    """Say whether a test raises, or returns False, on a pair of functions."""
    try:
        with np.errstate(all="ignore"):
            return test(*pair) is False
    except Exception:
        return True


def judge_tests(question: Question, run: Notebook, paid: Paid) -> Result:
    """Judge the tests of a notebook on its own functions and on mutants of these."""
    tests = run.tests()
    own: Any = [run.namespace.get(f"batchnorm_{k}") for k in ("forward", "backward")]
    if not tests:
        return _told(question, NOTHING_YET, say("no-tests"))
    if not all(callable(f) for f in own):
        return _told(question, NOTHING_YET, say("paste-functions"))
    alarms = [name for name, test in tests.items() if fails(test, own)]
    if alarms:
        return _told(question, NOT_YET, say("own-alarm", test=alarms[0]))
    killed: list[str] = []
    missed: list[str] = []
    for place, pair in wrappers(*own).items():
        hit = any(fails(test, pair) for test in tests.values())
        (killed if hit else missed).append(place)
    if missed:
        state = ALMOST if len(missed) <= 2 else NOT_YET
        return _told(question, state, say("own-missed", place=missed[0]), None, killed)
    return _told(question, CORRECT, passed=killed)


def judge_names(question: Question, run: Run, paid: Paid) -> Result:
    """Say whether `names` is filled in; whether it is right, the graded run says."""
    names = _answer(question, run)
    if not isinstance(names, dict) or set(names) != set("abc"):
        return _told(question, NOTHING_YET, say("fill-names"))
    empty = [k for k, v in names.items() if v is None]
    if len(empty) == 3:
        return _told(question, NOTHING_YET, say("no-names"))
    odd = [k for k, v in names.items() if v is not None and not _is_id(v)]
    if odd:
        return _told(question, NOT_YET, say("no-id", letter=odd[0]))
    if empty:
        return _told(question, ALMOST, say("no-name", letter=empty[0]))
    return _told(question, CORRECT, passed=[say("three-ids")])


def _is_id(value: Any) -> bool:
    return (
        isinstance(value, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*", value) is not None
    )


def judge_run(question: Question, run: Notebook, paid: Paid) -> Result:
    """Run a capstone with its first seed and compare with what it reports."""
    names = ("run", "SEEDS", "REPORTED")
    function, seeds, reported = (run.namespace.get(n) for n in names)
    if not callable(function) or not seeds or not reported:
        return _told(question, NOTHING_YET, say("fill-run"))
    if len(set(seeds)) < 3:
        return _told(question, NOT_YET, say("three-seeds"))
    missing = [s for s in seeds if s not in reported]
    if missing:
        return _told(question, ALMOST, say("no-entry", seed=missing[0]))
    got = function(seeds[0])
    if got is None:
        return _told(question, NOTHING_YET, say("no-run"))
    for name, value in reported[seeds[0]].items():
        size = max(0.05 * abs(value), 1e-3)
        if name not in got or not abs(float(got[name]) - value) <= size:
            text = say("not-again", number=name, seed=seeds[0])
            return _told(question, NOT_YET, text)
    return _told(question, CORRECT, passed=[say("first-seed")])


KINDS: dict[str, Callable[..., Result]] = {
    "calls": judge,
    "function": judge_function,
    "number": judge_number,
    "choice": judge_choice,
    "tests": judge_tests,
    "names": judge_names,
    "run": judge_run,
}
