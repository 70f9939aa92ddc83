"""Freezing norms so that no later ``train()`` undoes it."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from bnlib.pytorch.surgery._model import batch_norms, stored_statistics


class _Frozen:
    """Stays in evaluation mode, whatever `train` is called on it or above it."""

    def train(self, mode: bool = True) -> Any:
        return super().train(False)  # type: ignore[misc]


class FrozenBatchNorm1d(_Frozen, nn.BatchNorm1d):
    """A `BatchNorm1d` whose statistics stay as they are; made by `freeze`."""


class FrozenBatchNorm2d(_Frozen, nn.BatchNorm2d):
    """A `BatchNorm2d` whose statistics stay as they are; made by `freeze`."""


class FrozenBatchNorm3d(_Frozen, nn.BatchNorm3d):
    """A `BatchNorm3d` whose statistics stay as they are; made by `freeze`."""


_FROZEN: dict[type, type] = {
    nn.BatchNorm1d: FrozenBatchNorm1d,
    nn.BatchNorm2d: FrozenBatchNorm2d,
    nn.BatchNorm3d: FrozenBatchNorm3d,
}


def freeze(model: nn.Module, *, affine: bool = True) -> nn.Module:
    """Return a copy whose batch norms keep their statistics, also after ``train()``.

    Parameters
    ----------
    model : nn.Module
        Trained.
    affine : bool
        Whether gamma and beta are frozen as well (``requires_grad=False``).

    Returns
    -------
    model : nn.Module
        A copy, with the same keys in its ``state_dict``.

    Raises
    ------
    ValueError
        A layer stores no statistics, or they are not finite, or it is of a kind that
        cannot be frozen here (its name and class are told).
    """
    copied = copy.deepcopy(model)
    for name, layer in batch_norms(copied).items():
        if type(layer) in _FROZEN.values():
            continue
        if type(layer) not in _FROZEN:
            raise ValueError(f"cannot freeze {name!r}, a {type(layer).__name__}")
        stored_statistics(name, layer)
        layer.__class__ = _FROZEN[type(layer)]
        layer.eval()
        for parameter in layer.parameters() if affine else ():
            parameter.requires_grad_(False)
    return copied


def unfreeze(model: nn.Module) -> nn.Module:
    """Return a copy in which the layers frozen by `freeze` learn again.

    They take the mode of the model, and their parameters get gradients.
    """
    copied = copy.deepcopy(model)
    usual = {frozen: plain for plain, frozen in _FROZEN.items()}
    for layer in batch_norms(copied).values():
        if type(layer) in usual:
            layer.__class__ = usual[type(layer)]
            layer.train(copied.training)
            for parameter in layer.parameters():
                parameter.requires_grad_(True)
    return copied
