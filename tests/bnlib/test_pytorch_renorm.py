"""Batch renormalization against a plain slow form and the paper's identities."""

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch.renorm import BatchRenorm1d, BatchRenorm2d, set_limits

LIMITS = [(1.0, 0.0), (1.3, 0.2), (3.0, 5.0), (np.inf, np.inf)]


def layer_for(x, r_max=3.0, d_max=5.0, **more):
    """Return a layer with parameters and running statistics that are not trivial."""
    kind = BatchRenorm2d if x.ndim == 4 else BatchRenorm1d
    layer = kind(x.shape[1], r_max, d_max, **more).double()
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for value in (layer.weight, layer.running_var, layer.bias, layer.running_mean):
            value.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, x.shape[1])))
    return layer


def plain(x, layer):
    """Return the output, one channel and value at a time, with numbers only."""
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        values = x[:, c]
        m = values.size
        mean = sum(values.flat) / m
        std = (sum((v - mean) ** 2 for v in values.flat) / m + layer.eps) ** 0.5
        run = (layer.running_var[c].item() + layer.eps) ** 0.5
        r = min(max(std / run, 1 / layer.r_max), layer.r_max)
        shift = (mean - layer.running_mean[c].item()) / run
        d = min(max(shift, -layer.d_max), layer.d_max)
        gamma, beta = layer.weight[c].item(), layer.bias[c].item()
        y[:, c] = gamma * ((values - mean) / std * r + d) + beta
    return y


def inputs(*shape):
    rng = np.random.default_rng(1)
    spread = rng.uniform(0.2, 3, (shape[1], *[1] * (len(shape) - 2)))
    return torch.from_numpy(rng.standard_normal(shape) * spread + spread)


SHAPES = [(2, 3), (7, 3), (5, 3, 4), (2, 3, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("limits", LIMITS)
def test_the_output_is_that_of_the_plain_form(shape, limits):
    x = inputs(*shape)
    layer = layer_for(x, *limits)
    expected = plain(x.numpy(), layer)
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_without_a_correction_it_is_batch_norm(shape, momentum):
    """Output, gradients and stored statistics, with r = 1 and d = 0."""
    x = inputs(*shape)
    ours = layer_for(x, 1, 0, momentum=momentum)
    other = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(
        shape[1], momentum=momentum
    ).double()
    other.load_state_dict(ours.state_dict())
    found = []
    for layer in (ours, other):
        t = x.clone().requires_grad_()
        for factor in (1.0, 2.0):
            y = layer(factor * t)
        (y**3).sum().backward()
        stored = [b.double() for b in layer.buffers()]
        found.append([y, t.grad, layer.weight.grad, layer.bias.grad, *stored])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_clipping_training_gives_what_evaluation_gives(shape):
    x = inputs(*shape)
    layer = layer_for(x, np.inf, np.inf)
    evaluation = layer.eval()(x)
    training = layer.train()(x)
    torch.testing.assert_close(training, evaluation, rtol=0, atol=1e-12)
    assert not torch.allclose(layer.eval()(x), evaluation)  # the statistics moved


def test_where_nothing_is_clipped_the_gradient_is_r_times_that_of_batch_norm():
    """The identity of the paper: r and d are constants in the backward pass."""
    x = inputs(6, 2)
    layer, upstream = layer_for(x, np.inf, np.inf), inputs(6, 2).flip(0)
    other = nn.BatchNorm1d(2).double()
    other.load_state_dict(layer.state_dict())
    r, _ = layer.correction(x.mean(0), torch.sqrt(x.var(0, correction=0) + layer.eps))
    grads = []
    for one in (layer, other):
        t = x.clone().requires_grad_()
        one(t).backward(upstream)
        grads.append(t.grad)
    torch.testing.assert_close(grads[0], r * grads[1], rtol=0, atol=1e-12)


def test_with_the_batchs_own_statistics_as_running_ones_it_is_batch_norm():
    x = inputs(8, 3)
    layer = layer_for(x)
    with torch.no_grad():
        layer.running_mean.copy_(x.mean(0))
        layer.running_var.copy_(x.var(0, correction=0))
    r, d = layer.correction(x.mean(0), torch.sqrt(x.var(0, correction=0) + layer.eps))
    assert torch.allclose(r, torch.ones(3).double())
    assert torch.allclose(d, torch.zeros(3).double())


def test_limits_are_set_in_a_whole_model():
    model = nn.Sequential(
        BatchRenorm1d(2), nn.ReLU(), BatchRenorm1d(2), nn.BatchNorm1d(2)
    )
    assert set_limits(model, 1, 0) == 2
    assert "r_max=1.0, d_max=0.0" in repr(model[2])


@pytest.mark.parametrize("limits", [(0.9, 1), (2, -0.1), (np.nan, 1)])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError, match="r_max of at least 1"):
        BatchRenorm1d(2, *limits)


def test_inputs_that_it_cannot_take_are_refused():
    with pytest.raises(ValueError, match="2 values"):
        BatchRenorm1d(3)(torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"\(m, C, H, W\)"):
        BatchRenorm2d(3)(torch.ones(4, 3))
    with pytest.raises(ValueError, match="length"):
        BatchRenorm1d(3)(torch.ones(4, 3, 2, 2))


def test_it_works_without_parameters_or_running_statistics():
    x = inputs(6, 3)
    free = BatchRenorm1d(3, affine=False, track_running_stats=False).double()
    other = nn.BatchNorm1d(3, affine=False, track_running_stats=False).double()
    torch.testing.assert_close(free(x), other(x), rtol=0, atol=1e-12)


def test_it_trains_in_a_small_convolutional_net_and_loads_into_batch_norm():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), BatchRenorm2d(4), nn.ReLU()).double()
    x = inputs(2, 1, 6, 6)
    model(x).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    twin = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).double()
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin.eval()(x), model.eval()(x), rtol=0, atol=1e-12)
