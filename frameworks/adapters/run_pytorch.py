"""PyTorch: torch.nn.BatchNorm1d and BatchNorm2d."""

import inspect

import numpy as np
import protocol
import torch
from torch import nn


def versions():
    """Return package versions."""
    return {"torch": torch.__version__}


def make(case):
    """Make the layer of a case, with its parameters."""
    kind = nn.BatchNorm1d if case.layout == "nd" else nn.BatchNorm2d
    dtype = getattr(torch, case.dtype)
    layer = kind(case.channels, eps=case.eps, momentum=1 - case.keep, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(case.gamma))
        layer.bias.copy_(torch.tensor(case.beta))
    return layer


def tensor(case, value):
    """Give torch an array; channels last is a memory format and not another shape."""
    if case.layout != "nhwc":
        return torch.tensor(value)
    images = torch.tensor(np.moveaxis(value, 3, 1))
    return images.contiguous(memory_format=torch.channels_last)


def array(case, value):
    """Take an array back, in the layout of the case."""
    value = value.detach().numpy()
    return np.moveaxis(value, 1, 3) if case.layout == "nhwc" else value


def train(case):
    """Run one case."""
    layer = make(case)
    x = tensor(case, case.x[0]).requires_grad_()
    y = layer(x)
    y.backward(tensor(case, case.dy))
    for batch in case.x[1:]:
        layer(tensor(case, batch))
    layer.eval()
    return {
        "y": array(case, y),
        "dx": array(case, x.grad),
        "dgamma": layer.weight.grad.numpy(),
        "dbeta": layer.bias.grad.numpy(),
        "running_mean": layer.running_mean.numpy(),
        "running_var": layer.running_var.numpy(),
        "inference": array(case, layer(tensor(case, case.x_new))),
    }


def default_steps(x):
    """Train a fresh layer twice."""
    layer = nn.BatchNorm1d(x.shape[2])
    steps = [[layer.running_mean.numpy() + 0, layer.running_var.numpy() + 0]]
    for batch in x:
        layer(torch.tensor(batch))
        steps.append([layer.running_mean.numpy() + 0, layer.running_var.numpy() + 0])
    return steps


def facts():
    """Read the conventions from the layer."""
    layer = nn.BatchNorm1d(2)
    frozen = nn.BatchNorm1d(2).requires_grad_(False)
    y = frozen(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    defaults = inspect.signature(nn.BatchNorm1d).parameters
    half = nn.BatchNorm1d(2)(torch.ones(3, 2).half()).dtype
    return {
        "layer": "torch.nn.BatchNorm1d, BatchNorm2d",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"].default,
        "eps": defaults["eps"].default,
        "axis": 1,
        "names": {
            "weight": "weight",
            "bias": "bias",
            "running_mean": "running_mean",
            "running_var": "running_var",
            "count": "num_batches_tracked",
        },
        "initial": {k: float(v.flatten()[0]) for k, v in layer.state_dict().items()},
        "mode_switch": "module.train(), module.eval()",
        "statistics_dtype": {
            "float32": str(layer.running_var.dtype)[6:],
            "float64": str(nn.BatchNorm1d(2).double().running_var.dtype)[6:],
            "float16": "float32 for half input to a float32 layer, which gives "
            + str(half)[6:]
            + "; float16 after .half()",
        },
        "frozen": protocol.frozen("requires_grad_(False)", frozen.running_mean, y),
        "checkpoint": list(layer.state_dict()),
        "synced": "torch.nn.SyncBatchNorm" if nn.SyncBatchNorm else None,
    }


if __name__ == "__main__":
    protocol.main(__name__)
