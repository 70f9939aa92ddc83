"""The noise of a batch: two variants of the layer, and two measurements."""

import copy

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib import functional as F
from bnlib.pytorch.measure import batch_noise, variance_shift
from bnlib.pytorch.variants import DetachedBatchNorm1d, GhostBatchNorm1d


def draw(*shape, seed=0):
    """Return skewed values with another mean and scale for each channel."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.exponential(size=shape))
    channel = torch.arange(1.0, shape[1] + 1).double().view(-1, *[1] * (len(shape) - 2))
    return x * channel + channel


def fill(layer):
    """Give gamma and beta values that are not 1 and 0."""
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 2, layer.num_features))
        layer.bias.copy_(torch.linspace(-1, 1, layer.num_features))
    return layer.double()


def conv_net():
    """Return a small convolutional net with dropout, in float64."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3)),
        *(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(48, 2)),
    ).double()


def everything(model):
    """Return all that a measurement could leave a trace on."""
    return {
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "grad": [p.grad for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_pre_hooks) for m in model.modules()],
        "random": torch.get_rng_state(),
    }


def same(a, b):
    assert a["grad"] == b["grad"]
    assert a["modes"] == b["modes"]
    assert a["hooks"] == b["hooks"]
    assert torch.equal(a["random"], b["random"])
    for key, value in a["state"].items():
        assert torch.equal(value, b["state"][key]), key


