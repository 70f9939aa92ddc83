"""Feedback in four states, on numbers, letters and functions."""

from __future__ import annotations

import numpy as np
import pytest

import bncheck
from bncheck.chapters import choice, function, number
from bncheck.compare import apart, close, where_it_differs
from bncheck.form import ALMOST, CORRECT, MARKS, NOT_YET, NOTHING_YET, Expect, Paid
from bncheck.kinds import KINDS, Notebook, _given
from bncheck.spec import Right, mistake


def judge(question, answer):
    run = Notebook({question.functions[0]: answer})
    return KINDS[question.kind](question, run, Paid())


WHY = {"a": "Mean first.", "b": "Right.", "c": "Near: the divisor."}


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (None, NOTHING_YET, "'a', 'b', 'c'"),
        ("b", CORRECT, "Right."),
        (" B\n", CORRECT, "Right."),
        ("a", NOT_YET, "Mean first."),
        ("c", ALMOST, "the divisor"),
        ("d", NOT_YET, "'d'"),
        (2, NOT_YET, "2"),
        (["b"], NOT_YET, "list"),
    ],
)
def test_a_letter(answer, state, words):
    result = judge(choice(WHY, "b", near=("c",)), answer)
    assert result.state == state
    assert words in result.sentence


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (None, NOTHING_YET, "None"),
        (2.0, CORRECT, "Yes."),
        (np.float32(2.0005), CORRECT, "Yes."),
        (np.array(2), CORRECT, "Yes."),
        (2.1, ALMOST, "Divide by m."),
        (1.5, NOT_YET, "You used m - 1."),
        (9, NOT_YET, "Divide by m."),
        (float("nan"), NOT_YET, "nan"),
        ("two", NOT_YET, "'two'"),
        ("2.0", NOT_YET, "got str"),
        (True, NOT_YET, "True"),
        (2.0 + 0j, NOT_YET, "complex"),
        ([1.0, 2.0], NOT_YET, "[1., 2.]"),
    ],
)
def test_a_number(answer, state, words):
    says = {
        "right": "Yes.",
        "hint": "Divide by m.",
        "mistakes": {"m": "You used m - 1."},
    }
    result = judge(number(says, 2.0, {"m": 1.5}), answer)
    assert result.state == state
    assert words in result.sentence


def test_zero_is_measured_against_one():
    says = {"right": "Yes.", "hint": "No.", "mistakes": {"zero": "Not zero."}}
    assert judge(number(says, 0.0), 1e-4).state == CORRECT
    assert judge(number(says, 0.0), 0.05).state == ALMOST
    assert judge(number(says, 2.0, {"zero": 0.0}), 1e-5).sentence == "Not zero."


def centre(x):
    mu = x.mean(0)
    return x - mu


def in_place(x):
    x -= x.mean(axis=0)
    return x


def broken(x):
    raise IndexError("axis 3")


X = np.random.default_rng(5).normal(size=(5, 3))
SAYS = {
    "right": "Well done.",
    "mistakes": {"one": "One mean for each column.", "median": "Not the median."},
}
CENTRE = Right(centre, says=SAYS, mistakes=[
    mistake("one", "x.mean(0)", "x.mean()"),
    mistake("median", "x.mean(0)", "np.median(x, axis=0)", near=True),
])  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (None, NOTHING_YET, "Write the function"),
        (lambda x: None, NOTHING_YET, "None"),
        (centre, CORRECT, "Well done."),
        (lambda x: centre(x).tolist(), CORRECT, "Well done."),
        (lambda x: centre(x)[:, None], ALMOST, "Drop keepdims"),
        (in_place, ALMOST, "changes its input"),
        (lambda x: x - x.mean(), NOT_YET, "One mean for each column."),
        (lambda x: x - np.median(x, axis=0), ALMOST, "median"),
        (lambda x: centre(x) + 0.25, NOT_YET, "differs, most at"),
        (lambda x: centre(x) + 0j, NOT_YET, "Your y holds complex numbers"),
        (lambda x: centre(x).astype(object), NOT_YET, "type object"),
        (lambda x: centre(x) > 0, NOT_YET, "type bool"),
        (lambda x: np.zeros((0, 3)), NOT_YET, "(0, 3); (5, 3) is expected"),
        (lambda x: np.where(x > x.min(), centre(x), np.nan), NOT_YET, "nan or inf"),
        (lambda x: centre(x)[:2], NOT_YET, "(2, 3); (5, 3) is expected"),
        (lambda x: centre(x) / 0, NOT_YET, "nan or inf"),
        (lambda x: "five", NOT_YET, "str"),
        (lambda x, y: x, NOT_YET, "TypeError"),
        (broken, NOT_YET, "IndexError: axis 3"),
        (3.5, NOT_YET, "got float. Give its name alone, without brackets"),
        ((X, X[:2]), NOT_YET, "got tuple. Give its name alone, without brackets"),
        (centre(X), NOT_YET, "got ndarray. Give its name alone, without brackets"),
        (lambda x: centre(x) * (1 + 2e-6), NOT_YET, "instead of"),
    ],
)
def test_a_function(answer, state, words):
    before = X.copy()
    result = judge(function(CENTRE, ("y",), [(X,)]), answer)
    assert result.state == state
    assert words in result.sentence
    np.testing.assert_array_equal(X, before)


