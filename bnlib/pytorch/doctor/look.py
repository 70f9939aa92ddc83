"""What the doctor sees: a model run on some batches, and left exactly as it was.

Two runs. In the first, dropout is on and the norms do not learn: it shows which layer
stands before which. In the second everything is in evaluation mode: it shows what each
norm is given, beside what it has stored. A norm whose statistics are useless, because
they are those of the start or not finite, takes those of the batch there. Before an
evaluation, a batch is also run in another order, and half of it by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree

from bnlib.pytorch.doctor.flow import Flow
from bnlib.pytorch.doctor.sight import WEIGHTED, Seen, Sight


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
        flow = Flow(names, seen)
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
