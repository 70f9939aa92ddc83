"""One call that reads the same in bnlib and in torch, and what must hold for it."""

from typing import NamedTuple

import numpy as np
from oracle import assert_close, draw, reference

import bnlib.functional as F


class Op(NamedTuple):
    """One call that reads the same in bnlib and in torch, and its backward."""

    name: str
    call: object  # (functional namespace, *arrays) -> y
    shapes: tuple  # of the arrays: x first; None where the argument is left out

    def __str__(self):
        return self.name

    def arrays(self, dtype=np.float64):
        return [
            None if shape is None else draw(shape, dtype, seed)
            for seed, shape in enumerate(self.shapes)
        ]

    def backward(self, grad_output, cache):
        name = self.name.split()[0] + "_backward"
        grads = getattr(F, name)(grad_output, cache)
        return grads if isinstance(grads, tuple) else (grads,)

    def run(self, arrays, seed=9):
        """Return y, the gradients, and what the backward pass needs to run again."""
        y, cache = self.call(F, *arrays)
        grad_output = draw(y.shape, y.dtype, seed)
        return y, self.backward(grad_output, cache), (grad_output, cache)


class AsInTorch:
    """Tests of one `Op`; a subclass is parametrized with its ops."""

    def test_forward_and_backward_agree_with_torch(self, op):
        arrays = op.arrays()
        y, grads, (grad_output, _) = op.run(arrays)
        y_torch, grads_torch = reference(op.call, grad_output, *arrays)
        assert_close(y, y_torch)
        expected = grads_torch + [None] * (len(grads) - len(grads_torch))
        assert len(grads) == len(expected)
        for ours, theirs in zip(grads, expected, strict=True):
            assert_close(ours, theirs)

    def test_float32_is_kept_and_near_float64(self, op):
        y, grads, _ = op.run(op.arrays(np.float32))
        y64, grads64, _ = op.run(op.arrays())
        for ours, exact in zip((y, *grads), (y64, *grads64), strict=True):
            assert (ours is None) == (exact is None)
            if ours is not None:
                assert_close(ours, exact.astype(np.float32), rtol=2e-5)

    def test_arguments_stay_as_they_were(self, op):
        arrays = [a for a in op.arrays() if a is not None]
        copies = [a.copy() for a in arrays]
        left_out = [None] * (len(op.shapes) - len(arrays))
        _, grads, (grad_output, cache) = op.run([*arrays, *left_out])
        upstream = grad_output.copy()
        again = op.backward(grad_output, cache)
        for before, after in zip(
            [*copies, upstream], [*arrays, grad_output], strict=True
        ):
            np.testing.assert_array_equal(before, after)
        for first, second in zip(grads, again, strict=True):
            np.testing.assert_array_equal(first, second)

    def test_layout_of_the_input_does_not_matter(self, op):
        arrays = op.arrays()
        x = arrays[0]
        wide = np.zeros(tuple(2 * n for n in x.shape))
        strided = wide[tuple(slice(None, None, 2) for _ in x.shape)]
        strided[...] = x
        frozen = x.copy()
        frozen.flags.writeable = False
        y, grads, (grad_output, _) = op.run(arrays)
        for other in (x.T.copy().T, strided, frozen, x[::-1].copy()[::-1]):
            y_other, cache = op.call(F, other, *arrays[1:])
            assert_close(y_other, y, rtol=1e-12)
            odd = np.asfortranarray(grad_output)
            odd.flags.writeable = False
            for ours, expected in zip(op.backward(odd, cache), grads, strict=True):
                assert_close(ours, expected, rtol=1e-12)
