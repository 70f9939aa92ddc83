"""Nets side by side, small and sorted batches: same nets, choices, verdicts."""

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch.renorm import BatchRenorm1d, BatchRenorm2d
from bnlib.pytorch.variants import GhostBatchNorm1d
from experiments import nets, runner, small_batches, sorted_batches, stacks
from experiments.claims import means_of


def alone(net, norm, seed):
    """Return the same net, written down layer by layer."""
    rng = np.random.default_rng(seed)
    makers = {
        "batch": (nn.BatchNorm1d, nn.BatchNorm2d),
        "renorm": (BatchRenorm1d, BatchRenorm2d),
        "group": (lambda d: nn.GroupNorm(10, d), lambda d: nn.GroupNorm(4, d)),
        "layer": (nn.LayerNorm, lambda d: nn.GroupNorm(1, d)),
        "ghost": (lambda d: GhostBatchNorm1d(d, 3), None),
        "none": (lambda _: nn.Identity(), lambda _: nn.Identity()),
    }[norm]

    def filled(layer, draw, scale):
        layer = layer.double()
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(scale * draw))
            if layer.bias is not None:
                layer.bias.zero_()
        return layer

    layers, bias = [], norm == "none"
    if net == "dense":
        for n_in in (784, 100, 100):
            draw = rng.standard_normal((n_in, 100)).T
            line = nn.Linear(n_in, 100, bias=bias)
            layers += [filled(line, draw, (2 / n_in) ** 0.5), makers[0](100), nn.ReLU()]
        last = 100
    else:
        layers += [nn.Unflatten(1, (1, 28, 28)), nn.AvgPool2d(2)]
        for i, n_in in enumerate((1, 16, 16)):
            draw = rng.standard_normal((16, n_in, 3, 3))
            conv = nn.Conv2d(n_in, 16, 3, padding=1, bias=bias)
            scale = (2 / (9 * n_in)) ** 0.5
            layers += [filled(conv, draw, scale), makers[1](16), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if i == 0 else []
        layers.append(nn.Flatten())
        last = 784
    draw = rng.standard_normal((last, 10)).T
    layers.append(filled(nn.Linear(last, 10), draw, last**-0.5))
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize(
    ("net", "norm"),
    [(n, m) for n in ("dense", "conv") for m in stacks.NORMS] + [("dense", "ghost")],
)
def test_nets_side_by_side_are_the_same_nets_one_at_a_time(net, norm):
    x, y = nets.images("train", torch.float64)
    seeds, rates, steps = (3, 4), (0.02, 0.005), 4
    order = small_batches.orders(seeds)

    def batch(step):
        return order[:, 6 * step : 6 * step + 6].T

    stack = stacks.build(net, norm, seeds, torch.float64, 3)
    losses = stacks.train(stack, (x, y), rates, batch, steps)
    outputs = stack.eval()(x[:20, None].expand(-1, 2, -1))
    for i, (seed, lr) in enumerate(zip(seeds, rates, strict=True)):
        model = alone(net, norm, seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        for step in range(steps):
            own = batch(step)[:, i]
            loss = nn.functional.cross_entropy(model(x[own]), y[own])
            assert abs(loss.item() - losses[step, i]) < 1e-9
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        gap = (model.eval()(x[:20]) - outputs[:, i]).abs().max()
        assert gap < 1e-9


def test_accuracy_counts_each_net_and_no_net_that_is_not_finite():
    x, y = nets.images("test", torch.float64)
    stack = stacks.build("dense", "none", (0, 1), torch.float64).eval()
    found = stacks.accuracy(stack, (x, y), 2)
    assert found[0] == nets.accuracy(alone("dense", "none", 0), (x, y))
    with torch.no_grad():
        stack[-1].weight[1] = np.nan
    assert stacks.accuracy(stack, (x, y), 2).tolist() == [found[0], 0]


def test_every_size_sees_the_same_images():
    order = small_batches.orders((5,))
    assert len(np.unique(order)) == small_batches.IMAGES
    assert all(small_batches.IMAGES % size == 0 for size in small_batches.SIZES)


def test_limits_start_as_batch_norm_and_end_as_in_the_paper():
    assert small_batches.limits(0, 100) == small_batches.limits(20, 100) == (1, 0)
    assert small_batches.limits(40, 100) == pytest.approx((2, 2.5))
    assert small_batches.limits(99, 100) == (3, 5)
    assert small_batches.limits(60, 100) == pytest.approx((3, 5))


def test_batches_hold_the_classes_of_their_kind():
    y = nets.images("train")[1].numpy()
    for kind, counts in (("one", {1}), ("two", {2}), ("mixed", {8, 9, 10})):
        found = sorted_batches.batches(kind, y, (0, 0, 1), 1, 5)
        assert found.shape == (5, 60, 3)
        assert (found[..., 0] == found[..., 1]).all()
        assert (found[..., 0] != found[..., 2]).any()
        for step in range(5):
            assert len(np.unique(found[step, :, 0])) == 60
            assert len(np.unique(y[found[step, :, 0]])) in counts
    two = y[sorted_batches.batches("two", y, (0,), 1, 1)[0, :, 0]]
    assert (np.unique(two, return_counts=True)[1] == 30).all()


def test_the_grids_reach_failure_on_both_sides():
    table = runner.load("small_batches", "tuning")
    for net, norm, size in small_batches.CASES:
        means = means_of(table, "c", net=net, norm=norm, size=size)
        ends = means[small_batches.GRID[0]], means[small_batches.GRID[-1]]
        assert max(ends) < max(means.values()) - 0.1, (net, norm, size)
    table = runner.load("sorted_batches", "tuning")
    for norm in sorted_batches.NORMS:
        for kind in sorted_batches.KINDS:
            means = means_of(table, "lr", norm=norm, kind=kind)
            ends = means[sorted_batches.GRID[0]], means[sorted_batches.GRID[-1]]
            lost = max(means.values()) - max(ends)
            bad = max(means.values()) < 0.2  # batch norm on one class: at no rate
            assert lost > 0.1 or bad, (norm, kind)


def test_verdicts_on_sizes_follow_the_accuracies(monkeypatch):
    def judged(accuracy):
        monkeypatch.setattr(
            small_batches, "of", lambda *where: np.full(8, float(accuracy(*where)))
        )
        return [c.verdict for c in small_batches.claims()]

    yes, part, no = "reproduced", "partly", "not at this size"
    same = judged(lambda *_: 90)
    assert same == [no] * 6 + [yes, yes, no, no]

    def told(net, norm, size, column="accuracy"):
        if (norm, size, net) == ("batch", 2, "dense"):
            return {"accuracy": 50, "precise": 52, "pooled": 60}[column]
        if (norm, size) == ("renorm", 2):
            return 88
        return 90 + 0.3 * (norm == "batch") * (size == 64)

    assert judged(told) == [yes, no, part, part, yes, yes, part, yes, part, yes]


def test_verdicts_on_kinds_follow_the_accuracies(monkeypatch):
    def judged(accuracy):
        monkeypatch.setattr(
            sorted_batches, "of", lambda *where: np.full(8, float(accuracy(*where)))
        )
        return [c.verdict for c in sorted_batches.claims()]

    yes, part, no = "reproduced", "partly", "not at this size"
    same = judged(lambda *_: 90)
    assert same == [no, no, yes, no, no, yes, no, no]

    def told(norm, kind, column="accuracy"):
        if column in ("matched", "unmatched"):
            return 70 if column == "unmatched" else 90
        if (norm, kind, column) == ("batch", "one", "accuracy"):
            return 10
        return {"renorm": 40, "ghost": 16}.get(norm, 85 if kind == "one" else 90)

    assert judged(told) == [yes, yes, no, part, yes, yes, no, yes]
