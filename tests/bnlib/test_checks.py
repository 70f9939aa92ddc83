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
