"""The right functions of the sets, against bnlib, PyTorch and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.glue import GLUE
from bnlib import functional as F
from bnlib.checks import numerical_gradient, relative_error
from coursework.questions import ps1, ps2, ps4, ps5

EPS = 0.3
TRAIN = {"mode": "train", "eps": EPS}
MAPS = (2, 4, 2, 3)


def draw(seed, shape=(6, 4)):
    rng = np.random.default_rng(seed)
    d = shape[1]
    return rng.normal(1.0, 2.0, size=shape), rng.normal(size=d), rng.normal(size=d), rng


def near(got, right, size=1e-12):
    return np.shape(got) == np.shape(right) and relative_error(got, right) < size


def test_batch_norm_is_bnlib_s_and_pytorch_s():
    torch = pytest.importorskip("torch")
    x, gamma, beta, rng = draw(0)
    dout, param = rng.normal(size=x.shape), dict(TRAIN)
    got, cache = ps1.batchnorm_forward(x, gamma, beta, param)
    ours, _ = F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPS)
    assert near(got, ours)
    assert near(param["running_mean"], 0.1 * x.mean(0))
    assert near(param["running_var"], 0.1 * x.var(0))
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    out = torch.nn.functional.batch_norm(
        tensors[0], None, None, *tensors[1:], True, 0.1, EPS
    )
    (out * torch.tensor(dout)).sum().backward()
    assert near(got, out.detach().numpy())
    for slope, tensor in zip(ps2.batchnorm_backward(dout, cache), tensors, strict=True):
        assert near(slope, tensor.grad.numpy())
    later, _ = ps1.batchnorm_forward(x, gamma, beta, param | {"mode": "test"})
    mean, var = param["running_mean"], param["running_var"]
    assert near(later, F.batch_norm(x, mean, var, gamma, beta, eps=EPS)[0])


@pytest.mark.parametrize(
    ("forward", "backward", "shape", "more"),
    [
        (ps1.batchnorm_forward, ps2.batchnorm_backward, (6, 4), [TRAIN]),
        (ps4.spatial_batchnorm_forward, ps4.spatial_batchnorm_backward, MAPS, [TRAIN]),
        (ps4.layernorm_forward, ps4.layernorm_backward, (4, 6), [TRAIN]),
        (ps4.spatial_groupnorm_forward, ps4.spatial_groupnorm_backward, MAPS,
         [2, TRAIN]),
    ],
)  # fmt: skip
def test_gradients_are_those_of_the_forward_function(forward, backward, shape, more):
    *args, rng = draw(1, shape)
    dout = rng.normal(size=shape)
    _, cache = forward(*args, *more)
    assert_gradients(
        lambda *a: forward(*a, *more)[0], args, dout, backward(dout, cache)
    )


@pytest.mark.parametrize(
    ("forward", "backward", "extra"),
    [
        (ps1.ghost_batchnorm, ps2.ghost_batchnorm_backward, 3),
        (ps1.weighted_batchnorm, ps2.weighted_batchnorm_backward,
         np.array([0.0, 1, 2, 0.5, 3, 1])),
        (ps1.clipped_batchnorm, ps2.clipped_batchnorm_backward, 3.0),
    ],
)  # fmt: skip
def test_variants_have_the_gradients_of_their_forward(forward, backward, extra):
    x, gamma, beta, rng = draw(2)
    dout = rng.normal(size=x.shape)
    got = backward(dout, x, gamma, EPS, extra)
    assert_gradients(lambda *a: forward(*a, EPS, extra), (x, gamma, beta), dout, got)


def assert_gradients(forward, args, dout, got):
    for k, slope in enumerate(got):
        right = numerical_gradient(
            lambda a, k=k: (dout * forward(*args[:k], a, *args[k + 1 :])).sum(), args[k]
        )
        assert near(slope, right, 1e-6)


def test_norms_of_maps_are_bnlib_s():
    x, gamma, beta, _ = draw(3, MAPS)
    got, _ = ps4.spatial_batchnorm_forward(x, gamma, beta, dict(TRAIN))
    ours, _ = F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPS)
    assert near(got, ours)
    got, _ = ps4.spatial_groupnorm_forward(x, gamma, beta, 2, TRAIN)
    assert near(got, F.group_norm(x, 2, gamma, beta, EPS)[0])
    assert near(ps4.unequal_groupnorm(x, gamma, beta, [2, 2], EPS), got)
    x, gamma, beta, _ = draw(4)
    got, _ = ps4.layernorm_forward(x, gamma, beta, TRAIN)
    assert near(got, F.layer_norm(x, 4, gamma, beta, EPS)[0])


def test_special_cases_meet_the_plain_layer():
    x, gamma, beta, _ = draw(5)
    plain, _ = ps1.batchnorm_forward(x, gamma, beta, dict(TRAIN))
    assert near(ps1.ghost_batchnorm(x, gamma, beta, EPS, len(x)), plain)
    assert near(ps1.weighted_batchnorm(x, gamma, beta, EPS, np.ones(6)), plain)
    assert near(ps1.clipped_batchnorm(x, gamma, beta, EPS, 0.0), plain)
    twice, _ = ps1.batchnorm_forward(
        np.concatenate([x, x[:2]]), gamma, beta, dict(TRAIN)
    )
    weights = np.array([2, 2, 1, 1, 1, 1])
    assert near(ps1.weighted_batchnorm(x, gamma, beta, EPS, weights), twice[:6])


def test_a_mask_keeps_pixels_for_the_statistics_only():
    x, gamma, beta, rng = draw(6, (2, 3, 2, 2))
    mask = rng.integers(0, 2, size=(2, 2, 2)) * 1.0
    kept = ps4.to_rows(x)[mask.reshape(-1) == 1]
    mean, var = kept.mean(0), kept.var(0)
    right, _ = F.batch_norm(x, mean, var, gamma, beta, eps=EPS)
    assert near(ps4.masked_spatial_batchnorm(x, gamma, beta, mask, EPS), right)


def test_corrected_statistics_weigh_the_batches():
    batches = np.random.default_rng(7).normal(size=(3, 5, 2))
    weights = np.array([0.8**2, 0.8, 1.0])
    weights /= weights.sum()
    mean, var = ps1.corrected_statistics(batches, 0.8)
    assert near(mean, weights @ batches.mean(1))
    assert near(var, weights @ batches.var(1))


def test_population_statistics_are_those_of_all_rows():
    rng = np.random.default_rng(8)
    batches = [rng.normal(i, 2, size=(n, 3)) for i, n in enumerate((1, 5, 2))]
    rows = np.concatenate(batches)
    mean, var = ps5.population_statistics(batches)
    assert near(mean, rows.mean(0))
    assert near(var, rows.var(0))


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 2, 3)])
def test_a_folded_layer_is_the_two_layers(shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(9)
    W, x = rng.normal(size=shape), rng.normal(size=(5, *shape[1:]))
    b, gamma, beta, mean = rng.normal(size=(4, 3))
    var = rng.uniform(0.5, 2, 3)
    apply = torch.nn.functional.linear if W.ndim == 2 else torch.nn.functional.conv2d

    def layer(W, b):
        return apply(*(torch.from_numpy(a) for a in (x, W, b))).numpy()

    right, _ = F.batch_norm(layer(W, b), mean, var, gamma, beta, eps=EPS)
    assert near(layer(*ps5.fold(W, b, gamma, beta, mean, var, EPS)), right)
    for got, bare in zip(
        ps5.fold(W, None, gamma, beta, mean, var, EPS),
        ps5.fold(W, 0 * b, gamma, beta, mean, var, EPS),
        strict=True,
    ):
        assert near(got, bare)


def test_the_module_is_pytorch_s():
    torch = pytest.importorskip("torch")
    names = {"BatchNorm1d": torch.nn.BatchNorm1d}
    x, weight, bias, rng = draw(10)
    options = {"momentum": 0.4, "eps": EPS, "weight": weight, "bias": bias}
    for function, args in (
        (ps4.module, (x, rng.normal(size=(3, 4)), options)),
        (ps4.module_gradients, (x,)),
    ):
        right, _ = GLUE[f"*{function.__name__}"]
        got = function(*args)
        got = got if isinstance(got, tuple) else (got,)
        for ours, theirs in zip(got, right(names, *args), strict=True):
            assert near(ours, theirs, 1e-6)
    assert ps4.module_state(4) == GLUE["*module_state"][0](names, 4)
