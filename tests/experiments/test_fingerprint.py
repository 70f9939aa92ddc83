"""The hash of a table's code: it follows what the rows depend on, and nothing else."""

import pytest

from experiments.fingerprint import fingerprint, libraries, parts

LIBRARY = '''
import numpy as np

FACTOR = 2

def twice(x):
    """Double x."""
    return FACTOR * x

def unused(x):
    return np.log(x)
'''
MODULE = """
import torch
from bnlib import tools, more as m
from bnlib.tools import twice
from experiments.runner import Stage

SEEDS = (0, 1)

def run(seed):
    return [{"seed": seed, "value": twice(seed) + m.one(seed)}]

def claims():
    return "a claim in words"

STAGES = (
    Stage("full", run, lambda _: [{"seed": s} for s in SEEDS]),
    Stage("deep", torch.ones, lambda _: [{"seed": tools.twice(3)}]),
)
"""


@pytest.fixture
def book(tmp_path):
    for name in ("bnlib", "experiments"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "bnlib" / "tools.py").write_text(LIBRARY)
    (tmp_path / "bnlib" / "more.py").write_text("def one(x):\n    return 1\n")
    (tmp_path / "experiments" / "trial.py").write_text(MODULE)
    return tmp_path


def change(book, path, old, new):
    """Edit a module; return whether the hash of the table "full" has changed."""
    file = book / path
    before = fingerprint("experiments.trial", "full", book)
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    return fingerprint("experiments.trial", "full", book) != before


TRIAL, TOOLS = "experiments/trial.py", "bnlib/tools.py"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (TRIAL, "twice(seed) +", "twice(seed) -"),
        (TRIAL, "SEEDS = (0, 1)", "SEEDS = (0, 2)"),
        (TRIAL, '"full", run', '"full", claims'),
        (TRIAL, "from bnlib.tools import twice", "from bnlib.more import one as twice"),
        (TOOLS, "FACTOR = 2", "FACTOR = 3"),
        (TOOLS, "FACTOR * x", "FACTOR + x"),
        ("bnlib/more.py", "return 1", "return 2"),
    ],
)
def test_what_the_rows_depend_on_changes_the_hash(book, path, old, new):
    assert change(book, path, old, new)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (TRIAL, "a claim in words", "other words"),
        (TRIAL, "tools.twice(3)", "tools.twice(4)"),
        (TOOLS, "Double x.", "Return two x."),
        (TOOLS, "np.log(x)", "np.exp(x)"),
        (TOOLS, "return FACTOR", "# a comment\n\n    return FACTOR"),
        (TOOLS, "def twice(x):", "def twice(x: float) -> float:"),
    ],
)
def test_words_and_other_code_do_not(book, path, old, new):
    assert not change(book, path, old, new)


def test_a_definition_may_move_to_another_module(book):
    before = fingerprint("experiments.trial", "full", book)
    tools, more = book / "bnlib" / "tools.py", book / "bnlib" / "more.py"
    more.write_text(more.read_text() + tools.read_text())
    tools.write_text("from bnlib.more import FACTOR, twice\n")
    assert fingerprint("experiments.trial", "full", book) == before
    tools.write_text("def twice(x):\n    return x\n")
    assert fingerprint("experiments.trial", "full", book) != before


def test_the_parts_are_named(book):
    names = parts("experiments.trial", "full", book)
    assert {"experiments.trial.run", "bnlib.tools.FACTOR", "bnlib.more.one"} <= set(
        names
    )
    assert not any("unused" in name or "claims" in name for name in names)


def test_a_module_that_is_passed_on_counts_as_a_whole(book):
    file = book / TRIAL
    file.write_text(file.read_text().replace("m.one(seed)", "len(dir(tools))"))
    assert "bnlib.tools.unused" in parts("experiments.trial", "full", book)


def test_libraries_outside_the_book_are_named(book):
    assert libraries("experiments.trial", "deep", book) == {"torch"}
    assert "torch" not in libraries("experiments.trial", "full", book)


def test_a_table_without_a_stage_is_an_error(book):
    with pytest.raises(ValueError, match=r"no Stage\('other', ...\)"):
        fingerprint("experiments.trial", "other", book)
