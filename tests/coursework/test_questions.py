"""The questions as data: no two mistakes alike, none unseen, no sentence unused."""

from __future__ import annotations

import importlib
import tomllib

import numpy as np
import pytest

import coursework.questions
from bncheck.spec import twins
from coursework.keys import VARIANTS
from coursework.questions import SETS
from coursework.questions.shared import sentences

FOLDER = coursework.questions.__path__[0] + "/says"


def drawn(name):
    """Draw all questions of a set, the term variants too."""
    found = {}
    for variant in VARIANTS.get(name, ("",)):
        for question in SETS[name].questions(np.random.default_rng(5), variant):
            found[question.title] = question
    return found


def tables(name):
    with open(f"{FOLDER}/{name}.toml", "rb") as file:
        return tomllib.load(file)


@pytest.mark.parametrize("name", SETS)
def test_no_two_mistakes_of_a_question_are_alike(name):
    for question in drawn(name).values():
        assert twins(question) == [], question.title


@pytest.mark.parametrize("name", SETS)
def test_each_mistake_can_be_seen(name):
    for question in drawn(name).values():
        expects = [e for check in question.checks for e in check.expects]
        seen = {n for e in expects for n in (*e.wrong, *e.whatever)}
        seen |= {n for check in question.checks for n in check.stops}
        named = set(question.sentences) | set(question.of)
        assert named - seen <= {question.of.get(n) for n in seen}, question.title


@pytest.mark.parametrize("name", SETS)
def test_each_sentence_of_a_question_is_used(name):
    titles = drawn(name)
    for key, table in tables(name).items():
        if "title" not in table:  # a table for others
            continue
        question = titles[table["title"]]
        assert set(table.get("mistakes", {})) <= set(question.sentences), key
        told = sentences(name, key)["when"]
        used = {c.category for c in question.checks if c.when}
        assert set(table.get("when", {})) <= used <= set(told), key


def test_each_shared_sentence_is_told_by_a_question_that_takes_it():
    shared = {k: set(table["mistakes"]) for k, table in tables("shared").items()}
    told = {k: set() for k in shared}
    for name in SETS:
        titles = drawn(name)
        for table in (t for t in tables(name).values() if "title" in t):
            named = set(titles[table["title"]].sentences) - set(
                table.get("mistakes", ())
            )
            for k in reversed([k for k in table.get("like", ()) if k in shared]):
                told[k] |= named & shared[k]  # of several tables the last one wins
                named -= shared[k]
    assert told == shared


def test_a_command_shows_what_a_question_knows(monkeypatch, capsys):
    command = importlib.import_module("coursework.questions.__main__")
    monkeypatch.setattr("sys.argv", ["questions"])
    command.main()
    assert len(capsys.readouterr().out.splitlines()) >= 21
    monkeypatch.setattr("sys.argv", ["questions", "ps1.q4"])
    command.main()
    told = " ".join(capsys.readouterr().out.split())
    for question in command.questions()["ps1.q4"]:
        assert all(" ".join(s.split()) in told for s in question.sentences.values())
    monkeypatch.setattr("sys.argv", ["questions", "ps9.q9"])
    with pytest.raises(SystemExit):
        command.main()
    assert "expected one of ps1.q1, " in capsys.readouterr().err
