"""The rest of a network: torch's numbers, and no overflow."""

import numpy as np
import pytest
from as_in_torch import AsInTorch, Op
from oracle import assert_close, draw, load_torch

import bnlib.functional as F
from bnlib._fast import ones, zeros


def layer_ops():
    yield Op("linear bias", lambda f, *a: f.linear(*a), ((5, 3), (4, 3), (4,)))
    yield Op("linear", lambda f, x, w: f.linear(x, w), ((5, 3), (4, 3)))
    yield Op("linear one row", lambda f, *a: f.linear(*a), ((1, 3), (1, 3), (1,)))
    for stride, padding, kernel in [(1, 0, (3, 3)), (1, 1, (3, 3)), (2, 1, (3, 2))]:
        for bias in ((4,), None):
            yield Op(
                f"conv2d stride {stride} padding {padding} bias {bias}",
                lambda f, x, w, b, s=stride, p=padding: f.conv2d(
                    x, w, b, stride=s, padding=p
                ),
                ((2, 3, 6, 5), (4, 3, *kernel), bias),
            )
    yield Op("conv2d 1x1", lambda f, *a: f.conv2d(*a), ((2, 3, 4, 4), (2, 3, 1, 1)))
    for name in ("relu", "sigmoid", "tanh"):
        yield Op(name, lambda f, x, n=name: getattr(f, n)(x), ((4, 3, 5),))


@pytest.mark.parametrize("op", list(layer_ops()), ids=str)
class TestOps(AsInTorch):
    """Linear, convolution and activations."""


def test_cross_entropy_agrees_with_torch():
    torch = load_torch()
    for logits in (draw((6, 4)), 1e3 * draw((6, 4))):
        target = np.array([0, 3, 1, 1, 2, 0])
        loss, cache = F.cross_entropy(logits, target)
        z = torch.tensor(logits, requires_grad=True)
        loss_torch = torch.nn.functional.cross_entropy(z, torch.tensor(target))
        loss_torch.backward()
        np.testing.assert_allclose(loss, loss_torch.item(), rtol=1e-10)
        grad = F.cross_entropy_backward(cache).copy()
        assert_close(grad, z.grad.numpy())
        np.testing.assert_array_equal(grad, F.cross_entropy_backward(cache))


def test_sigmoid_does_not_overflow():
    with np.errstate(all="raise"):
        y, _ = F.sigmoid(np.array([[-1e3, 0.0, 1e3]]))
    assert_close(y, np.array([[0.0, 0.5, 1.0]]))


@pytest.mark.parametrize("kept", [ones, zeros])
def test_vectors_that_are_kept_cannot_be_changed(kept):
    with pytest.raises(ValueError, match="read-only"):
        kept(3, np.dtype(np.float32))[0] = 2
