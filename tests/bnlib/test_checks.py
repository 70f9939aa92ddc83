import numpy as np
import pytest

from bnlib import checks as K
from bnlib.checks import ALMOST, CORRECT, NOT_YET, NOTHING_YET


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0], [5.0], 1.0),
        ([1.0, 99.0], [2.0, 100.0], 0.01),
        ([1.0, 100.0], [2.0, 99.0], 0.01),
        (3.0, -3.0, 2.0),
        ([], [], 0.0),
    ],
)
def test_relative_error(a, b, error):
    assert K.relative_error(a, b) == pytest.approx(error, abs=1e-15)


def test_relative_error_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"\(3,\) and \(3, 1\)"):
        K.relative_error(np.ones(3), np.ones((3, 1)))


@pytest.mark.parametrize(
    ("ours", "reference", "tol", "line"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1e-12], 1e-10, "dx: agree to 1e-10: True"),
        (0.5, 0.5, 1e-6, "dx: agree to 1e-06: True"),
        ([1.0, 2.0], [1.0, 2.1], 1e-10, "largest difference at (1,): 2 and 2.1"),
        ([[1.0], [np.nan]], [[1.0], [2.0]], 1e-10, "False"),
        ([np.nan], [np.nan], 1e-10, "False"),
        ([np.inf, 1.0], [1.0, 1.0], 1e-10, "False"),
        (np.ones((2, 1)), np.ones(2), 1e-10, "shapes differ, (2, 1) and (2,)"),
    ],
)
@pytest.mark.filterwarnings("error")  # a warning would stand in the notebook
def test_compare_prints_one_line(capsys, ours, reference, tol, line):
    agree = K.compare("dx", ours, reference, tol)
    printed = capsys.readouterr().out
    assert agree is ("True" in line)
    assert printed.startswith("dx: ")
    assert line in printed
    assert printed.count("\n") == 1


def test_numerical_gradient_of_a_known_function():
    x = np.random.default_rng(0).normal(size=(3, 2))
    x.flags.writeable = False
    gradient = K.numerical_gradient(lambda x: (x**3).sum(), x)
    np.testing.assert_allclose(gradient, 3 * x**2, rtol=1e-7)
    as_int = K.numerical_gradient(lambda x: (x**2).sum(), np.array([1, 2]))
    np.testing.assert_allclose(as_int, [2, 4], rtol=1e-7)


def test_gradient_check_accepts_the_right_and_refuses_the_wrong(capsys):
    x = np.array([0.3, -1.2, 2.0])
    right = 2 * x
    assert K.gradient_check("square", lambda x: (x**2).sum(), x, right)
    for wrong in (x, right + 1e-4 * np.eye(3)[1], -right):
        assert not K.gradient_check("square", lambda x: (x**2).sum(), x, wrong)
    assert capsys.readouterr().out.count("square: ") == 4


# --- feedback in four states

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
        (["b"], NOT_YET, "['b']"),
    ],
)
def test_choice_feedback(answer, state, words):
    feedback = K.choice_feedback(answer, "b", WHY, close="c")
    assert feedback.state == state
    assert words in feedback.message


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
        ([1.0, 2.0], NOT_YET, "list"),
    ],
)
def test_number_feedback(answer, state, words):
    known = {1.5: "You used m - 1."}
    feedback = K.number_feedback(answer, 2.0, "Yes.", "Divide by m.", known=known)
    assert feedback.state == state
    assert words in feedback.message


def centre(x):
    return x - x.mean(axis=0)


def in_place(x):
    x -= x.mean(axis=0)
    return x


def broken(x):
    raise IndexError("axis 3")


KNOWN = (
    K.Wrong(lambda x: x - x.mean(), "One mean for each column."),
    K.Wrong(lambda x: x - np.median(x, axis=0), "The mean, not the median.", ALMOST),
)
X = np.random.default_rng(5).normal(size=(5, 3))


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (None, NOTHING_YET, "Write the function"),
        (lambda x: None, NOTHING_YET, "None"),
        (centre, CORRECT, "Well done."),
        (lambda x: centre(x).tolist(), CORRECT, "Well done."),
        (in_place, ALMOST, "changes its input"),
        (lambda x: x - x.mean(), NOT_YET, "One mean for each column."),
        (lambda x: x - np.median(x, axis=0), ALMOST, "median"),
        (lambda x: centre(x) + 0.25, NOT_YET, "differs, most at"),
        (lambda x: centre(x)[:2], NOT_YET, "(2, 3); expected (5, 3)"),
        (lambda x: centre(x) / 0, NOT_YET, "nan or inf"),
        (lambda x: "five", NOT_YET, "str"),
        (lambda x, y: x, NOT_YET, "TypeError"),
        (broken, NOT_YET, "IndexError: axis 3"),
        (3.5, NOT_YET, "float"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero|invalid value:RuntimeWarning")
def test_function_feedback(answer, state, words):
    before = X.copy()
    feedback = K.function_feedback(answer, centre, [(X,)], "Well done.", KNOWN)
    assert feedback.state == state
    assert words in feedback.message
    np.testing.assert_array_equal(X, before)


def test_function_feedback_looks_at_every_input_and_every_result():
    def judge(answer):
        inputs = [(np.zeros((4, 2)),), (X,)]
        return K.function_feedback(
            answer, lambda x: (x.mean(0), x.var(0)), inputs, "Yes.", names=("mu", "var")
        )

    assert judge(lambda x: (x.mean(0), x.var(0))).state == CORRECT
    wrong = judge(lambda x: (x.mean(0), x.var(0, ddof=1)))  # equal on the zeros
    assert wrong.state == NOT_YET
    assert wrong.message.startswith("var differs")
    assert "tuple of 2 results: mu, var" in judge(lambda x: x.mean(0)).message
    assert judge(lambda x: (None, None)).state == NOTHING_YET


def test_the_states_are_four():
    assert K.STATES == ("nothing yet", "almost", "not yet", "correct")
    with pytest.raises(AttributeError):
        K.Feedback(CORRECT, "Yes.").state = NOT_YET
