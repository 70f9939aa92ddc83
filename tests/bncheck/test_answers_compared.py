"""An answer is a value only if all of it is: what is no real number never is."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.calls import Call, Opaque, run_calls
from bncheck.compare import close, same_wrong, where_it_differs
from bncheck.form import Expect

VALUE = np.array([[1.0, 2.0, 0.0], [1.0, 5.0, 1.0]])
ODD = {
    "nan": np.where(VALUE == 5, np.nan, VALUE),
    "inf": np.where(VALUE == 5, np.inf, VALUE),
    "bool": VALUE.astype(bool),
    "object": VALUE.astype(object),
    "complex": VALUE + 1e-12j,
    "complex without an imaginary part": VALUE + 0j,
    "text": VALUE.astype(str),
    "empty": np.zeros((0, 3)),
    "flat": VALUE.ravel(),
    "one": np.float64(1),
    "None": None,
    "opaque": Opaque("complex128"),
    "list": VALUE.tolist(),
    "dict": {"a": VALUE},
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("tol", [0.0, 1e-4, 1e9])
def test_what_is_odd_is_a_difference(name, tol):
    assert not close(ODD[name], VALUE, tol, 1e6)
    expect = Expect(0, 0, VALUE, "out", 1e-4, {"m": VALUE})
    assert not same_wrong(ODD[name], VALUE, expect)


@pytest.mark.parametrize("place", list(np.ndindex(2, 3)))
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_it_is_a_difference_wherever_it_stands(place, odd):
    got = VALUE.copy()
    got[place] = odd
    assert not close(got, VALUE, 1e-4)
    assert close(VALUE + 1e-5, VALUE, 1e-4)
    text = where_it_differs(Expect(0, 0, VALUE, "out"), got, "")
    assert text == "Your out holds nan or inf. Look for a division by zero or a root."


@pytest.mark.parametrize(
    ("got", "value", "same"),
    [
        (True, True, True),
        (np.bool_(True), True, True),
        (np.array(True), True, True),
        (1, True, False),
        (1.0, True, False),
        (True, 1.0, False),
        (np.array(True), np.array(1.0), False),
        (np.array([True]), True, False),
        ("train", "train", True),
        (np.inf, np.inf, True),
        (-np.inf, np.inf, False),
        (np.nan, np.nan, False),
        (np.zeros(0), np.zeros(0), True),
        (None, None, True),
        (0, None, False),
    ],
)
def test_numbers_truth_and_text_are_different_things(got, value, same):
    assert close(got, value, 1e-6) is same


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (VALUE + 1e-12j, "Your out holds complex numbers; real ones are expected."),
        (VALUE.astype(complex), "Your out holds complex numbers"),
        (1j, "Your out holds complex numbers"),
        (VALUE.astype(object), "Your out is of type object"),
        (VALUE.astype(bool), "Your out is of type bool"),
        ({"out": 1}, "Your out is of type dict"),
        ("text", "Your out is of type str"),
        (np.zeros(0), "Your out has shape (0,); (2, 3) is expected."),
    ],
)
def test_what_a_function_returned_is_told(answer, words):
    (outcome,) = run_calls([Call("f", ())], {"f": lambda: answer})
    got = outcome.outputs[0]
    assert not close(got, VALUE, 1e9)
    assert where_it_differs(Expect(0, 0, VALUE, "out"), got, "").startswith(words)
