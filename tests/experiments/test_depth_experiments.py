"""The experiments on depth: nets, readers, and verdicts that can come out otherwise."""

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch.measure import effective_rank, mean_cosine
from experiments import affine, collapse, depths, explosion, nets, order, residual
from experiments.claims import NOT_HERE, PARTLY, REPRODUCED, rows_where
from experiments.runner import load


def table(rows):
    """Make a table of rows that are dicts."""
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def verdicts(module):
    return [claim.verdict for claim in module.claims()]


# --- explosion ------------------------------------------------------------------------


def test_the_constants_agree_with_other_ways_to_compute_them():
    assert explosion.large_batch_factor("relu") == pytest.approx(
        np.pi / (np.pi - 1), rel=1e-5
    )
    assert explosion.large_batch_factor("identity") == pytest.approx(1, rel=1e-9)
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    weights /= weights.sum()
    variance = weights @ np.tanh(z) ** 2
    slope = weights @ (1 - np.tanh(z) ** 2) ** 2
    tanh = explosion.large_batch_factor("tanh")
    assert tanh == pytest.approx(slope / variance, rel=1e-6)
    assert explosion.identity_factor(8) == 1.2


def test_growth_is_that_of_the_squared_gradient_for_each_layer():
    """Slow: the gradients of all pre-activations by backward."""
    task = {"activation": "tanh", "norm": "batch", "batch_size": 6, "seed": 3}
    (row,) = explosion.growth(**task, width=10, depth=6, first=2, last=5)
    rng = np.random.default_rng(3)
    net = nets.mlp(
        (10,) * 8, rng, norm=nn.BatchNorm1d, activation="tanh", dtype=torch.float64
    )
    h, weights = torch.from_numpy(rng.standard_normal((2, 6, 10)))
    kept = []
    for layer in net:
        h = layer(h)
        if isinstance(layer, nn.Linear):
            h.retain_grad()
            kept.append(h)
    (h * weights).sum().backward()
    squares = [(h.grad**2).sum().item() for h in kept]
    assert row["factor"] == pytest.approx(
        (squares[1] / squares[4]) ** (1 / 3), abs=1e-6
    )


@pytest.mark.parametrize(("wrong", "hit"), [(1.02, 1), (0.6, 0)])
def test_verdicts_on_growth_can_come_out_otherwise(monkeypatch, wrong, hit):
    def right(activation, norm, m):
        if norm == "none":
            return np.ones(8)
        if activation == "identity":
            return np.full(8, explosion.identity_factor(m))
        return np.full(8, explosion.large_batch_factor(activation))

    monkeypatch.setattr(explosion, "factors", right)
    assert set(verdicts(explosion)) == {REPRODUCED}
    monkeypatch.setattr(explosion, "factors", lambda *net: wrong * right(*net))
    found = verdicts(explosion)
    assert found[1] in (PARTLY, NOT_HERE)
    assert (found[0] == REPRODUCED) == bool(hit)


# --- collapse -------------------------------------------------------------------------


def test_rank_and_cosine_are_those_behind_the_activations():
    rows = collapse.signals("relu", "batch", 12, 4, 5)
    assert [row["layer"] for row in rows] == [1, 2, 5]
    rng = np.random.default_rng(4)
    net = nets.mlp((12,) * 7, rng, norm=nn.BatchNorm1d, dtype=torch.float64)
    x = torch.from_numpy(rng.standard_normal((collapse.EXAMPLES, 12)))
    hidden = net[:6](x)  # behind the second activation
    assert rows[1]["rank"] == pytest.approx(effective_rank(hidden), abs=1e-6)
    assert rows[1]["cosine"] == pytest.approx(mean_cosine(hidden), abs=1e-6)


def test_verdicts_on_collapse_can_come_out_otherwise(monkeypatch):
    monkeypatch.setattr(
        collapse, "at_layer", lambda column, a, norm, width: np.full(8, 0.9)
    )
    assert set(verdicts(collapse)) == {NOT_HERE}


# --- residual -------------------------------------------------------------------------


def test_the_arms_start_from_the_same_weights():
    linear = {
        arm: [m.weight for m in residual.build(arm, 3, 7).modules()
              if isinstance(m, nn.Linear)]
        for arm in residual.ARMS
    }  # fmt: skip
    for arm in residual.ARMS:
        for one, other in zip(linear[arm], linear["plain"], strict=True):
            assert torch.equal(one, other)
    scales = [residual.build(arm, 4, 0)[1].scale.item() for arm in residual.ARMS]
    assert scales == [1, 1, 0.5, 0]
    learned = [
        isinstance(residual.build(arm, 4, 0)[1].scale, nn.Parameter)
        for arm in residual.ARMS
    ]
    assert learned == [False, False, False, True]


def test_verdicts_on_residual_nets_can_come_out_otherwise(monkeypatch):
    monkeypatch.setattr(residual, "ratios", lambda arm: np.ones((8, 100)))
    assert residual.shrinking_claim().verdict == NOT_HERE
    monkeypatch.setattr(
        residual, "ratios", lambda arm: np.tile(1 / np.arange(1, 101), (8, 1))
    )
    assert residual.shrinking_claim().verdict == REPRODUCED
    level = {"batch": 0.85, "plain": 0.85, "root": 0.83, "skipinit": 0.81}
    monkeypatch.setattr(residual, "accuracies", lambda arm, d: np.full(5, level[arm]))
    assert [c.verdict for c in residual.training_claims()] == [PARTLY, PARTLY, PARTLY]
    level["plain"] = 0.5
    found = [c.verdict for c in residual.training_claims()]
    assert found == [REPRODUCED, REPRODUCED, PARTLY]
    found = [c.verdict for c in residual.replacement_claims()]
    assert found == [NOT_HERE, REPRODUCED, REPRODUCED, NOT_HERE, NOT_HERE, REPRODUCED]


