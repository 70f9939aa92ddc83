"""What all operations on norms ask of a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch-norm layers of a model by name.

    Raises
    ------
    ValueError
        There are none.
    """
    found = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm)}
    if not found:
        raise ValueError("expected a model with batch-norm layers, got one without")
    return found


def stored_statistics(name: str, layer: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return running mean and variance; a ValueError if they cannot be worked with."""
    mean, var = layer.running_mean, layer.running_var
    if mean is None or var is None:
        raise ValueError(f"the layer {name!r} stores no statistics to work with")
    if not bool(torch.isfinite(mean).all() and torch.isfinite(var).all()):
        raise ValueError(
            f"the statistics of the layer {name!r} hold nan or inf: see "
            "precise_statistics"
        )
    return mean, var
