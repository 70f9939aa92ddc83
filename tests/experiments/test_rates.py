"""The windows of learning rates: grid, thresholds, and verdicts both ways."""

import needs_torch  # noqa: F401  skips the file without torch
import numpy as np
import pytest

from experiments import rates, runner
from experiments.claims import rows_where

GRID = np.array(rates.GRID)


def table(**of_arm):
    """Invent a table of windows: for each arm, accuracies over the grid, two seeds."""
    names = ("activation", "norm", "lr", "seed", "accuracy")
    rows = [
        (a, norm, lr, seed, share)
        for a in rates.DEPTHS
        for norm, shares in of_arm.items()
        for lr, share in zip(GRID, shares, strict=True)
        for seed in (0, 1)
    ]
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))


def plateau(first, last, high=0.95):
    """Return accuracies that are high from one place of the grid to another."""
    places = np.arange(len(GRID))
    return np.where((places >= first) & (places <= last), high, 0.1)


@pytest.fixture
def invent(monkeypatch):
    """Return a function that replaces the windows and judges them."""

    def with_arms(**of_arm):
        monkeypatch.setattr(rates, "load", lambda *_: table(**of_arm))
        return [claim.verdict for claim in rates.window_claims()]

    return with_arms


def test_the_grid_reaches_failure_on_both_sides():
    stored = runner.load("rates", "windows")
    for activation in rates.DEPTHS:
        for norm in rates.NORMS:
            own = rows_where(stored, activation=activation, norm=norm)
            for lr in (rates.GRID[0], rates.GRID[-1]):
                shares = rows_where(own, lr=lr)["accuracy"]
                assert shares.max() < 0.5, (activation, norm, lr)


def test_a_window_and_its_top_are_counted(monkeypatch):
    shares = plateau(4, 7)
    shares[8] = 0.82
    monkeypatch.setattr(rates, "load", lambda *_: table(none=shares))
    assert {at: n.tolist() for at, n in rates.widths("relu", "none").items()} == {
        "80 %": [5, 5], "85 %": [4, 4], "90 %": [4, 4],
        "2 points under its best": [4, 4], "5 points under its best": [4, 4],
    }  # fmt: skip
    assert rates.tops("relu", "none")["80 %"].tolist() == [8, 8]
    assert rates.tops("relu", "none")["90 %"].tolist() == [7, 7]


def test_a_wider_window_is_judged_at_every_threshold(invent):
    plain, wide = plateau(4, 7), plateau(4, 9)
    same = invent(none=plain, batch=plain, layer=plain)
    assert set(same) == {"not at this size"}
    better = invent(none=plain, batch=wide, layer=plain)
    assert set(better) == {"reproduced"}
    control = invent(none=plain, batch=wide, layer=wide)
    assert control[2::3] == ["not at this size"] * 2
    lower = invent(none=plain, batch=plateau(2, 7), layer=plain)
    assert lower[:2] == ["reproduced", "not at this size"]


def test_a_window_without_rates_has_a_top_below_any(monkeypatch):
    arms = {"none": plateau(1, 0), "batch": plateau(5, 5), "layer": plateau(1, 0)}
    monkeypatch.setattr(rates, "load", lambda *_: table(**arms))
    gain = rates.gained(rates.tops, "relu", "batch", "none")["90 %"]
    assert gain.tolist() == [np.inf, np.inf]
    gain = rates.gained(rates.tops, "relu", "layer", "none")["90 %"]
    assert gain.tolist() == [0, 0]  # two empty windows do not differ


def test_rates_are_chosen_and_made_smaller():
    names = ("norm", "lr", "seed", "end")
    rows = [
        (norm, lr, seed, 0.9 if lr == best else 0.5)
        for norm, best in (("none", 0.1), ("batch", 1.0))
        for lr in GRID
        for seed in (100, 101)
    ]
    tuning = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    assert rates.best_rates(tuning) == {"none": 0.1, "batch": 1.0}
    assert rates.small_rates(0.1) == (0.0316, 0.01, 0.00316)
    tasks = rates.equal_tasks(lambda _: tuning)
    assert {t["lr"] for t in tasks} == {0.00316, 0.01, 0.0316, 0.1, 1.0}
    assert {t["judged"] for t in tasks} == {"test"}


@pytest.mark.parametrize(
    ("gap", "verdicts"),
    [
        (0.5, ("reproduced", "reproduced")),
        (-3.0, ("not at this size", "not at this size")),
    ],
)
def test_equal_is_judged_by_one_point(monkeypatch, gap, verdicts):
    monkeypatch.setattr(rates, "best_rates", lambda _: {"none": 0.1, "batch": 1.0})
    monkeypatch.setattr(rates, "load", lambda *_: {})
    monkeypatch.setattr(
        rates, "points", lambda norm, *_: np.full(8, 90 + gap * (norm == "batch"))
    )
    end, early, _ = rates.equal_claims()
    assert (end.verdict, early.verdict) == verdicts
