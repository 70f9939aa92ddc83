"""PaddlePaddle: paddle.nn.BatchNorm1D and BatchNorm2D."""

import paddle
import protocol
from paddle import nn

paddle.set_device("cpu")


class Layer:
    """The layer, its parameters and statistics in the dtype of the case."""

    def __init__(self, case):
        paddle.set_default_dtype(case.dtype)
        settings = case.settings(momentum=case.keep, epsilon=case.eps)
        kind = nn.BatchNorm1D
        if case.layout != "nd":
            kind, settings["data_format"] = nn.BatchNorm2D, case.layout.upper()
        self.layer = kind(case.channels, **settings)
        self.layer.weight.set_value(case.gamma)
        self.layer.bias.set_value(case.beta)

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
    state = nn.BatchNorm1D(2).state_dict()
    frozen = nn.BatchNorm1D(2, use_global_stats=True)
    y = frozen(paddle.to_tensor(protocol.BATCH)).numpy()
    return {
        "layer": "paddle.nn.BatchNorm1D, BatchNorm2D",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"],
        "eps": defaults["epsilon"],
        "axis": 1 if defaults["data_format"] == "NCL" else -1,
        "names": {
            "weight": "weight",
            "bias": "bias",
            "running_mean": "_mean",
            "running_var": "_variance",
        },
        "state": {name: state[name].numpy() for name in sorted(state)},
        "mode_switch": "layer.train(), layer.eval()",
        "frozen": protocol.frozen("use_global_stats=True", frozen._mean.numpy(), y),
        "synced": "paddle.nn.SyncBatchNorm" if nn.SyncBatchNorm else None,
    }