# --- depths ---------------------------------------------------------------------------


def test_a_net_trains_to_the_depth_before_its_first_failure(monkeypatch):
    share = {3: 0.9, 10: 0.85, 20: 0.5, 30: 0.9, 50: 0.1}
    monkeypatch.setattr(depths, "accuracies", lambda a, n, d: np.full(5, share[d]))
    assert depths.trains_to("relu", "batch", 0.8) == 10
    assert depths.trains_to("relu", "batch", 0.4) == 30
    assert depths.trains_to("relu", "batch", 0.95) == 0
    assert verdicts(depths) == [NOT_HERE, NOT_HERE, REPRODUCED, NOT_HERE]


def test_the_best_rate_is_that_of_the_best_mean(monkeypatch):
    monkeypatch.setattr(depths, "DEPTHS", (3,))
    rows = [
        {"activation": a, "norm": n, "depth": 3, "lr": lr, "seed": s}
        | {"accuracy": 0.8 if lr == (0.1 if n == "none" else 1.0) else 0.9 * s - 90}
        for a, n in depths.NETS
        for lr in depths.rates(a)
        for s in (100, 100.5)
    ]
    best = depths.best_rates(table(rows))
    assert best["relu", "none", 3] == 0.1
    assert best["sigmoid", "batch", 3] == 1.0


# --- order ----------------------------------------------------------------------------


def test_verdicts_on_the_place_can_come_out_either_way(monkeypatch):
    share = {"before": 0.9, "after": 0.885}
    monkeypatch.setattr(order, "accuracies", lambda a, d, p: np.full(8, share[p]))
    assert verdicts(order) == [REPRODUCED, REPRODUCED, NOT_HERE] + [NOT_HERE] * 3
    share["after"] = 0.915
    assert verdicts(order) == [NOT_HERE] * 3 + [REPRODUCED, REPRODUCED, NOT_HERE]


# --- affine ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arm", "count"),
    [("affine", 2 * 2 * 8), ("weights", 2 * 2 * 8), ("output", 8 * 10 + 10)],
)
def test_an_arm_trains_what_it_says_and_nothing_else(arm, count):
    net = nets.mlp((784, 8, 8, 10), np.random.default_rng(0), norm=nn.BatchNorm1d)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    assert affine.freeze(net, arm, np.random.default_rng(1)) == count
    trained = [p for p in net.parameters() if p.requires_grad]
    nets.train(
        net,
        nets.images("train"),
        torch.optim.Adam(trained, lr=0.01),
        steps=5,
        batch_size=64,
        rng=np.random.default_rng(2),
    )
    moved = {n: int((p != before[n]).sum()) for n, p in net.named_parameters()}
    names = {
        "affine": {"1.weight", "1.bias", "4.weight", "4.bias"},
        "weights": {"0.weight", "3.weight"},
        "output": {"6.weight", "6.bias"},
    }[arm]
    assert {n for n, k in moved.items() if k} <= names
    assert sum(moved.values()) <= count
    assert sum(moved.values()) > 0.7 * count  # a pixel may be black in all batches


def test_the_weights_that_are_trained_are_two_of_each_unit_and_change_with_the_seed():
    masks = []
    for seed in (1, 2):
        net = nets.mlp((20, 8, 10), np.random.default_rng(0), norm=nn.BatchNorm1d)
        affine.freeze(net, "weights", np.random.default_rng(seed))
        net(torch.randn(30, 20)).square().sum().backward()
        masks.append(net[0].weight.grad != 0)
        assert masks[-1].sum(1).tolist() == [2] * 8
    assert (masks[0] != masks[1]).any()


# --- all ------------------------------------------------------------------------------


def ends(module, **net):
    """Return the best mean validation accuracy of a net, and those of its ends."""
    own = rows_where(load(module.__name__.split(".")[-1], "tuning"), **net)
    rates = np.unique(own["lr"])
    means = [rows_where(own, lr=lr)["accuracy"].mean() for lr in rates]
    return max(means), means[0], means[-1]


def test_the_grids_reach_failure_on_both_sides():
    """At both ends a net that trains at all is at least 5 points below its best."""
    asked = [
        (residual, {"arm": a, "depth": d})
        for a in residual.ARMS
        for d in residual.DEPTHS
    ]
    asked += [
        (depths, {"activation": a, "norm": n, "depth": d})
        for a, n in depths.NETS
        for d in depths.DEPTHS
    ]
    asked += [
        (order, {"activation": a, "depth": d, "place": p})
        for a, d in order.NETS
        for p in order.PLACES
    ]
    asked += [
        (affine, {"width": w, "layers": d, "arm": arm})
        for w, d in affine.NETS
        for arm in affine.ARMS
        if arm != "output"  # its answers do not depend on the scale of its weights
    ]
    for module, net in asked:
        best, low, high = ends(module, **net)
        assert best < 0.25 or max(low, high) < best - 0.05, (module.__name__, net)
