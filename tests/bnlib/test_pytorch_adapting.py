"""Adapting to test batches, against plain forms and defining properties."""

import copy

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch.adapting import (
    MixedBatchNorm,
    entropy,
    minimize_entropy,
    mix_statistics,
)
from bnlib.pytorch.surgery import adapt


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def dense(seed=0):
    """Return a small trained-looking net whose statistics are not trivial."""
    rng = np.random.default_rng(seed)
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    return filled(net, rng)


def conv(seed=0):
    rng = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3)
    )
    return filled(net, rng)


def filled(net, rng):
    net = net.double()
    with torch.no_grad():
        for value in net.parameters():
            value.copy_(torch.from_numpy(rng.uniform(-1, 1, value.shape)))
        net[1].weight.abs_()
        net[1].running_mean.copy_(
            torch.from_numpy(rng.uniform(-1, 1, 5)[: len(net[1].bias)])
        )
        net[1].running_var.copy_(
            torch.from_numpy(rng.uniform(1, 2, 5)[: len(net[1].bias)])
        )
    return net.eval()


CASES = [(dense, (7, 4)), (conv, (6, 2, 5, 5))]


def plain(layer, x, w):
    """Normalize one channel at a time, with numbers only."""
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        values = x[:, c]
        mean = sum(values.flat) / values.size
        var = sum((v - mean) ** 2 for v in values.flat) / values.size
        mean = w * layer.running_mean[c].item() + (1 - w) * mean
        var = w * layer.running_var[c].item() + (1 - w) * var
        slope = layer.weight[c].item() / (var + layer.eps) ** 0.5
        y[:, c] = slope * (values - mean) + layer.bias[c].item()
    return y


@pytest.mark.parametrize(("make", "shape"), CASES)
@pytest.mark.parametrize("w", [0, 0.3, 1])
def test_a_mixed_layer_is_the_plain_form(make, shape, w):
    net, x = make(), normal(*shape)
    mixed = mix_statistics(net, w)
    assert isinstance(mixed[1], MixedBatchNorm)
    u = net[0](x).detach()
    expected = plain(net[1], u.numpy(), w)
    for mode in (True, False):
        mixed.train(mode)
        found = mixed[1](u).detach()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_the_ends_are_the_two_modes(make, shape):
    net, x = make(), normal(*shape)
    torch.testing.assert_close(mix_statistics(net, 1)(x), net(x))
    training = copy.deepcopy(net).train()
    torch.testing.assert_close(mix_statistics(net, 0)(x), training(x))


@pytest.mark.parametrize("w", [0, 0.4])
def test_the_gradient_flows_through_the_statistics_of_the_batch(w):
    layer = mix_statistics(dense(), w)[1]
    assert torch.autograd.gradcheck(layer, normal(4, 5).requires_grad_())


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_what_is_given_stays_and_nothing_is_stored(make, shape):
    net = make()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    adapted, _ = minimize_entropy(net, [normal(*shape)], lr=0.1)
    mixed = mix_statistics(net, 0.5).train()
    mixed(normal(*shape))
    for k, v in before.items():
        assert torch.equal(v, net.state_dict()[k])
        assert torch.equal(v, mixed.state_dict()[k])
        moved = k in ("1.weight", "1.bias")
        assert torch.equal(v, adapted.state_dict()[k]) != moved, k
    learning = [k for k, p in adapted.named_parameters() if p.requires_grad]
    assert learning == ["1.weight", "1.bias"]
    assert type(net[1]) is not MixedBatchNorm
    assert not net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_statistics_without_weight_are_not_looked_at():
    net = dense()
    net[1].running_mean.fill_(np.nan)
    assert mix_statistics(net, 0)(normal(7, 4)).isfinite().all()


def test_a_change_of_a_units_input_by_a_positive_line_is_undone():
    """The layer's output does not see a u + b; a negative factor turns its sign."""
    net = dense()
    layer = mix_statistics(net, 0)[1]
    layer.eps = 0.0
    u, b = normal(9, 5), normal(5, seed=1)
    torch.testing.assert_close(layer(0.3 * u + b), layer(u))
    turned = 2 * net[1].bias - layer(u)  # beta - gamma x_hat
    torch.testing.assert_close(layer(-2 * u + b), turned)


