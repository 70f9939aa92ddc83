"""Public checks of what is no function of arrays: tests, names, a report of runs.

No right implementation is shipped. A mutant wraps the student's own functions of
problem sets 1 and 2 and spoils one thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from bncheck.judge import ALMOST, CORRECT, NOT_YET, NOTHING_YET, Question

Pair = tuple[Callable, Callable]


def wrappers(forward: Callable, backward: Callable) -> dict[str, Pair]:
    """Return mutants of a pair of functions, by what they spoil.

    Parameters
    ----------
    forward, backward : callable
        The functions of problem sets 1 and 2.

    Returns
    -------
    mutants : dict of str to tuple of callable
        A pair for each place where a mistake can be.
    """

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


def judge_tests(question: Question, namespace: dict[str, Any]) -> dict[str, Any]:
    """Judge the tests of a namespace on its own functions and on mutants of these.

    Parameters
    ----------
    question : Question
        For its key, title and points.
    namespace : dict
        Holds the tests and the functions of problem sets 1 and 2.

    Returns
    -------
    result : dict
        As `judge.judge` returns it.
    """
    tests = {
        k: f for k, f in namespace.items() if k.startswith("test_") and callable(f)
    }
    own = tuple(namespace.get(n) for n in ("batchnorm_forward", "batchnorm_backward"))
    if not tests:
        return _result(question, NOTHING_YET, "There is no function test_... yet.", [])
    if not all(callable(f) for f in own):
        text = "Paste batchnorm_forward and batchnorm_backward of your sets 1 and 2."
        return _result(question, NOTHING_YET, text, [])
    alarms = [name for name, test in tests.items() if fails(test, own)]
    if alarms:
        text = (
            f"{alarms[0]} fails on your own functions. If they are right, it asks for "
            "more than is promised: look at its tolerance."
        )
        return _result(question, NOT_YET, text, [])
    mutants = wrappers(*own)
    killed = [
        place
        for place, pair in mutants.items()
        if any(fails(test, pair) for test in tests.values())
    ]
    missed = [place for place in mutants if place not in killed]
    if missed:
        text = f"No test of yours finds a mistake in {missed[0]}."
        state = ALMOST if len(missed) <= 2 else NOT_YET
        return _result(question, state, text, killed)
    return _result(question, CORRECT, "", killed)


def judge_names(question: Question, namespace: dict[str, Any]) -> dict[str, Any]:
    """Say whether `names` is filled in; whether it is right, the graded run says."""
    names = namespace.get("names")
    if not isinstance(names, dict) or set(names) != set("abc"):
        text = 'Fill in names = {"a": ..., "b": ..., "c": ...}.'
        return _result(question, NOTHING_YET, text, [])
    empty = [k for k, v in names.items() if v is None]
    if len(empty) == 3:
        return _result(question, NOTHING_YET, "No listing has a name yet.", [])
    odd = [k for k, v in names.items() if v is not None and not _is_id(v)]
    if odd:
        text = f"The name of listing {odd[0]} is no id: take one from the table."
        return _result(question, NOT_YET, text, [])
    if empty:
        text = f"Listing {empty[0]} has no name yet."
        return _result(question, ALMOST, text, [])
    return _result(
        question, CORRECT, "", ["three ids; right or not, the graded run says"]
    )


def _is_id(value: Any) -> bool:
    return (
        isinstance(value, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*", value) is not None
    )


def judge_report(question: Question, namespace: dict[str, Any]) -> dict[str, Any]:
    """Run a capstone with its first seed and compare with what it reports."""
    run, seeds, reported = (namespace.get(n) for n in ("run", "SEEDS", "REPORTED"))
    if not callable(run) or not seeds or not reported:
        text = "Fill in SEEDS, run(seed) and REPORTED."
        return _result(question, NOTHING_YET, text, [])
    if len(set(seeds)) < 3:
        return _result(question, NOT_YET, "SEEDS needs three different numbers.", [])
    missing = [s for s in seeds if s not in reported]
    if missing:
        text = f"REPORTED has no entry for the seed {missing[0]}."
        return _result(question, ALMOST, text, [])
    got = run(seeds[0])
    if got is None:
        return _result(question, NOTHING_YET, "run(seed) returns None so far.", [])
    for name, value in reported[seeds[0]].items():
        size = max(0.05 * abs(value), 1e-3)
        if name not in got or not abs(float(got[name]) - value) <= size:
            text = f"{name} does not come out again for the seed {seeds[0]}."
            return _result(question, NOT_YET, text, [])
    return _result(question, CORRECT, "", ["the numbers of the first seed"])


SPECIAL = {
    "tests": judge_tests,
    "names": judge_names,
    "rerun": judge_report,
    "in time": judge_report,
}


def _result(question: Question, state: str, text: str, passed: list[str]) -> dict:
    findings = [{"category": "", "points": 0.0, "sentence": text, "bug": None}]
    return {
        "key": question.key,
        "title": question.title,
        "points": question.points,
        "score": 0.0,
        "state": state,
        "findings": findings if text else [],
        "passed": passed,
    }