HOLES = np.where(X > 1, np.nan, X)
assert np.isnan(HOLES).any()


def filled(x):
    return np.where(np.isnan(x), 0.0, x)


def filled_in_place(x):
    x[np.isnan(x)] = 0.0
    return x


def moved_in_place(x):
    y = filled(x)
    x += 1.0
    return y


@pytest.mark.parametrize("answer", [filled_in_place, moved_in_place])
def test_an_input_with_gaps_may_not_be_changed_either(answer):
    asked = function(Right(filled, says={"right": "Yes."}), ("y",), [(HOLES,)])
    assert judge(asked, filled).state == CORRECT
    result = judge(asked, answer)
    assert result.state == ALMOST
    assert "changes its input. Make a new array first" in result.sentence


@pytest.mark.parametrize(
    ("mine", "right", "told"),
    [
        (1.5, 2.5, ("1.5", "2.5")),
        (1.37822, 1.37831, ("1.3782", "1.3783")),
        (1.0, 1.0 + 1e-9, ("1", "1.000000001")),
        (0.1 + 0.2, 0.3, ("0.30000000000000004", "0.29999999999999999")),
        (np.inf, 3.0, ("inf", "3")),
    ],
)
def test_two_numbers_that_differ_are_told_with_digits_that_differ(mine, right, told):
    assert apart(mine, right) == told


def where_it_stands(step, accuracy):
    below = np.flatnonzero(accuracy < 0.5)
    at = below[-1] + 1 if len(below) else 0
    return float(step[at]) if at < len(step) else np.inf


def test_none_for_one_input_is_told_with_that_input():
    right = Right(where_it_stands, says={"right": "Yes."})
    step = np.array([1.0, 2.0])
    inputs = [(step, np.array([0.25, 0.75])), (step, np.array([0.75, 0.25]))]
    asked = function(right, ("step",), inputs)

    def answer(steps, accuracy):
        found = where_it_stands(steps, accuracy)
        return found if found < np.inf else None

    told = judge(asked, answer)
    assert told.state == NOT_YET
    assert told.sentence == (
        "Your function returned None for steps = [1, 2], accuracy = [0.75, 0.25]."
    )
    assert judge(asked, lambda *given: None).state == NOTHING_YET


def test_a_result_that_is_none_for_one_input_only():
    right = Right(moments, says={"right": "Yes.", "mistakes": {}})
    asked = function(right, ("mu", "var"), [(X,), (X[:2, :2],)])
    told = judge(asked, lambda x: (x.mean(0), x.var(0) if len(x) > 2 else None))
    assert told.sentence == (
        "A result of your function is None for x = an array of shape (2, 2)."
    )
    always = judge(asked, lambda x: (x.mean(0), None))
    assert always.sentence.startswith("Your var is missing")


def test_of_many_arguments_those_are_named_that_are_no_arrays():
    def f(x, mean, training, rho):
        return x

    assert _given(f, (X, X[0], False, 0.3)) == "training = False, rho = 0.3"
    assert _given(max, (X, np.arange(3.0))) == ("an array of shape (5, 3), [0, 1, 2]")


