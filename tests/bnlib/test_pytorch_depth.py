"""Signals and gradients in depth: each measurement against theory or a slow one."""

import copy

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch.measure import (
    branch_variance,
    effective_rank,
    gradient_norms,
    mean_cosine,
)
from bnlib.pytorch.variants import ResidualBlock

torch.set_num_threads(1)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def dense():
    torch.manual_seed(1)
    net = [nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)]
    return nn.Sequential(*net).double()


def conv():
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        ResidualBlock(nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)), 0.5),
        nn.Flatten(),
        nn.Linear(4 * 25, 3),
    ).double()


def batch(model, rng):
    shape = (7, 5) if isinstance(model[0], nn.Linear) else (7, 2, 5, 5)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def square(out):
    return (out**3).sum()


def trace_of(model):
    """Return all that a measurement could change."""
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    hooks = [len(m._forward_hooks) for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    return state, grads, modes, hooks


def assert_same(before, after):
    for key, value in before[0].items():
        assert torch.equal(value, after[0][key]), key
    for one, other in zip(before[1], after[1], strict=True):
        assert one is None if other is None else torch.equal(one, other)
    assert before[2:] == after[2:]


@pytest.mark.parametrize("make", [dense, conv])
def test_gradient_norms_agree_with_a_nudge_of_each_output(make, rng):
    """Slow: move the output of a layer in each direction and look at the loss."""
    model = make()
    x = batch(model, rng)
    norms = gradient_norms(model, x, square)
    names = [
        n for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))
    ]
    assert list(norms) == names
    name = names[0]
    shape = model[0](x).shape
    gradient = np.zeros(shape.numel())
    for i in range(shape.numel()):
        values = []
        for sign in (1, -1):
            nudge = torch.zeros(shape.numel(), dtype=torch.float64)
            nudge[i] = sign * 1e-5
            twin = copy.deepcopy(model)
            twin[0].register_forward_hook(lambda m, a, y, n=nudge: y + n.view(shape))
            values.append(square(twin(x)).item())
        gradient[i] = (values[0] - values[1]) / 2e-5
    assert norms[name] == pytest.approx(np.linalg.norm(gradient), rel=1e-6)


@pytest.mark.parametrize("make", [dense, conv])
def test_gradient_norms_of_weights_agree_with_backward(make, rng):
    model = make()
    x = batch(model, rng)
    twin = copy.deepcopy(model)
    square(twin(x)).backward()
    norms = gradient_norms(model, x, square, of="weights")
    for name, norm in norms.items():
        weight = dict(twin.named_modules())[name].weight
        assert norm == pytest.approx(weight.grad.norm().item(), rel=1e-12)


@pytest.mark.parametrize("make", [dense, conv])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_on_the_model(make, training, rng):
    model = make().train(training)
    x = batch(model, rng)
    square(model(x)).backward()
    before = trace_of(model)
    gradient_norms(model, x, square)
    gradient_norms(model, x, square, of="weights")
    if make is conv:
        branch_variance(model, x)
    assert_same(before, trace_of(model))
    with pytest.raises(RuntimeError):  # also when the model fails on the way
        gradient_norms(model, x[:, :1], square)
    assert_same(before, trace_of(model))


def test_gradient_norms_says_what_is_wrong(rng):
    model = dense()
    x = batch(model, rng)
    with pytest.raises(ValueError, match='"outputs" or "weights", got \'inputs\''):
        gradient_norms(model, x, square, of="inputs")
    with pytest.raises(ValueError, match=r"a scalar, got shape \(7, 3\)"):
        gradient_norms(model, x, lambda out: out)
    with pytest.raises(ValueError, match="found none"):
        gradient_norms(nn.Sequential(nn.Tanh()), x.requires_grad_(), square)
    twice = nn.Linear(5, 5).double()
    with pytest.raises(ValueError, match="'0' ran twice"):
        gradient_norms(nn.Sequential(twice, twice), x, square)
    model[0].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"got none for \['0'\]"):
        gradient_norms(model, x, square, of="weights")


