"""Theano 1.0.5: batch_normalization_train and batch_normalization_test."""

import inspect

import numpy as np
import protocol
import theano
import theano.tensor as T
from theano.tensor.nnet.bn import batch_normalization_test, batch_normalization_train

DEFAULTS = inspect.signature(batch_normalization_train).parameters


def versions():
    """Return package versions."""
    return {"theano": theano.__version__}


class Layer:
    """Shared variables and the two functions; Theano itself keeps no state."""

    def __init__(self, shape, dtype, axes=("per-activation",), **settings):
        theano.config.floatX = dtype  # its constants are cast to this dtype
        axes = axes[0] if isinstance(axes[0], str) else axes
        sums = (0,) if axes == "per-activation" else axes
        channels = [n for i, n in enumerate(shape) if i not in sums]
        starts = [("gamma", 1), ("beta", 0), ("running_mean", 0), ("running_var", 1)]
        for name, value in starts:
            first = np.full(channels, value, dtype)
            setattr(self, name, theano.shared(first, name))
        x = T.TensorType(dtype, [False] * len(shape))("x")
        dy = T.TensorType(dtype, [False] * len(shape))("dy")
        y, _, _, mean, var = batch_normalization_train(
            x,
            self.gamma,
            self.beta,
            axes,
            running_mean=self.running_mean,
            running_var=self.running_var,
            **settings,
        )
        grads = T.grad((y * dy).sum(), [x, self.gamma, self.beta])
        self.updates = [(self.running_mean, mean), (self.running_var, var)]
        self.train = theano.function([x, dy], [y, *grads], updates=self.updates)
        self.frozen = theano.function([x], y)
        eps = {k: v for k, v in settings.items() if k == "epsilon"}
        y = batch_normalization_test(
            x, self.gamma, self.beta, self.running_mean, self.running_var, axes, **eps
        )
        self.test = theano.function([x], y)

    def statistics(self):
        """Return the running mean and variance."""
        return [self.running_mean.get_value(), self.running_var.get_value()]


def train(case):
    """Run one case."""
    axes = {"nd": (0,), "nchw": (0, 2, 3), "nhwc": (0, 1, 2)}[case.layout]
    layer = Layer(
        case.x[0].shape,
        case.dtype,
        axes,
        epsilon=case.eps,
        running_average_factor=1 - case.keep,
    )
    layer.gamma.set_value(case.gamma)
    layer.beta.set_value(case.beta)
    y, dx, dgamma, dbeta = layer.train(case.x[0], case.dy)
    for batch in case.x[1:]:
        layer.train(batch, case.dy)
    mean, var = layer.statistics()
    return {
        "y": y,
        "dx": dx,
        "dgamma": dgamma,
        "dbeta": dbeta,
        "running_mean": mean,
        "running_var": var,
        "inference": layer.test(case.x_new),
    }


def default_steps(x):
    """Train a fresh layer twice; the zeros and ones at first are ours."""
    layer, steps = Layer(x[0].shape, "float32"), [None]
    for batch in x:
        layer.train(batch, batch)
        steps.append(layer.statistics())
    return steps


def facts():
    """Read the conventions from the function."""
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    layer = Layer(x.shape, "float32")
    y = layer.frozen(x)
    axes = DEFAULTS["axes"].default
    return {
        "layer": "theano.tensor.nnet.bn.batch_normalization_train",
        "momentum_name": "running_average_factor",
        "momentum": DEFAULTS["running_average_factor"].default,
        "eps": DEFAULTS["epsilon"].default,
        "axis": 1 if axes == "per-activation" else axes,
        "names": {
            role: name
            for role, name in (
                ("weight", "gamma"),
                ("bias", "beta"),
                ("running_mean", "running_mean"),
                ("running_var", "running_var"),
            )
            if name in DEFAULTS
        },
        "initial": {},
        "mode_switch": "batch_normalization_train, batch_normalization_test",
        "statistics_dtype": {
            "float32": str(Layer(x.shape, "float32").updates[1][1].dtype),
            "float64": str(Layer(x.shape, "float64").updates[1][1].dtype),
            "float16": "not tried: no kernel for a CPU",
        },
        "frozen": protocol.frozen(
            "the updates left out of theano.function", layer.statistics()[0], y
        ),
        "checkpoint": ["gamma", "beta", "running_mean", "running_var"],
        "synced": None,
    }


if __name__ == "__main__":
    protocol.main(__name__)
