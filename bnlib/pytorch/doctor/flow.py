"""From where to where tensors go: which layer stands before which norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from bnlib.pytorch.doctor.sight import NORMS, WEIGHTED, Seen

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardswish,
    nn.Mish,
    nn.Softplus,
)
_DROPOUTS = (torch.dropout, nn.functional.dropout, torch.feature_dropout)
_PASSES: tuple[Any, ...] = (
    nn.functional.relu,
    nn.functional.gelu,
    nn.functional.silu,
    nn.functional.leaky_relu,
    torch.relu,
    torch.relu_,
    torch.sigmoid,
    torch.tanh,
    Tensor.relu,
    Tensor.relu_,
    Tensor.sigmoid,
    Tensor.tanh,
)


class Flow(TorchFunctionMode):
    """Follow tensors through modules and functions in one forward pass."""

    def __init__(self, names: dict[nn.Module, str], seen: dict[str, Seen]) -> None:
        super().__init__()
        self.names, self.seen = names, seen
        self.kept: list[Any] = []  # so that no id is given twice
        self.maker: dict[int, tuple[str, str]] = {}  # tensor -> kind, name
        self.users: dict[int, int] = {}
        self.drops: dict[int, frozenset[str]] = {}
        self.asked: dict[str, Tensor] = {}  # norm -> its input
        self.single: dict[str, str] = {}
        self.across: dict[str, str] = {}
        self.dropout = ""  # name of the dropout module that runs

    def _tensors(self, *values: Any) -> list[Tensor]:
        return [v for v in _pytree.tree_leaves(values) if isinstance(v, Tensor)]

    def __torch_function__(
        self,
        func: Callable,
        types: Any,
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Let outputs inherit the dropouts of inputs."""
        out = func(*args, **(kwargs or {}))
        inputs = self._tensors(args, kwargs)
        drops = frozenset().union(*(self.drops.get(id(t), frozenset()) for t in inputs))
        if func in _DROPOUTS and out is not args[0]:
            drops |= {self.dropout or "a dropout"}
        made = self._tensors(out)
        for tensor in made:
            self.kept.append(tensor)
            self.drops[id(tensor)] = drops
            self.maker.pop(id(tensor), None)
            if func in _PASSES:
                self.maker[id(tensor)] = ("activation", "")
        for tensor in inputs if made else ():  # x.size() is no use of x
            self.users[id(tensor)] = self.users.get(id(tensor), 0) + 1
        return out

    def before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note what a norm is given."""
        self._module_drop = self.names[module] if isinstance(module, _DropoutNd) else ""
        if not self._tensors(inputs):
            return
        if _together(module, self._tensors(inputs)[0]) == 1:
            shape = tuple(self._tensors(inputs)[0].shape)
            self.single[self.names[module]] = f"an input of shape {shape}"
        x = self._tensors(inputs)[0]
        if type(module) is nn.LayerNorm:  # one derived from it may turn its input
            self._across(module, x)
        if not isinstance(module, _BatchNorm):
            return
        seen = self.seen.setdefault(self.names[module], Seen())
        seen.calls += 1
        seen.before, seen.layer = self.maker.get(id(x), ("other", ""))
        seen.dropouts += tuple(sorted(self.drops.get(id(x), frozenset())))
        seen.axes = x.ndim
        self.asked[self.names[module]] = x

    def _across(self, module: nn.LayerNorm, x: Tensor) -> None:
        """Note a layer norm that takes the width of a convolution for its channels."""
        _, name = self.maker.get(id(x), ("", ""))
        layer = {n: m for m, n in self.names.items()}.get(name)
        size = module.normalized_shape
        if isinstance(layer, _ConvNd) and size == (layer.out_channels,):
            words = f"{size[0]} channels of {name!r} on axis 1"
            self.across[self.names[module]] = f"{words}, the norm on axis {x.ndim - 1}"

    def after(self, module: nn.Module, _: Any, out: Any) -> None:
        """Note what made a tensor."""
        for tensor in self._tensors(out)[:1]:
            self.kept.append(tensor)
            if isinstance(module, WEIGHTED):
                self.maker[id(tensor)] = ("weights", self.names[module])
                self.users[id(tensor)] = 0
            elif isinstance(module, ACTIVATIONS):
                self.maker[id(tensor)] = ("activation", self.names[module])
            elif isinstance(module, NORMS):
                self.maker[id(tensor)] = ("norm", self.names[module])
                self.drops[id(tensor)] = frozenset()

    def settle(self) -> None:
        """Say whether a norm is the one user of its input."""
        for name, x in self.asked.items():
            self.seen[name].alone = self.users.get(id(x), 0) <= 1


def _together(module: nn.Module, x: Tensor) -> int:
    """Return how many values of one example share a mean; 0 for other modules."""
    if isinstance(module, nn.GroupNorm):
        return x[:1].numel() // module.num_groups
    if isinstance(module, nn.LayerNorm):
        return math.prod(module.normalized_shape)
    return 0