# --- variants -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 3), (12, 3, 5)])
@pytest.mark.parametrize("group", [2, 4, 12])
def test_ghost_is_batch_norm_of_each_group(shape, group):
    x = draw(*shape).requires_grad_()
    ghost, plain = fill(GhostBatchNorm1d(3, group)), fill(nn.BatchNorm1d(3))
    groups = x.split(group)
    expected = torch.cat([copy.deepcopy(plain)(part) for part in groups])
    found = ghost(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    up = draw(*shape, seed=1)
    grads = [torch.autograd.grad(y, x, up)[0] for y in (found, expected)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)
    axes = (0, *range(2, x.ndim))
    means = torch.stack([part.mean(axes) for part in groups]).mean(0)
    variances = torch.stack([part.var(axes) for part in groups]).mean(0)
    torch.testing.assert_close(ghost.running_mean, 0.1 * means)
    torch.testing.assert_close(ghost.running_var, 0.9 + 0.1 * variances)
    assert ghost.num_batches_tracked == 1


def detached_slowly(x, dy, detach, weight, eps):
    """Return chapter 5's gradient, without the terms of what is detached."""
    x_hat = F.batch_norm(x, training=True, eps=eps)[0]
    m, g, s = len(x), dy * weight, np.sqrt(x.var(0) + eps)
    dx = g / s
    if "mean" not in detach:
        dx -= g.sum(0) / (m * s)
    if "var" not in detach:
        dx -= x_hat * (g * x_hat).sum(0) / (m * s)
    return dx


@pytest.mark.parametrize("detach", [(), "mean", ("var",), ("mean", "var")])
def test_detached_drops_the_terms_of_the_closed_form(detach):
    layer = fill(DetachedBatchNorm1d(3, detach))
    x, dy = draw(7, 3).requires_grad_(), draw(7, 3, seed=1)
    y = layer(x)
    torch.testing.assert_close(y, fill(nn.BatchNorm1d(3))(x), rtol=0, atol=1e-12)
    (found,) = torch.autograd.grad(y, x, dy)
    expected = detached_slowly(
        x.detach().numpy(), dy.numpy(), detach, layer.weight.detach().numpy(), 1e-5
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracks", [True, False])
@pytest.mark.parametrize(
    "make", [lambda **a: DetachedBatchNorm1d(3, **a),
             lambda **a: GhostBatchNorm1d(3, 8, **a)],
)  # fmt: skip
def test_state_and_evaluation_are_those_of_batch_norm(make, momentum, affine, tracks):
    more = {"momentum": momentum, "affine": affine, "track_running_stats": tracks}
    layer = make(**more).double()
    plain = nn.BatchNorm1d(3, **more).double()
    for seed in range(3):
        x = draw(8, 3, 4, seed=seed)
        torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=1e-12)
    assert layer.state_dict().keys() == plain.state_dict().keys()
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(layer.state_dict()[key], value)
    x = draw(5, 3, seed=9)  # 8 does not divide 5: groups matter in training mode only
    torch.testing.assert_close(layer.eval()(x), plain.eval()(x), rtol=0, atol=1e-12)


def test_refusals_say_what_came():
    with pytest.raises(ValueError, match="got 0"):
        GhostBatchNorm1d(3, 0)
    with pytest.raises(ValueError, match="groups of 4 divide, got 10"):
        GhostBatchNorm1d(3, 4)(torch.zeros(10, 3))
    with pytest.raises(ValueError, match="got 1"):
        GhostBatchNorm1d(3, 1)(torch.zeros(10, 3))
    with pytest.raises(ValueError, match="got 1"):
        DetachedBatchNorm1d(3)(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="sd"):
        DetachedBatchNorm1d(3, ("mean", "sd"))
    with pytest.raises(ValueError, match="2D or 3D"):
        GhostBatchNorm1d(3, 2)(torch.zeros(4, 3, 2, 2))
    assert "group_size=4" in str(GhostBatchNorm1d(3, 4))
    assert "detach=('mean',)" in str(DetachedBatchNorm1d(3, "mean"))


# --- measurements ---------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 5, 20])
@pytest.mark.parametrize("replace", [True, False])
def test_noise_follows_theory(m, replace):
    x = draw(60, 2)
    z = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    noise = batch_noise(
        nn.Sequential(nn.BatchNorm1d(2).double()).eval(), x, m,
        np.random.default_rng(0), batches=6000, replace=replace,
    )["0"]  # fmt: skip
    correction = 1 if replace else (60 - m) / 59
    np.testing.assert_allclose(noise.mean, (correction / m) ** 0.5, rtol=0.04)
    if replace:
        kurtosis = (z**4).mean(0)
        var = (m - 1) ** 2 / m**2 * (kurtosis / m - (m - 3) / (m * (m - 1)))
        np.testing.assert_allclose(noise.var, var**0.5, rtol=0.08)


def test_noise_of_the_whole_set_is_zero():
    model = nn.Sequential(nn.BatchNorm1d(2).double()).eval()
    rng = np.random.default_rng(0)
    noise = batch_noise(model, draw(30, 2), 30, rng, batches=5, replace=False)["0"]
    assert max(noise.mean.max(), noise.var.max()) < 1e-12


@pytest.mark.parametrize("training", [True, False])
def test_noise_on_a_conv_net_as_by_a_plain_loop(training):
    model, x = conv_net().train(training), draw(20, 1, 8, 8)
    model[3].p = 0.0  # no dropout: the loop below would have to draw as hooks do
    before = everything(model)
    noise = batch_noise(model, x, 4, np.random.default_rng(3), batches=30)
    same(before, everything(model))
    rng = np.random.default_rng(3)
    index = [rng.choice(20, 4) for _ in range(30)]
    assert list(noise) == ["1", "5"]
    for at in (1, 5):
        batches = [model[:at](x[torch.from_numpy(i)]).detach() for i in index]
        whole = model[:at](x).detach()
        means = torch.stack([b.mean((0, 2, 3)) for b in batches]).std(0)
        vars_ = torch.stack([b.var((0, 2, 3), correction=0) for b in batches]).std(0)
        var = whole.var((0, 2, 3), correction=0)
        torch.testing.assert_close(noise[str(at)].mean, means / var.sqrt())
        torch.testing.assert_close(noise[str(at)].var, vars_ / var)


def test_shift_of_one_layer_follows_theory():
    """Dropout with share p turns a variance v into v + p / (1 - p) (mean^2 + v)."""
    p, x = 0.4, draw(4000, 2)
    model = nn.Sequential(nn.Dropout(p), nn.BatchNorm1d(2, momentum=None)).double()
    torch.manual_seed(0)
    for _ in range(30):
        model(x)
    v, mean = x.var(0), x.mean(0)
    expected = 1 + p / (1 - p) * (mean**2 + v) / v
    np.testing.assert_allclose(variance_shift(model, x)["1"], expected, rtol=0.02)


def test_shift_on_a_conv_net_as_by_hand():
    model, x = conv_net(), draw(20, 1, 8, 8)
    for _ in range(3):
        model(x)
    model.train()
    model[1].eval()  # mixed modes come back as they were
    before = everything(model)
    ratio = variance_shift(model, x)
    same(before, everything(model))
    model.eval()
    for at in (1, 5):
        var = model[:at](x).var((0, 2, 3))
        torch.testing.assert_close(ratio[str(at)], model[at].running_var / var)


def test_measurements_refuse_what_they_cannot_do():
    model, rng = nn.Sequential(nn.BatchNorm1d(2)), np.random.default_rng(0)
    for size in (0, 6):
        with pytest.raises(ValueError, match=f"1 to 5, got {size}"):
            batch_noise(model, torch.zeros(5, 2), size, rng)
    with pytest.raises(ValueError, match="got 5 and 1"):
        batch_noise(model, torch.zeros(5, 2), 2, rng, batches=1)
    with pytest.raises(ValueError, match="batch-norm layers"):
        batch_noise(nn.Linear(2, 2), torch.zeros(5, 2), 2, rng)
    with pytest.raises(ValueError, match="store statistics"):
        variance_shift(
            nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)),
            torch.zeros(5, 2),
        )


def test_a_failure_leaves_no_trace():
    model = conv_net()
    before = everything(model)
    for measure in (
        lambda x: batch_noise(model, x, 2, np.random.default_rng(0)),
        lambda x: variance_shift(model, x),
    ):
        with pytest.raises(RuntimeError):
            measure(draw(6, 1, 7, 9))  # the linear layer expects another size
        same(before, everything(model))
