"""What must hold for every input: invariances, and the geometry of the gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import bnlib.functional as F

settings.register_profile(
    "book", derandomize=True, max_examples=40, deadline=None, database=None
)
settings.load_profile("book")

TOL = {"rtol": 1e-9, "atol": 1e-9}


@st.composite
def batches(draw):
    """Draw x, an upstream gradient and gamma; every feature of x has some spread."""
    m, d = draw(st.integers(2, 9)), draw(st.integers(1, 5))
    jitter = np.random.default_rng(draw(st.integers(0, 10_000))).normal(size=(3, m, d))
    floats = st.floats(-10, 10, width=32)
    x = draw(arrays(np.float64, (m, d), elements=floats))
    x[0], x[-1] = x[0] + 3, x[-1] - 3
    if m > 2:
        x += jitter[0]
    while (x.std(axis=0) < 0.5).any():
        x[0] += 1.7
    grad = draw(arrays(np.float64, (m, d), elements=floats)) + jitter[1]
    return x, grad, 0.5 + np.abs(jitter[2][0])


def forward(x, gamma=None, eps=0.0):
    return F.batch_norm(x, weight=gamma, training=True, eps=eps)


def backward(x, grad, gamma=None, eps=0.0):
    _, cache = forward(x, gamma, eps)
    return F.batch_norm_backward(grad, cache)[0]


@given(batches(), st.floats(-100, 100), st.sampled_from([0.0, 1e-5, 0.1]))
def test_a_shift_changes_nothing(batch, shift, eps):
    x, grad, gamma = batch
    y, _ = forward(x, gamma, eps)
    np.testing.assert_allclose(forward(x + shift, gamma, eps)[0], y, **TOL)
    np.testing.assert_allclose(
        backward(x + shift, grad, gamma, eps), backward(x, grad, gamma, eps), **TOL
    )


@given(batches(), st.floats(0.01, 100))
def test_a_scale_changes_nothing_and_divides_the_gradient(batch, a):
    x, grad, gamma = batch
    np.testing.assert_allclose(forward(a * x, gamma)[0], forward(x, gamma)[0], **TOL)
    np.testing.assert_allclose(
        a * backward(a * x, grad, gamma), backward(x, grad, gamma), **TOL
    )
    np.testing.assert_allclose(forward(-a * x)[0], -forward(x)[0], **TOL)


@given(batches(), st.floats(0.01, 100))
def test_scaling_x_and_eps_together_is_exact(batch, a):
    x, _, gamma = batch
    y = forward(x, gamma, eps=0.1)[0]
    np.testing.assert_allclose(forward(a * x, gamma, 0.1 * a**2)[0], y, **TOL)


@given(batches(), st.sampled_from([0.0, 1e-5, 0.1]))
def test_output_has_mean_zero_and_variance_just_under_one(batch, eps):
    x, _, _ = batch
    y, cache = forward(x, eps=eps)
    np.testing.assert_allclose(y.mean(axis=0), 0, **TOL)
    np.testing.assert_allclose(
        y.var(axis=0, ddof=0), cache.var / (cache.var + eps), **TOL
    )


@given(batches(), st.sampled_from([0.0, 1e-5, 0.1]))
def test_columns_of_the_gradient_sum_to_zero(batch, eps):
    x, grad, gamma = batch
    np.testing.assert_allclose(
        backward(x, grad, gamma, eps).sum(axis=0), 0, rtol=0, atol=1e-10
    )


@given(batches(), st.sampled_from([0.0, 1e-5, 0.1, 3.0]))
def test_gradient_along_x_hat_is_the_residual_of_eps(batch, eps):
    x, grad, gamma = batch
    _, cache = forward(x, gamma, eps)
    along = (backward(x, grad, gamma, eps) * cache.x_hat).sum(axis=0)
    # sum(x_hat**2) = m * var / (var + eps): with eps = 0, exactly orthogonal.
    left = eps / (cache.var + eps)
    residual = gamma * cache.inv_std * left * (grad * cache.x_hat).sum(axis=0)
    np.testing.assert_allclose(along, residual, rtol=1e-9, atol=1e-10)


@given(batches(), st.floats(-5, 5), st.floats(-5, 5), st.booleans())
def test_backward_is_linear_in_the_upstream_gradient(batch, a, b, training):
    x, grad, gamma = batch
    other = np.roll(grad, 1, axis=0) ** 2
    mean, var = x[0].copy(), np.abs(x[-1]) + 1
    _, cache = F.batch_norm(x, mean, var, gamma, gamma, training, eps=0.1)
    mixed = F.batch_norm_backward(a * grad + b * other, cache)
    first = F.batch_norm_backward(grad, cache)
    second = F.batch_norm_backward(other, cache)
    for m, f, s in zip(mixed, first, second, strict=True):
        np.testing.assert_allclose(m, a * f + b * s, rtol=1e-9, atol=1e-8)


@given(batches(), st.integers(0, 100))
def test_rows_are_independent_in_evaluation_only(batch, pick):
    x, grad, gamma = batch
    i = pick % len(x)
    mean, var = x[0] - 1, np.abs(x[-1]) + 1
    rest = (mean, var, gamma)
    y, cache = F.batch_norm(x, *rest, training=False)
    alone, cache_alone = F.batch_norm(x[i : i + 1], *rest, training=False)
    np.testing.assert_allclose(y[i : i + 1], alone, rtol=1e-14)
    np.testing.assert_allclose(
        F.batch_norm_backward(grad, cache)[0][i : i + 1],
        F.batch_norm_backward(grad[i : i + 1], cache_alone)[0],
        rtol=1e-14,
    )
    changed = x.copy()
    changed[i] += 5
    others = np.arange(len(x)) != i
    before, after = forward(x, eps=1.0)[0], forward(changed, eps=1.0)[0]
    assert not np.allclose(after[others], before[others])


@given(batches(), st.randoms(use_true_random=False))
def test_permuting_the_batch_permutes_the_output(batch, random):
    x, grad, gamma = batch
    order = list(range(len(x)))
    random.shuffle(order)
    np.testing.assert_allclose(
        forward(x[order], gamma)[0], forward(x, gamma)[0][order], **TOL
    )
    np.testing.assert_allclose(
        backward(x[order], grad[order], gamma), backward(x, grad, gamma)[order], **TOL
    )


@given(batches())
def test_six_equations_equal_the_closed_form(batch):
    x, grad, gamma = batch
    _, cache = forward(x, gamma, eps=0.1)
    closed = F.batch_norm_backward(grad, cache)[0]
    np.testing.assert_allclose(
        F.batch_norm_backward_six(grad, cache)[0], closed, rtol=1e-10, atol=1e-10
    )


@given(batches(), st.floats(0.01, 1))
def test_running_mean_stays_between_old_and_new(batch, momentum):
    x, _, gamma = batch
    old = np.full(x.shape[1], 20.0)
    running_mean, running_var = old.copy(), np.ones_like(old)
    F.batch_norm(x, running_mean, running_var, gamma, None, True, momentum)
    expected = (1 - momentum) * old + momentum * x.mean(axis=0)
    np.testing.assert_allclose(running_mean, expected, **TOL)
    expected = (1 - momentum) + momentum * x.var(axis=0, ddof=1)
    np.testing.assert_allclose(running_var, expected, **TOL)


@given(batches(), st.floats(0.1, 10), st.sampled_from(["layer", "rms", "group"]))
def test_layer_group_and_rms_norm_ignore_the_scale_of_a_row(batch, a, norm):
    x, _, _ = batch
    x = np.hstack([x, 2 * x + 1, x**2 + 3])  # at least three values in a row
    C = x.shape[1]
    run = {
        "layer": lambda x: F.layer_norm(x, C, eps=0.0),
        "rms": lambda x: F.rms_norm(x, C, eps=0.0),
        "group": lambda x: F.group_norm(x, 1, eps=0.0),
    }[norm]
    y, _ = run(x)
    scaled = x.copy()
    scaled[0] *= a
    np.testing.assert_allclose(run(scaled)[0], y, **TOL)  # no row looks at another


def test_the_profile_is_in_force():
    if settings().derandomize is not True:
        pytest.fail("property tests must draw the same examples on every run")
