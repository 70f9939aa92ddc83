"""The detached gradient: failures, reach, and verdicts that can come out otherwise."""

import needs_torch  # noqa: F401  skips the file without torch
import numpy as np

from experiments import detached, runner
from experiments.claims import rows_where


def test_the_grid_reaches_failure_on_both_sides():
    tuning = runner.load("detached", "tuning")
    for arm in detached.ARMS:
        for lr in (detached.GRID[0], detached.GRID[-1]):
            assert rows_where(tuning, arm=arm, lr=lr)["accuracy"].mean() < 0.5, arm


def test_failures_and_reach_count_by_rate(monkeypatch):
    rates = len(detached.GRID)
    accuracy = np.full((rates, 5), 0.9)
    accuracy[0] = 0.1
    accuracy[-1] = [0.4, 0.4, 0.95, 0.95, 0.95]  # mean 0.73: out of reach
    rows = {
        "arm": np.repeat("mean", rates * 5),
        "lr": np.repeat(detached.GRID, 5),
        "accuracy": accuracy.ravel(),
    }
    monkeypatch.setattr(detached, "load", lambda *_: rows)
    assert detached.failures("mean").tolist() == [100, *[0] * (rates - 2), 40]
    assert detached.reach("mean") == rates - 2


def fake(monkeypatch, scores, reaches):
    monkeypatch.setattr(detached, "of", lambda arm: np.full(8, scores[arm]))
    monkeypatch.setattr(detached, "reach", lambda arm: reaches[arm])
    return [claim.verdict for claim in detached.claims()]


def test_verdicts_follow_scores_and_reach(monkeypatch):
    yes, partly, no = "reproduced", "partly", "not at this size"
    arms = detached.ARMS  # full, mean, var, both, none
    level = fake(monkeypatch, dict.fromkeys(arms, 95.0), dict.fromkeys(arms, 6))
    assert level == [no, no, yes, no, partly]
    scores = dict(zip(arms, (95.0, 85.0, 93.5, 80.0, 92.0), strict=True))
    reaches = dict(zip(arms, (6, 3, 4, 3, 4), strict=True))
    assert fake(monkeypatch, scores, reaches) == [yes, partly, partly, yes, partly]
