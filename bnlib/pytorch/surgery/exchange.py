"""Exchange of nets between bnlib and PyTorch: each name stays what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import bnlib.layers as ours

_PLAIN: dict[type, type[nn.Module]] = {
    ours.ReLU: nn.ReLU,
    ours.Sigmoid: nn.Sigmoid,
    ours.Tanh: nn.Tanh,
    ours.Flatten: nn.Flatten,
}
_RUNNING: dict[type, type[nn.Module]] = {
    ours.BatchNorm1d: nn.BatchNorm1d,
    ours.BatchNorm2d: nn.BatchNorm2d,
    ours.InstanceNorm1d: nn.InstanceNorm1d,
    ours.InstanceNorm2d: nn.InstanceNorm2d,
}


def to_torch(model: ours.Sequential) -> nn.Sequential:
    """Return the PyTorch twin of a net of bnlib, with its weights and its mode.

    Parameters
    ----------
    model : bnlib.layers.Sequential
        Of linear layers, convolutions, norms and activations.

    Raises
    ------
    ValueError
        A layer has no twin here (its class is told).
    """
    twin = nn.Sequential(*[_twin(layer) for layer in model])
    state = {k: torch.from_numpy(np.array(v)) for k, v in model.state_dict().items()}
    twin.load_state_dict(state)
    return twin.train(model.training)


def load_into(model: ours.Sequential, twin: nn.Sequential) -> None:
    """Copy the weights and statistics of a PyTorch net into its twin of bnlib.

    Raises
    ------
    ValueError, KeyError
        As `bnlib.layers.Module.load_state_dict`: keys or shapes that differ.
    """
    state = {k: v.detach().cpu().numpy() for k, v in twin.state_dict().items()}
    model.load_state_dict(state)


def _twin(layer: Any) -> nn.Module:
    """Return a PyTorch layer of the same kind; its values are loaded later."""
    weight: Any = getattr(layer, "weight", None)
    value = getattr(layer, "running_mean", None) if weight is None else weight.data
    dtype = torch.float32 if value is None else torch.from_numpy(value[:0]).dtype
    affine = weight is not None
    bias = getattr(layer, "bias", None) is not None
    if (plain := _PLAIN.get(type(layer))) is not None:
        return plain()
    if isinstance(layer, ours.Linear):
        n_out, n_in = weight.data.shape
        return nn.Linear(n_in, n_out, bias, dtype=dtype)
    if isinstance(layer, ours.Conv2d):
        n_out, n_in, size, _ = weight.data.shape
        step, padding = layer.stride, layer.padding
        return nn.Conv2d(n_in, n_out, size, step, padding, bias=bias, dtype=dtype)
    if (running := _RUNNING.get(type(layer))) is not None:
        tracks = layer.running_mean is not None
        settings = layer.num_features, layer.eps, layer.momentum, affine, tracks
        return running(*settings, dtype=dtype)
    if isinstance(layer, ours.GroupNorm) and affine:
        channels = weight.data.shape[0]
        return nn.GroupNorm(layer.num_groups, channels, layer.eps, dtype=dtype)
    if isinstance(layer, ours.LayerNorm):
        shape = layer.normalized_shape
        return nn.LayerNorm(shape, layer.eps, affine, bias, dtype=dtype)
    if isinstance(layer, ours.RMSNorm):
        return nn.RMSNorm(layer.normalized_shape, layer.eps, affine, dtype=dtype)
    raise ValueError(f"there is no twin here for a {type(layer).__name__}")
