"""Cases that others wrote: ONNX's node tests and PyTorch's operator samples.

The collections are taken from the installed packages and nothing of them is stored
here. Every case passes, or stands below by name with the reason.
"""

import functools
import importlib
import os
import warnings
from collections import Counter

import numpy as np
import pytest
from oracle import load_torch

import bnlib.functional as F

# --- ONNX: the node cases of the package onnx -----------------------------------------

ONNX_OPS = {
    "BatchNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "RMSNormalization",
}
# The cases that bnlib does not run: none. Name -> reason.
ONNX_LEFT_OUT: dict[str, str] = {}
KINDS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")


def load_onnx():
    """Import onnx. Without it, skip the test; on CI, fail instead."""
    if os.environ.get("CI", "").lower() in {"", "0", "false"}:
        pytest.importorskip("onnx")
    return importlib.import_module("onnx")


@functools.cache
def onnx_cases():
    """Collect the cases that consist of one normalization node."""
    load_onnx()
    node = importlib.import_module("onnx.backend.test.case.node")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other operators divide by zero on purpose
        found = node.collect_testcases(None)
    return {
        case.name: case
        for case in found
        if len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type in ONNX_OPS
    }


def run_onnx(kind, attributes, x, *rest):
    """Run one node with bnlib; return its outputs in the node's order."""
    eps = attributes.get("epsilon", 1e-5)
    if kind == "BatchNormalization":
        scale, bias, mean, var = rest
        if not attributes.get("training_mode", 0):
            return [F.batch_norm(x, mean, var, scale, bias, False, eps=eps)[0]]
        keep = attributes.get("momentum", 0.9)
        new_mean, unbiased = mean.copy(), var.copy()
        y, cache = F.batch_norm(x, new_mean, unbiased, scale, bias, True, 1 - keep, eps)
        # ONNX stores the biased variance: take the difference back.
        m = x.size // x.shape[1]
        new_var = unbiased - (1 - keep) * cache.var / (m - 1)
        return [y, new_mean, new_var.astype(x.dtype)]
    if kind == "GroupNormalization":
        return [F.group_norm(x, attributes["num_groups"], *rest, eps=eps)[0]]
    if kind == "InstanceNormalization":
        scale, bias = rest
        return [F.instance_norm(x, None, None, scale, bias, eps=eps)[0]]
    axis = attributes.get("axis", -1) % x.ndim
    shape = x.shape[axis:]
    if kind == "RMSNormalization":
        return [F.rms_norm(x, shape, *rest, eps=eps)[0]]
    y, cache = F.layer_norm(x, shape, *rest, eps=eps)
    inv_std = cache.inv_std.reshape(x.shape[:axis] + (1,) * len(shape))
    mean = x.mean(tuple(range(axis, x.ndim)), keepdims=True)
    return [y, mean, inv_std]


def check_onnx(case):
    """Run a case with bnlib; raise where an output differs."""
    onnx = load_onnx()
    (node,) = case.model.graph.node
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    for inputs, outputs in case.data_sets:
        ours = run_onnx(node.op_type, attributes, *inputs)
        assert len(ours) >= len(outputs)
        for found, expected in zip(ours, outputs, strict=False):
            assert found.shape == expected.shape
            assert found.dtype == expected.dtype
            # Tighter than the case itself asks for (1e-3).
            np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    return node.op_type


@pytest.mark.slow
def test_onnx_cases_all_pass():
    cases, passed = onnx_cases(), Counter()
    for name in set(cases) - set(ONNX_LEFT_OUT):
        try:
            passed[check_onnx(cases[name])] += 1
        except Exception as error:
            raise AssertionError(name) from error
    assert set(passed) == ONNX_OPS
    assert set(ONNX_LEFT_OUT) <= set(cases)
    assert sum(passed.values()) + len(ONNX_LEFT_OUT) == len(cases)
    print(f"\nONNX: {sum(passed.values())} of {len(cases)}: {dict(passed)}")


