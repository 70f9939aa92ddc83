"""The noise of a batch: how far its statistics are from the population's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bnlib.pytorch.surgery import batch_norms


class Noise(NamedTuple):
    """How much the batch statistics of a layer differ from batch to batch.

    Attributes
    ----------
    mean : Tensor of shape (C,)
        Standard deviation of the batch mean, in standard deviations of the population.
    var : Tensor of shape (C,)
        Standard deviation of the batch variance (divisor m), in variances of the
        population.
    """

    mean: Tensor
    var: Tensor


@torch.no_grad()
def batch_noise(
    model: nn.Module,
    x: Tensor,
    batch_size: int,
    rng: np.random.Generator,
    *,
    batches: int = 200,
    replace: bool = True,
) -> dict[str, Noise]:
    """Measure the noise of the batch statistics at the input of each batch norm.

    Many batches are drawn from x, and the model runs on each. The population is x.

    Parameters
    ----------
    model : nn.Module
        Used in the modes that its layers are in. In evaluation mode an example's values
        do not depend on its batch, and what is measured is the noise of drawing. In
        training mode the noise of the layers before comes to it.
    x : Tensor of shape (n, ...)
        The population, n of 2 or more.
    batch_size : int
        Examples in a batch, 1 to n; 2 or more for layers in training mode.
    rng : numpy.random.Generator
        Draws the batches.
    batches : int
        How many, 2 or more. The relative error of a result is about
        1 / sqrt(2 * batches).
    replace : bool
        Whether an example may come twice in a batch. Without replacement the noise is
        smaller, and 0 for the whole of x.

    Returns
    -------
    noise : dict of str to Noise
        One for each batch-norm layer, by its name; inf or nan for a channel that does
        not vary.

    Raises
    ------
    ValueError
        Fewer than 2 batches or examples, a batch size out of range, or a model without
        batch norm.

    References
    ----------
    Luo et al. (2019), Towards understanding regularization in batch normalization,
    section 2.
    """
    if len(x) < 2 or batches < 2:
        raise ValueError(
            f"expected 2 examples and 2 batches or more, got {len(x)} and {batches}"
        )
    if not 1 <= batch_size <= len(x):
        raise ValueError(f"expected a batch_size from 1 to {len(x)}, got {batch_size}")
    with _watched(model) as seen:
        model(x)
        population = {name: _moments(value) for name, value in seen.items()}
        statistics: dict[str, list[Tensor]] = {name: [] for name in seen}
        for _ in range(batches):
            index = rng.choice(len(x), batch_size, replace=replace)
            model(x[torch.from_numpy(index)])
            for name, value in seen.items():
                statistics[name].append(_moments(value))
    noise = {}
    for name, drawn in statistics.items():
        spread = torch.stack(drawn).std(0)  # (2, C)
        _, var = population[name]
        noise[name] = Noise(spread[0] / var.sqrt(), spread[1] / var)
    return noise


@torch.no_grad()
def variance_shift(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Divide the running variance of each layer by its variance in evaluation mode.

    A layer expects its running variance. Where a layer before it behaves otherwise in
    evaluation mode, as dropout does, it gets another one, and the ratio is not 1.

    Parameters
    ----------
    model : nn.Module
        In any mode: it is run in evaluation mode.
    x : Tensor of shape (n, ...)
        Examples like those of training, with 2 values per channel or more.

    Returns
    -------
    ratio : dict of str to Tensor of shape (C,)
        One for each batch-norm layer that stores statistics, by its name; more than 1
        where training had more variance. inf or nan for a channel that does not vary.

    Raises
    ------
    ValueError
        A model without batch norm, or a batch norm that stores no statistics.

    References
    ----------
    Li et al. (2019), Understanding the disharmony between dropout and batch
    normalization by variance shift, who give the inverse ratio.
    """
    stored = {name: layer.running_var for name, layer in batch_norms(model).items()}
    if idle := [name for name, var in stored.items() if var is None]:
        raise ValueError(f"expected layers that store statistics, got {idle}")
    modes = {m: m.training for m in model.modules()}
    try:
        with _watched(model) as seen:
            model.eval()(x)
            ratio = {}
            for name, var in stored.items():
                rows = seen[name].transpose(0, 1).flatten(1)
                ratio[name] = torch.as_tensor(var) / rows.var(1)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return ratio


def _moments(x: Tensor) -> Tensor:
    """Return mean and biased variance of each channel, of shape (2, C)."""
    rows = x.transpose(0, 1).flatten(1)
    return torch.stack([rows.mean(1), rows.var(1, correction=0)])


@contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Keep the last input of each batch norm, by name; then leave no trace."""
    layers = batch_norms(model)
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _, inputs: seen.update({name: inputs[0].detach()})

    hooks = [m.register_forward_pre_hook(keep(name)) for name, m in layers.items()]
    try:
        with torch.random.fork_rng():
            yield seen
    finally:
        for hook in hooks:
            hook.remove()
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
