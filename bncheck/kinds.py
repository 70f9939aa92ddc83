"""The kinds of questions: each is judged by a function of question, run and paid.

``run`` is called with calls and returns their outcomes, in a student's `Notebook` or,
with the same methods, in the grader's worker.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bncheck.calls import Call, Opaque, Outcome, run_calls, says_no
from bncheck.compare import close
from bncheck.form import (
    ALMOST,
    CORRECT,
    NOT_YET,
    NOTHING_YET,
    Finding,
    NoAnswerError,
    Paid,
    Question,
    Result,
    Run,
)
from bncheck.judge import judge
from bncheck.says import say
from bncheck.toys import TOYS

Pair = tuple[Callable, Callable]
Verdicts = dict[str, tuple[str, str]]
RUNS = 2  # of all tests on a pair: what they say must be the same
MOST_TESTS = 100
LONGEST_NAME = 60  # of a test, in a sentence
FEW, SHORT = 3, 8  # arguments, and numbers of an array, that a sentence names


class Notebook:
    """Runs calls and tests of the functions in a namespace, here and now.

    Attributes
    ----------
    table : str
        The table of the sentences for the kinds below: here, on one's own functions.
    names : dict of str to str
        The right names of the listings, where they are known.
    seeds : int
        How many runs of a capstone are made again.
    left_out : int
        Tests beyond the first `MOST_TESTS`, which are not run.
    """

    table, seeds = "own", 1
    names: Mapping[str, str] = {}
    left_out = 0

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace

    def __call__(self, calls: Sequence[Call]) -> list[Outcome]:
        """Run calls."""
        return run_calls(calls, self.namespace, TOYS)

    def once(self, calls: Sequence[Call]) -> list[Outcome]:
        """Run calls that take long; what one question asks for serves the next."""
        return self(calls)

    def pairs(self) -> tuple[list[Pair], list[tuple[str, str, Pair]]]:
        """Return right implementations, and names, places and pairs of wrong ones."""
        own: Any = [
            self.namespace.get(f"batchnorm_{k}") for k in ("forward", "backward")
        ]
        if not all(callable(f) for f in own):
            return [], []
        wrong = [(place, place, pair) for place, pair in wrappers(*own).items()]
        return [tuple(own)], wrong

    def order(self, count: int) -> Sequence[int]:
        """Return the order of a number of runs, which is to tell tests nothing."""
        return np.random.default_rng(0).permutation(count).tolist()

    def verdicts(self, pair: Pair) -> Verdicts:
        """Run all tests on a pair; return "ok" or what else happened, and the error."""
        tests = [k for k, f in self.namespace.items() if _is_test(k, f)]
        self.left_out = max(len(tests) - MOST_TESTS, 0)
        return {
            name: ("failed" if fails(self.namespace[name], pair) else "ok", "")
            for name in tests[:MOST_TESTS]
        }


def _is_test(name: str, value: Any) -> bool:
    return name.startswith("test_") and callable(value)


# --- answers to a chapter's exercises -------------------------------------------------


def judge_function(question: Question, run: Notebook, paid: Paid) -> Result:
    """Judge a function, after a look at whether it is one."""
    value = run.namespace[question.functions[0]]
    if value is not None and not callable(value):
        text = say("no-function", of="open", kind=type(value).__name__)
        return _told(question, NOT_YET, text)
    result = judge(question, run, paid)
    if result.state in (CORRECT, NOTHING_YET):
        return result
    return _none_for_one(question, value, run) or result


def _none_for_one(question: Question, value: Any, run: Run) -> Result | None:
    """Return what to say where a function returns None for one input, not for all."""
    always: set[int] | None = None
    for check in question.checks:
        (outcome,), (call,) = run(check.calls), check.calls
        whole = outcome.count == len(call.take) == len(question.results)
        if outcome.status != "stub" and not (outcome.status == "ok" and whole):
            continue
        lacking = {i for i in call.take if outcome.outputs.get(i) is None}
        if always is not None and lacking - always:
            told = "none-for" if outcome.status == "stub" else "absent-for"
            text = say(told, of="open", given=_given(value, call.args))
            return _told(question, NOT_YET, text)
        always = lacking
    return None


def _given(function: Callable, args: Sequence[Any]) -> str:
    """Name the arguments of a call: all of a few, of many those that are no arrays."""
    try:
        names = list(inspect.signature(function).parameters)
        names += [""] * (len(args) - len(names))
    except (TypeError, ValueError):
        names = [""] * len(args)
    shown = [
        f"{name} = {_written(arg)}" if name else _written(arg)
        for name, arg in zip(names, args, strict=False)
        if len(args) <= FEW or not isinstance(arg, np.ndarray)
    ]
    return ", ".join(shown)


def _written(arg: Any) -> str:
    """Write an argument: a short array with its numbers, others by their shape."""
    if not isinstance(arg, np.ndarray):
        return repr(arg)
    if arg.ndim == 1 and arg.size <= SHORT:
        return f"[{', '.join(f'{v:.4g}' for v in arg.tolist())}]"
    return f"an array of shape {arg.shape}"


def judge_number(question: Question, run: Run, paid: Paid) -> Result:
    """Judge a number: right, near, one that a known mistake gives, or another."""
    right, near = question.checks[0].expects
    answer = _answer(question, run)
    if answer is None:
        return _told(question, NOTHING_YET, say("no-number", of="open"))
    try:
        value = float(answer)
        if isinstance(answer, str) or np.asarray(answer).dtype == bool:
            raise TypeError
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


def _scored(
    question: Question, findings: Sequence[Finding], passed: Sequence[str] = ()
) -> Result:
    """Make the result of what costs the points of its findings."""
    score = max(0.0, question.points + sum(f.points for f in findings))
    state = ALMOST if score >= question.points / 2 else NOT_YET
    state = state if findings else CORRECT
    return Result.of(question, score, state, findings, passed)


def _lost(question: Question, text: str) -> Result:
    """Make the result of what could not be run to its end."""
    return _scored(question, [Finding(question.kind, -question.points, text)])


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
            return says_no(test(*pair))
    except Exception:
        return True


def judge_tests(question: Question, run: Notebook, paid: Paid) -> Result:
    """Judge tests by the wrong implementations that those without false alarm find.

    Each pair is tried `RUNS` times, and all these runs are in an order that tells
    nothing: a test that counts them, or that throws dice, says two things of one pair.
    Where one test alone kills a mutant, it must do so once more.
    """
    right, wrong = run.pairs()
    if not right:
        return _told(question, NOTHING_YET, say("paste-functions"))
    pairs = [*right, *(pair for _, _, pair in wrong)]
    found: list[list[Verdicts]] = [[] for _ in pairs]
    of_wrong = found[len(right) :]
    try:
        for number in run.order(RUNS * len(pairs)):
            verdicts = run.verdicts(pairs[number // RUNS])
            if not verdicts:
                return _told(question, NOTHING_YET, say("no-tests"))
            found[number // RUNS].append(verdicts)
        alarms = _alarms(found, len(right), run.table)
        for (_, _, pair), one in zip(wrong, of_wrong, strict=True):
            if len(_killers(one, alarms)) == 1:
                one.append(run.verdicts(pair))
    except NoAnswerError as error:
        return _lost(question, str(error))
    alarms = _alarms(found, len(right), run.table)
    killed: dict[str, str] = {}
    missed: dict[str, str] = {}
    for (name, place, _), one in zip(wrong, of_wrong, strict=True):
        (killed if _killers(one, alarms) else missed)[name] = place
    price = -question.points / len(wrong)
    survived = [
        Finding("kill share", price, say("survived", of=run.table, place=place))
        for place in missed.values()
    ]
    passed = say(
        "killed", of=run.table, count=len(killed), mutants=len(wrong),
        tests=len(found[0][0].keys() - alarms), places=", ".join(killed),
    )  # fmt: skip
    many = say("many-tests", most=MOST_TESTS, count=run.left_out)
    unrun = [Finding("number of tests", 0.0, many)] if run.left_out else []
    result = _scored(question, [*unrun, *alarms.values(), *survived], [passed])
    result.mutants = {"killed": sorted(killed), "missed": sorted(missed)}
    return result


def _killers(one: Sequence[Verdicts], alarms: Mapping[str, Finding]) -> list[str]:
    """Return the tests that count and fail on a pair."""
    fails = [name for name, (verdict, _) in one[0].items() if verdict != "ok"]
    return [name for name in fails if name not in alarms]


def _alarms(
    found: Sequence[list[Verdicts]], right: int, table: str
) -> dict[str, Finding]:
    """Return the tests that are dropped: for a false alarm, or for two verdicts.

    ``found`` holds the verdicts of all runs on each pair, the right pairs first.
    """
    alarms = {}
    for test in dict.fromkeys(name for one in found for v in one for name in v):
        shown = test if len(test) <= LONGEST_NAME else f"{test[:LONGEST_NAME]}..."
        ways = [[v.get(test, ("none", "")) for v in one] for one in found]
        first = next((w for one in ways[:right] for w in one if w[0] != "ok"), None)
        if any(len({verdict == "ok" for verdict, _ in one}) > 1 for one in ways):
            alarm, category, error = "two-verdicts", "not repeatable", ""
        elif first:
            alarm = "alarm-raised" if first[0] == "raised" else "alarm-failed"
            category, error = "false alarm", first[1]
        else:
            continue
        text = say(alarm, of=table, test=shown, error=error)
        alarms[test] = Finding(category, 0.0, text)
    return alarms


def judge_names(question: Question, run: Notebook, paid: Paid) -> Result:
    """Judge names of bugs; where the right ones are not known, whether they are ids."""
    try:
        names = _answer(question, run)
    except NoAnswerError as error:
        return _lost(question, str(error))
    if not isinstance(names, dict):
        return _told(question, NOTHING_YET, say("fill-names"))
    if all(v is None for v in names.values()):
        return _told(question, NOTHING_YET, say("no-names"))
    findings, passed = [], []
    for letter in "abc":
        given, right = names.get(letter), run.names.get(letter)
        plain = given.strip().strip("`").lower() if isinstance(given, str) else ""
        if given is None:
            wrong = "no-name"
        elif not re.fullmatch(r"[a-z]+(-[a-z]+)*", plain):
            wrong = "no-id"
        else:
            wrong = "other-name" if right not in (None, plain) else ""
        if wrong:
            text = say(wrong, letter=letter)
            findings.append(Finding(f"listing {letter}", -question.points / 3, text))
        else:
            passed.append(say("name", of=run.table, letter=letter))
    return _scored(question, findings, passed)


TOLERANCE, SMALLEST = 0.05, 1e-3  # of a number that comes out again
FEWEST = 3  # seeds


def judge_run(question: Question, run: Notebook, paid: Paid) -> Result:
    """Judge a capstone by the share of its reported numbers that come out again."""
    numbers = _rerun(question, run)
    if isinstance(numbers, Result):
        return numbers
    odd = [(name, seed) for name, seed, good in numbers if not good]
    if not odd:
        return _scored(question, [], [say("numbers", of=run.table)])
    text = say(
        "not-again", of=run.table, number=odd[0][0], seed=odd[0][1],
        good=len(numbers) - len(odd), all=len(numbers),
    )  # fmt: skip
    cost = round(question.points * len(odd) / len(numbers), 2)
    return _scored(question, [Finding("numbers", -cost, text)])


def judge_time(question: Question, run: Notebook, paid: Paid) -> Result:
    """Judge whether a capstone comes to its end in time."""
    numbers = _rerun(question, run)
    if isinstance(numbers, Result):
        return numbers
    return _scored(question, [], [say("time", of=run.table)])


def _rerun(question: Question, run: Notebook) -> Result | list[tuple[str, int, bool]]:
    """Return each reported number, its seed, and whether it comes out again.

    Where a capstone does not come to its end, that is its result.
    """
    try:
        reported = _reported(run)
        if isinstance(reported, str):
            return _told(question, NOTHING_YET, reported)
        entries = list(reported.items())[: run.seeds]
        outcomes = run.once([Call("run", (seed,)) for seed, _ in entries])
    except NoAnswerError as error:
        return _lost(question, str(error))
    numbers = []
    for (seed, entry), outcome in zip(entries, outcomes, strict=True):
        if outcome.status in ("missing", "stub"):
            lacking = "no-run" if outcome.status == "stub" else "fill-run"
            return _told(question, NOTHING_YET, say(lacking))
        if outcome.status != "ok":
            return _lost(question, say("stopped", function="run", error=outcome.error))
        got = outcome.outputs.get(0)
        got = got if isinstance(got, dict) else {}
        numbers += [(name, seed, _agree(got.get(name), v)) for name, v in entry.items()]
    return numbers


def _reported(run: Run) -> dict[int, dict[str, float]] | str:
    """Return the numbers that are reported for each seed, or what is wrong."""
    answers = run([Call("=SEEDS", ()), Call("=REPORTED", ())])
    seeds, reported = (outcome.outputs.get(0) for outcome in answers)
    seeds = seeds.tolist() if isinstance(seeds, np.ndarray) else seeds
    if not (isinstance(seeds, list) and isinstance(reported, dict) and reported):
        return say("fill-run")
    if not all(isinstance(s, int) for s in seeds) or len(set(seeds)) < FEWEST:
        return say("few-seeds", count=FEWEST)
    entries: dict[int, Any] = {seed: reported.get(str(seed)) for seed in seeds}
    if not all(isinstance(entry, dict) and entry for entry in entries.values()):
        return say("no-entry")
    try:
        return {s: {k: float(v) for k, v in e.items()} for s, e in entries.items()}
    except (TypeError, ValueError):
        return say("odd-number")


def _agree(got: Any, value: float) -> bool:
    """Say whether a number came out again: within 5 %, or within 0.001 near 0."""
    try:
        return bool(abs(float(got) - value) <= max(TOLERANCE * abs(value), SMALLEST))
    except (TypeError, ValueError):
        return False


KINDS: dict[str, Callable[..., Result]] = {
    "calls": judge,
    "function": judge_function,
    "number": judge_number,
    "choice": judge_choice,
    "tests": judge_tests,
    "names": judge_names,
    "run": judge_run,
    "time": judge_time,
}
