"""Every exercise answers stub, solution, wrong and near answers as it should.

The stub and the solution come from the notebook itself; wrong answers and near misses
stand in tests/bncheck/exercise_answers/chNN.py.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import clinic
import contract
import nbformat
import notebooks
import numpy as np
import pytest

import bncheck

ROOT = Path(__file__).resolve().parents[2]
IN_TORCH = re.compile(r"\b(torch|nn)\.")  # an answer written with PyTorch
HAS_TORCH = importlib.util.find_spec("torch") is not None


def chapters() -> list[Path]:
    """List the pages with exercises: all but the clinic's pages of cases."""
    pages = sorted((ROOT / "chapters").glob("*.ipynb"))
    return [path for path in pages if not clinic.PAGE.fullmatch(path.stem)]


def load(path: Path):
    return nbformat.read(path, as_version=4)


def all_exercises() -> list:
    found = []
    for path in chapters():
        for exercise in contract.exercises(load(path)):
            found.append(pytest.param(path, exercise, id=exercise.key))
    return found


def answers(key: str) -> dict:
    """Read the wrong and near answers that the chapter's author wrote."""
    name = f"ch{key.split('.', maxsplit=1)[0]:0>2}"
    path = Path(__file__).parent / "exercise_answers" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"answers_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ANSWERS[key]


def setup_cells(nb) -> list[str]:
    """Return the code before the chapter's first section: its imports."""
    found = []
    for cell in nb.cells:
        if cell.cell_type == "markdown" and re.search(r"^## ", cell.source, re.M):
            break
        labels = notebooks.tags(cell)
        if cell.cell_type != "code" or "colab" in labels:
            continue
        if "torch" not in labels or HAS_TORCH or os.environ.get("CI") == "true":
            found.append(cell.source)
    return found


def judge(path: Path, exercise, source: str):
    """Run an answer after the chapter's imports and give its feedback."""
    if IN_TORCH.search(source) and not HAS_TORCH and os.environ.get("CI") != "true":
        pytest.skip("torch is not installed")
    space = {"np": np, "__name__": "answer"}
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        for cell in setup_cells(load(path)):
            exec(cell, space)
        exec(source, space)
    finally:
        os.chdir(here)
    name = re.search(r'check\("[\d.]+",\s*(\w+)', exercise.check)[1]
    return bncheck.feedback(exercise.key, space[name])


def test_there_are_exercises():
    assert len(all_exercises()) >= 3 * len(chapters()) > 0


@pytest.mark.parametrize(("path", "exercise"), all_exercises())
def test_stub_has_nothing_yet(path, exercise):
    assert judge(path, exercise, exercise.stub).state == "nothing yet"


@pytest.mark.parametrize(("path", "exercise"), all_exercises())
def test_solution_of_the_page_is_correct(path, exercise):
    result = judge(path, exercise, exercise.solution)
    assert result.state == "correct", result.sentence


@pytest.mark.parametrize(("path", "exercise"), all_exercises())
def test_wrong_and_near_answers_are_told_apart(path, exercise):
    given = answers(exercise.key)
    if exercise.kind == "code":
        assert len(given["wrong"]) >= 2, "a code exercise needs two wrong answers"
        assert "near" in given, "a code exercise needs a near miss"
    wrong = [judge(path, exercise, source) for source in given["wrong"]]
    assert wrong, "an exercise needs a wrong answer"
    assert {result.state for result in wrong} == {"not yet"}, wrong
    sentences = [result.sentence for result in wrong]
    if "near" in given:
        near = judge(path, exercise, given["near"])
        assert near.state == "almost", near
        sentences.append(near.sentence)
    for source, words in given.get("named", {}).items():
        assert words in judge(path, exercise, source).sentence, source
    assert all(len(sentence.split()) >= 3 for sentence in sentences)
    if exercise.kind == "code":
        assert len(set(sentences)) == len(sentences), "different faults, same sentence"


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.name[:2])
def test_a_page_says_that_inputs_stay_as_they_are(path):
    cells = load(path).cells
    code = next(i for i, c in enumerate(cells) if re.search(r"\(code, \d", c.source))
    stub = next(i for i in range(code, len(cells)) if cells[i].cell_type == "code")
    while "exercise" not in notebooks.tags(cells[stub]):
        stub += 1
    asked = "\n".join(cell.source for cell in cells[code : stub + 1])
    assert "leave the inputs as they are" in asked.lower()


def questions() -> dict:
    found = {}
    for chapter in {path.name[:2] for path in chapters()}:
        module = importlib.import_module(f"bncheck.chapters.ch{chapter}")
        found |= module.exercises()
    return found


def test_no_sentence_says_the_state_again():
    doubled = re.compile(r"(correct|right|almost|close|not yet)[.:]", re.I)
    told = [
        (key, text)
        for key, asked in questions().items()
        for text in (asked.right, *asked.sentences.values())
    ]
    assert len(told) > 100
    assert [(key, text) for key, text in told if doubled.match(text)] == []


def test_what_a_function_returns_has_a_name_without_an_article():
    results = [(key, r) for key, asked in questions().items() for r in asked.results]
    assert len(results) > 10
    assert [r for r in results if re.match(r"(the|a|an) ", r[1])] == []


NAN = """\
def standardise(train, test):
    mean, std = {mean}(train, axis=0), {std}(train, axis=0)
    std = np.where({flat}, 1.0, std)
    filled = [np.where(np.isnan(z), mean, z) for z in (train, test)]
    filled = {filled}
    return tuple((z - mean) / std for z in filled)
"""
RIGHT = {
    "mean": "np.nanmean",
    "std": "np.nanstd",
    "flat": "std == 0",
    "filled": "filled",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "Both sets meet"),
        ({"filled": "[train, test]"}, "The gaps are still nan"),
        ({"filled": "[filled[0], test]"}, "The gaps of test are still nan"),
        ({"filled": "[train, filled[1]]"}, "The gaps of train are still nan"),
        ({"mean": "np.mean"}, "np.nanmean and np.nanstd leave gaps out"),
        ({"mean": "np.mean", "std": "np.std"}, "np.nanmean and np.nanstd"),
        ({"std": "np.std"}, "np.nanmean and np.nanstd leave gaps out"),
        ({"std": "np.std", "flat": "~(std > 0)"}, "np.nanstd leaves the gaps out"),
    ],
)
def test_a_nan_that_is_left_has_its_cause(change, words):
    space = {"np": np}
    exec(NAN.format(**(RIGHT | change)), space)
    assert words in bncheck.feedback("1.2", space["standardise"]).sentence
