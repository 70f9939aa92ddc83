"""Tinygrad: tinygrad.nn.BatchNorm, on its pure-Python device."""

import inspect
from importlib.metadata import version

import numpy as np
import protocol
from tinygrad import Context, Tensor, dtypes
from tinygrad.nn import BatchNorm
from tinygrad.nn.state import get_state_dict


def versions():
    """Return package versions."""
    return {"tinygrad": version("tinygrad")}


def tensor(value):
    """Give tinygrad an array."""
    return Tensor(value, dtype=getattr(dtypes, value.dtype.name))


def make(channels, dtype="float32", **settings):
    """Make a layer whose parameters and statistics have this dtype."""
    layer = BatchNorm(channels, **settings)
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = getattr(layer, name).numpy().astype(dtype)
        setattr(layer, name, tensor(value))
    return layer


def step(layer, x, dy=None):
    """Train on a batch; return y and, with dy, the three gradients."""
    with Context(TRAINING=1):
        y = layer(x)
        grads = []
        if dy is not None:
            wanted = [x, layer.weight, layer.bias]
            grads = [g.numpy() for g in (y * dy).sum().gradient(*wanted)]
        return y.numpy(), grads


def statistics(layer):
    """Return the running mean and variance."""
    return [layer.running_mean.numpy(), layer.running_var.numpy()]


def train(case):
    """Run one case."""
    if case.layout == "nhwc":
        raise protocol.Unsupported("the layer has its channels on axis 1")
    layer = make(case.channels, case.dtype, eps=case.eps, momentum=1 - case.keep)
    layer.weight, layer.bias = tensor(case.gamma), tensor(case.beta)
    y, grads = step(layer, tensor(case.x[0]), tensor(case.dy))
    for batch in case.x[1:]:
        step(layer, tensor(batch))
    mean, var = statistics(layer)
    return {
        "y": y,
        "dx": grads[0],
        "dgamma": grads[1],
        "dbeta": grads[2],
        "running_mean": mean,
        "running_var": var,
        "inference": layer(tensor(case.x_new)).numpy(),
    }


def default_steps(x):
    """Train a fresh layer twice."""
    layer = BatchNorm(x.shape[2])
    steps = [statistics(layer)]
    for batch in x:
        step(layer, tensor(batch))
        steps.append(statistics(layer))
    return steps


def facts():
    """Read the conventions from the layer."""
    defaults = inspect.signature(BatchNorm.__init__).parameters
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    layer, frozen = BatchNorm(2), BatchNorm(2)
    y = frozen(tensor(x)).numpy()
    state = {name: v.numpy() for name, v in get_state_dict(layer).items()}

    def dtype(name):
        one = make(2, name)
        step(one, tensor(x.astype(name)))
        return one.running_var.dtype.name

    roles = {name: name for name in ("weight", "bias", "running_mean", "running_var")}
    roles["count"] = "num_batches_tracked"
    words = {"double": "float64", "float": "float32", "half": "float16"}
    return {
        "layer": "tinygrad.nn.BatchNorm",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"].default,
        "eps": defaults["eps"].default,
        "axis": 1,
        "names": {role: name for role, name in roles.items() if name in state},
        "initial": {name: float(v.flat[0]) for name, v in state.items()},
        "mode_switch": "Context(TRAINING=1)",
        "statistics_dtype": {
            name: words[dtype(name)] for name in ("float32", "float64", "float16")
        },
        "frozen": protocol.frozen("TRAINING=0", frozen.running_mean.numpy(), y),
        "checkpoint": sorted(state),
        "synced": None,
    }


if __name__ == "__main__":
    protocol.main(__name__)
