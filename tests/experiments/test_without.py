"""Nets without batch norm: the same nets one at a time, grids, windows, verdicts."""

from functools import lru_cache

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch.variants import ResidualBlock
from bnlib.pytorch.without import (
    RELU_GAIN,
    BalancedBlock,
    DynamicTanh,
    clip_by_unit,
    standardized,
)
from experiments import clipping, no_norm, runner, tanh_start
from experiments.claims import means_of

FLAT = lru_cache(no_norm.flat_images)
YES, PART, NO = "reproduced", "partly", "not at this size"


@pytest.fixture(autouse=True)
def images_once(monkeypatch):
    """Make the images once for all tests."""
    monkeypatch.setattr(no_norm, "flat_images", FLAT)
    monkeypatch.setattr(clipping, "flat_images", FLAT)


class Scaled(nn.Module):
    """A standardized layer with a scale of each unit, for the block of a number."""

    def __init__(self, weight, number):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.scale = nn.Parameter(torch.ones(len(weight), 1, dtype=weight.dtype))
        self.number = number

    def forward(self, h):
        rows = self.scale * standardized(self.weight, RELU_GAIN)
        return (h / (self.number + 1) ** 0.5).relu() @ rows.T


def filled(draw, sd, bias=False):
    layer = nn.Linear(draw.shape[1], draw.shape[0], bias=bias).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(sd * draw))
        if bias:
            layer.bias.zero_()
    return layer


def alone(arm, blocks, seed):
    """Return the same residual net, written down block by block."""
    rng = np.random.default_rng(seed)
    layers = [filled(rng.standard_normal((32, 196)), 196**-0.5)]
    for number in range(blocks):
        line = filled(rng.standard_normal((32, 32)), (2 / 32) ** 0.5)
        before = {"batch": nn.BatchNorm1d, "tanh": DynamicTanh}.get(arm)
        parts = [before(32).double()] if before else []
        branch = nn.Sequential(*parts, nn.ReLU(), line).double()
        if arm in ("standard", "clipped"):
            branch = Scaled(line.weight.detach(), number)
        if arm == "half":
            layers.append(BalancedBlock(branch))
            continue
        scale = {"root": blocks**-0.5, "skipinit": 0.0}.get(arm, 1.0)
        layers.append(ResidualBlock(branch, scale, learned=arm == "skipinit"))
    last = filled(rng.standard_normal((10, 32)), 32**-0.5, bias=True)
    return nn.Sequential(*layers, nn.ReLU(), last)


def train_alone(net, images, lr, seed, steps, clip=None):
    """Train one net with PyTorch's own optimizer."""
    x, y = images
    batches = no_norm.data.endless_batches(len(y), 64, np.random.default_rng([seed, 1]))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(steps):
        own = next(batches)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[own]), y[own]).backward()
        if clip:
            clip(net)
        optimizer.step()
    return net


def clip_matrices(net):
    """Clip as the arm says: matrices only, without the last layer."""
    weights = [p for name, p in net.named_parameters() if name.endswith("weight")]
    clip_by_unit([p for p in weights if p.ndim == 2][:-1], no_norm.LIMIT)


@pytest.mark.parametrize("arm", no_norm.ARMS)
def test_residual_nets_side_by_side_are_the_same_nets_one_at_a_time(arm):
    images = no_norm.flat_images("train", torch.float64)
    seeds, rates = (3, 4), (0.02, 0.3)
    stack = no_norm.trained(arm, 3, rates, seeds, 4, torch.float64).eval()
    x = images[0][:20]
    outputs = stack(x.expand(2, -1, -1))
    for i, (seed, lr) in enumerate(zip(seeds, rates, strict=True)):
        clip = clip_matrices if arm == "clipped" else None
        net = train_alone(alone(arm, 3, seed), images, lr, seed, 4, clip).eval()
        assert (net(x) - outputs[i]).abs().max() < 1e-9


@pytest.mark.parametrize("arm", clipping.ARMS)
def test_plain_nets_side_by_side_are_clipped_one_at_a_time(arm):
    images = no_norm.flat_images("train", torch.float64)
    seeds, rates = (3, 4), (0.02, 0.5)
    stack, moved = clipping.run(arm, rates, seeds, 4, torch.float64)
    x = images[0][:20]
    outputs = stack.eval()(x.expand(2, -1, -1))
    kind, _, limit = arm.partition(" ")

    def clip(net):
        if kind == "whole":
            nn.utils.clip_grad_norm_(net.parameters(), float(limit))
        if kind == "unit":
            weights = [p for p in net.parameters() if p.ndim == 2]
            clip_by_unit(weights[:-1], float(limit))

    for i, (seed, lr) in enumerate(zip(seeds, rates, strict=True)):
        rng = np.random.default_rng(seed)
        layers = []
        for n_in in (196, *[64] * 9):
            layers.append(filled(rng.standard_normal((64, n_in)), (2 / n_in) ** 0.5))
            layers += [nn.BatchNorm1d(64).double()] if arm == "batch" else []
            layers.append(nn.ReLU())
        last = filled(rng.standard_normal((10, 64)), 64**-0.5, bias=True)
        net = nn.Sequential(*layers, last)
        train_alone(net, images, lr, seed, 4, clip)
        # PyTorch adds 1e-6 to the length by which it divides
        assert (net.eval()(x) - outputs[i]).abs().max() < 1e-5
    assert (moved > 0).all()
    if kind == "unit":
        assert moved[1] <= 0.5 * float(limit) * 1.001


