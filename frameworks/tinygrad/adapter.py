"""Tinygrad: tinygrad.nn.BatchNorm, on its pure-Python device."""

import protocol
from tinygrad import Context, Tensor, dtypes
from tinygrad.nn import BatchNorm
from tinygrad.nn.state import get_state_dict

ROLES = ("weight", "bias", "running_mean", "running_var")


def tensor(value):
    """Give tinygrad an array."""
    return Tensor(value, dtype=getattr(dtypes, value.dtype.name))


class Layer:
    """The layer, its parameters and statistics in the dtype of the case."""

    def __init__(self, case):
        if case.layout == "nhwc":
            raise protocol.Unsupported("the layer has its channels on axis 1")
        settings = case.settings(eps=case.eps, momentum=1 - case.keep)
        self.layer = BatchNorm(case.channels, **settings)
        for name in ROLES:
            value = getattr(self.layer, name).numpy().astype(case.dtype)
            setattr(self.layer, name, tensor(value))
        self.layer.weight, self.layer.bias = tensor(case.gamma), tensor(case.beta)

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta."""
        x = tensor(x)
        with Context(TRAINING=1):
            y = self.layer(x)
            wanted = [x, self.layer.weight, self.layer.bias]
            grads = (y * tensor(dy)).sum().gradient(*wanted)
            return [v.numpy() for v in (y, *grads)]

    def statistics(self):
        """Return the running mean and variance."""
        return self.layer.running_mean.numpy(), self.layer.running_var.numpy()

    def infer(self, x):
        """Return y in evaluation mode."""
        return self.layer(tensor(x)).numpy()


def facts():
    """Read the conventions from the layer."""
    defaults = protocol.defaults(BatchNorm.__init__)
    state, frozen = get_state_dict(BatchNorm(2)), BatchNorm(2)
    y = frozen(tensor(protocol.BATCH)).numpy()
    return {
        "layer": "tinygrad.nn.BatchNorm",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"],
        "eps": defaults["eps"],
        "axis": 1,
        "names": protocol.names(*ROLES, count="num_batches_tracked"),
        "state": {name: state[name].numpy() for name in sorted(state)},
        "mode_switch": "Context(TRAINING=1)",
        "frozen": protocol.frozen("TRAINING=0", frozen.running_mean.numpy(), y),
        "synced": None,
    }
