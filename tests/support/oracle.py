"""Torch as the reference: run it on NumPy arrays, get NumPy arrays back."""

import importlib
import os

import numpy as np
import pytest

RTOL = 1e-10  # float64 sums of a few hundred terms lose five or six of 16 digits
SHAPES = [(5, 3), (7, 1), (2, 4), (4, 3, 5), (3, 2, 4, 6), (2, 3, 2, 3, 4)]


def load_torch():
    """Import torch. Without torch, skip the test; on CI, fail instead."""
    if os.environ.get("CI", "").lower() in {"", "0", "false"}:
        return pytest.importorskip("torch")
    return importlib.import_module("torch")


def reference(call, grad_output, *arrays):
    """Run ``call(torch.nn.functional, *tensors)`` forward and backward.

    Return the output and the gradient of each array, None where it was None.
    """
    torch = load_torch()
    tensors = [
        None if a is None else torch.tensor(np.array(a), requires_grad=True)
        for a in arrays
    ]
    y = call(torch.nn.functional, *tensors)
    y.backward(torch.tensor(grad_output))
    grads = [None if t is None else t.grad.numpy() for t in tensors]
    return y.detach().numpy(), grads


def torch_message(call):
    """Run ``call(torch)``, which must raise; return the words of its error."""
    torch = load_torch()
    with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
        call(torch)
    return str(caught.value).replace("torch.Size(", "").replace("])", "]")


def assert_close(ours, expected, rtol=RTOL):
    """Compare two arrays, relative to the largest entry of the second."""
    if expected is None:
        assert ours is None
        return
    expected = np.asarray(expected)
    assert ours.shape == expected.shape
    assert ours.dtype == expected.dtype
    atol = rtol * max(np.abs(expected).max(initial=0.0), 1e-4)
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=atol)


def draw(shape, dtype=np.float64, seed=0, offset=0.7):
    """Draw a reproducible array with a mean and a scale that are not trivial."""
    rng = np.random.default_rng([seed, *shape])
    return (offset + 1.6 * rng.normal(size=shape)).astype(dtype)
