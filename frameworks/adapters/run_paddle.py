"""PaddlePaddle: paddle.nn.BatchNorm1D and BatchNorm2D."""

import inspect

import numpy as np
import paddle
import protocol
from paddle import nn

paddle.set_device("cpu")


def versions():
    """Return package versions."""
    return {"paddle": paddle.__version__}


def make(channels, dtype="float32", kind=nn.BatchNorm1D, **settings):
    """Make a layer whose parameters and statistics have this dtype."""
    paddle.set_default_dtype(dtype)
    return kind(channels, **settings)


def train(case):
    """Run one case."""
    settings = {"momentum": case.keep, "epsilon": case.eps}
    if case.layout != "nd":
        settings.update(kind=nn.BatchNorm2D, data_format=case.layout.upper())
    layer = make(case.channels, case.dtype, **settings)
    layer.weight.set_value(case.gamma)
    layer.bias.set_value(case.beta)
    x = paddle.to_tensor(case.x[0], stop_gradient=False)
    y = layer(x)
    variables = [x, layer.weight, layer.bias]
    seed = [paddle.to_tensor(case.dy)]
    dx, dgamma, dbeta = paddle.grad([y], variables, seed, allow_unused=True)
    for batch in case.x[1:]:
        layer(paddle.to_tensor(batch))
    layer.eval()
    found = {
        "y": y,
        "dx": dx,
        "dgamma": dgamma,
        "dbeta": dbeta,
        "running_mean": layer._mean,
        "running_var": layer._variance,
        "inference": layer(paddle.to_tensor(case.x_new)),
    }
    return {name: v.numpy() for name, v in found.items() if v is not None}


def default_steps(x):
    """Train a fresh layer twice."""
    layer = make(x.shape[2])
    steps = [[layer._mean.numpy() + 0, layer._variance.numpy() + 0]]
    for batch in x:
        layer(paddle.to_tensor(batch))
        steps.append([layer._mean.numpy() + 0, layer._variance.numpy() + 0])
    return steps


def facts():
    """Read the conventions from the layer."""
    defaults = inspect.signature(nn.BatchNorm1D).parameters
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    layer, frozen = make(2), make(2, use_global_stats=True)
    y = frozen(paddle.to_tensor(x))
    state = {name: value.numpy() for name, value in layer.state_dict().items()}

    def dtype(name):
        try:
            one = make(2, name)
            one(paddle.to_tensor(x.astype(name)))
        except Exception as error:
            lines = [s.strip() for s in str(error).splitlines() if s.strip()]
            return "error: " + next((s for s in lines if "rror" in s), lines[0])[:120]
        return str(one._variance.dtype).split(".")[-1]

    return {
        "layer": "paddle.nn.BatchNorm1D, BatchNorm2D",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"].default,
        "eps": defaults["epsilon"].default,
        "axis": 1 if defaults["data_format"].default == "NCL" else -1,
        "names": {
            role: name
            for role, name in (
                ("weight", "weight"),
                ("bias", "bias"),
                ("running_mean", "_mean"),
                ("running_var", "_variance"),
            )
            if name in state
        },
        "initial": {name: float(value[0]) for name, value in state.items()},
        "mode_switch": "layer.train(), layer.eval()",
        "statistics_dtype": {
            name: dtype(name) for name in ("float32", "float64", "float16")
        },
        "frozen": protocol.frozen(
            "use_global_stats=True", frozen._mean.numpy(), y.numpy()
        ),
        "checkpoint": sorted(state),
        "synced": "paddle.nn.SyncBatchNorm" if nn.SyncBatchNorm else None,
    }


if __name__ == "__main__":
    protocol.main(__name__)