@pytest.mark.slow
def test_onnx_batch_norm_stores_the_biased_variance():
    """Without the correction in `run_onnx` the training cases fail."""
    case = onnx_cases()["test_batchnorm_example_training_mode"]
    (inputs, outputs), *_ = case.data_sets
    x, scale, bias, mean, var = inputs
    new_mean, new_var = mean.copy(), var.copy()
    F.batch_norm(x, new_mean, new_var, scale, bias, True, 0.1)
    np.testing.assert_allclose(new_mean, outputs[1], rtol=1e-5)
    assert abs(new_var - outputs[2]).max() > 1e-4


# --- PyTorch: the samples of torch.testing's operator database ------------------------

NEGATIVE = "eps below 0: bnlib refuses it"
ONE_AXIS = "an input of one axis, without channels: bnlib refuses it"
# (operator, shape of the input, what marks it) -> reason
TORCH_LEFT_OUT = {
    ("batch_norm", (0,), "training=True"): ONE_AXIS,
    ("batch_norm", (0,), "training=False"): ONE_AXIS,
    ("group_norm", (2, 6, 3), "eps=-0.5"): NEGATIVE,
    ("layer_norm", (2, 2, 3), "eps=-0.5"): NEGATIVE,
    ("rms_norm", (2, 2, 3), "eps=-0.5"): NEGATIVE,
}
RTOL = {"float64": 1e-10, "float32": 2e-5}


def torch_samples(kind, dtype):
    """Yield the samples of one operator, with a name for each."""
    torch = load_torch()
    methods = importlib.import_module(
        "torch.testing._internal.common_methods_invocations"
    )
    for op in methods.op_db:
        if op.name != f"nn.functional.{kind}" or op.variant_test_name:
            continue
        torch.manual_seed(0)
        kwargs = {"requires_grad": True}
        samples = op.reference_inputs("cpu", getattr(torch, dtype), **kwargs)
        for sample in samples:
            yield sample, (op.name, tuple(sample.input.shape), sample.kwargs)


def reason_to_leave_out(kind, shape, kwargs):
    marks = {f"{key}={value}" for key, value in kwargs.items() if key != "weight"
             and key != "bias" and not hasattr(value, "shape")}  # fmt: skip
    for (op, size, mark), reason in TORCH_LEFT_OUT.items():
        if op == kind and size == shape and mark in marks:
            return reason
    return None


def array(value):
    return value.detach().numpy().copy() if hasattr(value, "detach") else value


def compare_sample(torch, kind, sample, rtol):
    """Run one sample in bnlib, and in torch in float64: forward and backward.

    Torch in float32 errs as much as bnlib does; in float64 it is the exact answer.
    """
    function = getattr(torch.nn.functional, kind)
    ours_args = [array(a) for a in (sample.input, *sample.args)]
    ours_kwargs = {k: array(v) for k, v in sample.kwargs.items()}
    buffers = ("running_mean", "running_var")
    exact = sample.transform(
        lambda t: (
            t.detach().double().requires_grad_(t.requires_grad)
            if torch.is_tensor(t)
            else t
        )
    )
    args = list(exact.args)
    kwargs = dict(exact.kwargs)
    if kind == "rms_norm" and kwargs.get("eps") is None:
        kwargs["eps"] = torch.finfo(sample.input.dtype).eps
    names = ["running_mean", "running_var", "weight", "bias"]
    if kind == "batch_norm":
        kwargs.update(dict(zip(names, args, strict=False)))
        ours_kwargs.update(dict(zip(names, ours_args[1:], strict=False)))
        args, ours_args = args[len(names) :], ours_args[:1]
    elif kind in ("layer_norm", "rms_norm"):
        named = ["weight", "bias"][: len(args) - 1]
        kwargs.update(dict(zip(named, args[1:], strict=True)))
        ours_kwargs.update(dict(zip(named, ours_args[2:], strict=True)))
        args, ours_args = args[:1], ours_args[:2]
    for name in buffers:
        if kwargs.get(name) is not None:
            kwargs[name] = kwargs[name].detach().clone()

    y = function(exact.input, *args, **kwargs)
    found, cache = getattr(F, kind)(*ours_args, **ours_kwargs)
    assert found.dtype == ours_args[0].dtype
    assert_near(found, array(y), rtol)
    for name in buffers:
        if kwargs.get(name) is not None:
            assert_near(ours_kwargs[name], array(kwargs[name]), rtol)

    wanted = [exact.input, kwargs.get("weight"), kwargs.get("bias")]
    seed = np.linspace(-1, 2, y.numel()).reshape(y.shape).astype(found.dtype)
    leaves = [t for t in wanted if t is not None and t.requires_grad]
    grads = torch.autograd.grad(
        y, leaves, torch.tensor(seed).double(), allow_unused=True
    )
    theirs = dict(zip(map(id, leaves), grads, strict=True))
    ours = getattr(F, kind + "_backward")(seed, cache)
    for tensor, grad in zip(wanted, ours, strict=False):
        if tensor is not None and theirs.get(id(tensor)) is not None:
            # A gradient is a difference of terms of the size of inv_std.
            assert_near(grad, array(theirs[id(tensor)]), rtol, cache.inv_std)
    return len(leaves)


