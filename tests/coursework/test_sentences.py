"""A sentence is true of the submission it is said of, and reads as a sentence."""

from __future__ import annotations

import functools
import re
import tomllib

import pytest
from coursework_bank.bank import BANK
from coursework_bank.entry import mutate, reference
from test_bank import TORCH, drawn, judge_all, judge_entry, needs_torch, run_source
from test_scale import CLOSED, FORWARD, STAGED, STD, edit

import coursework.questions
from bncheck.explain import Evidence
from bncheck.kinds import Notebook
from coursework.keys import VARIANTS

CODE = {
    "autograd", "batchnorm_backward", "beta", "check_gradient", "dbeta", "dgamma",
    "dout", "dx", "forward", "gamma", "mean", "num_batches_tracked", "running_mean",
    "running_var", "state_dict", "var", "weight", "bias", "b2", "b", "W2", "x_hat",
}  # fmt: skip


def capital(text: str) -> bool:
    """Say whether a sentence begins with a capital letter, or with a name of code."""
    first = re.match(r"[\w.]+", text)
    return text[:1].isupper() or bool(first and first[0] in CODE)


@functools.cache
def said(name: str, function: str, old: str, new: str) -> tuple[str, ...]:
    """Return what is said of the reference with one edit."""
    source = edit(reference(name), function, old, new)
    results = judge_all(drawn(name, VARIANTS[name][0]), run_source(source))
    return tuple(f.sentence for r in results for f in r.findings)


@pytest.mark.parametrize("name", ["shared", "ps1", "ps2", "ps3", "ps4", "ps5"])
def test_stored_sentences_begin_with_a_capital(name):
    with open(f"{coursework.questions.__path__[0]}/says/{name}.toml", "rb") as file:
        tables = tomllib.load(file)
    told = [t for table in tables.values() for t in table.get("mistakes", {}).values()]
    assert [t for t in told if not capital(t) or not t.endswith(".")] == []


def test_what_is_told_of_the_bank_begins_with_a_capital():
    odd = [
        (bug.id, finding.sentence)
        for bug in BANK
        if TORCH or not needs_torch(bug)
        for result in judge_entry(bug)
        for finding in result.findings
        if not (capital(finding.sentence) or " stopped with " in finding.sentence)
    ]
    assert odd == []


DX = "dx = (N * g - A - x_hat * B) / (N * std)"
# Edits, and words that are not true of them.
FALSE = [
    # A right gradient has a component along x_hat when eps is large.
    ("ps2", CLOSED, DX, f"{DX}\nif eps > 0.1:\n    dx[0] += 1\n    dx[1] -= 1",
     "component along x_hat"),
    # The variance path is right.
    ("ps2", STAGED, "direct = dx_hat / std", "direct = dx_hat / x.std(axis=0, ddof=1)",
     "Look at the gradient through the variance"),
    ("ps2", STAGED, "dx = dcentred + dmu / N", "dx = 0 * dcentred", "Doubling dout"),
    # It is ten percent off the gradient of its own forward function.
    ("ps2", FORWARD, "var = np.mean(centred**2, axis=0)",
     "var = np.sum(centred**2, axis=0) / (len(x) - 1)",
     "The gradient is right for your own"),
    ("ps1", FORWARD, '"eps", 1e-5', '"eps", 0.1', "no correct digit"),
    ("ps1", FORWARD, STD, STD.replace("+ eps", "- eps"), "does not depend on eps"),
    ("ps1", FORWARD, "out = gamma * x_hat + beta",
     "out = gamma * x_hat + beta\ngamma *= 2", "on x itself"),
    ("ps1", FORWARD, "var = np.mean(centred**2, axis=0)",
     "var = np.mean((x - running_mean) ** 2, axis=0)", "before you square"),
    ("ps1", FORWARD, "out = gamma * x_hat + beta", "out = gamma * x_hat + beta + 0j",
     "array is expected"),
    # float32 loses digits near 1e8, too, but not by a difference of squares.
    ("ps1", "ghost_batchnorm", "part = x[start : start + k]",
     "part = x[start : start + k].astype(np.float32)", "huge numbers"),
    # The same wrong answer twice is no second answer.
    ("ps2", CLOSED, DX, DX.replace("x_hat * B", "1.3 * x_hat * B"), "gave two answers"),
    ("ps2", "check_gradient", "return bool(worst <= tol * size)",
     "return 'no' if worst > tol * size else True", "accepts a gradient"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(FALSE)))
def test_what_is_not_true_is_not_said(number):
    name, function, old, new, words = FALSE[number]
    told = said(name, function, old, new)
    assert told
    assert [t for t in told if words in t] == []


@pytest.mark.parametrize("default", ["0.0", "1e-8", "1e-6", "1e-4", "0.1"])
def test_a_default_of_eps_is_seen_whatever_it_is(default):
    told = said("ps1", FORWARD, '"eps", 1e-5', f'"eps", {default}')
    assert 1 <= len(told) <= 2  # in training mode, and that it has cost its points
    assert all("default of eps is another one" in t for t in told)


def test_a_missing_forward_function_is_not_a_missing_backward_function():
    names = run_source(reference("ps2"))
    del names[FORWARD]
    first, second, *_ = judge_all(drawn("ps2", "ghost"), names)
    for result in (first, second):
        assert result.sentence == "There is no batchnorm_forward yet."
        assert result.state == "nothing yet"


def test_sentences_of_known_mistakes_hold_in_all_checks():
    """Of each entry that is named, each answer that could contradict it agrees."""
    looked = 0
    for bug in BANK[::7]:
        if bug.set != "ps2" or not bug.question:
            continue
        run = Notebook(run_source(mutate(bug)))
        questions = drawn("ps2", bug.variant or "ghost")
        question = next(q for q in questions if q.key == bug.question)
        tried = [(c, run(c.calls)) for c in question.checks]
        evidence = Evidence(tried, run)
        (result,) = (r for r in judge_entry(bug) if r.key == bug.question)
        for bug_told in (f.bug for f in result.findings if f.bug):
            forms = {k for k, root in question.of.items() if root == bug_told}
            looked += 1
            assert {bug_told, *forms} - evidence.refuted
    assert looked >= 8
