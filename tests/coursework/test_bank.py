"""The checks of the problem sets, held against a bank of mistakes and right answers."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from coursework_bank.bank import BANK
from coursework_bank.entry import HERE, Bug, mutate, reference

from bncheck.form import Check, Finding, Paid, Question, Result
from bncheck.kinds import KINDS, Notebook
from coursework import keys
from coursework.grader.client import find_confinement
from coursework.grader.confine import NoConfinementError
from coursework.grader.engine import Options, grade_one, veto
from coursework.grader.reading import read_submission
from coursework.questions import SETS

TORCH = importlib.util.find_spec("torch") is not None
NEED_TORCH = ("ps4.q4", "ps5.q3")
KEY = b"a key for the bug bank"
NAMES = ("ps1", "ps2", "ps4", "ps5")
TERMS = [(name, v) for name in NAMES for v in keys.VARIANTS.get(name, ("",))]


def draw(
    name: str, variant: str, key: bytes = KEY, who: str = "anna"
) -> list[Question]:
    """Draw the questions of a set; without torch, those that need none."""
    questions = SETS[name].questions(keys.rng(key, "inputs", name, who), variant)
    return [q for q in questions if TORCH or q.key not in NEED_TORCH]


drawn = functools.cache(draw)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Let torch work in one thread: its sums are small."""
    if TORCH:
        import torch  # noqa: PLC0415

        torch.set_num_threads(1)


@functools.cache
def compiled(source: str) -> Any:
    return compile(source, "file", "exec")


def run_source(*sources: str) -> dict[str, Any]:
    """Run pieces of source and return their names."""
    names: dict[str, Any] = {"np": np}
    for source in sources:
        exec(compiled(source), names)
    return names


def judge_all(questions: list[Question], names: dict[str, Any]) -> list[Result]:
    """Judge the questions of a set in this process, as `grade_one` does in a worker."""
    paid, run = Paid(), Notebook(names)
    return [KINDS[q.kind](q, run, paid) for q in questions]


def lost(results: list[Result]) -> dict[str, list[Finding]]:
    """Return the findings of each question without full marks."""
    return {r.key: r.findings for r in results if r.score < r.points}


def variant_of(bug: Bug) -> str:
    return bug.variant or keys.VARIANTS.get(bug.set, ("",))[0]


@functools.cache
def judge_entry(bug: Bug) -> list[Result]:
    """Judge the set of an entry with its mistake in it."""
    source = mutate(bug)
    results = judge_all(drawn(bug.set, variant_of(bug)), run_source(source))
    for result in results:  # as `grade_one` does
        refuses = SETS[bug.set].vetoes.get(result.key)
        if refuses:
            veto(result, refuses([("file", source)]))
    return results


def costs(results: list[Result], key: str) -> list[Finding]:
    """Return the findings of a question that cost points."""
    return [f for r in results if r.key == key for f in r.findings if f.points < 0]


def catches(question: Question, check: Check, names: dict[str, Any]) -> bool:
    """Say whether a check alone takes points from a solution."""
    (result,) = judge_all([replace(question, checks=(check,))], names)
    return result.score < result.points


def needs_torch(bug: Bug) -> bool:
    return bug.question in NEED_TORCH


def entries(bank: list[Bug]) -> Iterator[Any]:
    """Make parameters; what is open must fail until the grader is mended."""
    for bug in bank:
        marks = [pytest.mark.xfail(reason=bug.open, strict=True)] if bug.open else []
        if needs_torch(bug):
            marks.append(pytest.mark.skipif(not TORCH, reason="needs torch"))
        yield pytest.param(bug, id=f"{bug.set}-{bug.id}", marks=marks)


# --- right answers --------------------------------------------------------------------


@pytest.mark.parametrize(("name", "variant"), TERMS)
def test_reference_gets_full_marks(name, variant):
    results = judge_all(drawn(name, variant), run_source(reference(name)))
    assert not lost(results)
    assert {r.state for r in results} == {"correct"}


def test_bank_is_large_enough_and_its_names_differ():
    assert len(BANK) >= 60
    ids = [(b.set, b.id) for b in BANK]
    assert sorted({i for i in ids if ids.count(i) > 1}) == []


# --- mistakes -------------------------------------------------------------------------


@pytest.mark.parametrize("bug", list(entries(BANK)))
def test_bug_costs_its_points_once_and_is_named(bug):
    results = judge_entry(bug)
    assert set(lost(results)) == {bug.question} - {""}
    found = [f for r in results for f in r.findings]
    if bug.question:
        found = [f for r in results if r.key == bug.question for f in r.findings]
    if bug.bug:
        assert bug.bug in [f.bug for f in found]
    assert not bug.sentence or bug.sentence in " ".join(f.sentence for f in found)
    if bug.only:
        questions, names = drawn(bug.set, variant_of(bug)), run_source(mutate(bug))
        caught = [
            (q.key, c.category)
            for q in questions
            for c in q.checks
            if catches(q, c, names)
        ]
        assert caught == [(bug.question, bug.only)]


# Two mistakes in one entry; a useless checker, which is to cost more than one check.
SEVERAL = ("C01", "C02", "always-true", "always-false", "two-forgotten", "h-squared",
           "one-sided", "x-not-restored")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_known_bug_costs_only_once(name):
    twice = []
    for bug in BANK:
        if bug.set != name or bug.open or not bug.bug or bug.id in SEVERAL:
            continue
        if bug.question in NEED_TORCH and not TORCH:
            continue
        if len(costs(judge_entry(bug), bug.question)) > 1:
            twice.append(bug.id)
    assert twice == []


