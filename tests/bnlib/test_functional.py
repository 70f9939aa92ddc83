"""Batch norm and its relatives: torch's numbers, conventions, caches and precision."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from as_in_torch import AsInTorch, Op
from oracle import SHAPES, assert_close, draw, load_torch, reference

import bnlib.functional as F


def norm_ops():
    for shape in SHAPES:
        for affine, wants in ((True, "affine"), (False, "plain")):
            C = (shape[1],) if affine else None
            yield Op(
                f"batch_norm {shape} {wants}",
                lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True, 0.1, 0.1),
                (shape, C, C),
            )
            last = shape[2:] or shape[1:]
            yield Op(
                f"layer_norm {shape} {wants}",
                lambda f, x, w, b, last=last: f.layer_norm(x, last, w, b, 0.1),
                (shape, last if affine else None, last if affine else None),
            )
            yield Op(
                f"rms_norm {shape} {wants}",
                lambda f, x, w, last=last: f.rms_norm(x, last, w, 0.1),
                (shape, last if affine else None),
            )
            if len(shape) > 2:
                yield Op(
                    f"instance_norm {shape} {wants}",
                    lambda f, x, w, b: f.instance_norm(x, None, None, w, b, eps=0.1),
                    (shape, C, C),
                )
    for shape, last in [((4,), (4,)), ((1, 1, 4), (4,)), ((3, 1, 4), (1, 4))]:
        yield Op(
            f"layer_norm {shape} over {last}",
            lambda f, x, w, b, last=last: f.layer_norm(x, last, w, b),
            (shape, last, last),
        )
        yield Op(
            f"rms_norm {shape} over {last}",
            lambda f, x, w, last=last: f.rms_norm(x, last, w),
            (shape, last),
        )
    grouped = [(2, (3, 4)), (1, (1, 4)), (2, (2, 6, 3)), (3, (2, 6, 3, 2))]
    for groups, shape in grouped:
        C = (shape[1],)
        for channels in (C, None):
            yield Op(
                f"group_norm {shape} {groups} groups {'affine' if channels else ''}",
                lambda f, x, w, b, g=groups: f.group_norm(x, g, w, b, 0.1),
                (shape, channels, channels),
            )


@pytest.mark.parametrize("op", list(norm_ops()), ids=str)
class TestNorms(AsInTorch):
    """Batch, layer, group, instance and RMS norm."""


# --- batch norm: statistics, modes, convention of the running averages


def bn_case(shape, affine=True, dtype=np.float64):
    C = (shape[1],)
    x, weight, bias, running_mean = (
        draw(s, dtype, seed) for seed, s in enumerate((shape, C, C, C))
    )
    running_var = np.random.default_rng(4).uniform(0.3, 3.0, C).astype(dtype)
    if not affine:
        weight = bias = None
    return x, running_mean, running_var, weight, bias


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("momentum", [0.1, 0.3, 1.0])
def test_batch_norm_agrees_with_torch(shape, affine, training, eps, momentum):
    torch = load_torch()
    x, mean, var, weight, bias = bn_case(shape, affine)
    theirs = torch.tensor(mean), torch.tensor(var)
    for step in range(3):  # three batches, so that the running averages mix
        batch = x + 0.5 * step
        y, cache = F.batch_norm(batch, mean, var, weight, bias, training, momentum, eps)
        grad_output = draw(shape, seed=20 + step)
        y_torch, grads_torch = reference(
            lambda f, x, w, b: f.batch_norm(x, *theirs, w, b, training, momentum, eps),
            grad_output,
            *(batch, weight, bias),
        )
        assert_close(y, y_torch)
        assert_close(mean, theirs[0].numpy())
        assert_close(var, theirs[1].numpy())
        # With two values per channel and a small eps, grad_x is what is left of
        # numbers 1/eps times larger: the closed form loses those digits.
        rtol = 1e-8 if training and shape == (2, 4) and eps < 0.1 else 1e-10
        backwards = [F.batch_norm_backward]
        if training:
            backwards.append(F.batch_norm_backward_six)
        for backward in backwards:
            grads = backward(grad_output, cache)
            assert_close(grads[0], grads_torch[0], rtol=rtol)
            assert_close(grads[1], grads_torch[1])
            assert_close(grads[2], grads_torch[2])


def test_the_six_equations_refuse_evaluation_mode():
    x, *rest = bn_case((5, 3))
    _, cache = F.batch_norm(x, *rest, training=False)
    with pytest.raises(ValueError, match="training mode"):
        F.batch_norm_backward_six(x, cache)


def test_evaluation_changes_no_running_statistic_and_mixes_no_rows():
    x, mean, var, weight, bias = bn_case((5, 3))
    before = mean.copy(), var.copy()
    y, _ = F.batch_norm(x, mean, var, weight, bias, training=False)
    np.testing.assert_array_equal(mean, before[0])
    np.testing.assert_array_equal(var, before[1])
    one, _ = F.batch_norm(x[:1], mean, var, weight, bias, training=False)
    assert_close(one, y[:1], rtol=1e-14)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cache_holds_the_biased_statistics_of_the_batch(shape):
    x, mean, var, weight, bias = bn_case(shape)
    y, cache = F.batch_norm(x, mean, var, weight, bias, True, 1.0, 1e-3)
    axes = (0, *range(2, x.ndim))
    assert_close(cache.mu, x.mean(axis=axes))
    assert_close(cache.var, x.var(axis=axes, ddof=0))
    assert_close(cache.inv_std, 1 / np.sqrt(x.var(axis=axes, ddof=0) + 1e-3))
    assert_close(mean, x.mean(axis=axes))  # momentum 1 keeps the last batch only
    assert_close(var, x.var(axis=axes, ddof=1))
    assert cache.training is True
    assert cache.x_hat.shape == y.shape == shape


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance", "rms"])
def test_output_and_statistics_are_the_callers_own(norm):
    x, mean, var, *_ = bn_case((4, 3, 5))
    run = {
        "batch": lambda: F.batch_norm(x, mean, var, training=False),
        "layer": lambda: F.layer_norm(x, (3, 5)),
        "group": lambda: F.group_norm(x, 3),
        "instance": lambda: F.instance_norm(x),
        "rms": lambda: F.rms_norm(x, (3, 5)),
    }[norm]
    y, cache = run()
    before = F.norm_backward(x, cache)[0]
    for mine in (y, mean, var):
        mine += 1  # none of them is what the backward pass will read
    np.testing.assert_array_equal(F.norm_backward(x, cache)[0], before)
    if norm == "batch":
        assert_close(cache.mu, mean - 1)


def test_only_one_of_weight_and_bias():
    x, _, _, weight, bias = bn_case((5, 3))
    grad_output = draw((5, 3), seed=5)
    for w, b in [(weight, None), (None, bias)]:
        y, cache = F.batch_norm(x, weight=w, bias=b, training=True, eps=0.1)
        _, grad_weight, grad_bias = F.batch_norm_backward(grad_output, cache)
        y_torch, grads = reference(
            lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True, 0.1, 0.1),
            grad_output,
            *(x, w, b),
        )
        assert_close(y, y_torch)
        assert_close(grad_weight, grads[1])
        assert_close(grad_bias, grads[2])


# --- one idea, other index sets

N, C, L, G = 4, 6, 5, 2
SETS = {  # norm -> (how it is called, the shape in which its sets lie along these axes)
    "batch": (lambda x: F.batch_norm(x, training=True), (N, C, L), (0, 2)),
    "instance": (lambda x: F.instance_norm(x), (N, C, L), (2,)),
    "group": (lambda x: F.group_norm(x, G), (N, G, C // G, L), (2, 3)),
    "layer": (lambda x: F.layer_norm(x, (C, L)), (N, C, L), (1, 2)),
}


@pytest.mark.parametrize("norm", SETS)
def test_each_norm_standardizes_its_own_sets(norm):
    run, shape, axes = SETS[norm]
    x, grad_output = draw((N, C, L)), draw((N, C, L), seed=1)
    y, cache = run(x)
    x_hat, inv_std = F.standardize(x.reshape(shape), axes)
    assert_close(y, x_hat.reshape(x.shape), rtol=1e-14)
    assert_close(cache.inv_std, inv_std.ravel(), rtol=1e-14)
    upstream = grad_output.reshape(shape)
    grad_x = F.standardize_backward(upstream, x_hat, inv_std, axes)
    assert_close(
        F.norm_backward(grad_output, cache)[0], grad_x.reshape(x.shape), rtol=1e-12
    )


@pytest.mark.parametrize("axes", [0, -1, (1, 2), (0, 2), (0, 1, 2)])
def test_standardize_is_the_textbook_formula(axes):
    x = draw((3, 4, 5))
    x_hat, inv_std = F.standardize(x, axes, eps=0.1)
    expected = 1 / np.sqrt(x.var(axes, keepdims=True) + 0.1)
    assert_close(inv_std, expected)
    assert_close(x_hat, (x - x.mean(axes, keepdims=True)) * expected)


def test_standardize_names_axes_that_are_no_neighbours():
    with pytest.raises(ValueError, match=r"neighbours, got \(0, 2\)"):
        F.standardize(draw((3, 4, 5)), 1)


def test_input_gradient_can_be_left_out():
    x, mean, var, weight, bias = bn_case((4, 3, 5))
    for training in (True, False):
        _, cache = F.batch_norm(x, mean, var, weight, bias, training)
        full, lean = (F.norm_backward(x, cache, wanted) for wanted in (True, False))
        assert full[0] is not None
        assert lean[0] is None
        np.testing.assert_array_equal(full[1:], lean[1:])


# --- numerics


def test_variance_at_a_mean_of_1e8():
    noise = np.random.default_rng(0).normal(size=(512, 3))
    x = 1e8 + noise
    exact = (x - 1e8).var(axis=0, ddof=0)  # this subtraction is exact
    y, cache = F.batch_norm(x, training=True)
    np.testing.assert_allclose(cache.var, exact, rtol=1e-6)
    np.testing.assert_allclose(y.std(axis=0), 1.0, atol=1e-4)


@pytest.mark.parametrize(("offset", "atol"), [(0, 3e-6), (1, 3e-6), (1e4, 0.02)])
def test_float32_sums_over_many_rows(offset, atol):
    x = (offset + np.random.default_rng(2).normal(size=(4096, 8))).astype(np.float32)
    y, _ = F.batch_norm(x, training=True)
    exact, _ = F.batch_norm(x.astype(np.float64), training=True)
    np.testing.assert_allclose(y, exact, rtol=3e-6, atol=atol)


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance"])
def test_float32_with_a_large_offset(norm):
    x = (1e4 + np.random.default_rng(1).normal(size=(16, 4, 64))).astype(np.float32)
    run = {
        "batch": lambda x: F.batch_norm(x, training=True),
        "layer": lambda x: F.layer_norm(x, (4, 64)),
        "group": lambda x: F.group_norm(x, 2),
        "instance": lambda x: F.instance_norm(x),
    }[norm]
    y, _ = run(x)
    exact, _ = run(x.astype(np.float64))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, exact, atol=0.01)  # a one-pass variance is off by 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_feature_gives_the_bias_and_finite_gradients(dtype):
    x, _, _, weight, bias = bn_case((6, 3), dtype=dtype)
    x[:, 1] = 0.1
    y, cache = F.batch_norm(x, weight=weight, bias=bias, training=True)
    np.testing.assert_allclose(y[:, 1], bias[1], atol=1e-4)
    grads = F.batch_norm_backward(draw((6, 3), dtype), cache)
    assert all(np.isfinite(g).all() for g in grads)


def test_eps_zero_normalizes_exactly():
    x = draw((6, 3))
    y, cache = F.batch_norm(x, training=True, eps=0.0)
    assert_close(y.var(axis=0, ddof=0), np.ones(3), rtol=1e-14)
    two, cache = F.batch_norm(x[:2], training=True, eps=0.0)
    np.testing.assert_allclose(np.abs(two), 1.0, rtol=1e-14)
    grad_x, _, _ = F.batch_norm_backward(draw((2, 3)), cache)
    np.testing.assert_allclose(grad_x, 0.0, atol=1e-13)  # two points: nothing moves
    shrunk, _ = F.batch_norm(x, training=True, eps=0.1)
    expected = x.var(axis=0) / (x.var(axis=0) + 0.1)  # just under 1
    assert_close(shrunk.var(axis=0), expected)


def test_numpy_scalars_as_options_keep_float32():
    x, mean, var, weight, bias = bn_case((5, 3), dtype=np.float32)
    y, cache = F.batch_norm(
        x, mean, var, weight, bias, True, np.float64(0.1), np.float64(1e-5)
    )
    results = [y, mean, *F.batch_norm_backward(x, cache)]
    results += F.batch_norm_backward_six(x, cache)
    eps = np.float64(1e-5)
    x3 = x[:, :, None]
    results += [
        F.instance_norm(x3, mean, var, use_input_stats=False, eps=eps)[0],
        F.layer_norm(x, 3, eps=eps)[0],
        F.group_norm(x, 1, eps=eps)[0],
        F.rms_norm(x, 3, eps=eps)[0],
    ]
    assert {r.dtype for r in results} == {np.dtype("f4")}


def test_rms_norm_default_eps_is_that_of_the_dtype():
    x = 1e-4 * draw((4, 3), np.float32)
    y, _ = F.rms_norm(x, (3,))
    y_torch, _ = reference(lambda f, x: f.rms_norm(x, (3,)), np.ones_like(x), x)
    assert_close(y, y_torch, rtol=1e-6)


@pytest.mark.parametrize("use_input_stats", [True, False])
@pytest.mark.parametrize("momentum", [0.1, 0.3])
def test_instance_norm_running_statistics(use_input_stats, momentum):
    torch = load_torch()
    x, mean, var, weight, bias = bn_case((4, 3, 5))
    theirs = torch.tensor(mean), torch.tensor(var)
    rest = {"use_input_stats": use_input_stats, "momentum": momentum, "eps": 0.1}
    for step in range(3):
        batch = x + step
        grad_output = draw(x.shape, seed=step)
        y, cache = F.instance_norm(batch, mean, var, weight, bias, **rest)
        y_torch, grads_torch = reference(
            lambda f, x, w, b: f.instance_norm(x, *theirs, w, b, **rest),
            grad_output,
            *(batch, weight, bias),
        )
        assert_close(y, y_torch)
        assert_close(mean, theirs[0].numpy())
        assert_close(var, theirs[1].numpy())
        grads = F.instance_norm_backward(grad_output, cache)
        for ours, expected in zip(grads, grads_torch, strict=True):
            assert_close(ours, expected)


# --- the module as a whole


def test_every_public_function_names_its_shapes():
    for name, function in inspect.getmembers(F, inspect.isfunction):
        if function.__module__ == F.__name__ and not name.startswith("_"):
            assert "Returns" in (function.__doc__ or ""), name


def test_bnlib_imports_nothing_heavy():
    code = (
        "import sys, pkgutil, importlib, bnlib\n"
        "for m in pkgutil.iter_modules(bnlib.__path__, 'bnlib.'):\n"
        "    if m.name != 'bnlib.pytorch':\n"
        "        importlib.import_module(m.name)\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'pooch', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


def test_the_running_variance_is_the_unbiased_one():
    x = np.random.default_rng(11).normal(size=(5, 3))
    mean, var = np.zeros(3), np.zeros(3)
    F.batch_norm(x, mean, var, training=True, momentum=1.0)
    np.testing.assert_allclose(var, x.var(0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(var / x.var(0), 5 / 4, rtol=1e-12)