def test_the_plain_net_of_dynamic_tanh_has_it_before_each_relu():
    stack = tanh_start.build("plain", 2.0, (0,), torch.float64)
    kinds = [type(layer).__name__ for layer in stack]
    assert kinds == [*["Side", "SideTanh", "ReLU"] * 10, "Side"]
    assert all(m.alpha.item() == 2 for m in stack if hasattr(m, "alpha"))


def test_the_transformer_has_dynamic_tanh_for_each_norm(monkeypatch):
    monkeypatch.setattr(tanh_start.family_nets, "STEPS", 1)
    model = tanh_start.transformer(0.5, 0.01, 8)
    found = [m for m in model.modules() if isinstance(m, DynamicTanh)]
    assert len(found) == 4
    assert {m.dim for m in found} == {-1}


def fails_at_both_ends(table, grid, **where):
    means = means_of(table, "lr", **where)
    return max(means[grid[0]], means[grid[-1]]) < max(means.values()) - 0.1


def test_the_grids_reach_failure_on_both_sides():
    table = runner.load("no_norm", "tuning")
    for depth in no_norm.DEPTHS:
        for arm in no_norm.ARMS:
            best = max(means_of(table, "lr", arm=arm, depth=depth).values())
            ends = fails_at_both_ends(table, no_norm.GRID, arm=arm, depth=depth)
            assert ends or best < 0.2, (arm, depth)  # fails at every rate
    for name in ("tuning", "windows"):
        table = runner.load("clipping", name)
        for arm in clipping.ARMS:
            assert fails_at_both_ends(table, clipping.GRID, arm=arm), arm
    table = runner.load("tanh_start", "tuning")
    for net, alpha in tanh_start.CASES:
        best = max(means_of(table, "lr", net=net, alpha=alpha).values())
        ends = fails_at_both_ends(table, tanh_start.GRID, net=net, alpha=alpha)
        assert ends or best < 0.2, (net, alpha)


def test_verdicts_of_remedies_follow_the_accuracies(monkeypatch):
    def judged(accuracy):
        monkeypatch.setattr(
            no_norm, "of", lambda *where: np.full(8, float(accuracy(*where)))
        )
        return [c.verdict for c in no_norm.claims()]

    assert judged(lambda *_: 90) == [NO, *[YES] * 12]

    def told(arm, depth):
        lost = {"root": 0.5, "half": 2 + depth, "skipinit": 2, "tanh": depth / 20}
        return 10 if arm == "none" else 90 - lost.get(arm, 0)

    expected = [YES, YES, YES, NO, NO, NO, YES, YES, YES, YES, YES, PART, YES]
    assert judged(told) == expected


def test_windows_count_rates_and_find_the_last_one(monkeypatch):
    rows = [
        (arm, lr, seed, 0.75 if 2 <= i <= 2 + 3 * (arm == "batch") else 0.1, 0.01 * i)
        for arm in clipping.ARMS
        for seed in clipping.SEEDS
        for i, lr in enumerate(clipping.GRID)
    ]
    names = ("arm", "lr", "seed", "accuracy", "moved")
    table = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    monkeypatch.setattr(clipping, "load", lambda *_: table)
    counts, tops = clipping.window("batch", 0.7)
    assert (counts == 4).all()
    assert (tops == 5).all()
    counts, tops = clipping.window("batch", 0.8)
    assert (counts == 0).all()
    assert (tops == -1).all()
    np.testing.assert_allclose(clipping.moved_at_top("none", 0.7), 0.02)
    assert np.isnan(clipping.moved_at_top("none", 0.8)).all()
    np.testing.assert_allclose(clipping.median_accuracy("none")[1:3], [10, 75])


def test_verdicts_on_clipping_follow_the_windows(monkeypatch):
    def judged(window, moved, accuracy):
        monkeypatch.setattr(
            clipping,
            "window",
            lambda arm, share: tuple(np.full(5, v) for v in window(arm, share)),
        )
        monkeypatch.setattr(clipping, "moved_at_top", lambda arm, _: np.full(5, moved))
        monkeypatch.setattr(clipping, "of", lambda arm: np.full(8, accuracy[arm[:4]]))
        return [c.verdict for c in clipping.claims()]

    level = dict.fromkeys(("none", "whol", "unit", "batc"), 90.0)
    assert judged(lambda *_: (3, 4), 0.01, level) == [YES] * 4 + [NO, YES]

    def told(arm, share):
        wide = {"none": (3, 4), "batch": (5, 7), "unit 0.1": (4, 8)}
        return wide.get(arm, (4, 5 + 2 * (share < 0.75)))

    told_levels = level | {"unit": 88.0}
    assert judged(told, 0.01, told_levels) == [PART, NO, YES, NO, NO, PART]


def test_verdicts_on_starts_follow_the_accuracies(monkeypatch):
    lost = {"transformer": 2, "residual": 0, "plain": 40}

    def told(net, alpha):
        return np.full(8, 90 - lost[net] - 3.0 * (net == "plain") * (alpha == 0.25))

    monkeypatch.setattr(tanh_start, "of", told)
    monkeypatch.setattr(tanh_start, "partner", lambda net: np.full(8, 90.0))
    verdicts = [c.verdict for c in tanh_start.claims()]
    assert verdicts == [NO, YES, YES, YES, NO, NO, YES, NO]
