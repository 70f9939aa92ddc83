"""Running statistics from data: precise ones, and those of a new domain."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnlib.pytorch.surgery._model import batch_norms


class _Pool:
    """Mean and variance of everything seen, merged batch by batch in float64."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Merge a batch of shape (m, C, ...)."""
        rows = x.detach().double().transpose(0, 1).flatten(1)  # (C, values)
        n, mean = rows.shape[1], rows.mean(1)
        squares = ((rows - mean[:, None]) ** 2).sum(1)
        if not bool(torch.isfinite(mean).all() and torch.isfinite(squares).all()):
            raise ValueError("holds nan or inf")
        total, gap = self.count + n, mean - self.mean
        self.squares = self.squares + squares + gap**2 * (self.count * n / total)
        self.mean = self.mean + gap * (n / total)
        self.count = total

    def variance(self) -> Tensor:
        """Return the unbiased variance."""
        return self.squares / (self.count - 1)


def precise_statistics(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    source_weight: float = 0.0,
    call: Callable[[nn.Module, Any], Any] | None = None,
) -> int:
    """Set running statistics to those of given data; **changes the model's buffers**.

    Each layer normalizes with the statistics of its batch, as in training, so that a
    layer sees what it saw there; dropout and the like are off. What was stored before
    does not matter, nan included, unless ``source_weight`` asks for it.

    Parameters
    ----------
    model : nn.Module
        Its parameters, gradients and modes are left as they are.
    batches : iterable
        Inputs; of a tuple or a list the first item is taken.
    source_weight : float
        Weight of the statistics that are stored already, 0 to 1: see `adapt`.
    call : callable, optional
        ``call(model, batch)`` runs the model on a batch that is not such an input.

    Returns
    -------
    batches : int
        How many were used.

    Raises
    ------
    ValueError
        No batch-norm layer that stores statistics, no batches, values that are not
        finite (the batch and the layer are named), or a batch with one value per
        channel, which no layer can normalize. The buffers are then as before.

    Notes
    -----
    Wu and Johnson (2021, "Rethinking 'Batch' in BatchNorm", section 3) call this
    PreciseBN; they average the variances of batches, here the data is pooled.
    """
    if not 0 <= source_weight <= 1:
        raise ValueError(f"source_weight must lie in 0 to 1, got {source_weight}")
    layers = {n: m for n, m in batch_norms(model).items() if m.running_mean is not None}
    if not layers:
        raise ValueError("expected layers that store statistics, got none that tracks")
    pools = {name: _Pool() for name in layers}
    used = 0

    def watch(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            try:
                pools[name].add(inputs[0])
            except ValueError as error:
                raise ValueError(
                    f"batch {used} {error} at the layer {name!r}"
                ) from None

        return hook

    with _statistics_of_batches(model, layers), torch.no_grad():
        hooks = [m.register_forward_pre_hook(watch(name)) for name, m in layers.items()]
        try:
            for batch in batches:
                x = batch[0] if isinstance(batch, tuple | list) else batch
                call(model, batch) if call is not None else model(x)
                used += 1
        finally:
            for hook in hooks:
                hook.remove()
    idle = [name for name, pool in pools.items() if pool.count < 2]
    if idle:
        raise ValueError(
            f"expected at least 2 values per channel for each layer, got fewer for "
            f"{idle} in {used} batches"
        )
    for name, layer in layers.items():
        new = pools[name].mean, pools[name].variance()
        for buffer, value in zip(
            (layer.running_mean, layer.running_var), new, strict=True
        ):
            assert buffer is not None
            old = source_weight * buffer.double() if source_weight else 0.0
            buffer.copy_((1 - source_weight) * value + old)
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.fill_(used)
    return used


def adapt(
    model: nn.Module, batches: Iterable[Any], *, source_weight: float = 0.0, **more: Any
) -> nn.Module:
    """Return a copy with the statistics of a new domain; its images need no labels.

    Parameters
    ----------
    model : nn.Module
        Trained elsewhere.
    batches : iterable
        Inputs of the new domain, mixed as they will be met: see `precise_statistics`.
    source_weight : float
        Weight of the old statistics, 0 to 1; above 0 for few images.
    **more
        ``call`` of `precise_statistics`.

    Returns
    -------
    model : nn.Module
        A copy.

    Notes
    -----
    Li et al. (2016, AdaBN) with 0; the mixture is that of Schneider et al. (2020).
    """
    copied = copy.deepcopy(model)
    precise_statistics(copied, batches, source_weight=source_weight, **more)
    return copied


@contextmanager
def _statistics_of_batches(
    model: nn.Module, layers: dict[str, _BatchNorm]
) -> Iterator[None]:
    """Let some layers use their batch's statistics and store none; then undo it."""
    modes = {m: m.training for m in model.modules()}
    stored = {
        m: (m.running_mean, m.running_var, m.num_batches_tracked, m.track_running_stats)
        for m in layers.values()
    }
    for module in modes:
        module.training = False
    for layer in stored:
        layer.training = True
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, (mean, var, count, tracks) in stored.items():
            layer.running_mean, layer.running_var = mean, var
            layer.num_batches_tracked, layer.track_running_stats = count, tracks
        for module, mode in modes.items():
            module.training = mode
