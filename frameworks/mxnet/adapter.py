"""MXNet 1.9: gluon.nn.BatchNorm; its statistics move in the backward pass."""

import numpy as np

np.bool = np.bool_  # MXNet 1.9.1 asks for a name that NumPy 1.24 took away
import mxnet as mx  # noqa: E402 - after the line above
import protocol  # noqa: E402
from mxnet import autograd  # noqa: E402
from mxnet.gluon import nn  # noqa: E402
from mxnet.gluon.contrib.nn import SyncBatchNorm  # noqa: E402


def tensor(value):
    """Give MXNet an array."""
    return mx.nd.array(value, dtype=value.dtype)


class Layer:
    """The layer; ``more`` are settings that no case has."""

    def __init__(self, case, **more):
        axis = -1 if case.layout == "nhwc" else 1
        settings = case.settings(axis=axis, momentum=case.keep, epsilon=case.eps)
        self.layer = nn.BatchNorm(**settings, **more)
        self.layer.cast(case.dtype)
        self.layer.initialize()
        self.layer(mx.nd.zeros(case.x[0].shape, dtype=case.dtype))
        self.layer.gamma.set_data(tensor(case.gamma))
        self.layer.beta.set_data(tensor(case.beta))

    def forward(self, x):
        """Return y in training mode."""
        with autograd.record():
            return self.layer(x)

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta."""
        x = tensor(x)
        x.attach_grad()
        y = self.forward(x)
        y.backward(tensor(dy))
        grads = [x.grad, self.layer.gamma.grad(), self.layer.beta.grad()]
        return [value.asnumpy() for value in (y, *grads)]

    def statistics(self):
        """Return the running mean and variance."""
        moving = (self.layer.running_mean, self.layer.running_var)
        return [value.data().asnumpy() for value in moving]

    def infer(self, x):
        """Return y in evaluation mode."""
        return self.layer(tensor(x)).asnumpy()


def facts():
    """Read the conventions from the layer."""
    defaults = protocol.defaults(nn.BatchNorm)
    layer = nn.BatchNorm(in_channels=2)
    layer.initialize()
    state = {
        name[len(layer.prefix) :]: p.data().asnumpy()
        for name, p in layer.collect_params().items()
    }
    frozen = Layer(protocol.fresh(), use_global_stats=True)
    y = frozen.step(protocol.BATCH, protocol.BATCH)[0]
    return {
        "layer": "mxnet.gluon.nn.BatchNorm",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"],
        "eps": defaults["epsilon"],
        "axis": defaults["axis"],
        "names": protocol.names("gamma", "beta", "running_mean", "running_var"),
        "state": {name: state[name] for name in sorted(state)},
        "mode_switch": "autograd.record()",
        "frozen": protocol.frozen("use_global_stats=True", frozen.statistics()[0], y),
        "synced": "gluon.contrib.nn.SyncBatchNorm" if SyncBatchNorm else None,
    }


def extras():
    """Show the trap: a forward pass alone does not move the statistics."""
    layer = Layer(protocol.fresh())
    y = layer.forward(tensor(protocol.BATCH))
    y.wait_to_read()
    forward = layer.statistics()[0]
    y.backward()
    return {
        "mean_after_forward": forward,
        "mean_after_backward": layer.statistics()[0],
    }
