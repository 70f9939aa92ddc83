"""What the doctor sees: a model run on some batches, and left exactly as it was.

Two runs. In the first, dropout is on and the norms do not learn: it shows which layer
stands before which. In the second everything is in evaluation mode: it shows what each
norm is given, beside what it has stored. A norm whose statistics are useless, because
they are those of the start or not finite, takes those of the batch there. Before an
evaluation, a batch is also run in another order, and half of it by itself.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

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


class _Flow(TorchFunctionMode):
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


def _padded(x: Tensor) -> float:
    """Return the share of positions of sequences (m, C, L) that repeat their end."""
    same = (x == x[:, :, -1:]).all(1).flip(1).long()
    length = same.cumprod(1).sum(1) - 1  # the last position is itself
    return float(length.sum()) / same.numel()


def _company(run: Callable, model: nn.Module, x: Any) -> float:
    """Return how far answers move, in their sd, without the other half of the batch.

    Answers that move with the order too are those of a sequence, or random.
    """
    if not isinstance(x, Tensor) or x.ndim == 0 or (half := len(x) // 2) == 0:
        return 0.0
    try:
        answers = run(model, x), run(model, x.flip(0)), run(model, x[:half])
    except (RuntimeError, ValueError, IndexError):
        return 0.0  # made for batches of one size
    if not all(isinstance(a, Tensor) and a.is_floating_point() for a in answers):
        return 0.0
    whole, turned, part = (a.double() for a in answers)
    if whole.ndim == 0 or len(whole) != len(x) or part.shape != whole[:half].shape:
        return 0.0
    move = float((whole[:half] - part).abs().max())
    if move == 0 or float((whole - turned.flip(0)).abs().max()) > 0.1 * move:
        return 0.0
    return move / float(whole.std())


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put back buffers, modes, gradients and random states, whatever happens."""
    modes = {m: m.training for m in model.modules()}
    buffers = {
        (m, name): (b, b.detach().clone())
        for m in model.modules()
        for name, b in m._buffers.items()
        if b is not None
    }
    gradients = {p: p.grad for p in model.parameters()}
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  put back below
    try:
        with torch.random.fork_rng(), torch.no_grad():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for (module, name), (buffer, value) in buffers.items():
                module._buffers[name] = buffer
                buffer.detach().copy_(value)
        for parameter, grad in gradients.items():
            parameter.grad = grad


@contextmanager
def hooked(model: nn.Module, before: Callable, after: Callable) -> Iterator[None]:
    """Call something before and after each module's forward."""
    hooks = [m.register_forward_pre_hook(before) for m in model.modules()]
    hooks += [m.register_forward_hook(after) for m in model.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def inputs_of(data: Any, most: int, whole: bool = False) -> list[Any]:
    """Return the first batches: of a tensor itself, of a loader its first items."""
    if isinstance(data, Tensor):
        return [data]
    batches = list(islice(data, most))
    if not whole:
        batches = [b[0] if isinstance(b, tuple | list) else b for b in batches]
    if not batches:
        raise ValueError("expected a batch or a loader with batches, got an empty one")
    return batches


def _idle(*_: Any) -> None:
    pass


def _finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors)


def _useless(norm: _BatchNorm) -> bool:
    """Say whether the stored statistics are still the start, or are not finite."""
    mean, var, steps = norm.running_mean, norm.running_var, norm.num_batches_tracked
    if mean is None or var is None:
        return False
    fresh = steps is not None and int(steps) == 0
    return fresh or not _finite(mean, var)


def look(
    model: nn.Module,
    data: Tensor | Iterable[Any],
    optimizer: torch.optim.Optimizer | None = None,
    purpose: str | None = None,
    most: int = 16,
    call: Callable[[nn.Module, Any], Any] | None = None,
) -> Sight:
    """Run a model on some batches and return what its norms were given."""
    names = {m: name or type(m).__name__ for name, m in model.named_modules()}
    norms = {names[m]: m for m in names if isinstance(m, _BatchNorm)}
    seen: dict[str, Seen] = {}
    spreads: list[float] = []
    batches = inputs_of(data, most, whole=call is not None)
    run = call or (lambda model, x: model(x))

    def measure(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        if not isinstance(module, _BatchNorm) or x is None or x.ndim < 2:
            return
        known = seen.setdefault(names[module], Seen())
        known.add(x)
        # a class of somebody's own may take a mask
        if x.ndim == 3 and type(module).__module__.startswith("torch."):
            known.padded = max(known.padded, _padded(x))
        spread_there = x.numel() > x.shape[1]
        module.training = spread_there and purpose != "evaluate" and _useless(module)

    made_nan: list[tuple[str, str]] = []

    def after(
        number: int, module: nn.Module, inputs: tuple[Any, ...], out: Any
    ) -> None:
        if isinstance(module, WEIGHTED) and isinstance(out, Tensor) and number == 0:
            spreads.append(float(out.detach().double().std()))
        got, gave = (
            [t for t in _pytree.tree_leaves(v) if isinstance(t, Tensor)]
            for v in (inputs, out)
        )
        if (
            not made_nan
            and got
            and _finite(*got)
            and any(t.isnan().any() for t in gave)
        ):
            made_nan.append((names[module], f"batch {number} of {len(batches)}"))

    with untouched(model):
        for module in names:
            module.training = not isinstance(module, _BatchNorm)
        flow = _Flow(names, seen)
        with hooked(model, flow.before, flow.after), flow:
            run(model, batches[0])
        flow.settle()
        for module in names:
            module.training = False
        for number, batch in enumerate(batches):
            with hooked(model, measure, partial(after, number)):
                run(model, batch)
        company = 0.0
        if purpose in ("evaluate", "deploy"):
            for module in names:
                module.training = False
            with hooked(model, _idle, _idle):  # without hooks torch takes a fast path
                company = _company(run, model, batches[0])
    return Sight(
        model,
        norms,
        seen,
        spreads,
        len(batches),
        optimizer,
        purpose,
        single=flow.single,
        across=flow.across,
        nan=next(iter(made_nan), None),
        company=company,
    )
