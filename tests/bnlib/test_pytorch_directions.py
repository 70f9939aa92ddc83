"""The length and the direction of weights: against theory and plain arithmetic."""

import copy
import math

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch.measure import (
    angle,
    effective_learning_rate,
    radial_share,
    scale_invariant,
)


def filled(model, seed=0):
    """Give each parameter a value of its own, in float64."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.double().parameters():
            p.copy_(torch.from_numpy(rng.standard_normal(tuple(p.shape))))
    return model


def dense(norm=nn.BatchNorm1d):
    return filled(
        nn.Sequential(nn.Linear(5, 6), norm(6), nn.ReLU(), nn.Linear(6, 3))
    )  # fmt: skip


def convolutional():
    layers = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)]
    more = [nn.Conv2d(4, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Sigmoid()]
    return filled(nn.Sequential(*layers, *more, nn.Flatten(), nn.Linear(12, 2)))


def batch(*shape, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_weights_before_a_batch_norm_are_found():
    assert scale_invariant(dense(), batch(8, 5)) == ["0.weight"]
    found = scale_invariant(convolutional(), batch(6, 2, 6, 6), by_unit=True)
    assert found == ["0.weight", "4.weight"]


def test_a_weight_without_a_norm_is_not():
    plain = dense(nn.Identity)
    assert scale_invariant(plain, batch(8, 5)) == []
    assert scale_invariant(dense().eval(), batch(8, 5)) == []


def test_layer_norm_allows_one_factor_for_all_units_only():
    model = dense(nn.LayerNorm)
    with torch.no_grad():
        model[0].bias.zero_()  # it does not grow with the weight
    assert scale_invariant(model, batch(8, 5)) == ["0.weight"]
    assert scale_invariant(model, batch(8, 5), by_unit=True) == []


def test_a_weight_that_does_not_matter_is_not_found():
    model = dense()
    with torch.no_grad():
        model[3].weight.zero_()  # so the first weight changes nothing
    assert scale_invariant(model, batch(8, 5)) == []


def test_a_large_eps_breaks_the_invariance():
    model = dense()
    model[1].eps = 1.0
    assert scale_invariant(model, batch(8, 5)) == []


def test_nothing_of_the_model_changes():
    model, x = convolutional(), batch(6, 2, 6, 6)
    model(x).sum().backward()
    model[1].eval()
    state = copy.deepcopy(model.state_dict())
    grads = [p.grad.clone() for p in model.parameters()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    scale_invariant(model, x)
    assert torch.equal(torch.rand(3), expected)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(
        torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True)
    )
    assert [m.training for m in model] == [True, False, *[True] * 7]


def test_what_the_finder_refuses():
    with pytest.raises(ValueError, match="expected a factor over 1, got 1"):
        scale_invariant(dense(), batch(8, 5), factor=1)
    with pytest.raises(ValueError, match="expected a finite output"):
        scale_invariant(dense(), torch.full((8, 5), math.inf, dtype=torch.float64))


@pytest.mark.parametrize("a", [0.1, 3.0])
def test_the_effective_rate_moves_the_direction(a):
    """A step from a w with a**2 lr turns w as a step with lr does: same rate."""
    model, x, y = dense(), batch(8, 5), torch.arange(8) % 3
    model[1].eps = 1e-30
    turned, rates = [], []
    for scale in (1.0, a):
        net = copy.deepcopy(model)
        weight = net[0].weight
        with torch.no_grad():
            weight *= scale
        lr = 0.3 * scale**2
        before = weight.detach().clone()
        nn.functional.cross_entropy(net(x), y).backward()
        turned.append(angle(before, before - lr * weight.grad).item())
        rates.append(effective_learning_rate(net, lr, ["0.weight"])["0.weight"])
    np.testing.assert_allclose(rates[1], rates[0], rtol=1e-12)
    np.testing.assert_allclose(turned[1], turned[0], rtol=1e-9)


def test_the_effective_rate_by_hand_and_its_refusals():
    model = dense()
    square = sum(v**2 for v in model[3].weight.detach().flatten().tolist())
    assert effective_learning_rate(model, 0.5, ["3.weight"]) == {
        "3.weight": pytest.approx(0.5 / square, rel=1e-12)
    }
    with torch.no_grad():
        model[3].weight.zero_()
    assert effective_learning_rate(model, 0.5, ["3.weight"])["3.weight"] == math.inf
    with pytest.raises(ValueError, match=r"expected names of parameters, got 9\.x"):
        effective_learning_rate(model, 0.5, ["0.weight", "9.x"])
    with pytest.raises(ValueError, match="0 or more, got -1"):
        effective_learning_rate(model, -1, [])


@pytest.mark.parametrize("size", [1e-9, 1e-3, 0.5, 1.5, 3.0])
def test_an_angle_of_known_size(size):
    before = torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    across = torch.tensor([0.0, 7.0, 0.0], dtype=torch.float64)
    after = 0.2 * math.cos(size) * before + math.sin(size) * across / 7
    assert angle(before, after).item() == pytest.approx(size, rel=1e-7)


def test_angles_and_shares_of_the_units_of_a_convolution():
    before, after = batch(4, 2, 3, 3), batch(4, 2, 3, 3, seed=2)
    cosines = []
    for a, b in zip(before.numpy(), after.numpy(), strict=True):
        dot = (a * b).sum()
        cosines.append(dot / math.sqrt((a**2).sum() * (b**2).sum()))
    shares = radial_share(before, after, by_unit=True)
    np.testing.assert_allclose(shares, cosines, rtol=1e-12)
    angles = angle(before, after, by_unit=True)
    np.testing.assert_allclose(angles, np.arccos(cosines), rtol=1e-12)
    assert radial_share(before, before).item() == pytest.approx(1)
    assert angle(before, after).shape == ()


def test_shapes_must_agree_and_a_zero_weight_has_no_direction():
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        angle(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="one shape"):
        radial_share(torch.ones(2, 2), torch.ones(4))
    assert angle(torch.zeros(2), torch.ones(2)).isnan()
