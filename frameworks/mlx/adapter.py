"""MLX on a CPU: mlx.nn.BatchNorm."""

import mlx.core as mx
import mlx.nn as nn
import protocol
from mlx.utils import tree_flatten

mx.set_default_device(mx.cpu)
ROLES = ("weight", "bias", "running_mean", "running_var")


def tensor(value):
    """Give MLX an array; float64 must be asked for."""
    return mx.array(value, dtype=getattr(mx, value.dtype.name))


class Layer:
    """The layer, its parameters and statistics in the dtype of the case."""

    def __init__(self, case):
        if case.layout == "nchw":
            raise protocol.Unsupported("the layer has its channels last")
        settings = case.settings(eps=case.eps, momentum=1 - case.keep)
        self.layer = nn.BatchNorm(case.channels, **settings)
        self.layer.set_dtype(getattr(mx, case.dtype))
        self.parameters = {"weight": tensor(case.gamma), "bias": tensor(case.beta)}
        self.layer.update(self.parameters)

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta."""
        dy = tensor(dy)

        def forward(parameters, x):
            self.layer.update(parameters)
            y = self.layer(x)
            return (y * dy).sum(), y

        back = mx.value_and_grad(forward, argnums=(0, 1))
        (_, y), (grads, dx) = back(self.parameters, tensor(x))
        return y, dx, grads["weight"], grads["bias"]

    def statistics(self):
        """Return the running mean and variance."""
        return self.layer.running_mean, self.layer.running_var

    def infer(self, x):
        """Return y in evaluation mode."""
        return self.layer.eval()(tensor(x))


def facts():
    """Read the conventions from the layer."""
    defaults = protocol.defaults(nn.BatchNorm)
    frozen = nn.BatchNorm(2)
    frozen.freeze()
    y = frozen(tensor(protocol.BATCH))
    return {
        "layer": "mlx.nn.BatchNorm",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"],
        "eps": defaults["eps"],
        "axis": -1,
        "names": protocol.names(*ROLES),
        "state": dict(sorted(tree_flatten(nn.BatchNorm(2).parameters()))),
        "mode_switch": "module.train(), module.eval()",
        "frozen": protocol.frozen("freeze()", frozen.running_mean, y),
        "synced": None,
    }
