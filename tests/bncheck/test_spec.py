"""A question as data: edits, what they give, and what must not pass unseen."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from bncheck.calls import Handle
from bncheck.explain import Evidence
from bncheck.form import Paid, from_json, to_json
from bncheck.judge import judge
from bncheck.kinds import Notebook
from bncheck.spec import Right, mistake, twins

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(p.stem for p in (ROOT / "bncheck" / "chapters").glob("ch*.py"))


def scale(x, factor):
    away = x - x.mean(0)
    root = np.sqrt(factor + 1)
    return factor * away, root


def unscale(dout, root):
    return dout / root + 0 * root


SAYS = {
    "title": "Scaling",
    "when": {"large": "With a large factor"},
    "mistakes": {
        "not-centred": "The mean is missing.",
        "no-root": "The root is missing.",
        "no-factor": "The factor is missing.",
        "changed": "x changes.",
    },
}
MISTAKES = [
    mistake("not-centred", "x - x.mean(0)", "x"),
    mistake("no-root", "np.sqrt(factor + 1)", "factor + 1"),
    mistake("no-factor", "factor * away", "away"),
    mistake("changed"),
]
X = np.random.default_rng(0).normal(3, 1, size=(5, 2))


def right(*mistakes):
    return Right(scale, unscale, says=SAYS, mistakes=mistakes or MISTAKES)


def question():
    made = right()
    forward = ("scale", X, 3.0)
    return made.question(
        "q",
        [
            made.check("values", 1.0, [forward], {"out": 0}),
            made.check("large", 0.5, [("scale", X, 70.0)], {"out": 0}),
            made.check("back", 1.0, [forward, ("unscale", X, Handle(0, 1))], {"dx": 0}),
            made.check("kept", 0.5, [forward], {"x": "arg0"}, whatever=["changed"]),
        ],
    )


def judged(**functions):
    return judge(
        question(), Notebook({"scale": scale, "unscale": unscale, **functions}), Paid()
    )


def test_the_right_functions_are_right():
    result = judged()
    assert (result.score, result.state) == (3.0, "correct")
    assert result.passed == ["values", "large", "back", "kept"]


@pytest.mark.parametrize(
    ("name", "wrong", "cost"),
    [
        ("not-centred", lambda x, f: (f * x, np.sqrt(f + 1)), 1.0),
        ("no-factor", lambda x, f: (x - x.mean(0), np.sqrt(f + 1)), 1.0),
    ],
)
def test_a_mistake_costs_its_dearest_check_and_is_named(name, wrong, cost):
    (finding,) = judged(scale=wrong).findings
    assert (finding.bug, finding.points) == (name, -cost)
    assert finding.sentence == SAYS["mistakes"][name]


def test_a_mistake_upstream_is_not_the_mistake_of_the_function_called():
    back = question().checks[2].expects[0]
    assert back.upstream == ("no-root",)
    assert np.allclose(back.wrong["no-root"], X / 4)
    assert question().checks[0].expects[0].upstream == ()


def test_a_right_gradient_clears_no_mistake_of_the_function_before_it():
    back = question().checks[2]
    run = Notebook({"scale": scale, "unscale": unscale})
    assert Evidence([(back, run(back.calls))], run).refuted == set()


def root_of(factor):
    return np.sqrt(factor + 1)


def scale_by_helper(x, factor):
    return factor * (x - x.mean(0)), root_of(factor)


def test_a_helper_s_mistake_is_one_of_the_functions_that_call_it():
    made = Right(scale_by_helper, root_of, says=SAYS, mistakes=[MISTAKES[1]])
    assert made.places == {"no-root": {"root_of", "scale_by_helper"}}


def test_circumstances_stand_in_the_sentence():
    def odd(x, f):
        return (scale(x, f)[0] + (f > 60), np.sqrt(f + 1))

    assert judged(scale=odd).findings[0].sentence.startswith("With a large factor out")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("x - x.mean(1)", "x", "found it 0 times"),
        ("factor", "1", "found it 2 times"),
        ("root = np.sqrt(factor + 2)", "root = 1", "found it 0 times"),
        ("x - x.mean(0)", "away = x\nroot = 1", "is an expression"),
    ],
)
def test_an_edit_stands_once_and_is_whole(old, new, words):
    with pytest.raises(ValueError, match=words):
        right(mistake("m", old, new))


def test_half_an_expression_is_no_edit():
    with pytest.raises(SyntaxError):
        right(mistake("m", "np.sqrt(factor +", "np.sqrt("))


def test_an_edit_keeps_its_place_in_an_expression():
    made = right(mistake("m", "np.sqrt(factor + 1)", "factor - 1"))
    assert made.wrong["m"]["scale"](X, 3.0)[1] == 2.0


def test_names_are_given_once_and_have_sentences():
    with pytest.raises(ValueError, match="two mistakes"):
        right(
            mistake("m", "x - x.mean(0)", "x"), mistake("m", "x - x.mean(0)", "0 * x")
        )
    made = right(mistake("unheard", "x - x.mean(0)", "x"))
    checks = [made.check("values", 1.0, [("scale", X, 3.0)], {"out": 0})]
    with pytest.raises(ValueError, match="no sentence for unheard"):
        made.question("q", checks)


def test_two_mistakes_that_give_the_same_are_found():
    same = [*MISTAKES, mistake("changed-too", "x - x.mean(0)", "1 * x", of="changed")]
    made = right(*same)
    checks = [made.check("values", 1.0, [("scale", X, 3.0)], {"out": 0})]
    assert twins(made.question("q", checks)) == [("changed-too", "not-centred")]
    alias = [*MISTAKES, mistake("again", "x - x.mean(0)", "1 * x", of="not-centred")]
    made = right(*alias)
    checks = [made.check("values", 1.0, [("scale", X, 3.0)], {"out": 0})]
    assert twins(made.question("q", checks)) == []


def test_a_question_comes_back_from_json():
    asked = from_json(to_json(question()))
    assert asked.sentences == question().sentences
    assert (
        judge(asked, Notebook({"scale": scale, "unscale": unscale}), Paid()).score == 3
    )


def test_float32_is_compared_with_float64():
    made = right()
    check = made.check(
        "single", 1.0, [("scale", X.astype(np.float32), 3.0)], {"out": 0}
    )
    assert check.calls[0].args[0].dtype == np.float32
    assert check.expects[0].value.dtype == np.float64


# --- the questions that are there -----------------------------------------------------


def unseen(question):
    """Return the names of a question's mistakes that no check can find."""
    expects = [e for check in question.checks for e in check.expects]
    seen = {n for e in expects for n in (*e.wrong, *e.whatever)}
    named = set(question.sentences) | set(question.of)
    return named - seen - {question.of.get(n) for n in seen} - {"hint"}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_exercises_tell_their_mistakes_apart_and_use_their_sentences(chapter):
    module = importlib.import_module(f"bncheck.chapters.{chapter}")
    for key, asked in module.exercises().items():
        if asked.kind == "choice":
            continue
        assert twins(asked) == [], key
        assert unseen(asked) == set(), key
        told = module.SAYS[key].get("mistakes", {})
        assert set(told) <= set(asked.sentences), key


def test_general_sentences_are_all_used_and_none_is_missing():
    text = (ROOT / "bncheck" / "says.toml").read_text("utf-8")
    says = tomllib.loads(text)
    code = "\n".join(p.read_text("utf-8") for p in (ROOT / "bncheck").rglob("*.py"))
    known = {*says["told"], *says["open"]}
    assert set(says["own"]) <= set(says["told"])
    assert [n for n in known if f'"{n}"' not in code] == []
    asked = re.findall(r'\b(?:say|told)\(\s*"([a-z-]+)"', code)
    assert len(asked) > 25
    assert set(asked) <= known
