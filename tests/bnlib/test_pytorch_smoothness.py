"""Measurements along the gradient, covariate shift, noisy and held batch norms."""

import copy

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch import measure
from bnlib.pytorch.variants import NoisyBatchNorm1d, hold_statistics

F64 = torch.float64
STEPS = [0.05, 0.1, 0.4]


def dense():
    """Return a small net with batch norm, a batch and its loss."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(),
        nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3),
    ).to(F64)  # fmt: skip
    return model, torch.randn(12, 5, dtype=F64), torch.arange(12) % 3


def convolutional():
    """Return a small convolutional net, a batch and its classes."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Flatten(), nn.Linear(12, 3),
    ).to(F64)  # fmt: skip
    return model, torch.randn(7, 1, 6, 6, dtype=F64), torch.arange(7) % 3


NETS = pytest.mark.parametrize("make", [dense, convolutional])


def closure(model, x, y):
    return lambda: nn.functional.cross_entropy(model(x), y)


def gradient(model, x, y):
    """Return the gradient by backward, in a copy."""
    model = copy.deepcopy(model)
    loss = closure(model, x, y)()
    loss.backward()
    return loss.item(), [p.grad for p in model.parameters()]


def moved(model, grads, size, first=None):
    """Return a copy after a step of the first parameters, by a loop."""
    model = copy.deepcopy(model)
    for p, g in list(zip(model.parameters(), grads, strict=True))[:first]:
        p.data = p.data - size * g
    return model


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


# --- the walk -------------------------------------------------------------------------


def test_a_quadratic_loss_has_the_smoothness_of_its_matrix():
    a = torch.diag(torch.tensor([1.0, 2.0, 10.0], dtype=F64))
    model = nn.Linear(3, 1, bias=False, dtype=F64)
    w = model.weight

    def loss():
        return (w @ a @ w.T).sum() / 2

    along = measure.walk_along_gradient(model, loss, STEPS)
    start = w.detach().flatten()
    g = a @ start
    for i, s in enumerate(STEPS):
        there = start - s * g
        assert along.losses[i] == pytest.approx((there @ a @ there / 2).item())
        assert along.changes[i] == pytest.approx(s * (a @ g).norm().item())
    assert along.norm == pytest.approx(g.norm().item())
    assert along.smoothness == pytest.approx((a @ g).norm().item() / along.norm)
    assert along.smoothness <= 10
    with torch.no_grad():
        w.copy_(torch.tensor([[0.0, 0.0, 3.0]]))  # along the sharpest direction
    assert measure.effective_smoothness(model, loss, STEPS) == pytest.approx(10)


@NETS
def test_the_walk_agrees_with_copies_that_take_the_steps(make):
    model, x, y = make()
    along = measure.walk_along_gradient(model, closure(model, x, y), STEPS)
    value, grads = gradient(model, x, y)
    there = [gradient(moved(model, grads, s), x, y) for s in STEPS]
    changes = [(flat(g) - flat(grads)).norm().item() for _, g in there]
    np.testing.assert_allclose(along.losses, [v for v, _ in there], rtol=1e-12)
    np.testing.assert_allclose(along.changes, changes, rtol=1e-10)
    assert along.loss == pytest.approx(value)
    assert along.range == pytest.approx(max(along.losses) - min(along.losses))
    slopes = np.array(changes) / (np.array(STEPS) * flat(grads).norm().item())
    assert along.smoothness == pytest.approx(slopes.max())


def test_the_three_measurements_are_parts_of_the_walk():
    model, x, y = dense()
    loss = closure(model, x, y)
    along = measure.walk_along_gradient(model, loss, STEPS)
    losses = measure.loss_along_gradient(model, loss, STEPS)
    assert losses.tolist() == along.losses.tolist()
    changes = measure.gradient_change(model, loss, STEPS)
    assert changes.tolist() == along.changes.tolist()
    relative = measure.gradient_change(model, loss, STEPS, relative=True)
    np.testing.assert_allclose(relative * along.norm, changes)
    smooth = measure.effective_smoothness(model, loss, STEPS)
    assert smooth == along.smoothness


def test_without_gradient_there_is_no_smoothness():
    model = nn.Linear(2, 1, dtype=F64)
    along = measure.walk_along_gradient(model, lambda: 0 * model.weight.sum(), [1.0])
    assert np.isnan(along.smoothness)
    assert along.norm == along.range == 0


def test_what_is_not_trained_or_not_used_stays():
    model, x, y = dense()
    model[0].weight.requires_grad_(False)
    whole = nn.ModuleDict({"spare": nn.Linear(2, 2, dtype=F64), "net": model})
    trained = [p for p in model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(closure(model, x, y)(), trained)
    along = measure.walk_along_gradient(whole, closure(model, x, y), [0.1])
    assert along.norm == pytest.approx(flat(grads).norm().item())


# --- no trace -------------------------------------------------------------------------


def state(model):
    """Return all that a measurement must leave alone."""
    return {
        "tensors": {k: v.clone() for k, v in model.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.clone()
                      for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks)
                  for m in model.modules()],
        "random": torch.random.get_rng_state(),
    }  # fmt: skip


