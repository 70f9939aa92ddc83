"""PaddlePaddle: paddle.nn.BatchNorm1D and BatchNorm2D."""

import paddle
import protocol
from paddle import nn

paddle.set_device("cpu")


class Layer:
    """The layer in the dtype of the case; ``more`` are settings that no case has."""

    def __init__(self, case, **more):
        paddle.set_default_dtype(case.dtype)
        settings = case.settings(momentum=case.keep, epsilon=case.eps)
        kind = nn.BatchNorm1D
        if case.layout != "nd":
            kind, settings["data_format"] = nn.BatchNorm2D, case.layout.upper()
        self.layer = kind(case.channels, **settings, **more)
        given = case.settings(weight=case.gamma, bias=case.beta)
        for name, value in given.items():
            getattr(self.layer, name).set_value(value)

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta, None where y needs none."""
        x = paddle.to_tensor(x, stop_gradient=False)
        y = self.layer(x)
        wanted, dy = [x, self.layer.weight, self.layer.bias], [paddle.to_tensor(dy)]
        grads = paddle.grad([y], wanted, dy, allow_unused=True)
        return [None if v is None else v.numpy() for v in (y, *grads)]

    def statistics(self):
        """Return the running mean and variance."""
        return self.layer._mean.numpy(), self.layer._variance.numpy()

    def infer(self, x):
        """Return y in evaluation mode."""
        self.layer.eval()
        return self.layer(paddle.to_tensor(x)).numpy()


def facts():
    """Read the conventions from the layer."""
    defaults = protocol.defaults(nn.BatchNorm1D)
    frozen = Layer(protocol.fresh(), use_global_stats=True)
    y = frozen.step(protocol.BATCH, protocol.BATCH)[0]
    state = nn.BatchNorm1D(2).state_dict()
    return {
        "layer": "paddle.nn.BatchNorm1D, BatchNorm2D",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"],
        "eps": defaults["epsilon"],
        "axis": 1 if defaults["data_format"] == "NCL" else -1,
        "names": protocol.names("weight", "bias", "_mean", "_variance"),
        "state": {name: state[name].numpy() for name in sorted(state)},
        "mode_switch": "layer.train(), layer.eval()",
        "frozen": protocol.frozen("use_global_stats=True", frozen.statistics()[0], y),
        "synced": "paddle.nn.SyncBatchNorm" if nn.SyncBatchNorm else None,
    }
