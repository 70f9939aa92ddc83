"""Problem set 3: the right implementations, the mutants, and how hard they are."""

from __future__ import annotations

import numpy as np
import pytest

from bnlib.checks import numerical_gradient
from coursework import keys, sources
from coursework.grader.client import Client
from coursework.grader.engine import Options, grade_one
from coursework.grader.reading import read_submission
from coursework.grader.runner import Runner
from coursework.questions import SETS, ps3

KEY = b"a key for the tests of tests"
MUTANTS = [(s, bug) for s, bugs in ps3.POOL.items() for bug in bugs]


def sample(seed, n=6, d=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 2.0, size=(n, d))
    return x, rng.normal(size=d) + 2, rng.normal(size=d), rng.normal(size=(n, d))


def close(a, b, tol=1e-6):
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and bool((np.abs(a - b) <= tol * (1 + np.abs(b))).all())


# Twelve simple tests, as a student's first ones are; none looks at more than one thing.


def mean_is_zero(forward, backward):
    x = sample(0)[0]
    out, _ = forward(x, np.ones(4), np.zeros(4), {"mode": "train"})
    assert close(out.mean(0), np.zeros(4))


def spread_is_one(forward, backward):
    x = np.random.default_rng(1).normal(3, 2, size=(200, 4))
    out, _ = forward(x, np.ones(4), np.zeros(4), {"mode": "train"})
    assert close(out.std(0), np.ones(4), 1e-2)


def affine_moves_and_scales(forward, backward):
    x, gamma, beta, _ = sample(2, n=200)
    out, _ = forward(x, gamma, beta, {"mode": "train"})
    assert close(out.mean(0), beta, 1e-6)
    assert close(out.std(0), np.abs(gamma), 1e-2)


def statistics_move(forward, backward):
    param = {"mode": "train"}
    forward(*sample(3)[:3], param)
    assert np.abs(param["running_mean"]).max() > 0
    assert np.abs(param["running_var"]).max() > 0


def statistics_settle(forward, backward):
    x, gamma, beta, _ = sample(4)
    mean, var, param = x.mean(0), x.var(0), {"mode": "train"}
    for _ in range(200):
        forward(x.copy(), gamma, beta, param)
    assert close(param["running_mean"], mean, 1e-3)
    assert close(param["running_var"], var, 0.3)


def one_step_is_a_tenth(forward, backward):
    x, gamma, beta, _ = sample(5)
    mean, param = x.mean(0), {"mode": "train"}
    forward(x, gamma, beta, param)
    assert close(param["running_mean"], 0.1 * mean)


def rows_are_independent_in_test_mode(forward, backward):
    x, gamma, beta, _ = sample(6)
    param = {"mode": "test", "running_mean": np.ones(4), "running_var": np.full(4, 2.0)}
    alone, _ = forward(x[:1], gamma, beta, dict(param))
    assert close(forward(x, gamma, beta, dict(param))[0][:1], alone)


def formula_in_test_mode(forward, backward):
    x, gamma, beta, _ = sample(7)
    param = {"mode": "test", "running_mean": np.ones(4), "running_var": np.full(4, 2.0)}
    right = gamma * (x - 1) / np.sqrt(2 + 1e-5) + beta
    assert close(forward(x, gamma, beta, param)[0], right, 1e-3)


def gradient_is_numerical(which):
    def test(forward, backward):
        x, gamma, beta, dout = sample(8)
        args = [x, gamma, beta]

        def loss(value):
            given = [*args[:which], value, *args[which + 1 :]]
            given[0] = given[0].copy()
            return float((dout * forward(*given, {"mode": "train"})[0]).sum())

        _, cache = forward(x.copy(), gamma, beta, {"mode": "train"})
        got = backward(dout.copy(), cache)[which]
        assert close(got, numerical_gradient(loss, args[which]), 1e-4)

    return test


def columns_of_dx_sum_to_zero(forward, backward):
    x, gamma, beta, dout = sample(9)
    _, cache = forward(x, gamma, beta, {"mode": "train"})
    assert close(backward(dout, cache)[0].sum(0), np.zeros(4))


SIMPLE = [
    mean_is_zero, spread_is_one, affine_moves_and_scales, statistics_move,
    statistics_settle, one_step_is_a_tenth, rows_are_independent_in_test_mode,
    formula_in_test_mode, gradient_is_numerical(0), gradient_is_numerical(1),
    gradient_is_numerical(2), columns_of_dx_sum_to_zero,
]  # fmt: skip


