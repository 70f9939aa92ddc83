"""What the doctor sees of a model: of each norm, and of the whole."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

WEIGHTED = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
NORMS = (
    _BatchNorm,
    _InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)


@dataclass
class Seen:
    """What one norm was given.

    Attributes
    ----------
    calls : int
        Times that it ran in one forward pass.
    before : str
        Kind of what gave its input: ``"weights"``, ``"activation"`` or ``"other"``.
    layer : str
        Name of the layer whose output is its input, or nothing.
    alone : bool
        Whether nothing else used that output.
    dropouts : tuple of str
        Active dropouts between the norm before it and this one.
    axes : int
        Number of axes of its input.
    values : list of int
        Values per channel, for each batch.
    mean, var : Tensor or None
        Of all its inputs in evaluation mode, in float64.
    means : list of Tensor
        Of each batch.
    padded : float
        Largest share of positions, in a batch of sequences, that only repeat the end.
    """

    calls: int = 0
    before: str = "other"
    layer: str = ""
    alone: bool = True
    dropouts: tuple[str, ...] = ()
    axes: int = 2
    values: list[int] = field(default_factory=list)
    mean: Tensor | None = None
    var: Tensor | None = None
    count: int = 0
    means: list[Tensor] = field(default_factory=list)
    padded: float = 0.0

    def add(self, x: Tensor) -> None:
        """Merge the statistics of an input of shape (m, C, ...)."""
        rows = x.detach().double().transpose(0, 1).flatten(1)
        n, mean, var = rows.shape[1], rows.mean(1), rows.var(1, unbiased=False)
        self.values.append(n)
        self.means.append(mean)
        if self.mean is None or self.var is None:
            if self.count == 0:
                self.mean, self.var, self.count = mean, var, n
            return
        total, gap = self.count + n, mean - self.mean
        var = (self.count * self.var + n * var) / total
        self.var = var + gap**2 * (self.count * n / total**2)
        self.mean, self.count = self.mean + gap * (n / total), total


@dataclass
class Sight:
    """Everything the rules ask about: see `Seen`.

    Attributes
    ----------
    model : nn.Module
        The patient.
    norms : dict of str to BatchNorm
        Its batch norms by name, each once.
    seen : dict of str to Seen
        Of those that ran.
    spreads : list of float
        Standard deviation of the output of each layer with weights, in order.
    batches : int
        How many batches were run.
    optimizer : Optimizer or None
        That trains it.
    purpose : {"train", "evaluate", "deploy"} or None
        What the model is about to do.
    pairs : list of (str, str)
        Layers and norms that can be folded.
    single : dict of str to str
        Group and layer norms that get one value at a time, with the shape of the input.
    across : dict of str to str
        Layer norms behind a convolution that take the last axis for its channels.
    nan : tuple of str or None
        The first module that made nan, and what it got.
    company : float
        By how much answers in evaluation change without the other half of the batch.
    """

    model: nn.Module
    norms: dict[str, _BatchNorm]
    seen: dict[str, Seen]
    spreads: list[float]
    batches: int
    optimizer: torch.optim.Optimizer | None
    purpose: str | None
    pairs: list[tuple[str, str]] = field(default_factory=list)
    single: dict[str, str] = field(default_factory=dict)
    across: dict[str, str] = field(default_factory=dict)
    nan: tuple[str, str] | None = None
    company: float = 0.0
