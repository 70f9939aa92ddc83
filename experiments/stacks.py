"""Many small nets trained at once, as one net of groups.

Nets of one shape that differ in seed or learning rate stand beside each other in one
`Stack`: each batch holds one row for each net, each norm sees the units of all nets as
its channels, and no unit of one net touches another net. A test trains the same nets
one at a time. With batches of 2 a step costs little more than that of a single net.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from bnlib.pytorch.renorm import BatchRenorm1d, BatchRenorm2d
from bnlib.pytorch.variants import GhostBatchNorm1d
from experiments.nets import Images

NORMS = ("batch", "renorm", "group", "layer", "none")
SIZES, CHANNELS, GROUPS = (784, 100, 100, 100, 10), 16, 4
Batches = Callable[[int], np.ndarray]  # the images of a step, (batch size, nets)


class Dense(nn.Module):
    """Linear layers side by side: (m, nets, in) to (m, nets, out)."""

    def __init__(self, weights: np.ndarray, bias: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weights).to(dtype))
        shape = (len(weights), weights.shape[2])
        self.bias = nn.Parameter(torch.zeros(shape, dtype=dtype)) if bias else None

    def forward(self, u: Tensor) -> Tensor:
        """Return W u of each net, with its bias if there is one."""
        x = torch.bmm(u.transpose(0, 1), self.weight).transpose(0, 1)
        return x if self.bias is None else x + self.bias


class OverUnits(nn.Module):
    """A norm whose channels are the units of all nets, for (m, nets, units)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        return self.norm(x.flatten(1)).view(x.shape)


class Split(nn.Module):
    """Bring maps (m, nets * C, H, W) into rows (m, nets, C * H * W), or back."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Reshape."""
        return x.reshape(len(x), *self.shape)


def norm_of(
    kind: str, nets: int, units: int, maps: bool, group_size: int = 1
) -> nn.Module | None:
    """Return a norm for nets side by side, each with so many units or channels."""
    channels, groups = nets * units, GROUPS if maps else 10
    if kind == "ghost":
        return GhostBatchNorm1d(channels, group_size)
    makers: dict[str, Callable[[], nn.Module | None]] = {
        "batch": lambda: (nn.BatchNorm2d if maps else nn.BatchNorm1d)(channels),
        "renorm": lambda: (BatchRenorm2d if maps else BatchRenorm1d)(channels),
        "group": lambda: nn.GroupNorm(nets * groups, channels),
        "layer": lambda: nn.GroupNorm(nets, channels),
        "none": lambda: None,
    }
    return makers[kind]()


def build(
    net: str,
    norm: str,
    seeds: Sequence[int],
    dtype: torch.dtype = torch.float32,
    group_size: int = 1,
) -> nn.Sequential:
    """Return untrained nets side by side, for inputs of shape (m, nets, 784).

    Parameters
    ----------
    net : {"dense", "conv"}
        784-100-100-100-10; or, on images of 14 x 14, three 3 x 3 convolutions to 16
        channels, halved in size after the first, and a linear layer. ReLU, He weights.
    norm : str
        One of `NORMS`, or "ghost". Group norm has 10 groups of units, or 4 of channels.
    seeds : sequence of int
        One for each net; nets of one seed have the same first weights.
    dtype : torch.dtype
        Of the parameters.
    group_size : int
        That of ghost batches.
    """
    rngs = [np.random.default_rng(seed) for seed in seeds]
    n, bias = len(seeds), norm == "none"

    def dense(n_in: int, n_out: int, gain: float, bias: bool) -> Dense:
        draws = [rng.standard_normal((n_in, n_out)) for rng in rngs]
        return Dense((gain / n_in) ** 0.5 * np.stack(draws), bias, dtype)

    def convolution(n_in: int) -> nn.Conv2d:
        draws = [rng.standard_normal((CHANNELS, n_in, 3, 3)) for rng in rngs]
        layer = nn.Conv2d(
            n * n_in, n * CHANNELS, 3, padding=1, groups=n, bias=bias, dtype=dtype
        )
        with torch.no_grad():
            scale = (2 / (9 * n_in)) ** 0.5
            layer.weight.copy_(torch.from_numpy(scale * np.concatenate(draws)))
            if layer.bias is not None:
                layer.bias.zero_()
        return layer

    layers: list[nn.Module] = []
    if net == "dense":
        for n_in, n_out in pairwise(SIZES[:-1]):
            layers.append(dense(n_in, n_out, 2.0, bias))
            middle = norm_of(norm, n, n_out, False, group_size)
            layers += [OverUnits(middle.to(dtype))] if middle is not None else []
            layers.append(nn.ReLU())
        return nn.Sequential(*layers, dense(SIZES[-2], SIZES[-1], 1.0, True))
    layers += [Split(n, 28, 28), nn.AvgPool2d(2)]
    for i, n_in in enumerate((1, CHANNELS, CHANNELS)):
        layers.append(convolution(n_in))
        middle = norm_of(norm, n, CHANNELS, True)
        layers += [middle.to(dtype)] if middle is not None else []
        layers.append(nn.ReLU())
        if i == 0:
            layers.append(nn.MaxPool2d(2))
    layers.append(Split(n, CHANNELS * 49))
    return nn.Sequential(*layers, dense(CHANNELS * 49, 10, 1.0, True))


def parts(stack: nn.Module, nets: int) -> list[Tensor]:
    """Return the parameters, each seen as one row for each net."""
    return [p.data.view(nets, -1) for p in stack.parameters()]


def train(
    stack: nn.Module,
    images: Images,
    rates: Sequence[float],
    batches: Batches,
    steps: int,
    before_step: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Train by plain gradient descent, each net at its rate; **changes the stack**.

    Parameters
    ----------
    stack : nn.Module
        Of `build`.
    images : tuple of Tensor
        Images and classes.
    rates : sequence of float
        A learning rate for each net.
    batches : callable
        ``batches(step)`` returns indices of images, of shape (batch size, nets).
    steps : int
        Updates.
    before_step : callable, optional
        Is called with each step's number.

    Returns
    -------
    losses : ndarray of shape (steps, nets)
        Mean cross-entropy of each net's batch, before the update.
    """
    x, y = images
    nets, losses = len(rates), np.empty((steps, len(rates)))
    rate = torch.tensor(rates, dtype=x.dtype)[:, None]
    for step in range(steps):
        if before_step is not None:
            before_step(step)
        index = torch.from_numpy(batches(step))
        logits = stack(x[index])  # (m, nets, 10)
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), y[index].flatten(), reduction="none"
        ).view(index.shape)
        losses[step] = loss.detach().mean(0).numpy()
        stack.zero_grad()
        loss.mean(0).sum().backward()
        with torch.no_grad():
            for p in stack.parameters():
                assert p.grad is not None
                p.view(nets, -1).sub_(rate * p.grad.view(nets, -1))
    return losses


@torch.no_grad()
def accuracy(
    stack: nn.Module, images: Images, nets: int, batch_size: int = 500
) -> np.ndarray:
    """Return the share of images that each net names, in the mode that the stack is in.

    Batches are taken in the images' order; a net whose output is not finite names none.
    In training mode running statistics move.
    """
    x, y = images
    right = np.zeros(nets)
    count = len(y) // batch_size * batch_size
    for start in range(0, count, batch_size):
        part = slice(start, start + batch_size)
        logits = stack(x[part, None].expand(-1, nets, -1))  # (m, nets, 10)
        named = (logits.argmax(2) == y[part, None]) & logits.isfinite().all(2)
        right += named.sum(0).numpy()
    return right / count
