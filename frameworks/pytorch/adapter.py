"""PyTorch: torch.nn.BatchNorm1d and BatchNorm2d."""

import numpy as np
import protocol
import torch
from torch import nn


class Layer:
    """The layer; channels last is a memory format of images and not another shape."""

    def __init__(self, case):
        kind = nn.BatchNorm1d if case.layout == "nd" else nn.BatchNorm2d
        settings = case.settings(eps=case.eps, momentum=1 - case.keep)
        dtype = getattr(torch, case.dtype)
        self.layer = kind(case.channels, dtype=dtype, **settings)
        self.last = case.layout == "nhwc"
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor(case.gamma))
            self.layer.bias.copy_(torch.tensor(case.beta))

    def tensor(self, value):
        """Give torch an array."""
        if not self.last:
            return torch.tensor(value)
        images = torch.tensor(np.moveaxis(value, 3, 1))
        return images.contiguous(memory_format=torch.channels_last)

    def array(self, value):
        """Take an array back, in the layout of the case."""
        value = value.detach().numpy()
        return np.moveaxis(value, 1, 3) if self.last else value

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta."""
        x = self.tensor(x).requires_grad_()
        y = self.layer(x)
        wanted = [x, self.layer.weight, self.layer.bias]
        dx, dgamma, dbeta = torch.autograd.grad(y, wanted, self.tensor(dy))
        return self.array(y), self.array(dx), dgamma, dbeta

    def statistics(self):
        """Return the running mean and variance."""
        return self.layer.running_mean, self.layer.running_var

    def infer(self, x):
        """Return y in evaluation mode."""
        return self.array(self.layer.eval()(self.tensor(x)))


def facts():
    """Read the conventions from the layer."""
    defaults = protocol.defaults(nn.BatchNorm1d)
    frozen = nn.BatchNorm1d(2).requires_grad_(False)
    y = frozen(torch.tensor(protocol.BATCH))
    half = nn.BatchNorm1d(2)(torch.ones(3, 2).half()).dtype
    return {
        "layer": "torch.nn.BatchNorm1d, BatchNorm2d",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"],
        "eps": defaults["eps"],
        "axis": 1,
        "names": protocol.names(
            "weight", "bias", "running_mean", "running_var", count="num_batches_tracked"
        ),
        "state": nn.BatchNorm1d(2).state_dict(),
        "mode_switch": "module.train(), module.eval()",
        "statistics_dtype": {
            "float16": "float32 for half input to a float32 layer, which gives "
            + str(half)[6:]
            + "; float16 after .half()",
        },
        "frozen": protocol.frozen("requires_grad_(False)", frozen.running_mean, y),
        "synced": "torch.nn.SyncBatchNorm" if nn.SyncBatchNorm else None,
    }
