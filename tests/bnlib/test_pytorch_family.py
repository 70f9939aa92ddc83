"""Relatives of batch norm in PyTorch: against plain forms and defining properties."""

import numpy as np
import pytest
from needs_torch import torch

from bnlib.pytorch import family
from bnlib.pytorch.family import (
    BatchNormLSTM,
    ConditionalBatchNorm,
    DecorrelatedBatchNorm,
    FiLM,
    StepBatchNorm1d,
    adaptive_instance_norm,
)

nn = torch.nn
ZEROS = torch.zeros(3, dtype=torch.int64)
SHAPES = [(12, 4), (5, 4, 3), (4, 4, 3, 2)]


def draw(shape, seed=0):
    rng = np.random.default_rng(seed)
    mixed = (
        rng.standard_normal(shape)
        + 0.5 * rng.standard_normal(shape[:1])[(..., *[None] * (len(shape) - 1))]
    )
    return torch.from_numpy(3 * mixed + 1)


def rows(x):
    """Return x, (N, C, ...), as (values, C) in NumPy."""
    return x.transpose(0, 1).flatten(1).T.detach().numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_conditional_batch_norm_is_batch_norm_with_parameters_chosen_by_example(shape):
    x, condition = draw(shape), torch.arange(shape[0]) % 3
    layer = ConditionalBatchNorm(4, 3).double()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.from_numpy(rng.standard_normal(p.shape)))
    y = layer(x, condition)
    values = rows(x)
    mean, var = values.mean(0), values.var(0)
    for i, c in enumerate(condition):
        for k in range(4):
            x_hat = (x[i, k].numpy() - mean[k]) / np.sqrt(var[k] + 1e-5)
            want = layer.weight[c, k].item() * x_hat + layer.bias[c, k].item()
            np.testing.assert_allclose(y[i, k].detach().numpy(), want, atol=1e-12)
    plain = nn.BatchNorm1d(4).double()
    plain(x.flatten(2) if x.ndim > 3 else x)
    torch.testing.assert_close(layer.norm.running_var, plain.running_var)


@pytest.mark.parametrize("shape", SHAPES)
def test_film_starts_as_the_identity_and_is_linear_in_its_condition(shape):
    x, condition = draw(shape), draw((shape[0], 2), 1)
    layer = FiLM(2, 4).double()
    assert torch.equal(layer(x, condition), x)
    with torch.no_grad():
        layer.make.weight[:4, 0] = 2.0
        layer.make.weight[4:, 1] = -1.0
    y = layer(x, condition)
    for i in range(shape[0]):
        want = (1 + 2 * condition[i, 0]) * x[i] - condition[i, 1]
        torch.testing.assert_close(y[i], want)


def test_adaptive_instance_norm_copies_the_moments_of_the_style():
    content, style = draw((3, 4, 5, 5)), draw((3, 4, 2, 7), 1) ** 2
    y = adaptive_instance_norm(content, style, eps=0.0)
    torch.testing.assert_close(y.mean((2, 3)), style.mean((2, 3)))
    both = (one.var((2, 3), correction=0) for one in (y, style))
    torch.testing.assert_close(*both)
    again = adaptive_instance_norm(content, content)
    torch.testing.assert_close(again, content)


# --- decorrelated ---------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("groups", [1, 2])
def test_whitened_features_of_a_group_have_the_identity_as_covariance(shape, groups):
    x = draw(shape)
    layer = DecorrelatedBatchNorm(4, groups, eps=1e-12, affine=False).double()
    y = rows(layer(x))
    size = 4 // groups
    cov = np.cov(y.T, ddof=0)
    for g in range(groups):
        own = slice(g * size, (g + 1) * size)
        np.testing.assert_allclose(cov[own, own], np.eye(size), atol=1e-9)
    if groups == 2:
        assert abs(cov[0, 2]) > 1e-3  # across groups nothing is promised
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_groups_of_one_feature_are_batch_norm(shape):
    x = draw(shape)
    ours, theirs = DecorrelatedBatchNorm(4, 4).double(), nn.BatchNorm1d(4).double()
    flat = x.flatten(2) if x.ndim > 2 else x
    torch.testing.assert_close(ours(x).reshape(flat.shape), theirs(flat))
    torch.testing.assert_close(ours.running_cov.flatten(), theirs.running_var)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x).reshape(flat.shape), theirs(flat))


def test_whitening_is_zca_and_turns_with_its_input():
    x = draw((30, 4))
    layer = DecorrelatedBatchNorm(4, eps=1e-12, affine=False).double()
    values = x.numpy() - x.numpy().mean(0)
    s, u = np.linalg.eigh(values.T @ values / 30)
    want = values @ u @ np.diag(s**-0.5) @ u.T
    np.testing.assert_allclose(layer(x).numpy(), want, atol=1e-9)
    turn = torch.linalg.qr(draw((4, 4), 2)).Q
    torch.testing.assert_close(layer(x @ turn), layer(x) @ turn)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_whitening_is_that_of_autograd_and_of_differences(shape):
    x = draw(shape).requires_grad_()
    layer = DecorrelatedBatchNorm(4, 2).double()
    assert torch.autograd.gradcheck(layer, (x,))
    matrix = draw((4, 4), 3)
    matrix = (matrix @ matrix.T).requires_grad_()  # its eigenvalues differ
    s, u = torch.linalg.eigh(matrix)
    weights = draw((4, 4), 4)
    weights = weights + weights.T
    ((u / s.sqrt()) @ u.T * weights).sum().backward()
    want, matrix.grad = matrix.grad, None
    (family._InverseRoot.apply(matrix) * weights).sum().backward()
    torch.testing.assert_close(matrix.grad, (want + want.T) / 2)


