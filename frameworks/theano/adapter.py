"""Theano 1.0.5: batch_normalization_train and batch_normalization_test."""

import numpy as np
import protocol
import theano
import theano.tensor as T
from theano.tensor.nnet.bn import batch_normalization_test, batch_normalization_train

DEFAULTS = protocol.defaults(batch_normalization_train)
AXES = {"nd": (0,), "nchw": (0, 2, 3), "nhwc": (0, 1, 2)}


class Layer:
    """Shared variables and the functions; Theano itself keeps no state."""

    def __init__(self, case):
        theano.config.floatX = case.dtype  # its constants are cast to this dtype
        axes = case.settings(axes=AXES[case.layout])
        eps = case.settings(epsilon=case.eps)
        zero = np.zeros(case.channels, case.dtype)
        starts = (case.gamma, case.beta, zero, zero + 1)
        gamma, beta, mean, var = self.arrays = [theano.shared(v) for v in starts]
        x, dy = (T.TensorType(case.dtype, [False] * case.x[0].ndim)() for _ in "xy")
        y, _, _, new_mean, new_var = batch_normalization_train(
            x,
            gamma,
            beta,
            running_mean=mean,
            running_var=var,
            **axes,
            **eps,
            **case.settings(running_average_factor=1 - case.keep),
        )
        grads = T.grad((y * dy).sum(), [x, gamma, beta])
        updates = [(mean, new_mean), (var, new_var)]
        self.step = theano.function([x, dy], [y, *grads], updates=updates)
        self.frozen = theano.function([x], y)
        y = batch_normalization_test(x, gamma, beta, mean, var, **axes, **eps)
        self.infer = theano.function([x], y)

    def statistics(self):
        """Return the running mean and variance."""
        return [array.get_value() for array in self.arrays[2:]]


def facts():
    """Read the conventions from the function."""
    layer = Layer(protocol.fresh())
    y = layer.frozen(protocol.BATCH)
    axes = DEFAULTS["axes"]
    names = protocol.names("gamma", "beta", "running_mean", "running_var")
    return {
        "layer": "theano.tensor.nnet.bn.batch_normalization_train",
        "momentum_name": "running_average_factor",
        "momentum": DEFAULTS["running_average_factor"],
        "eps": DEFAULTS["epsilon"],
        "axis": 1 if axes == "per-activation" else axes,
        "names": {role: name for role, name in names.items() if name in DEFAULTS},
        "initial": {},
        "mode_switch": "batch_normalization_train, batch_normalization_test",
        "statistics_dtype": {"float16": "not tried: no kernel for a CPU"},
        "frozen": protocol.frozen(
            "the updates left out of theano.function", layer.statistics()[0], y
        ),
        "checkpoint": ["gamma", "beta", "running_mean", "running_var"],
        "synced": None,
    }
