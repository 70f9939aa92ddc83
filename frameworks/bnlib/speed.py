"""bnlib: NumPy alone."""

import numpy as np
import timing

from bnlib import functional as F
from bnlib.training import SGD, mlp


def make(norm, x, y):
    """Return the training step of one net."""
    rng = np.random.default_rng(0)
    model = mlp(timing.SIZES, rng=rng, norm="batch" if norm else None)
    optimizer = SGD(model.parameters(), timing.LR)

    def step(i):
        loss, cache = F.cross_entropy(model(x[i]), y[i])
        optimizer.zero_grad()
        model.backward(F.cross_entropy_backward(cache), input_grad=False)
        optimizer.step()
        return loss

    return step