def moments(x):
    return x.mean(0), x.var(0)


def test_every_input_and_every_result_of_a_function_counts():
    right = Right(moments, says={"right": "Yes.", "mistakes": {}})
    asked = function(right, ("mu", "var"), [(np.zeros((4, 2)),), (X,)])
    assert judge(asked, moments).state == CORRECT
    wrong = judge(asked, lambda x: (x.mean(0), x.var(0, ddof=1)))  # equal on the zeros
    assert wrong.state == NOT_YET
    assert wrong.sentence.startswith("Your var differs")
    assert "tuple of 2 results: mu, var" in judge(asked, lambda x: x.mean(0)).sentence
    assert judge(asked, lambda x: (None, None)).state == NOTHING_YET


def infinite(x):
    return np.inf * x


def test_an_infinite_result_is_right_only_if_it_is_infinite():
    asked = function(Right(infinite, says={"right": "Yes."}), ("y",), [(np.ones(2),)])
    assert judge(asked, lambda x: x * np.inf).state == CORRECT
    assert judge(asked, lambda x: x * -np.inf).state == NOT_YET
    assert judge(asked, lambda x: x).state == NOT_YET


def test_the_states_are_four():
    assert set(MARKS) == {"nothing yet", "almost", "not yet", "correct"}


@pytest.mark.parametrize(
    ("key", "answer", "line"),
    [
        ("3.1", None, "○ Exercise 3.1, nothing yet: Replace None by a number."),
        ("3.1", 1.5, "✗ Exercise 3.1, not yet: That uses the divisor m - 1 = 3."),
        ("3.9", 1, "✗ Exercise 3.9, not yet: this could not be checked: there is no"),
        ("99.1", 1, "✗ Exercise 99.1, not yet: this could not be checked: there is no"),
    ],
)
def test_check_prints_one_line_and_never_stops(capsys, key, answer, line):
    bncheck.check(key, answer)
    printed = capsys.readouterr().out
    assert printed.startswith(line)
    assert printed.count("\n") == 1


NAN = float("nan")


@pytest.mark.parametrize(
    ("got", "value"),
    [
        (np.array([NAN]), np.array([0.0])),
        (np.array([NAN]), np.array([NAN])),
        (np.array([0.0]), np.array([NAN])),
        (np.array([True]), np.array([1.0])),
        (np.array([1.0]), np.array([True])),
        (np.True_, 1.0),
        (True, 1.0),
        (1.0, True),
        (np.array([1.0 + 1e-12j]), np.array([1.0])),
        (np.array([None]), np.array([NAN])),
        (np.array([1.0], object), np.array([1.0])),
        (np.array(["1"]), np.array([1.0])),
        (np.array([]), np.array([1.0])),
        (np.ones((0, 2)), np.ones(0)),
        (np.ones((2, 1)), np.ones(2)),
        (np.ones(1), 1.0),
        (np.array([np.inf]), np.array([-np.inf])),
        ([np.ones(2), np.ones(0)], [np.ones(2), np.ones(1)]),
    ],
    ids=str,
)
def test_an_answer_of_another_kind_is_not_the_value(got, value):
    assert not close(got, value, 1.0)


def test_an_answer_of_the_same_kind_is_the_value():
    for got, value in [(np.array([1]), np.array([1.0])), (True, True), (np.True_, True),
                       (np.ones(0), np.ones(0)),
                       (np.array([True]), np.array([True])), (np.float32(2), 2.0),
                       (np.array([np.inf]), np.array([np.inf]))]:  # fmt: skip
        assert close(got, value, 0.0)


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (np.array([True]), "is of type bool; an array of plain numbers"),
        (np.array([1j]), "holds complex numbers; real ones"),
        (True, "is of type bool; an array of plain numbers"),
    ],
)
def test_the_sentence_names_the_kind_of_an_answer(got, said):
    value = np.ones(np.shape(got))
    sentence = where_it_differs(Expect(0, 0, value, "dx", 1e-6), got, "")
    assert sentence.removesuffix(" is expected.").removesuffix(" are expected.") == (
        f"Your dx {said}"
    )
