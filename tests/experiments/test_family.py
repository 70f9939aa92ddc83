"""Norms in three kinds of nets and in a model of text: causality, grids, verdicts."""

import numpy as np
import pytest
from needs_torch import torch

from experiments import family_nets, family_recurrent, family_text
from experiments.claims import means_of
from experiments.runner import load


def test_arms_start_alike_and_norms_take_their_sets():
    for net, arms in family_nets.ARMS.items():
        nets = [family_nets.build(net, arm, 3, torch.float32) for arm in arms]
        heads = [[*m.modules()][-1].weight for m in nets]
        assert all(torch.equal(heads[0], head) for head in heads)


def test_batch_norm_of_tokens_takes_a_feature_over_examples_and_tokens():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 4, 5)))
    for arm, axes in (("batch", (0, 1)), ("layer", 2), ("instance", 1)):
        y = family_nets.norm_of("transformer", arm, 5).double()(x)
        assert y.mean(axes).abs().max() < 1e-12, arm
    maps = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 4, 5, 2)))
    y = family_nets.norm_of("conv", "rms", 4).double()(maps)
    assert (y.square().mean((1, 2, 3)) - 1).abs().max() < 1e-4


def test_a_token_sees_none_behind_it_but_through_batch_statistics():
    first = family_text.windows("test")[:4, :-1]
    other = first.clone()
    other[:, -1] = (other[:, -1] + 1) % 30
    for arm, mode, leaks in (
        ("layer", True, 0),
        ("batch", False, 0),
        ("batch", True, 1),
    ):
        model = family_text.build(arm, 0, torch.float64).train(mode)
        with torch.no_grad():
            gap = (model(first) - model(other))[:, :-1].abs().max()
        assert (gap > 1e-6) == bool(leaks), arm


def test_windows_do_not_cross_from_one_part_to_another():
    _, text = family_text.characters()
    place = np.arange(len(text)) % family_text.BLOCK
    lengths = {p: int(((place >= a) & (place < b)).sum())
               for p, (a, b) in family_text.ENDS.items()}  # fmt: skip
    assert sum(lengths.values()) == len(text)
    cut = family_text.windows("validation", 1)
    assert len(cut) == 40 * (200 - family_text.LENGTH)
    assert cut[0].tolist() == text[1_600 : 1_600 + 29].tolist()


def test_the_grids_reach_failure_on_both_sides():
    for net, arm in family_nets.PAIRS:
        means = means_of(load("family_nets", "tuning"), "lr", net=net, arm=arm)
        for end in (family_nets.GRID[0], family_nets.GRID[-1]):
            assert means[end] < max(means.values()) - 0.1, (net, arm)
    for arm in family_text.ARMS:
        table = load("family_text", "tuning")
        means = means_of(table, "lr", column="score", arm=arm)
        for end in (family_text.GRID[0], family_text.GRID[-1]):
            assert means[end] < max(means.values()) - 1, arm


@pytest.mark.parametrize(
    ("gain", "verdicts"),
    [(1.5, ("reproduced", "not at this size")), (0.3, ("partly", "reproduced"))],
)
def test_verdicts_on_nets_follow_the_gains(monkeypatch, gain, verdicts):
    order = ("none", "rms", "instance", "layer", "group", "batch")
    places = {arm: i for i, arm in enumerate(order)}
    monkeypatch.setattr(
        family_nets, "of", lambda net, arm: np.full(8, 90 + gain * (places[arm] > 2))
    )
    found = {c.claim: c.verdict for c in family_nets.claims()}
    key = "In the dense net batch norm names more test images than no norm"
    assert found[key] == verdicts[0]
    key = "In the dense net RMS norm is as good as layer norm"
    assert found[key] == verdicts[1]


@pytest.mark.parametrize(("gap", "verdict"), [(0.1, 0), (0.03, 1), (0.0, 2)])
def test_verdicts_on_text_follow_the_losses(monkeypatch, gap, verdict):
    def of(arm, column="loss"):
        worse = arm == "batch" and column == "loss"
        return np.full(5, 2 + gap * worse)

    def noise(data, column):
        return np.full(5, 1 + 5 * gap * (data == "text"))

    monkeypatch.setattr(family_text, "of", of)
    monkeypatch.setattr(family_text, "noise_of", noise)
    words = ("reproduced", "partly", "not at this size")[verdict]
    found = [c.verdict for c in family_text.claims()]
    assert [found[i] for i in (0, 3, 4, 5)] == [words] * 4
    assert found[1:3] == ["not at this size", "reproduced"]


def test_the_verdict_on_shared_statistics_follows_the_points_lost(monkeypatch):
    for lost, verdict in ((3, "reproduced"), (1, "partly"), (0, "not at this size")):
        monkeypatch.setattr(
            family_recurrent,
            "of",
            lambda column, lost=lost: np.full(5, 90.0 - lost * (column == "shared")),
        )
        assert family_recurrent.claims()[0].verdict == verdict