def fails(test, pair):
    try:
        with np.errstate(all="ignore"):
            test(*pair)
    except Exception:
        return True
    return False


def kills(bug):
    return sum(fails(test, ps3.implementation(bug)) for test in SIMPLE)


def solution():
    data = (sources.SETS / "ps3.ipynb").read_bytes()
    return read_submission(data, "ps3.ipynb", SETS["ps3"].functions)


def own_tests():
    space: dict = {}
    for label, source in solution().chunks:
        exec(compile(source, label, "exec"), space)
    return {k: f for k, f in space.items() if k.startswith("test_")}


@pytest.mark.parametrize("number", range(3))
def test_a_right_implementation_passes_every_test(number):
    pair = ps3.RIGHT[number]
    for name, test in own_tests().items():
        assert not fails(test, pair), name
    assert not [t.__name__ for t in SIMPLE if fails(t, pair)]


@pytest.mark.filterwarnings("ignore:Degrees of freedom")
@pytest.mark.parametrize(("stratum", "bug"), MUTANTS)
def test_the_worked_solution_kills_each_mutant(stratum, bug):
    assert any(fails(t, ps3.implementation(bug)) for t in own_tests().values())


def test_strata_follow_the_simple_tests():
    """Easy: two or more simple tests see it. Middle: at least one. Hard: none."""
    counts = {s: {b: kills(b) for b in bugs} for s, bugs in ps3.POOL.items()}
    assert min(counts["easy"].values()) >= 2, counts["easy"]
    assert min(counts["middle"].values()) >= 1, counts["middle"]
    assert max(counts["hard"].values()) == 0, counts["hard"]
    means = [np.mean(list(counts[s].values())) for s in ("easy", "middle", "hard")]
    assert means == sorted(means, reverse=True)


def test_the_draw_has_two_easy_six_middle_four_hard():
    seen = set()
    for student in range(40):
        drawn = ps3.draw_mutants(keys.rng(KEY, "mutants", "ps3", str(student)))
        assert len({bug for bug, _ in drawn}) == sum(ps3.STRATA.values())
        for stratum, count in ps3.STRATA.items():
            assert sum(bug in ps3.POOL[stratum] for bug, _ in drawn) == count
        seen.add(tuple(drawn))
    assert len(seen) == 40


@pytest.fixture
def few(monkeypatch):
    """Draw three mutants in place of twelve: each costs two processes or three."""
    monkeypatch.setattr(ps3, "STRATA", {"easy": 1, "middle": 1, "hard": 1})


def grade(source, student="Ada"):
    submission = read_submission(source.encode(), "ps3.py", SETS["ps3"].functions)
    submission = submission._replace(student=student)
    return grade_one(submission, "ps3", KEY, Options(time_limit=5.0))["results"]


GOOD = """
import numpy as np

def test_formula(forward, backward):
    x = np.random.default_rng(0).normal(size=(5, 3))
    param = {"mode": "train", "eps": 0.3}
    out, _ = forward(x, np.full(3, 2.0), np.ones(3), param)
    right = 2 * (x - x.mean(0)) / np.sqrt(x.var(0) + 0.3) + 1
    assert np.abs(out - right).max() < 1e-7
"""


def test_points_are_the_share_of_mutants():
    first = grade(GOOD)[0]
    mutants = first["mutants"]
    assert 0 < len(mutants["killed"]) < 12
    assert first["score"] == pytest.approx(10 * len(mutants["killed"]) / 12, abs=0.01)
    assert len(mutants["killed"]) + len(mutants["missed"]) == 12
    lost = [f for f in first["findings"] if f["category"] == "kill share"]
    assert len(lost) == len(mutants["missed"])


def test_a_test_with_a_false_alarm_is_dropped_and_the_others_count(few):
    alarm = "\ndef test_always(forward, backward):\n    assert False\n"
    result = grade(GOOD + alarm)[0]
    assert result["score"] == grade(GOOD)[0]["score"]
    assert "test_always" in result["findings"][0]["sentence"]
    assert grade(alarm)[0]["score"] == 0


def test_an_exact_comparison_is_a_false_alarm(few):
    exact = GOOD.replace("np.abs(out - right).max() < 1e-7", "(out == right).all()")
    assert grade(exact)[0]["score"] == 0


