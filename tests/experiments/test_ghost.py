"""Ghost batches and their rivals: statistics without noise, choices, verdicts."""

import numpy as np
import pytest
from needs_torch import torch

from experiments import ghost, nets, rivals, runner
from experiments.claims import rows_where


def test_statistics_of_all_images_are_batch_norm_when_the_batch_is_all(monkeypatch):
    x, y = ghost.few_images(0, torch.float64)
    few = x[: ghost.BATCH_SIZE], y[: ghost.BATCH_SIZE]
    monkeypatch.setattr(ghost, "few_images", lambda *_: few)
    full, whole = (
        ghost.trained(arm, 0.1, 0, 3, torch.float64) for arm in ("full", "256")
    )
    for a, b in zip(full.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_full_statistics_do_not_depend_on_the_batch():
    """Two seeds of batches see the same first-layer statistics at the first step."""
    means = []
    few = ghost.few_images(0)
    for seed in (1, 2):
        rng = np.random.default_rng(0)
        model = nets.mlp(ghost.SIZES, rng, norm=ghost.norm_of("full"))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ghost.train_full(
            model, few, optimizer, steps=1, rng=np.random.default_rng(seed)
        )
        means.append(model[1].running_mean)
    assert torch.equal(*means)


def test_arms_start_alike_and_see_the_same_images():
    nets_ = [ghost.trained(arm, 0.0, 3, 0, torch.float32) for arm in ("4", "full")]
    assert torch.equal(nets_[0][0].weight, nets_[1][0].weight)
    assert torch.equal(ghost.few_images(3)[1], ghost.few_images(3)[1])
    assert not torch.equal(ghost.few_images(3)[1], ghost.few_images(4)[1])


def test_the_grid_reaches_failure_on_both_sides():
    tuning = runner.load("ghost", "tuning")
    for arm in ghost.ARMS:
        own = rows_where(tuning, arm=arm)
        means = {r: rows_where(own, lr=r)["accuracy"].mean() for r in ghost.GRID}
        for end in (ghost.GRID[0], ghost.GRID[-1]):
            assert means[end] < max(means.values()) - 0.1, (arm, end)


def test_the_strengths_reach_too_much():
    tuning = runner.load("rivals", "tuning")
    for rival, strengths in rivals.STRENGTHS.items():
        for group in rivals.GROUPS:
            own = rows_where(tuning, rival=rival, group=group)
            most = rows_where(own, strength=strengths[-1])["accuracy"].max()
            assert most < own["accuracy"].max(), (rival, group)


def test_settings_are_chosen_at_one_rate_or_over_all():
    rows = [
        (rival, group, s, lr, 0.9 - 0.1 * abs(s - strengths[1]) - (lr < 3) * 0.2)
        for rival, strengths in rivals.STRENGTHS.items()
        for group in rivals.GROUPS
        for s in strengths
        for lr in rivals.LRS
    ]
    names = ("rival", "group", "strength", "lr", "accuracy")
    table = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    assert rivals.best(table, "dropout", 16, "common") == (0.3, 0.1)
    assert rivals.best(table, "decay", 256, "own") == (0.003, 3.0)


def fake(monkeypatch, accuracy, losses=(0.001, 0.002, 0.01, 0.1), more=0.0):
    """Replace the tables: accuracy is a function of arm and rate, in percent."""
    loss = dict(zip(("full", "256", "16", "4"), losses, strict=True))

    def of(arm, rate, column="test"):
        return np.full(8, loss[arm] if column == "train_loss" else accuracy(arm, rate))

    gains = more + np.tile([-1.0, 1.0], 12)  # standard error 0.21
    monkeypatch.setattr(ghost, "of", of)
    monkeypatch.setattr(ghost, "more_gains", lambda _: gains)
    return [claim.verdict for claim in ghost.claims()]


def test_verdicts_on_noise_follow_the_gains(monkeypatch):
    found = fake(monkeypatch, lambda arm, rate: 90.0)
    assert found == ["not at this size"] * 12 + ["reproduced"]
    found = fake(monkeypatch, lambda arm, rate: 90.0 + 0.3 * (arm == "16"))
    four = ["partly", "partly", "not at this size", "partly"]
    more = ["not at this size"] * 2
    assert found == [*four, *four, "partly", "partly", *more, "reproduced"]
    found = fake(monkeypatch, lambda arm, rate: 90.0 + (rate == "own") * (arm == "16"))
    assert found[0] == "not at this size"
    assert found[4] == "reproduced"
    same = fake(monkeypatch, lambda arm, rate: 90.0, losses=(0.01, 0.01, 0.02, 0.02))
    assert same[-1] == "partly"
    for more, verdict in ((0.3, "partly"), (0.5, "reproduced")):
        found = fake(monkeypatch, lambda arm, rate: 90.0, more=more)
        assert found[-2] == found[-3] == verdict


@pytest.mark.parametrize(("gain", "verdict"), [(1.0, "reproduced"), (0.0, None)])
def test_verdicts_on_rivals_follow_the_gains(monkeypatch, gain, verdict):
    def of(rival, group, rate):
        return np.full(8, 90.0 + gain * (group == 16) * (rival == "dropout"))

    monkeypatch.setattr(rivals, "of", of)
    found = {c.claim: c.verdict for c in rivals.claims()}
    beside = [v for c, v in found.items() if c.startswith("Beside tuned dropout")]
    assert beside == [verdict or "not at this size"] * 2
    rest = [v for c, v in found.items() if not c.startswith("Beside tuned dropout")]
    assert set(rest) == {"not at this size"}


def test_seeds_over_three_limits_are_counted():
    assert ghost.counts(np.array([0.3, 0.6, 1.2, -1])).endswith("3, 2, 1 of 4")
