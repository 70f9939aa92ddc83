"""Adapting a trained model to the batches that it meets, without labels.

`surgery.adapt` stores the statistics of a new domain once. Here the layers look at each
batch anew: `mix_statistics` mixes its statistics with the stored ones, and
`minimize_entropy` also moves gamma and beta.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnlib.pytorch.surgery import batch_norms


class MixedBatchNorm(_BatchNorm):
    """Normalizes with a mixture of stored and batch statistics, in both modes.

    Made by `mix_statistics` from a trained layer; it stores nothing.
    """

    source_weight: float

    def extra_repr(self) -> str:
        """Return what ``print`` shows of the layer."""
        return f"{super().extra_repr()}, source_weight={self.source_weight}"

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, of shape (m, C) or (m, C, ...)."""
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise ValueError(
                f"expected an input of shape (m, {self.num_features}, ...), "
                f"got {tuple(x.shape)}"
            )
        mean, var = self._statistics(x)
        shape = (-1, *[1] * (x.ndim - 2))
        x_hat = (x - mean.view(shape)) / torch.sqrt(var + self.eps).view(shape)
        if self.weight is None:
            return x_hat  # type: ignore[unreachable]
        return self.weight.view(shape) * x_hat + self.bias.view(shape)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance, (C,); what has no weight is not looked at."""
        w = self.source_weight
        assert self.running_mean is not None
        assert self.running_var is not None
        if w == 1:
            return self.running_mean, self.running_var
        if x.numel() < 2 * self.num_features:
            raise ValueError("expected 2 values per channel or more, got 1")
        axes = (0, *range(2, x.ndim))
        mean, var = x.mean(axes), x.var(axes, correction=0)
        if w > 0:
            mean = w * self.running_mean + (1 - w) * mean
            var = w * self.running_var + (1 - w) * var
        return mean, var


def mix_statistics(model: nn.Module, source_weight: float) -> nn.Module:
    """Return a copy that normalizes each batch with a mixture of two statistics.

    Mean and variance are each ``source_weight`` times the stored one plus
    ``1 - source_weight`` times that of the batch (biased, as in training), in training
    and in evaluation mode. Nothing is stored.

    Parameters
    ----------
    model : nn.Module
        Trained. It is left as it is.
    source_weight : float
        0 to 1: 1 is evaluation mode, 0 the statistics of each batch alone.

    Returns
    -------
    model : nn.Module
        A copy, with the same keys in its ``state_dict``.

    Raises
    ------
    ValueError
        The weight is out of range, a layer stores no statistics, or there is no layer.

    Notes
    -----
    Schneider et al. (2020) take ``N / (N + n)`` for a batch of n images, where N says
    how many images the source's statistics are worth. Their mixture is this one.
    """
    if not 0 <= source_weight <= 1:
        raise ValueError(f"source_weight must lie in 0 to 1, got {source_weight}")
    copied = copy.deepcopy(model)
    layers = batch_norms(copied)
    if not layers:
        raise ValueError("expected a model with batch-norm layers, got none")
    for name, layer in layers.items():
        if layer.running_mean is None:
            raise ValueError(f"the layer {name!r} stores no statistics to mix with")
        layer.__class__ = MixedBatchNorm
        cast(MixedBatchNorm, layer).source_weight = float(source_weight)
    return copied


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy in nats of the softmax over the last axis, without that axis.

    It is 0 for a sure prediction, and log(classes) for equal probabilities.
    """
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def minimize_entropy(
    model: nn.Module,
    batches: Iterable[Tensor],
    *,
    lr: float,
    source_weight: float = 0.0,
) -> tuple[nn.Module, Tensor]:
    """Make predictions surer by moving gamma and beta, batch by batch (Tent).

    Each layer uses the statistics of its batch, or a mixture as `mix_statistics` has
    it. For each batch the answers are taken first; then one step of Adam goes down
    their mean entropy. No label is used.

    Parameters
    ----------
    model : nn.Module
        Trained. It is left as it is.
    batches : iterable of Tensor
        Inputs, in the order in which they are met.
    lr : float
        Rate of Adam; with 0 nothing learns, and only the statistics are new.
    source_weight : float
        0 to 1, as in `mix_statistics`.

    Returns
    -------
    model : nn.Module
        A copy as `mix_statistics` returns it, with new gamma and beta, which alone take
        gradients.
    outputs : Tensor
        The answers to all batches, one after the other.

    Raises
    ------
    ValueError
        As `mix_statistics`; also no gamma or beta to move, a rate below 0, or no
        batches.

    Notes
    -----
    Wang et al. (2021, "Tent: Fully Test-Time Adaptation by Entropy Minimization").
    """
    if lr < 0:
        raise ValueError(f"expected a rate of at least 0, got {lr}")
    adapted = mix_statistics(model, source_weight).eval()
    adapted.requires_grad_(False)
    own = [p for m in batch_norms(adapted).values() for p in m.parameters()]
    if not own:
        raise ValueError("expected layers with gamma and beta, got none")
    for parameter in own:
        parameter.requires_grad_(True)
    optimizer, outputs = torch.optim.Adam(own, lr=lr), []
    for batch in batches:
        logits = adapted(batch)
        outputs.append(logits.detach())
        optimizer.zero_grad()
        entropy(logits).mean().backward()
        optimizer.step()
    if not outputs:
        raise ValueError("expected at least one batch, got none")
    return adapted, torch.cat(outputs)
