"""The control: its grid, its metrics, and verdicts that can come out the other way."""

from itertools import permutations, product

import numpy as np
import pytest

from experiments import rescue, runner
from experiments.claims import rows_where

STEPS = np.array(
    [2, 4, 8, 16, 20, 40, 80, 160, 200, 400, 800, 1600, 4000, 9000, 10_000]
)
GOALS = {0.8: 80, 0.9: 400, 0.95: 1600}  # steps of the plain net, all switches off


@pytest.fixture
def invent(monkeypatch):
    """Return a function that replaces all runs by invented ones."""

    def with_factors(factors, shares=(0.8, 0.9, 0.95), end=0.0, width=0):
        """Divide the steps to some shares by the factors of what is switched on."""

        def curves(activation, norm, start, rate):
            on = {"start": start == "good", "rate": rate != "low"}
            on["batch norm"] = norm == "batch"
            divisor = np.prod([factors.get(s, 1) for s in rescue.SWITCHES if on[s]])
            accuracy = np.full(len(STEPS), 0.1)
            for goal, steps in GOALS.items():
                needed = steps / (divisor if goal in shares else 1)
                accuracy[needed <= STEPS] = goal
            accuracy[STEPS >= 8000] += end * on["batch norm"]
            seeds = np.repeat(np.arange(5.0), len(STEPS))
            return {
                "seed": seeds,
                "step": np.tile(STEPS, 5),
                "accuracy": np.tile(accuracy, 5),
            }

        monkeypatch.setattr(rescue, "curves", curves)
        monkeypatch.setattr(
            rescue, "good_rates", lambda a, norm, s: 3 + width * (norm == "batch")
        )
        return {c.claim: c.verdict for c in rescue.claims()}

    return with_factors


def verdict(verdicts, start):
    """Return the one verdict of the claims that begin with some words."""
    (found,) = {v for claim, v in verdicts.items() if claim.startswith(start)}
    return found


def test_the_grid_reaches_failure_on_both_sides():
    tuning = runner.load("rescue", "tuning")
    assert set(tuning["lr"]) == set(rescue.GRID)
    for (a, n), start in product(rescue.NETS, rescue.STARTS):
        for lr in (rescue.GRID[0], rescue.GRID[-1]):
            own = rows_where(tuning, activation=a, norm=n, start=start, lr=lr)
            assert own["end"].mean() < 0.5, (a, n, start, lr)


def test_a_rate_is_chosen_by_the_end_and_by_speed():
    names = ("activation", "norm", "start", "lr", "end", "to90", "area")
    rows = [
        (a, n, start, lr, *numbers)
        for (a, n), start in product(rescue.NETS, rescue.STARTS)
        for lr in rescue.GRID
        for numbers in [
            {0.1: (0.97, 400, 0.6), 1.0: (0.95, 100, 0.7), 3.0: (0.9, 100, 0.8)}.get(
                lr, (0.1, np.inf, 0.1)
            )
        ]
    ]
    table = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    best = rescue.best_rates(table)
    assert {best[(*key, "end")] for key in [k[:3] for k in best]} == {0.1}
    assert {best[(*key, "speed")] for key in [k[:3] for k in best]} == {3.0}


def test_a_gain_that_is_not_there_is_not_reproduced(invent):
    verdicts = invent({"start": 4, "rate": 4})
    for start in ("The ReLU", "The sigmoid", "Batch norm", "With batch norm more"):
        assert verdict(verdicts, start) == "not at this size"


@pytest.mark.parametrize(
    ("shares", "expected"),
    [((0.8, 0.9, 0.95), "reproduced"), ((0.8,), "partly"), ((), "not at this size")],
)
def test_speed_is_judged_at_three_accuracies(invent, shares, expected):
    verdicts = invent({"batch norm": 2}, shares)
    assert verdict(verdicts, "The ReLU") == verdict(verdicts, "The sigmoid") == expected


def test_area_end_and_width_can_be_reproduced(invent):
    verdicts = invent({"batch norm": 10}, end=0.01, width=2)
    assert verdict(verdicts, "Batch norm raises the mean") == "reproduced"
    assert verdict(verdicts, "Batch norm raises the accuracy") == "reproduced"
    assert verdict(verdicts, "With batch norm more") == "reproduced"
    verdicts = invent({"batch norm": 10}, end=0.004, width=1)
    assert verdict(verdicts, "Batch norm raises the accuracy") == "not at this size"
    assert verdict(verdicts, "With batch norm more") == "not at this size"


@pytest.mark.parametrize("switch", ["start", "rate"])
def test_one_change_alone_is_judged_by_itself(invent, switch):
    words = {"start": "A good start", "rate": "A tuned rate"}
    verdicts = invent({switch: 5})
    for name, start in words.items():
        expected = "reproduced" if name == switch else "not at this size"
        assert verdict(verdicts, start) == expected


def test_the_decomposition_can_come_out_both_ways(invent):
    rescued = invent({"start": 4, "rate": 4, "batch norm": 2})
    assert verdict(rescued, "Start and rate, before") == "reproduced"
    assert verdict(rescued, "Batch norm, before") == "not at this size"
    normed = invent({"start": 2, "batch norm": 10})
    assert verdict(normed, "Start and rate, before") == "not at this size"
    assert verdict(normed, "Batch norm, before") == "reproduced"


def test_factors_add_up_in_every_order_and_depend_on_it():
    off, a, b, c = frozenset(), *(frozenset({s}) for s in rescue.SWITCHES)
    logs = {off: 10.0, a: 6.0, b: 7.0, c: 5.0}  # each alone; two of them: 4; all: 4
    logs |= {a | b: 4.0, a | c: 4.0, b | c: 4.0, a | b | c: 4.0}
    walks = {order: rescue.walk(logs, order) for order in permutations(rescue.SWITCHES)}
    assert all(sum(parts.values()) == 6 for parts in walks.values())
    assert walks["start", "rate", "batch norm"]["batch norm"] == 0
    assert walks["batch norm", "start", "rate"]["batch norm"] == 5
    assert rescue.percent(walks["start", "rate", "batch norm"], "start", "rate") == 100


def test_a_run_that_never_arrives_counts_as_its_last_step(monkeypatch):
    curve = {"seed": np.zeros(2), "step": np.array([10, 512]), "accuracy": np.zeros(2)}
    monkeypatch.setattr(rescue, "curves", lambda *_: curve)
    assert {v.item() for v in rescue.cube("relu", 0.9).values()} == {9.0}
