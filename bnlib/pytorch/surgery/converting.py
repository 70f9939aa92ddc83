"""From one norm to another, and the norm of padded sequences."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bnlib.pytorch.surgery._model import batch_norms


def convert(
    model: nn.Module, to: str, *, num_groups: int = 32, eps: float | None = None
) -> nn.Module:
    """Return a copy in which each batch norm is another norm, with its gamma and beta.

    The outputs differ from the model's: another norm takes other sets. It is a start
    for training on.

    Parameters
    ----------
    model : nn.Module
        With batch-norm layers.
    to : {"group", "instance", "layer"}
        Kind of the new norms. ``"layer"`` is a group norm with one group, which takes
        its statistics over all channels of one example.
    num_groups : int
        For ``"group"``.
    eps : float, optional
        That of each layer if not given.

    Returns
    -------
    model : nn.Module
        A copy.

    Raises
    ------
    ValueError
        Unknown kind, or channels that cannot be cut into the groups (the layer is
        named).
    """
    kinds = {"group": num_groups, "layer": 1, "instance": None}
    if to not in kinds:
        raise ValueError(f"to must be one of {list(kinds)}, got {to!r}")
    copied = copy.deepcopy(model)
    for name, layer in batch_norms(copied).items():
        channels = layer.num_features
        groups = kinds[to] or channels
        if channels % groups:
            raise ValueError(
                f"{name!r} has {channels} channels, which cannot be cut into {groups} "
                "groups"
            )
        if to == "instance" and isinstance(layer, nn.BatchNorm1d):
            raise ValueError(
                f"{name!r} may get vectors, which have one value per channel and "
                "example: instance norm would give beta for each"
            )
        new = nn.GroupNorm(
            groups, channels, layer.eps if eps is None else eps, layer.affine
        )
        if layer.affine:
            new.weight, new.bias = layer.weight, layer.bias
        new.train(layer.training)
        copied.set_submodule(name, new)
    return copied


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """Batch norm over the valid positions of padded sequences.

    `forward` takes x of shape (N, C, L) and a mask of shape (N, L), True where a
    position is valid. Padded positions do not enter the statistics, and come out as 0.
    Without a mask it is `BatchNorm1d`.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalize.

        Raises
        ------
        ValueError
            The mask has another shape or dtype, or fewer than 2 positions are valid.
        """
        if mask is None:
            return super().forward(x)
        if x.ndim != 3 or mask.shape != (x.shape[0], x.shape[2]):
            raise ValueError(
                f"expected x of shape (N, C, L) and a mask of shape (N, L), got "
                f"{tuple(x.shape)} and {tuple(mask.shape)}"
            )
        if mask.dtype != torch.bool:
            raise ValueError(f"mask must be bool, got {mask.dtype}")
        if self.training and int(mask.sum()) < 2:
            raise ValueError(
                "expected at least 2 valid positions in training, got "
                f"{int(mask.sum())}"
            )
        rows = x.transpose(1, 2)  # (N, L, C)
        y = super().forward(rows[mask])  # the valid positions as a batch of vectors
        return torch.zeros_like(rows).masked_scatter(mask[..., None], y).transpose(1, 2)