def assert_same(a, b):
    assert a["modes"] == b["modes"]
    assert a["hooks"] == b["hooks"]
    assert torch.equal(a["random"], b["random"])
    for key, value in a["tensors"].items():
        assert torch.equal(value, b["tensors"][key]), key
    for one, other in zip(a["gradients"], b["gradients"], strict=True):
        assert one is other is None or torch.equal(one, other)


MEASUREMENTS = {
    "walk": lambda m, loss: measure.walk_along_gradient(m, loss, STEPS),
    "shift": lambda m, loss: measure.internal_covariate_shift(m, loss, 0.1, [m[3]]),
}


@pytest.mark.parametrize("name", MEASUREMENTS)
@NETS
def test_a_measurement_leaves_no_trace(make, name):
    model, x, y = make()
    model.insert(3, nn.Dropout(0.5))
    model.insert(3, nn.Identity())
    model[-1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    loss = closure(model, x, y)
    layer = model[5]
    before, place = state(model), [p.data_ptr() for p in model.parameters()]
    if name == "walk":
        measure.walk_along_gradient(model, loss, STEPS)
    else:
        measure.internal_covariate_shift(model, loss, 0.1, [layer])
    assert_same(before, state(model))
    assert place == [p.data_ptr() for p in model.parameters()]


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_no_trace_is_left_by_an_error(name):
    model, x, y = dense()
    before, calls = state(model), []

    def loss():
        calls.append(model.train(len(calls) == 0))
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return nn.functional.cross_entropy(model(x), y)

    with pytest.raises(RuntimeError, match="out of memory"):
        MEASUREMENTS[name](model, loss)
    assert_same(before, state(model))


def test_dropout_drops_the_same_units_at_each_step():
    model, x, y = dense()
    model.insert(3, nn.Dropout(0.5))
    along = measure.walk_along_gradient(model, closure(model, x, y), [1e-9, 2e-9])
    np.testing.assert_allclose(along.losses, along.loss, rtol=1e-6)


# --- internal covariate shift ---------------------------------------------------------


def test_the_shift_of_two_factors_is_that_of_the_formula():
    model = nn.Sequential(nn.Linear(1, 1, False), nn.Linear(1, 1, False)).to(F64)
    (w1,), (w2,) = (layer.weight.detach().flatten().tolist() for layer in model)
    x, lr = 1.5, 0.3

    def loss():
        return model(torch.full((1, 1), x, dtype=F64)).square().sum() / 2

    got = measure.internal_covariate_shift(model, loss, lr, [model[1]])
    below = w1 - lr * (w2 * x) ** 2 * w1
    before, after = (w1 * x) ** 2 * w2, (below * x) ** 2 * w2
    assert got.change[0] == pytest.approx(abs(after - before))
    assert got.relative[0] == pytest.approx(abs(after - before) / abs(before))
    assert got.cosine[0] == pytest.approx(1)


@NETS
def test_the_shift_agrees_with_copies(make):
    model, x, y = make()
    layers, lr = [model[3], model[1], model[-1]], 0.2
    got = measure.internal_covariate_shift(model, closure(model, x, y), lr, layers)
    _, grads = gradient(model, x, y)
    names = [n for n, _ in model.named_parameters()]
    for i, own in enumerate((("3.",), ("1.",), (f"{len(model) - 1}.",))):
        places = [k for k, n in enumerate(names) if n.startswith(own)]
        _, after = gradient(moved(model, grads, lr, places[0]), x, y)
        a, b = (flat([g[k] for k in places]) for g in (grads, after))
        assert got.change[i] == pytest.approx((b - a).norm().item())
        assert got.relative[i] == pytest.approx(((b - a).norm() / a.norm()).item())
        assert got.cosine[i] == pytest.approx((a @ b / a.norm() / b.norm()).item())


# --- errors ---------------------------------------------------------------------------


def test_errors_say_what_was_expected():
    model, x, y = dense()
    loss = closure(model, x, y)
    for steps in ([], [0.1, 0.0], [-1.0], [float("nan")]):
        with pytest.raises(ValueError, match="expected steps, each above 0, got"):
            measure.walk_along_gradient(model, loss, steps)
    with pytest.raises(ValueError, match=r"one number in a tensor, got \(12, 3\)"):
        measure.walk_along_gradient(model, lambda: model(x), [1.0])
    with pytest.raises(ValueError, match="one number in a tensor, got float"):
        measure.walk_along_gradient(model, lambda: 1.0, [1.0])
    with pytest.raises(ValueError, match="trained parameters, got a ReLU without"):
        measure.walk_along_gradient(nn.ReLU(), loss, [1.0])
    with pytest.raises(ValueError, match="rate above 0, got 0"):
        measure.internal_covariate_shift(model, loss, 0, [model[3]])
    with pytest.raises(ValueError, match="got the first, a Linear"):
        measure.internal_covariate_shift(model, loss, 0.1, [model[0]])
    for stranger in (nn.Linear(2, 2), model[2]):
        with pytest.raises(ValueError, match="without trained parameters there"):
            measure.internal_covariate_shift(model, loss, 0.1, [stranger])


# --- noisy batch norm -----------------------------------------------------------------


def test_the_noise_is_that_of_a_loop():
    layer = NoisyBatchNorm1d(
        4, generator=torch.Generator().manual_seed(5), dtype=F64
    )  # fmt: skip
    x = torch.randn(6, 4, dtype=F64)
    y = layer(x)
    rng = torch.Generator().manual_seed(5)
    draws = [torch.rand(4, generator=rng, dtype=F64) for _ in range(2)]
    each = torch.rand(6, 4, generator=rng, dtype=F64)
    spread = torch.randn(6, 4, generator=rng, dtype=F64)
    clean = nn.BatchNorm1d(4, dtype=F64)(x)
    for i in range(6):
        for k in range(4):
            shift = 0.5 * (2 * draws[0][k] - 1) + 0.1 * (2 * each[i, k] - 1)
            scale = 1 + 0.25 * draws[1][k] + 0.1 * spread[i, k]
            assert y[i, k].item() == pytest.approx((scale * clean[i, k] + shift).item())


def test_the_noise_has_the_sizes_that_it_is_given():
    torch.manual_seed(0)
    layer = NoisyBatchNorm1d(20_000, shift=0.5, scale=1.5, jitter=0.0)
    y = layer(torch.randn(8, 20_000)).detach()
    shift, scale = y.mean(0), y.std(0, correction=0)
    assert -0.51 < shift.min() < -0.49 < 0.49 < shift.max() < 0.51
    assert 0.99 < scale.min() < 1.01 < 1.49 < scale.max() < 1.51
    assert abs(shift.mean()) < 0.01
    assert scale.mean().item() == pytest.approx(1.25, abs=0.01)
    assert not torch.equal(layer(y), layer(y))  # drawn anew at each call


def test_without_noise_it_is_batch_norm():
    x = torch.randn(6, 4, dtype=F64)
    usual, none = nn.BatchNorm1d(4, dtype=F64), NoisyBatchNorm1d(4, 0, 1, 0, dtype=F64)
    noisy = NoisyBatchNorm1d(4, dtype=F64)
    assert torch.equal(usual(x), none(x))
    noisy(x)
    assert torch.equal(noisy.running_mean, usual.running_mean)  # noise comes behind
    for layer in (usual, none, noisy):
        layer.eval()
    assert torch.equal(usual(x), noisy(x))
    assert "shift=0.5" in repr(noisy)


def test_a_noisy_layer_refuses_what_makes_no_sense():
    for bad in ({"shift": -1}, {"scale": 0.9}, {"jitter": -0.1}):
        with pytest.raises(ValueError, match="scale of at least 1, got"):
            NoisyBatchNorm1d(3, **bad)
    with pytest.raises(ValueError, match=r"shape \(m, d\), got \(2, 3, 4\)"):
        NoisyBatchNorm1d(3)(torch.zeros(2, 3, 4))


# --- held statistics ------------------------------------------------------------------


@NETS
def test_held_statistics_give_the_same_function_and_another_gradient(make):
    model, x, y = make()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))  # gamma and beta that matter
    before = state(model)
    held = hold_statistics(model, x)
    assert_same(before, state(model))
    assert before["hooks"] == state(held)["hooks"]
    torch.testing.assert_close(held(x), copy.deepcopy(model)(x), rtol=1e-12, atol=1e-12)
    _, own = gradient(model, x, y)
    _, got = gradient(held, x, y)
    _, wanted = gradient(detached(model), x, y)
    torch.testing.assert_close(flat(got), flat(wanted), rtol=1e-10, atol=1e-12)
    assert (flat(got) - flat(own)).norm() > 0.1 * flat(own).norm()


class Detached(nn.Module):
    """Batch norm whose statistics are constants for autograd, written out."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x):
        axes = (0, *range(2, x.ndim))
        mu, var = (
            v.detach()
            for v in (x.mean(axes, True), x.var(axes, correction=0, keepdim=True))
        )
        shape = (1, -1, *(1,) * (x.ndim - 2))
        x_hat = (x - mu) / (var + self.eps).sqrt()
        return self.weight.view(shape) * x_hat + self.bias.view(shape)


def detached(model):
    model = copy.deepcopy(model)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    return nn.Sequential(*(Detached(m) if isinstance(m, norms) else m for m in model))


def test_holding_needs_norms_in_training_mode_with_statistics():
    model, x, _ = dense()
    with pytest.raises(ValueError, match="expected a batch norm, got a Linear without"):
        hold_statistics(nn.Linear(5, 2), x)
    with pytest.raises(ValueError, match="training mode, got evaluation mode"):
        hold_statistics(copy.deepcopy(model).eval(), x)
    model[1] = nn.BatchNorm1d(8, track_running_stats=False, dtype=F64)
    with pytest.raises(ValueError, match="got a layer that stores none"):
        hold_statistics(model, x)
