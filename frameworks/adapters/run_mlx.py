"""MLX on a CPU: mlx.nn.BatchNorm."""

import inspect

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import protocol
from mlx.utils import tree_flatten

mx.set_default_device(mx.cpu)


def versions():
    """Return package versions."""
    return {"mlx": mx.__version__}


def make(channels, dtype="float32", **settings):
    """Make a layer whose parameters and statistics have this dtype."""
    layer = nn.BatchNorm(channels, **settings)
    layer.set_dtype(getattr(mx, dtype))
    return layer


def tensor(value):
    """Give MLX an array; float64 must be asked for."""
    return mx.array(value, dtype=getattr(mx, value.dtype.name))


def train(case):
    """Run one case."""
    if case.layout == "nchw":
        raise protocol.Unsupported("the layer has its channels last")
    layer = make(case.channels, case.dtype, eps=case.eps, momentum=1 - case.keep)
    layer.weight, layer.bias = tensor(case.gamma), tensor(case.beta)
    dy = tensor(case.dy)

    def forward(parameters, x):
        layer.update(parameters)
        y = layer(x)
        return (y * dy).sum(), y

    step = mx.value_and_grad(forward, argnums=(0, 1))
    parameters = {"weight": layer.weight, "bias": layer.bias}
    (_, y), (grads, dx) = step(parameters, tensor(case.x[0]))
    for batch in case.x[1:]:
        layer(tensor(batch))
    layer.eval()
    found = {
        "y": y,
        "dx": dx,
        "dgamma": grads["weight"],
        "dbeta": grads["bias"],
        "running_mean": layer.running_mean,
        "running_var": layer.running_var,
        "inference": layer(tensor(case.x_new)),
    }
    return {name: np.array(value) for name, value in found.items()}


def default_steps(x):
    """Train a fresh layer twice."""
    layer = nn.BatchNorm(x.shape[2])
    steps = [[np.array(layer.running_mean), np.array(layer.running_var)]]
    for batch in x:
        layer(tensor(batch))
        steps.append([np.array(layer.running_mean), np.array(layer.running_var)])
    return steps


def facts():
    """Read the conventions from the layer."""
    defaults = inspect.signature(nn.BatchNorm).parameters
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    layer, frozen = nn.BatchNorm(2), nn.BatchNorm(2)
    frozen.freeze()
    y = frozen(tensor(x))
    state = dict(tree_flatten(layer.parameters()))

    def dtype(name):
        one = make(2, name)
        one(tensor(x.astype(name)))
        return str(one.running_var.dtype).split(".")[-1]

    return {
        "layer": "mlx.nn.BatchNorm",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"].default,
        "eps": defaults["eps"].default,
        "axis": -1,
        "names": {
            name: name
            for name in ("weight", "bias", "running_mean", "running_var")
            if name in state
        },
        "initial": {name: float(value[0]) for name, value in state.items()},
        "mode_switch": "module.train(), module.eval()",
        "statistics_dtype": {
            name: dtype(name) for name in ("float32", "float64", "float16")
        },
        "frozen": protocol.frozen(
            "freeze()", np.array(frozen.running_mean), np.array(y)
        ),
        "checkpoint": sorted(state),
        "synced": None,
    }


if __name__ == "__main__":
    protocol.main(__name__)