def test_a_layer_without_influence_has_gradient_zero(rng):
    model = nn.Sequential(nn.Linear(5, 5), ResidualBlock(nn.Linear(5, 5), 0.0)).double()
    norms = gradient_norms(model, batch(model, rng), square)
    assert norms["1.branch"] == 0.0
    assert norms["0"] > 0


def test_effective_rank_of_known_matrices():
    assert effective_rank(torch.eye(4)) == pytest.approx(4)
    assert effective_rank(torch.ones(5, 3)) == pytest.approx(1)
    two = torch.diag(torch.tensor([3.0, 1.0]))  # squares 9 and 1: 100 / 82
    assert effective_rank(two) == pytest.approx(100 / 82)
    assert effective_rank(1e200 * two.double()) == pytest.approx(100 / 82)


def test_effective_rank_by_traces(rng):
    """(trace K)^2 / trace(K^2) of the Gram matrix, without singular values."""
    h = torch.randn(6, 3, 2, 2, generator=rng)
    gram = h.flatten(1).double() @ h.flatten(1).double().T
    slow = (gram.trace() ** 2 / (gram @ gram).trace()).item()
    assert effective_rank(h) == pytest.approx(slow, rel=1e-10)


def test_effective_rank_of_a_random_matrix_by_theory(rng):
    """Marchenko and Pastur: m d / (m + d) for independent entries."""
    h = torch.randn(600, 300, generator=rng)
    assert effective_rank(h) == pytest.approx(200, rel=0.02)


def test_mean_cosine_agrees_with_a_loop(rng):
    h = torch.randn(6, 3, 2, generator=rng) + 0.5
    pairs = [
        torch.cosine_similarity(h[i].flatten(), h[j].flatten(), dim=0).item()
        for i in range(6)
        for j in range(6)
        if i != j
    ]
    assert mean_cosine(h) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert mean_cosine(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])) == pytest.approx(-1)


def test_rank_and_cosine_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        effective_rank(torch.ones(3))
    with pytest.raises(ValueError, match="not all 0"):
        effective_rank(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        mean_cosine(torch.ones(1, 2))
    with pytest.raises(ValueError, match="a row of 0"):
        mean_cosine(torch.tensor([[1.0], [0.0]]))


def test_branch_variance_of_blocks_that_double(rng):
    """The branch gives the input again: variances v, v, then 4 v, 4 v."""
    net = nn.Sequential(ResidualBlock(nn.Identity()), ResidualBlock(nn.Identity(), 0.5))
    x = torch.randn(50, 3, 4, 4, generator=rng) + 7
    v = x.var(correction=0).item()
    (first, second) = branch_variance(net, x).values()
    assert first == pytest.approx((v, v), rel=1e-4)
    assert second == pytest.approx((4 * v, v), rel=1e-4)


def test_branch_variance_asks_for_blocks():
    with pytest.raises(ValueError, match="found none"):
        branch_variance(nn.Sequential(nn.Linear(2, 2)), torch.ones(3, 2))


def test_a_residual_block_adds_its_scaled_branch(rng):
    x = torch.randn(4, 3, generator=rng)
    branch = nn.Linear(3, 3)
    for learned in (False, True):
        block = ResidualBlock(branch, 0.3, learned=learned)
        torch.testing.assert_close(block(x), x + 0.3 * branch(x))
        named = dict(block.named_parameters())
        assert ("scale" in named) == learned
        assert "scale" in block.state_dict()
    skip_init = ResidualBlock(branch, 0.0, learned=True)
    assert torch.equal(skip_init(x), x)
    skip_init(x).square().sum().backward()
    assert skip_init.scale.grad != 0  # so that it can leave zero
    assert torch.equal(branch.weight.grad, torch.zeros(3, 3))


def test_a_residual_block_refuses_another_shape():
    with pytest.raises(ValueError, match=r"keep the shape \(2, 3\), got \(2, 1\)"):
        ResidualBlock(nn.Linear(3, 1))(torch.ones(2, 3))
