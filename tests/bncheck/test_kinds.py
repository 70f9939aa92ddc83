"""Tests, names and a capstone, judged in a notebook and as the grader does."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.calls import Call
from bncheck.form import NoAnswerError, Paid, Question
from bncheck.kinds import KINDS, Notebook
from coursework.questions import capstone, ps3

RIGHT = dict(
    zip(("batchnorm_forward", "batchnorm_backward"), ps3.RIGHT[1], strict=True)
)
NAMES = {"a": "no-eps", "b": "`Eps-Stored` ", "c": "no-beta"}
CAPSTONE = {
    "SEEDS": [0, 1, 2],
    "REPORTED": {s: {"loss": s + 1.0, "gap": 2.0} for s in range(3)},
    "run": lambda seed: {"loss": seed + 1.0, "gap": 2.0},
}


class Graded(Notebook):
    """Stands for the grader: the right names are known, all seeds are run."""

    table, seeds = "told", 20
    names = {"a": "no-eps", "b": "eps-stored", "c": "no-gamma"}  # noqa: RUF012


def judge(question: Question, names: dict, run=Notebook):
    return KINDS[question.kind](question, run(names), Paid())


def rows(forward, backward):
    """Look at the output, at the running mean, and at test mode."""
    x = np.random.default_rng(0).normal(size=(5, 3))
    param = {"mode": "train", "eps": 0.3}
    out, _ = forward(x.copy(), np.ones(3), np.zeros(3), param)
    assert np.allclose(out, (x - x.mean(0)) / np.sqrt(x.var(0) + 0.3))
    assert np.allclose(param["running_mean"], 0.1 * x.mean(0))
    param["mode"] = "test"
    out, _ = forward(x.copy(), np.ones(3), np.zeros(3), param)
    assert np.allclose(out[0], forward(x[:1], np.ones(3), np.zeros(3), param)[0])


def always(forward, backward):
    return False


TESTS = ps3.questions(None, "")[0]


@pytest.mark.parametrize(
    ("names", "state", "said"),
    [
        ({}, "nothing yet", "Paste batchnorm_forward"),
        (RIGHT, "nothing yet", "There is no function test_"),
        (RIGHT | {"test_a": always}, "not yet", "test_a fails on your own functions"),
        (
            RIGHT | {"test_a": rows},
            "not yet",
            "No test of yours finds a mistake in test",
        ),
    ],
)
def test_tests_in_a_notebook(names, state, said):
    result = judge(TESTS, names)
    assert result.state == state
    assert result.sentence.startswith(said)


def test_a_false_alarm_does_not_count_and_the_others_do():
    alone = judge(TESTS, RIGHT | {"test_a": rows})
    both = judge(TESTS, RIGHT | {"test_a": rows, "test_b": always}, Graded)
    assert both.score == alone.score == 4
    assert both.mutants == alone.mutants
    assert both.passed == ["2 of 5 mutants killed, 1 tests count"]


@pytest.mark.parametrize(
    ("names", "state", "score", "said"),
    [
        ("no dict", "nothing yet", 0, "Fill in names"),
        (dict.fromkeys("abc"), "nothing yet", 0, "No listing has a name yet."),
        (NAMES | {"b": None}, "not yet", 1, "Listing b has no name yet."),
        (NAMES | {"b": "x 1"}, "not yet", 1, "The name of listing b is no id"),
        (NAMES, "almost", 2, "Listing c has another bug."),
        (Graded.names, "correct", 3, ""),
    ],
)
def test_names(names, state, score, said):
    result = judge(ps3.questions(None, "")[1], {"names": names}, Graded)
    assert (result.state, result.score) == (state, score)
    assert result.sentence.startswith(said)


def test_a_notebook_does_not_know_the_right_names():
    assert judge(ps3.questions(None, "")[1], {"names": NAMES}).state == "correct"


def fails_for(seed):
    return {"loss": 1 / (1 - seed)}


@pytest.mark.parametrize(
    ("change", "scores", "said"),
    [
        ({}, (5, 3), ""),
        (
            {"run": lambda seed: {"loss": 1.0, "gap": 2.05}},
            (3.33, 3),
            "4 of 6 reported",
        ),
        ({"run": lambda seed: None}, (0, 0), "run(seed) returns None"),
        ({"run": fails_for}, (0, 0), "run stopped with ZeroDivisionError"),
        ({"run": None}, (0, 0), "Fill in"),
        ({"SEEDS": [0, 1, 1]}, (0, 0), "SEEDS needs at least 3"),
        ({"SEEDS": [0, 1, 2, 3]}, (0, 0), "REPORTED needs an entry"),
        ({"REPORTED": {s: {"loss": "x"} for s in range(3)}}, (0, 0), "REPORTED holds"),
        ({"REPORTED": {}}, (0, 0), "Fill in"),
    ],
)
def test_a_capstone(change, scores, said):
    first, second = (
        judge(q, CAPSTONE | change, Graded) for q in capstone.questions(None, "")
    )
    assert (first.score, second.score) == scores
    assert first.sentence.startswith(said)
    assert scores[1] == 3 or second.sentence == first.sentence


def test_a_notebook_runs_the_first_seed_only():
    seen = []
    names = CAPSTONE | {"run": lambda seed: seen.append(seed) or {"loss": 1.0}}
    result = judge(capstone.questions(None, "")[0], names)
    assert seen == [0]
    assert result.sentence == "gap does not come out again for the seed 0."


class Silent(Graded):
    """Gives no answer, as a worker that was killed."""

    def __call__(self, calls):
        raise NoAnswerError("Your code did not finish")

    def verdicts(self, pair):
        return self([Call("test_a", ())])


@pytest.mark.parametrize(
    "asked", [*ps3.questions(None, ""), *capstone.questions(None, "")]
)
def test_no_answer_is_no_points(asked):
    result = judge(asked, dict(RIGHT), Silent)
    assert (result.score, result.state) == (0, "not yet")
    assert result.sentence == "Your code did not finish"


@pytest.mark.parametrize(
    ("chunks", "good"),
    [
        (["SEEDS = [1, 2]", "REPORTED = {1: {'a': -1.5}}", "def run(s): SEEDS"], True),
        (["SEEDS = [1, 2]", "REPORTED = {s: run(s) for s in SEEDS}"], False),
        (["SEEDS = [1]", "SEEDS = [2]"], False),
        (["SEEDS = [1]", "SEEDS.append(2)"], False),
        (["SEEDS = list(range(3))"], False),
    ],
)
def test_what_is_reported_is_written_out(chunks, good):
    said = capstone.computes([("cell", text) for text in chunks])
    assert said == ("" if good else "SEEDS must be written out as numbers.")