def test_no_tests_is_nothing_yet():
    assert [r["state"] for r in grade("x = 1")] == ["nothing yet"] * 2


def test_a_test_cannot_read_the_mutants(few):
    """What a test is given only names the grader's function: no source, no closure."""
    source = """
import inspect

def test_read(forward, backward):
    seen = [inspect.getclosurevars(f) for f in (forward, backward)]
    text = str(seen) + str(forward.__code__.co_consts)
    assert not any(w in text for w in ("references", "ddof", "Recipe", "mutant"))
    try:
        inspect.getsource(forward)
    except (OSError, TypeError):
        pass
"""
    result = grade(source)[0]
    assert not [f for f in result["findings"] if f["category"] == "false alarm"]


@pytest.mark.parametrize(
    "line",
    [
        "forward(np.ones((9**5, 1)), np.ones((1, 9**5)), np.ones(1),{'mode': 'train'})",
        "[forward(np.ones((2, 2)), 1, 1, {'mode': 'train'}) for _ in range(9**6)]",
        "backward(np.ones((2, 2)), {'token': 10**9})",
        "_, c = forward(np.ones((1, 9**4)), 1, 1, {'mode': 'train'})\n"
        "    backward(np.ones((9**4, 1)), c)",
        "forward()",
        "forward(None, {}, [], 'train')",
        "backward(forward, {'token': 'x'})",
    ],
)
def test_odd_calls_do_not_harm_the_grader(few, line):
    source = f"import numpy as np\ndef test_odd(forward, backward):\n    {line}\n"
    assert grade(source)[0]["score"] == 0


def test_each_pair_is_tried_twice_in_an_order_of_the_key_in_fresh_processes(
    few, monkeypatch
):
    pairs, starts = [], []
    verdicts, start = Runner.verdicts, Client._greet
    monkeypatch.setattr(
        Runner, "verdicts", lambda self, p: pairs.append(p) or verdicts(self, p)
    )
    monkeypatch.setattr(
        Client, "_greet", lambda self, rules: starts.append(self) or start(self, rules)
    )
    grade(GOOD)
    first = pairs[: 2 * 6]
    assert {pairs.count(p) for p in pairs} <= {2, 3}
    assert len(first) == 12
    assert first[::2] != first[1::2]  # not one after the other
    assert len(starts) >= len(pairs)
    once = list(pairs)
    pairs.clear()
    grade(GOOD, "Bob")
    assert pairs[:12] != once[:12]


def test_what_one_test_alone_kills_it_kills_again(few, monkeypatch):
    """A test that is right twice by luck is not right a third time."""
    seen = {}

    def verdicts(self, pair):
        number = seen[pair] = seen.get(pair, 0) + 1
        lucky = pair not in ps3.RIGHT and number <= 2
        return {"test_dice": ("failed" if lucky else "ok", "")}

    monkeypatch.setattr(Runner, "verdicts", verdicts)
    result = grade(GOOD)[0]
    assert result["score"] == 0
    assert "the same verdict twice" in result["findings"][0]["sentence"]
    assert set(seen.values()) == {2, 3}


def test_a_hundred_tests_are_run_and_a_page_has_thirty_findings(few):
    tests = [f"def test_{i}(f, b):\n    assert {i} < 0\n" for i in range(300)]
    result = grade("\n".join(tests))[0]
    assert len(result["findings"]) == 30
    assert "200 more are not" in result["findings"][0]["sentence"]
    assert result["findings"][-1]["sentence"] == "And 75 more."
    assert sum(f["points"] for f in result["findings"]) == pytest.approx(-10)


def test_names_earn_a_point_each():
    right = dict(zip("abc", ps3.draw_listings(KEY), strict=True))
    assert grade(f"names = {right}")[1]["score"] == 3
    right["b"] = "no-eps" if right["b"] != "no-eps" else "eps-stored"
    result = grade(f"names = {right}")[1]
    assert result["score"] == 2
    assert "Listing b" in result["findings"][0]["sentence"]


def test_the_draw_depends_on_student_and_key():
    a = keys.rng(KEY, "mutants", "ps3", "A")
    b = keys.rng(KEY, "mutants", "ps3", "B")
    c = keys.rng(KEY + b"x", "mutants", "ps3", "A")
    draws = {tuple(ps3.draw_mutants(r)) for r in (a, b, c)}
    assert len(draws) == 3