def checks() -> Iterator[Any]:
    """Make a parameter of each check; open if each entry that only it catches is."""
    for name, variant in TERMS:
        for question in SETS[name].questions(keys.rng(KEY, name), variant):
            varies = question.key in ("ps1.q4", "ps2.q4", "ps4.q5")
            if not varies and variant != keys.VARIANTS.get(name, ("",))[0]:
                continue  # the questions before the variant are the same for each
            term = variant if varies else ""
            for check in question.checks:
                basic = check is question.checks[0]
                mine = [
                    b
                    for b in BANK
                    if (b.question, b.only, b.variant)
                    == (question.key, check.category, term)
                ]
                marks = []
                if mine and not basic and all(b.open for b in mine):
                    marks = [pytest.mark.xfail(reason=mine[0].open, strict=True)]
                yield pytest.param(
                    question.key, check.category, term, basic,
                    id=f"{question.key}-{term}-{check.category}", marks=marks,
                )  # fmt: skip


@pytest.mark.parametrize(("key", "category", "term", "basic"), list(checks()))
def test_check_has_a_bug_that_only_it_catches(key, category, term, basic):
    # That an entry is caught by this check alone is tested with the entry.
    only = [
        b.id
        for b in BANK
        if (b.question, b.only, b.variant) == (key, category, term) and not b.open
    ]
    if not basic:
        assert only
    elif not only:  # what the basic check finds others find, too: it must set the price
        assert dearer_with_it(key, term)


def dearer_with_it(key: str, term: str) -> str:
    """Return an entry that costs more with the basic check of a question."""
    for bug in BANK:
        if bug.question != key or bug.variant != term or bug.open:
            continue
        if key in NEED_TORCH and not TORCH:
            return "not tried"
        names = run_source(mutate(bug))
        question = next(q for q in drawn(bug.set, variant_of(bug)) if q.key == key)
        with_it, without = (
            judge_all([q], names)[0].score
            for q in (question, replace(question, checks=question.checks[1:]))
        )
        if with_it < without:
            return bug.id
    return ""


# --- other ways to be right -----------------------------------------------------------

STYLES = sorted(p for p in (HERE / "styles").iterdir() if p.suffix in (".py", ".ipynb"))


@functools.cache
def style_names(path: Any, name: str) -> dict[str, Any]:
    """Return the names that a submission in this style gives for a set."""
    submission = read_submission(path.read_bytes(), path.name, SETS[name].functions)
    return run_source(*(source for _, source in submission.chunks))


def test_there_are_styles_enough():
    assert len(STYLES) >= 12
    names = [style_names(p, "ps2") for p in STYLES]
    assert all("batchnorm_backward_alt" in n for n in names)
    assert sum("check_gradient" in n for n in names) >= 4
    assert sum("ghost_batchnorm_backward" in n for n in names) >= 4
    assert sum(p.suffix == ".ipynb" for p in STYLES) >= 2


@pytest.mark.parametrize("path", STYLES, ids=lambda p: p.name)
def test_style_gets_full_marks(path):
    judged = 0
    for name in ("ps1", "ps2"):
        names = style_names(path, name)
        for variant in keys.VARIANTS[name]:
            questions = drawn(name, variant)
            questions = [q for q in questions if q.functions[0] in names]
            assert lost(judge_all(questions, names)) == {}
            judged += len(questions)
    assert judged >= 4 * 3 + 3 * 2


# --- many keys ------------------------------------------------------------------------


def stub(source: str) -> str:
    """Make every function, and every method but __init__, return None."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.bases = [
                ast.parse("torch.nn.Module if torch else object").body[0].value
            ]
        if isinstance(node, ast.FunctionDef):
            text = "super().__init__()" if node.name == "__init__" else "return None"
            node.body = ast.parse(text).body if node.name == "__init__" else [
                ast.Return(ast.Constant(None))
            ]  # fmt: skip
    return ast.unparse(ast.fix_missing_locations(tree))


@pytest.mark.parametrize("number", range(30))
def test_references_are_right_and_stubs_are_nothing_with_any_key(number):
    key = f"key number {number} of thirty".encode()
    for name in NAMES:
        questions = draw(name, keys.variant(key, name), key)
        right = judge_all(questions, run_source(reference(name)))
        assert lost(right) == {}
        nothing = judge_all(questions, run_source(stub(reference(name))))
        assert {(r.score, r.state) for r in nothing} == {(0.0, "nothing yet")}


# --- the confined worker --------------------------------------------------------------

THROUGH = [
    *(("ps1", bug_id) for bug_id in ("F01", "R01", "E04")),
    *(("ps2", bug_id) for bug_id in ("B01", "B14-cache", "B15-F01", "sign-blind")),
    ("ps5", "linear-T03-mean"),
]


@pytest.mark.parametrize(("name", "bug_id"), THROUGH)
def test_confined_worker_agrees(name, bug_id):
    try:
        find_confinement()
    except NoConfinementError as error:
        pytest.skip(str(error))
    if "torch" in SETS[name].imports and not TORCH:
        pytest.skip("needs torch")
    (bug,) = [b for b in BANK if (b.set, b.id) == (name, bug_id)]
    source = mutate(bug)
    wanted = SETS[name].functions
    submission = read_submission(source.encode(), "anna.py", wanted)
    report = grade_one(submission, name, KEY, Options())
    questions = draw(name, keys.variant(KEY, name))
    here = judge_all(questions, run_source(source))
    assert report["results"] == [result.as_dict() for result in here]