def test_whitening_has_a_gradient_where_eigenvalues_are_equal():
    """Three examples of six features: three eigenvalues are eps, and autograd fails."""
    x = draw((3, 6)).requires_grad_()
    layer = DecorrelatedBatchNorm(6, eps=1e-3).double()
    layer(x).square().sum().backward()
    assert x.grad.isfinite().all()
    assert torch.autograd.gradcheck(layer, (x,), eps=1e-6, atol=1e-4)


def test_evaluation_whitens_by_the_running_covariance():
    x = draw((50, 4))
    layer = DecorrelatedBatchNorm(4, eps=1e-12, momentum=1.0, affine=False).double()
    layer(x)
    np.testing.assert_allclose(layer.running_cov[0], np.cov(x.numpy().T), rtol=1e-10)
    y = layer.eval()(x)
    np.testing.assert_allclose(np.cov(y.numpy().T), np.eye(4), atol=1e-9)
    torch.testing.assert_close(layer(x[:1]), y[:1])  # one example alone


# --- recurrent ------------------------------------------------------------------------


def test_each_step_has_running_statistics_of_its_own():
    layer = StepBatchNorm1d(3, 2, momentum=1.0).double()
    batches = [draw((8, 3), s) * (s + 1) for s in range(2)]
    for t, x in enumerate(batches):
        torch.testing.assert_close(layer(x, t), nn.BatchNorm1d(3).double()(x))
        torch.testing.assert_close(layer.running_mean[t], x.mean(0))
        torch.testing.assert_close(layer.running_var[t], x.var(0))
    layer.eval()
    for t, step in ((0, 0), (1, 1), (4, 1)):
        want = (batches[0] - batches[step].mean(0)) / (
            batches[step].var(0) + 1e-5
        ).sqrt()
        torch.testing.assert_close(layer(batches[0], t), want)


def test_shared_statistics_are_those_of_all_values_together():
    layer = StepBatchNorm1d(3, 2)
    with torch.no_grad():
        layer.running_mean.copy_(torch.tensor([[0.0, 1, 2], [2, 1, 4]]))
        layer.running_var.copy_(torch.tensor([[1.0, 2, 3], [3, 2, 1]]))
    layer.eval().shared = True
    mean, var = layer.pooled()
    assert mean.tolist() == [1, 1, 3]
    assert var.tolist() == [3, 2, 3]
    x = draw((4, 3)).float()
    torch.testing.assert_close(layer(x, 0), (x - mean) / (var + 1e-5).sqrt())


def test_without_its_norms_the_cell_is_an_lstm_of_torch():
    cell = BatchNormLSTM(3, 5, 6).double()
    for name in cell.norms:
        cell.norms[name] = PassOn()
    plain = nn.LSTM(3, 5, batch_first=True).double()
    with torch.no_grad():
        for ours, theirs in ((cell.from_input.weight, plain.weight_ih_l0),
                             (cell.from_past.weight, plain.weight_hh_l0),
                             (cell.from_past.bias, plain.bias_ih_l0)):  # fmt: skip
            f, i, o, g = ours.chunk(4)
            theirs.copy_(torch.cat([i, f, g, o]))  # torch's order
        plain.bias_hh_l0.zero_()
    x = draw((2, 6, 3))
    torch.testing.assert_close(cell(x), plain(x)[0])


class PassOn(nn.Module):
    """A norm that does nothing."""

    def forward(self, x, step):
        """Return x."""
        return x


def test_the_cell_normalizes_gates_and_cell_in_each_step():
    cell = BatchNormLSTM(3, 5, 4).double()
    seen = []
    for norm in cell.norms.values():
        norm.register_forward_hook(lambda m, i, o: seen.append((m, i[1], o.detach())))
    states = cell(draw((9, 4, 3)))
    assert states.shape == (9, 4, 5)
    assert len(seen) == 3 * 4
    for _, step, out in seen:
        if step > 0:  # the first past is all zero
            torch.testing.assert_close(out.mean(0), torch.zeros_like(out[0]))
    cell.eval().share()
    assert all(norm.shared for norm in cell.norms.values())
    torch.testing.assert_close(cell(draw((9, 4, 3)))[:1], cell(draw((9, 4, 3))[:1]))


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ConditionalBatchNorm(3, 0), "1 condition or more, got 0"),
        (lambda: ConditionalBatchNorm(3, 2)(torch.ones(4, 3), ZEROS[:2]),
         r"\(4, 3\), got \(2, 3\)"),
        (lambda: ConditionalBatchNorm(3, 2)(torch.ones(3), ZEROS),
         r"one value per example|\(N, C"),
        (lambda: FiLM(2, 3)(torch.ones(4, 5), torch.ones(4, 2)), r"\(4, 5\)"),
        (lambda: adaptive_instance_norm(torch.ones(2, 3, 4), torch.ones(2, 2, 4)),
         "same N and C"),
        (lambda: DecorrelatedBatchNorm(6, 4), "divide 6 features, got 4"),
        (lambda: DecorrelatedBatchNorm(6, eps=0.0), "eps over 0"),
        (lambda: DecorrelatedBatchNorm(6)(torch.ones(4, 5)), r"\(N, 6, ...\)"),
        (lambda: DecorrelatedBatchNorm(6)(torch.ones(1, 6)), "2 values"),
        (lambda: StepBatchNorm1d(3, 0), "1 step or more"),
        (lambda: StepBatchNorm1d(3, 2)(torch.ones(4, 3), -1), "0 or more, got -1"),
        (lambda: StepBatchNorm1d(3, 2)(torch.ones(1, 3), 0), "2 values per feature"),
    ],
)  # fmt: skip
def test_errors_say_what_was_expected(call, words):
    with pytest.raises(ValueError, match=words):
        call()
