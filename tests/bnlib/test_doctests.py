"""The examples in the docstrings must print what they say."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import bnlib

MODULES = [m.name for m in pkgutil.iter_modules(bnlib.__path__, "bnlib.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    examples = [e for m in modules for t in finder.find(m) for e in t.examples]
    assert len(examples) >= 3
