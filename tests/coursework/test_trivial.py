"""Functions that do nothing useful earn nothing, whatever they return."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from bncheck.form import Paid
from bncheck.kinds import KINDS, Notebook
from coursework import keys
from coursework.keys import VARIANTS
from coursework.questions import SETS

pytestmark = pytest.mark.slow

TORCH = importlib.util.find_spec("torch") is not None
TRIVIAL = {
    "first argument": lambda *a, **k: a[0],
    "first argument and None": lambda *a, **k: (a[0], None),
    "all arguments": lambda *a, **k: a,
    "zeros": lambda *a, **k: (np.zeros(np.shape(a[0])), {}, 0),
    "ones": lambda *a, **k: (np.ones(np.shape(a[0])), None),
    "true": lambda *a, **k: True,
    "false": lambda *a, **k: False,
    "nan": lambda *a, **k: np.full(np.shape(a[0]), np.nan),
    "two numbers": lambda *a, **k: (0.0, 1.0),
    "three numbers": lambda *a, **k: (0.0, 0.0, 0.0),
    "huge": lambda *a, **k: np.ones(10**7),
    "text": lambda *a, **k: "right",
    "object": lambda *a, **k: object(),
    "empty": lambda *a, **k: np.zeros(0),
    "beta": lambda *a, **k: (np.zeros_like(a[0]) + a[2], None),
}
CASES = [
    (name, variant, way)
    for name in ("ps1", "ps2", "ps4", "ps5")
    for variant in VARIANTS.get(name, ("",))
    for way in TRIVIAL
]


@pytest.mark.parametrize(("name", "variant", "way"), CASES)
def test_a_trivial_function_earns_nothing(name, variant, way):
    namespace = dict.fromkeys(SETS[name].functions, TRIVIAL[way])
    paid, run = Paid(), Notebook(namespace)
    for question in SETS[name].questions(keys.rng(b"trivial" * 3, name), variant):
        if question.key in ("ps4.q4", "ps5.q3") and not TORCH:
            continue
        result = KINDS[question.kind](question, run, paid)
        assert result.score == 0, (question.key, result)