def test_entropy_is_that_of_the_definition():
    logits = normal(6, 4)
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    expected = [-sum(v * np.log(v) for v in row) for row in p]
    np.testing.assert_allclose(entropy(logits), expected, rtol=0, atol=1e-12)
    assert entropy(torch.zeros(2, 10)) == pytest.approx(np.log(10))
    assert entropy(torch.tensor([[1000.0, 0.0]])).item() == 0


def by_hand(net, batches, lr):
    """Return outputs and gamma after entropy minimization, with Adam written out."""
    net = copy.deepcopy(net).train()
    gamma, beta = net[1].weight, net[1].bias
    moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in (gamma, beta)]
    outputs = []
    for step, x in enumerate(batches, start=1):
        logits = net(x)
        outputs.append(logits.detach())
        p = logits.softmax(1)
        loss = -(p * p.log()).sum(1).mean()
        grads = torch.autograd.grad(loss, (gamma, beta))
        with torch.no_grad():
            for value, g, (m, v) in zip((gamma, beta), grads, moments, strict=True):
                m += 0.1 * (g - m)
                v += 0.001 * (g**2 - v)
                rate = lr / (1 - 0.9**step)
                value -= rate * m / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    return torch.cat(outputs), gamma.detach(), beta.detach()


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_entropy_minimization_is_the_plain_loop(make, shape):
    net, batches = make(), [normal(*shape, seed=k) for k in range(4)]
    adapted, outputs = minimize_entropy(net, iter(batches), lr=0.05)
    expected = by_hand(net, batches, 0.05)
    found = (outputs, adapted[1].weight.detach(), adapted[1].bias.detach())
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_entropy_falls_on_a_batch_that_is_repeated():
    net, x = dense(), normal(20, 4)
    _, outputs = minimize_entropy(net, [x] * 50, lr=0.05)
    first, *_, last = entropy(outputs).view(50, 20).mean(1)
    assert last < 0.7 * first


def test_without_a_rate_it_is_mixing():
    net, batches = dense(), [normal(5, 4, seed=k) for k in range(3)]
    _, outputs = minimize_entropy(net, batches, lr=0, source_weight=0.3)
    mixed = mix_statistics(net, 0.3)
    torch.testing.assert_close(outputs, torch.cat([mixed(x).detach() for x in batches]))


def test_one_batch_mixed_is_what_adapt_stores_but_for_the_divisor():
    net, x = dense(), normal(8, 4)
    stored = adapt(net, [x])
    u = net[0](x)
    factor = (
        (stored[1].running_var + 1e-5) / (7 / 8 * stored[1].running_var + 1e-5)
    ) ** 0.5
    straight = net[1].bias + factor * (stored[1](u) - net[1].bias)
    torch.testing.assert_close(mix_statistics(net, 0)[1](u), straight)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: mix_statistics(dense(), 1.1), "0 to 1"),
        (lambda: mix_statistics(nn.Linear(2, 2), 0.5), "batch-norm layers"),
        (
            lambda: mix_statistics(nn.BatchNorm1d(2, track_running_stats=False), 0.5),
            "stores no statistics",
        ),
        (lambda: mix_statistics(dense(), 0.5)(normal(1, 4)), "2 values per channel"),
        (lambda: mix_statistics(dense(), 0.5)[1](normal(3, 4)), r"\(m, 5, ...\)"),
        (lambda: minimize_entropy(dense(), [], lr=0.1), "one batch"),
        (lambda: minimize_entropy(dense(), [normal(3, 4)], lr=-1), "at least 0"),
        (
            lambda: minimize_entropy(
                nn.BatchNorm1d(4, affine=False), [normal(3, 4).float()], lr=0.1
            ),
            "gamma and beta",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(act, words):
    with pytest.raises(ValueError, match=words):
        act()


def test_one_image_is_enough_when_the_source_has_all_weight():
    net, x = dense(), normal(1, 4)
    torch.testing.assert_close(mix_statistics(net, 1)(x), net(x))
