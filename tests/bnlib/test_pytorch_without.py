"""What replaces batch norm: plain slow forms, variances, slopes, lengths."""

import copy

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch.without import (
    RELU_GAIN,
    BalancedBlock,
    DynamicTanh,
    StandardizedConv2d,
    StandardizedLinear,
    clip_by_unit,
    clipped_by_unit,
    standardized,
)


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


SHAPES = [(5, 7), (4, 3, 3, 3), (6, 1, 5, 1), (2, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_standardized_weights_are_those_of_the_plain_form(shape):
    weight = 3 + 2 * normal(*shape)
    for unit, row in zip(standardized(weight, 1.5, 1e-3), weight, strict=True):
        values = row.flatten().tolist()
        n = len(values)
        mean = sum(values) / n
        var = sum((v - mean) ** 2 for v in values) / n
        expected = [1.5 * (v - mean) / (n * (var + 1e-3)) ** 0.5 for v in values]
        np.testing.assert_allclose(unit.flatten(), expected, rtol=1e-12)


def test_standardized_layers_do_not_notice_scale_and_shift_of_their_weights():
    layers = (
        (StandardizedLinear(6, 4, gain=2.0).double(), normal(9, 6)),
        (StandardizedConv2d(3, 4, 3, gain=2.0, stride=2).double(), normal(2, 3, 7, 7)),
    )
    for layer, x in layers:
        other = copy.deepcopy(layer)
        with torch.no_grad():
            other.weight.mul_(7).add_(5)
        y = layer(x)
        np.testing.assert_allclose(y.detach(), other(x).detach(), atol=1e-5)  # eps
        plain = nn.Linear(6, 4) if x.ndim == 2 else nn.Conv2d(3, 4, 3, stride=2)
        plain.double().load_state_dict(layer.state_dict())
        with torch.no_grad():
            plain.weight.copy_(standardized(layer.weight, 2.0))
        np.testing.assert_allclose(y.detach(), plain(x).detach(), atol=1e-12)
        y.square().sum().backward()
        away = layer.weight.grad.flatten(1).sum(1)  # no gradient along a shift
        assert away.abs().max() < 1e-9 * layer.weight.grad.abs().max()


def test_the_gain_keeps_the_variance_of_relu_through_a_hundred_layers():
    torch.manual_seed(0)
    x = normal(200, 300)
    for _ in range(100):
        x = StandardizedLinear(300, 300, gain=RELU_GAIN, bias=False).double()(x.relu())
    assert 0.7 < x.var(0).mean() + x.mean(0).square().mean() < 1.4
    torch.manual_seed(0)
    maps = normal(4, 16, 12, 12)
    conv = StandardizedConv2d(
        16, 400, 3, gain=RELU_GAIN, padding=1, padding_mode="circular"
    )
    with torch.no_grad():
        conv.bias.zero_()
    assert conv.double()(maps.relu()).var().item() == pytest.approx(1, abs=0.1)


def test_one_weight_per_unit_is_refused():
    with pytest.raises(ValueError, match="2 weights per unit or more, got 1"):
        StandardizedLinear(1, 4)
    with pytest.raises(ValueError, match="2 weights per unit or more, got 1"):
        StandardizedConv2d(1, 4, 1)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_balanced_block_keeps_the_variance(share):
    x = normal(400, 50)
    block = BalancedBlock(StandardizedLinear(50, 50, bias=False).double(), share)
    y = block(x).detach()
    mixed = (1 - share) ** 0.5 * x + share**0.5 * block.branch(x).detach()
    np.testing.assert_allclose(y, mixed, rtol=1e-12)
    assert y.var().item() == pytest.approx(x.var().item(), rel=0.1)


def test_a_share_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"a share from 0 to 1, got 1\.5"):
        BalancedBlock(nn.Identity(), 1.5)


@pytest.mark.parametrize(
    ("shape", "dim"), [((4, 3), 1), ((4, 3, 5, 5), 1), ((4, 6, 3), -1)]
)
def test_dynamic_tanh_is_that_of_the_plain_form(shape, dim):
    layer = DynamicTanh(3, 0.8, dim).double()
    with torch.no_grad():
        layer.weight.copy_(normal(3, seed=1))
        layer.bias.copy_(normal(3, seed=2))
    x = normal(*shape)
    y = layer(x).detach().movedim(dim, -1)
    for index, value in np.ndenumerate(x.movedim(dim, -1)):
        c = index[-1]
        squashed = np.tanh(layer.alpha.item() * value)
        expected = layer.weight[c].item() * squashed + layer.bias[c].item()
        assert abs(y[index] - expected) < 1e-12


def test_dynamic_tanh_has_slope_alpha_at_0_and_less_than_1_as_output():
    layer = DynamicTanh(2, 3.0)
    x = torch.zeros(5, 2, requires_grad=True)
    layer(x).sum().backward()
    np.testing.assert_allclose(x.grad, 3.0)
    assert layer(torch.full((1, 2), 1e6)).max() == 1
    with pytest.raises(ValueError, match="expected 2 features on axis 1"):
        layer(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="an alpha above 0, got 0"):
        DynamicTanh(2, 0)


@pytest.mark.parametrize("shape", [*SHAPES, (6,), ()])
def test_clipping_is_that_of_the_plain_form(shape):
    weight, grad = normal(*shape), 0.1 * normal(*shape, seed=3)
    found = clipped_by_unit(grad, weight, 0.1, 1e-3)
    units = zip(weight, grad, found, strict=True) if len(shape) > 1 else None
    for w, g, f in units or [(weight, grad, found)]:
        most = 0.1 * max(float(w.square().sum()) ** 0.5, 1e-3)
        length = float(g.square().sum()) ** 0.5
        expected = g * most / length if length > most else g
        np.testing.assert_allclose(f, expected, rtol=1e-12)


def test_clipping_changes_gradients_only_and_counts_units():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    before = copy.deepcopy(net.state_dict())
    net(torch.ones(2, 1, 4, 4)).square().sum().backward()
    net[2].bias.grad = None
    whole = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    assert clip_by_unit(net.parameters(), 1e9) == 0
    for p, g in zip(net.parameters(), whole, strict=True):
        assert p.grad is None if g is None else torch.equal(p.grad, g)
    assert clip_by_unit(net.parameters(), 1e-9) == 1
    rows = net[0].weight.grad.flatten(1).norm(dim=1)
    lengths = net[0].weight.detach().flatten(1).norm(dim=1)
    np.testing.assert_allclose(rows, 1e-9 * lengths, rtol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert clip_by_unit([torch.zeros(3)]) == 0


def test_zeros_may_move():
    moved = clipped_by_unit(torch.ones(2, 4), torch.zeros(2, 4), 0.1, 1e-3)
    np.testing.assert_allclose(moved.norm(dim=1), 1e-4)
    assert torch.equal(clipped_by_unit(torch.zeros(2, 4), moved), torch.zeros(2, 4))