def assert_near(found, expected, rtol, terms=1.0):
    assert found.shape == expected.shape
    expected = expected.astype(found.dtype)
    scale = max(1.0, np.abs(expected).max(initial=0.0), np.max(terms, initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("kind", KINDS)
def test_torch_samples_pass_or_are_named(kind, dtype):
    torch = load_torch()
    total, passed, left_out, gradients = 0, 0, Counter(), 0
    for sample, (name, shape, kwargs) in torch_samples(kind, dtype):
        total += 1
        reason = reason_to_leave_out(kind, shape, kwargs)
        if reason:
            left_out[reason] += 1
            with pytest.raises((ValueError, TypeError)):
                compare_sample(torch, kind, sample, RTOL[dtype])
            continue
        try:
            gradients += compare_sample(torch, kind, sample, RTOL[dtype])
        except Exception as error:
            raise AssertionError(f"{name} {shape} {kwargs}") from error
        passed += 1
    assert total
    assert passed + sum(left_out.values()) == total
    assert gradients >= passed
    named = {r for (op, *_), r in TORCH_LEFT_OUT.items() if op == kind}
    assert set(left_out) == named
    print(f"\ntorch {kind} {dtype}: {passed} of {total}, {dict(left_out)}")


# --- bnlib is broken on purpose -------------------------------------------------------

WHOLE = F.batch_norm


def biased_stored(x, running_mean=None, running_var=None, weight=None, bias=None,
                  training=False, momentum=0.1, eps=1e-5):  # fmt: skip
    mean, var = running_mean, running_var
    old = None if var is None else var.copy()
    out = WHOLE(x, mean, var, weight, bias, training, momentum, eps)
    if training and var is not None:
        var[:] = old + momentum * (out[1].var - old)
    return out


def momentum_swapped(x, running_mean=None, running_var=None, weight=None, bias=None,
                     training=False, momentum=0.1, eps=1e-5):  # fmt: skip
    mean, var = running_mean, running_var
    return WHOLE(x, mean, var, weight, bias, training, 1 - momentum, eps)


def is_red(check, *arguments):
    try:
        check(*arguments)
    except AssertionError:
        return True
    return False


def moves_statistics(broken, sample):
    """Say whether a sample can tell the broken function from the whole one."""
    kwargs = sample.kwargs
    step = kwargs.get("momentum", 0.1)
    changed = step != 0 if broken is biased_stored else step != 0.5
    return bool(kwargs.get("training") and sample.args[0] is not None and changed)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [biased_stored, momentum_swapped])
def test_a_broken_convention_turns_cases_red(broken, monkeypatch):
    torch = load_torch()
    monkeypatch.setattr(F, "batch_norm", broken)
    red = {name for name, case in onnx_cases().items() if is_red(check_onnx, case)}
    expected = {"test_batchnorm_example_training_mode"}
    expected |= {"test_batchnorm_epsilon_training_mode"}
    assert red == expected
    count = 0
    for sample, (_, shape, kwargs) in torch_samples("batch_norm", "float64"):
        if reason_to_leave_out("batch_norm", shape, kwargs):
            continue
        wrong = is_red(compare_sample, torch, "batch_norm", sample, RTOL["float64"])
        assert wrong == moves_statistics(broken, sample), (shape, kwargs)
        count += wrong
    assert count
    print(f"\n{broken.__name__}: {len(red)} of ONNX, {count} of torch")
