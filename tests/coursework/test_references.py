"""The grader's own right functions, against bnlib, PyTorch and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest

from bnlib import functional as F
from bnlib.checks import relative_error
from coursework.questions import ps1, ps2, ps4, ps5
from coursework.questions import references as ref

EPS = 0.3


def draw(seed, shape=(6, 4)):
    rng = np.random.default_rng(seed)
    d = shape[1]
    return rng.normal(1.0, 2.0, size=shape), rng.normal(size=d), rng.normal(size=d), rng


def test_forward_and_evaluate_are_bnlib_s():
    x, gamma, beta, rng = draw(0)
    mean, var = rng.normal(size=4), rng.uniform(0.5, 2, 4)
    ours, _ = F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPS)
    assert relative_error(ref.forward(x, gamma, beta, EPS), ours) < 1e-12
    ours, _ = F.batch_norm(x, mean, var, gamma, beta, training=False, eps=EPS)
    got = ref.evaluate(x, gamma, beta, mean, var, EPS)
    assert relative_error(got, ours) < 1e-12


def test_forward_and_backward_are_pytorch_s():
    torch = pytest.importorskip("torch")
    x, gamma, beta, rng = draw(1)
    dout = rng.normal(size=x.shape)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    tx, tg, tb = tensors
    out = torch.nn.functional.batch_norm(tx, None, None, tg, tb, True, 0.1, EPS)
    (out * torch.tensor(dout)).sum().backward()
    assert relative_error(ref.forward(x, gamma, beta, EPS), out.detach()) < 1e-12
    for got, tensor in zip(ref.backward(dout, x, gamma, EPS), tensors, strict=True):
        assert relative_error(got, tensor.grad) < 1e-12


def test_the_functions_of_sets_1_and_2_are_pytorch_s():
    torch = pytest.importorskip("torch")
    x, gamma, beta, rng = draw(1)
    dout, param = rng.normal(size=x.shape), {"mode": "train", "eps": EPS}
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    mean, var = torch.zeros(4).double(), torch.ones(4).double()
    layer = torch.nn.functional.batch_norm
    out = layer(tensors[0], mean, var, *tensors[1:], True, 0.1, EPS)
    (out * torch.tensor(dout)).sum().backward()
    got, cache = ps1.batchnorm_forward(x, gamma, beta, param)
    assert relative_error(got, out.detach()) < 1e-12
    assert relative_error(param["running_mean"], mean) < 1e-12
    for ours, tensor in zip(ps2.batchnorm_backward(dout, cache), tensors, strict=True):
        assert relative_error(ours, tensor.grad) < 1e-12
    given = {"running_mean": mean.numpy(), "running_var": var.numpy()}
    later = layer(tensors[0], mean, var, *tensors[1:], False, 0.1, EPS)
    param = {"mode": "test", "eps": EPS, **given}
    got, _ = ps1.batchnorm_forward(x, gamma, beta, param)
    assert relative_error(got, later.detach()) < 1e-12


def gradients(function, args, dout):
    return [ref.numerical(function, args, k, dout) for k in range(3)]


@pytest.mark.parametrize(
    ("forward", "backward", "extra"),
    [
        (ps1.ghost_batchnorm, ps2.ghost_batchnorm_backward, 3),
        (
            ps1.weighted_batchnorm,
            ps2.weighted_batchnorm_backward,
            np.array([0.0, 1, 2, 0.5, 3, 1]),
        ),
        (ps1.clipped_batchnorm, ps2.clipped_batchnorm_backward, 3.0),
    ],
)
def test_variants_have_the_gradients_of_their_forward(forward, backward, extra):
    x, gamma, beta, rng = draw(2)
    dout = rng.normal(size=x.shape)
    right = gradients(lambda *a: forward(*a, EPS, extra), (x, gamma, beta), dout)
    for got, value in zip(backward(dout, x, gamma, EPS, extra), right, strict=True):
        assert relative_error(got, value) < 1e-6


def test_layer_and_group_norm_have_the_gradients_of_their_forward():
    x, gamma, beta, rng = draw(3)
    dout = rng.normal(size=x.shape)
    right = gradients(lambda *a: ref.layer(*a, EPS), (x, gamma, beta), dout)
    got = ps4.layer_backward(dout, x, gamma, EPS)
    assert all(relative_error(a, b) < 1e-6 for a, b in zip(got, right, strict=True))
    x, gamma, beta, rng = draw(4, (2, 4, 2, 3))
    dout = rng.normal(size=x.shape)
    right = gradients(lambda *a: ref.groups(*a, [2, 2], EPS), (x, gamma, beta), dout)
    got = ps4.group_backward(dout, x, gamma, 2, EPS)
    assert all(relative_error(a, b) < 1e-6 for a, b in zip(got, right, strict=True))


def test_special_cases_meet_the_plain_layer():
    x, gamma, beta, _ = draw(5)
    plain = ref.forward(x, gamma, beta, EPS)
    assert relative_error(ref.ghost(x, gamma, beta, EPS, len(x)), plain) < 1e-12
    assert relative_error(ref.weighted(x, gamma, beta, EPS, np.ones(6)), plain) < 1e-12
    assert relative_error(ref.clipped(x, gamma, beta, EPS, 0.0), plain) < 1e-12
    twice = np.concatenate([x, x[:2]])
    got = ref.weighted(x, gamma, beta, EPS, np.array([2, 2, 1, 1, 1, 1]))
    assert relative_error(got, ref.forward(twice, gamma, beta, EPS)[:6]) < 1e-12
    maps, gamma, beta, rng = draw(6, (2, 3, 2, 2))
    mask = rng.integers(0, 2, size=(2, 2, 2)) * 1.0
    rows = ref.to_rows(maps)
    kept = rows[mask.reshape(-1) == 1]
    right = ref.evaluate(rows, gamma, beta, kept.mean(0), kept.var(0), EPS)
    got = ref.masked(maps, gamma, beta, mask, EPS)
    assert relative_error(ref.to_rows(got), right) < 1e-12
    whole = ref.groups(maps, gamma, beta, [3], EPS)
    ours, _ = F.group_norm(maps, 1, gamma, beta, EPS)
    assert relative_error(whole, ours) < 1e-12


def test_corrected_statistics_weigh_the_batches():
    batches = np.random.default_rng(7).normal(size=(3, 5, 2))
    weights = np.array([0.8**2, 0.8, 1.0])
    weights /= weights.sum()
    mean, var = ref.corrected_statistics(batches, 0.8)
    assert relative_error(mean, weights @ batches.mean(1)) < 1e-12
    assert relative_error(var, weights @ batches.var(1)) < 1e-12


def test_a_folded_layer_is_the_two_layers():
    rng = np.random.default_rng(8)
    W, b, x = rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=(5, 4))
    gamma, beta, mean = rng.normal(size=(3, 3))
    var = rng.uniform(0.5, 2, 3)
    W2, b2 = ps5.fold(W, b, gamma, beta, mean, var, EPS)
    two = ref.evaluate(x @ W.T + b, gamma, beta, mean, var, EPS)
    assert relative_error(x @ W2.T + b2, two) < 1e-12


@pytest.mark.parametrize("name", ref.FORWARD_BUGS)
def test_each_wrong_forward_is_wrong(name):
    x, gamma, beta, _ = draw(9, (6, 5))
    got = ref.forward(x, gamma, beta, EPS, ref.FORWARD_BUGS[name])
    right = ref.forward(x, gamma, beta, EPS)
    assert got.shape != right.shape or relative_error(got, right) > 1e-3


@pytest.mark.parametrize("name", ref.GRADIENT_BUGS)
def test_each_wrong_backward_is_wrong(name):
    x, gamma, beta, rng = draw(10, (6, 5))
    dout = rng.normal(size=x.shape) + 0.3
    right = ref.backward(dout, x, gamma, EPS)
    got = ref.backward(dout, x, gamma, EPS, name, beta)
    assert any(
        np.shape(a) != np.shape(b) or relative_error(a, b) > 1e-3
        for a, b in zip(got, right, strict=True)
    )
