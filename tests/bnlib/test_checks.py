import numpy as np
import pytest

from bnlib import checks as K


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0], [5.0], 1.0),
        ([1.0, 99.0], [2.0, 100.0], 0.01),
        ([1.0, 100.0], [2.0, 99.0], 0.01),
        (3.0, -3.0, 2.0),
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
        ([1.0, 2.0], [1.0, 2.0 + 2e-11], 1e-10, "largest difference below 1e-9"),
        (0.5, 0.5, 1e-10, "dx: largest difference below 1e-12"),
        ([1.0, 2.0], [1.0, 2.0], 1e-6, "dx: largest difference below 1e-6"),
        ([1.0, 2.0], [1.0, 2.1], 0.2, "dx: largest difference above 1e-3"),
        ([1.0, 2.0], [1.0, 2.1], 1e-10, "largest difference at (1,): 2 and 2.1"),
        ([[1.0], [np.nan]], [[1.0], [2.0]], 1e-10, "dx: not equal; relative error"),
        ([np.nan], [np.nan], 1e-10, "dx: not equal; relative error"),
        ([np.inf, 1.0], [1.0, 1.0], 1e-10, "dx: not equal; relative error"),
        (np.ones((2, 1)), np.ones(2), 1e-10, "shapes differ, (2, 1) and (2,)"),
    ],
)
@pytest.mark.filterwarnings("error")  # a warning would stand in the notebook
def test_compare_prints_one_line(capsys, ours, reference, tol, line):
    agree = K.compare("dx", ours, reference, tol)
    printed = capsys.readouterr().out
    assert agree is ("above" in line or "below" in line)
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
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "square: largest difference below 1e-6"
    assert [line.startswith("square: not equal; ") for line in lines[1:]] == [True] * 3


# --- what cannot be compared is a difference, wherever it stands

NAN, INF = float("nan"), float("inf")
DIFFERENT = [
    ([0.0], [NAN]),
    ([NAN], [0.0]),
    ([NAN], [NAN]),
    ([1.0, 0.0, NAN], [1.0, 0.0, 0.0]),
    ([INF], [INF]),
    ([0.0, INF], [0.0, -INF]),
    ([0.0], [INF]),
    ([1e308], [-1e308]),
    ([1.0 + 1e-3j], [1.0]),
    ([1.0 + 2j], [1.0 - 2j]),
    ([complex(0, NAN)], [0j]),
    ([True], [1.0]),
    ([1], [True]),
    ([None], [NAN]),
    ([None], [None]),
    (["1"], ["1"]),
    (np.array([1.0], object), [1.0]),
    ([1.0], np.array([1.0], object)),
    (np.ma.array([1.0, 9.0], mask=[False, True]), [1.0, 9.0]),
    ([], []),
    (np.ones((2, 0)), np.ones((2, 0))),
    ([1.0], 1.0),
    (np.ones((1, 3)), np.ones((3, 1))),
]


@pytest.mark.parametrize("pair", DIFFERENT, ids=str)
@pytest.mark.filterwarnings("error")
def test_what_cannot_be_compared_is_a_difference(pair, capsys):
    for ours, reference in (pair, pair[::-1]):
        assert K.compare("dx", ours, reference) is False
        printed = capsys.readouterr().out
        assert printed.startswith("dx: ")
        assert "below" not in printed
        assert printed.count("\n") == 1
        assert error(ours, reference) in ("inf", printed.removeprefix("dx: ").strip())


def error(ours, reference):
    """Return "inf" where the error is large, or the words in which it is refused."""
    try:
        found = K.relative_error(ours, reference)
    except (TypeError, ValueError) as refusal:
        return str(refusal)
    return "inf" if found > 1e-4 else str(found)


def test_nothing_is_not_agreement(capsys):
    for empty in ([], np.ones((2, 0))):
        assert not K.compare("dx", empty, empty)
        assert "dx: there is nothing to compare" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        ([True, False], [True, False]),
        ([1, 2], [1.0, 2.0]),
        (np.array([250], np.uint8), np.array([250])),
        ([1 + 2j], [1 + 2j]),
        (np.float32(0.5), 0.5),
        ([-0.0], [0.0]),
    ],
)
def test_equal_values_agree_whatever_their_width(ours, reference):
    assert K.compare("dx", ours, reference, tol=0.0)


def test_the_largest_difference_of_unsigned_integers_is_found(capsys):
    ours, reference = np.array([3, 200], np.uint8), np.array([5, 100], np.uint8)
    assert not K.compare("dx", ours, reference)
    assert "error 5.0e-01, largest difference at (1,): 200 and 100" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("f", "x", "words"),
    [
        (lambda x: 1j * x.sum(), [1.0], r"f\(x\) must hold numbers, got complex128"),
        (lambda x: None, [1.0], r"f\(x\) must hold numbers, got object"),
        (lambda x: True, [1.0], r"f\(x\) must hold numbers, got bool"),
        (lambda x: x, [1.0, 2.0], r"one number, got shape \(2,\)"),
        (lambda x: x.sum(), [1j], "x must hold numbers, got complex128"),
        (lambda x: x.sum(), [None], "x must hold numbers, got object"),
        (lambda x: x.sum(), [True], "x must hold numbers, got bool"),
    ],
)
def test_a_numerical_gradient_needs_real_numbers(f, x, words):
    with pytest.raises((TypeError, ValueError), match=words):
        K.numerical_gradient(f, x)


@pytest.mark.filterwarnings("error")
def test_a_numerical_gradient_that_says_nothing_agrees_with_nothing(capsys):
    x = np.array([1e13])  # so large that x + h is x
    assert np.isnan(K.numerical_gradient(lambda x: x.sum(), x)).all()
    assert not K.gradient_check("huge", lambda x: x.sum(), x, [0.0])
    assert not K.gradient_check("nan", lambda x: NAN, [1.0], [NAN])
    assert not K.gradient_check("empty", lambda x: x.sum(), [], [])
    assert not K.gradient_check("bool", lambda x: x.sum(), [1.0], [True])
    assert capsys.readouterr().out.count("\n") == 4


def test_a_function_that_changes_its_argument_has_the_same_gradient():
    def f(x):
        x *= 2
        return (x**2).sum()

    x = np.array([1.0, -3.0])
    np.testing.assert_allclose(K.numerical_gradient(f, x), 8 * x, rtol=1e-7)
    np.testing.assert_array_equal(x, [1.0, -3.0])


def test_the_step_is_the_one_that_was_taken():
    x = np.array([1e9])  # here h = 1e-5 is half of the distance to a neighbour's
    gradient = K.numerical_gradient(lambda x: x.sum(), x)
    np.testing.assert_array_equal(gradient, [1.0])


@pytest.mark.parametrize(
    ("gap", "words"),
    [(0.0, "below 1e-12"), (1e-12, "below 1e-9"), (9e-4, "below 1e-3"),
     (1e-3, "above 1e-3"),
     (1033.4, "1033.4"), (float("nan"), "nan"), (float("inf"), "inf")],
)  # fmt: skip
def test_the_size_of_a_difference_in_words(gap, words):
    assert K.size_of(gap) == words
