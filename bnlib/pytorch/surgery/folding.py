"""Folding a batch norm into the layer before it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnlib.pytorch.surgery._model import batch_norms, stored_statistics

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def fold_pair(layer: nn.Module, norm: _BatchNorm, name: str = "norm") -> nn.Module:
    """Return one layer that computes what a layer and the batch norm behind it do.

    Parameters
    ----------
    layer : nn.Module
        Linear or convolution, in 1, 2 or 3 dimensions, transposed or not, grouped or
        depthwise or not.
    norm : BatchNorm
        In evaluation mode, with statistics.
    name : str
        For messages.

    Returns
    -------
    layer : nn.Module
        Of the class of ``layer``, with a bias.

    Raises
    ------
    ValueError
        The norm is in training mode or without statistics, sizes differ, or the layer
        is of another kind.

    Notes
    -----
    With s = gamma / sqrt(running_var + eps): W becomes s W, and the bias b becomes
    s (b - running_mean) + beta. The outputs of a transposed convolution lie on axis 1
    of its weight, within each group.
    """
    if norm.training:
        raise ValueError(f"{name!r} is in training mode: call eval() before folding")
    if not isinstance(layer, (nn.Linear, *_CONVS, *_TRANSPOSED)):
        raise ValueError(f"cannot fold {name!r} into a {type(layer).__name__}")
    out: int = getattr(layer, "out_channels", getattr(layer, "out_features", 0))
    if out != norm.num_features:
        raise ValueError(
            f"{name!r} normalizes {norm.num_features} channels, the layer before it "
            f"gives {out}"
        )
    mean, var = stored_statistics(name, norm)
    made = copy.deepcopy(layer)
    weight = layer.weight
    with torch.no_grad():
        scale = (var.double() + norm.eps).rsqrt()
        shift = -mean.double() * scale
        if norm.weight is not None:
            scale, shift = scale * norm.weight, shift * norm.weight
        if norm.bias is not None:
            shift = shift + norm.bias
        if isinstance(layer, _TRANSPOSED):  # (in, out / groups, ...)
            groups = layer.groups
            rows = weight.double().unflatten(0, (groups, -1))
            by = scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
            scaled = (rows * by).flatten(0, 1)
        else:
            scaled = weight.double() * scale.reshape(-1, *[1] * (weight.ndim - 1))
        bias = layer.bias
        old = bias.double() if isinstance(bias, Tensor) else 0.0
        made.weight = nn.Parameter(scaled.to(weight.dtype), weight.requires_grad)
        made.bias = nn.Parameter((scale * old + shift).to(weight.dtype))
    return made


def fold(model: nn.Module, example: Tensor, *, tolerance: float = 1e-4) -> nn.Module:
    """Return a copy in which each batch norm is folded into the layer before it.

    Which layer stands before a norm is found by running the model: the norm's input is
    the output of a linear layer or a convolution. The copy is kept only if it gives
    the same output as the model.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    example : Tensor
        An input of the model.
    tolerance : float
        Largest difference of the outputs, relative to the largest output.

    Returns
    -------
    model : nn.Module
        A copy with ``nn.Identity`` in the place of each folded norm.

    Raises
    ------
    ValueError
        The model is in training mode, there is nothing to fold, or the output differs,
        for instance because another layer uses the unnormalized values too.
    """
    if any(m.training for m in batch_norms(model).values()):
        raise ValueError("the model is in training mode: call eval() before folding")
    pairs = foldable(model, example)
    if not pairs:
        raise ValueError("expected a batch norm behind a layer to fold into, got none")
    copied = copy.deepcopy(model)
    for before, norm in pairs:
        pair = copied.get_submodule(before), copied.get_submodule(norm)
        copied.set_submodule(before, fold_pair(pair[0], pair[1], norm))  # type: ignore[arg-type]
        copied.set_submodule(norm, nn.Identity())
    with torch.no_grad():
        want, got = model(example), copied(example)
    gap = float((want - got).abs().max() / want.abs().max().clamp_min(1e-30))
    if not gap <= tolerance:
        raise ValueError(
            f"the folded model differs by {gap:.2g} of the largest output: another "
            "layer may use the values before a norm"
        )
    return copied


def foldable(
    model: nn.Module,
    example: Any,
    call: Callable[[nn.Module, Any], Any] | None = None,
) -> list[tuple[str, str]]:
    """Return the names of layers and batch norms that can be folded, in pairs.

    The input of the norm is the output of the layer, both run once, and neither is
    used at two places. Buffers, modes and hooks are left as they were. ``call(model,
    example)`` runs a model that takes something else than one tensor.
    """
    outputs: dict[int, tuple[str, Any]] = {}  # the tensor is kept, so its id is too
    pairs: list[tuple[str, str]] = []
    runs: dict[nn.Module, int] = {}
    names = {module: name for name, module in model.named_modules()}

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        runs[module] = runs.get(module, 0) + 1
        if isinstance(module, _BatchNorm) and id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], names[module]))

    def after(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(module, (nn.Linear, *_CONVS, *_TRANSPOSED)):
            outputs[id(output)] = names[module], output

    hooks = [m.register_forward_pre_hook(before) for m in names]
    hooks += [m.register_forward_hook(after) for m in names]
    modes = {m: m.training for m in names}
    try:
        for module in modes:
            module.training = False
        with torch.no_grad():
            model(example) if call is None else call(model, example)
    finally:
        for module, mode in modes.items():
            module.training = mode
        for hook in hooks:
            hook.remove()
    once = [p for p in pairs if all(runs[model.get_submodule(n)] == 1 for n in p)]
    return [p for p in once if [q[0] for q in once].count(p[0]) == 1]
