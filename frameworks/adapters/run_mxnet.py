"""MXNet 1.9: gluon.nn.BatchNorm; its statistics move in the backward pass."""

import inspect

import numpy as np

np.bool = np.bool_  # MXNet 1.9.1 asks for a name that NumPy 1.24 took away
import mxnet as mx  # noqa: E402 - after the line above
import protocol  # noqa: E402
from mxnet import autograd  # noqa: E402
from mxnet.gluon import nn  # noqa: E402
from mxnet.gluon.contrib.nn import SyncBatchNorm  # noqa: E402


def versions():
    """Return package versions."""
    return {"mxnet": mx.__version__}


def tensor(value):
    """Give MXNet an array."""
    return mx.nd.array(value, dtype=value.dtype)


def make(shape, dtype="float32", **settings):
    """Make a layer with its parameters."""
    layer = nn.BatchNorm(**settings)
    layer.cast(dtype)
    layer.initialize()
    layer(mx.nd.zeros(shape, dtype=dtype))
    return layer


def step(layer, x, dy):
    """Train on a batch; return y and the gradient of x."""
    x = tensor(x)
    x.attach_grad()
    with autograd.record():
        y = layer(x)
    y.backward(tensor(dy))
    return y.asnumpy(), x.grad.asnumpy()


def statistics(layer):
    """Return the running mean and variance."""
    moving = (layer.running_mean, layer.running_var)
    return [value.data().asnumpy() for value in moving]


def train(case):
    """Run one case."""
    layer = make(
        case.x[0].shape,
        case.dtype,
        axis=-1 if case.layout == "nhwc" else 1,
        momentum=case.keep,
        epsilon=case.eps,
    )
    layer.gamma.set_data(tensor(case.gamma))
    layer.beta.set_data(tensor(case.beta))
    y, dx = step(layer, case.x[0], case.dy)
    dgamma, dbeta = (p.grad().asnumpy() for p in (layer.gamma, layer.beta))
    for batch in case.x[1:]:
        step(layer, batch, case.dy)
    mean, var = statistics(layer)
    return {
        "y": y,
        "dx": dx,
        "dgamma": dgamma,
        "dbeta": dbeta,
        "running_mean": mean,
        "running_var": var,
        "inference": layer(tensor(case.x_new)).asnumpy(),
    }


def default_steps(x):
    """Train a fresh layer twice."""
    layer = make(x[0].shape)
    steps = [statistics(layer)]
    for batch in x:
        step(layer, batch, batch)
        steps.append(statistics(layer))
    return steps


def facts():
    """Read the conventions from the layer."""
    defaults = inspect.signature(nn.BatchNorm).parameters
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    layer, frozen = make(x.shape), make(x.shape, use_global_stats=True)
    y, _ = step(frozen, x, x)
    prefix = layer.prefix
    state = {
        name[len(prefix) :]: p.data().asnumpy()
        for name, p in layer.collect_params().items()
    }
    roles = (
        ("weight", "gamma"),
        ("bias", "beta"),
        ("running_mean", "running_mean"),
        ("running_var", "running_var"),
    )
    return {
        "layer": "mxnet.gluon.nn.BatchNorm",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"].default,
        "eps": defaults["epsilon"].default,
        "axis": defaults["axis"].default,
        "names": {role: name for role, name in roles if name in state},
        "initial": {name: value[0] for name, value in state.items()},
        "mode_switch": "autograd.record()",
        "statistics_dtype": {
            name: statistics(make(x.shape, name))[1].dtype.name
            for name in ("float32", "float64", "float16")
        },
        "frozen": protocol.frozen("use_global_stats=True", statistics(frozen)[0], y),
        "checkpoint": sorted(state),
        "synced": "gluon.contrib.nn.SyncBatchNorm" if SyncBatchNorm else None,
    }


def extras():
    """Show the trap: a forward pass alone does not move the statistics."""
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    layer = make(x.shape)
    with autograd.record():
        y = layer(tensor(x))
    y.wait_to_read()
    forward = statistics(layer)[0]
    y.backward()
    return {
        "mean_after_forward": forward,
        "mean_after_backward": statistics(layer)[0],
    }


if __name__ == "__main__":
    protocol.main(__name__)
