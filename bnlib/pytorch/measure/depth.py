"""Signals and gradients in depth: what each layer hands on, forwards and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bnlib.pytorch.variants import ResidualBlock

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def gradient_norms(
    model: nn.Module,
    x: torch.Tensor,
    loss: Callable[[torch.Tensor], torch.Tensor],
    *,
    of: str = "outputs",
    kinds: tuple[type[nn.Module], ...] = LAYERS,
) -> dict[str, float]:
    """Return for each layer the norm of the gradient of a loss.

    Parameters
    ----------
    model : nn.Module
        In the mode in which it is to be measured.
    x : Tensor of shape (m, ...)
        A batch.
    loss : callable
        Makes a scalar from the model's output.
    of : {"outputs", "weights"}
        Gradient with respect to the output of a layer, or to its weight.
    kinds : tuple of type
        Layers of these kinds are measured: linear and convolution layers.

    Returns
    -------
    norms : dict of str to float
        Names as in ``model.named_modules()``, in the order in which the layers ran. 0
        where the loss does not depend on the layer.

    Raises
    ------
    ValueError
        ``of`` is another word, no such layer ran, one ran twice, the loss is not a
        scalar, or a weight is frozen.

    Notes
    -----
    Running statistics are put back; ``.grad`` of the parameters is not touched.

    References
    ----------
    Yang et al. (2019), A mean field theory of batch normalization.
    """
    if of not in ("outputs", "weights"):
        raise ValueError(f'expected of to be "outputs" or "weights", got {of!r}')
    with _unchanged(model), torch.enable_grad():
        outputs: dict[str, torch.Tensor] = {}
        with _watched(model, kinds, lambda name, _, y: _once(outputs, name, y)):
            value = loss(model(x))
        if value.numel() != 1:
            raise ValueError(
                f"expected the loss to be a scalar, got shape {tuple(value.shape)}"
            )
        if not outputs:
            raise ValueError(f"expected layers of the kinds {kinds}, found none")
        modules = dict(model.named_modules())
        if of == "weights":
            wanted = {name: modules[name].weight for name in outputs}
        else:
            wanted = outputs
        frozen = [name for name, t in wanted.items() if not t.requires_grad]
        if frozen:
            raise ValueError(f"expected tensors with a gradient, got none for {frozen}")
        gradients = torch.autograd.grad(value, [*wanted.values()], allow_unused=True)
    return {
        name: 0.0 if gradient is None else gradient.norm().item()
        for name, gradient in zip(wanted, gradients, strict=True)
    }


def effective_rank(h: torch.Tensor) -> float:
    r"""Return how many directions a set of representations fills.

    With the singular values :math:`s_i` of the matrix,
    :math:`(\sum_i s_i^2)^2 / \sum_i s_i^4`. It is at least 1 and at most the rank, and
    equals the rank when all nonzero singular values are equal.

    Parameters
    ----------
    h : Tensor of shape (m, d) or (m, C, ...)
        A row for each example; further axes are flattened. Nothing is subtracted.

    Returns
    -------
    rank : float
        Between 1 and min(m, d).

    Raises
    ------
    ValueError
        There are fewer than two axes, or all entries are 0.

    References
    ----------
    Daneshmand et al. (2020), Batch normalization provably avoids ranks collapse.
    """
    rows = _rows(h)
    largest = rows.abs().max()
    if not largest > 0:
        raise ValueError("expected entries that are not all 0, got only 0")
    squares = torch.linalg.svdvals(rows / largest) ** 2
    return (squares.sum() ** 2 / (squares**2).sum()).item()


def mean_cosine(h: torch.Tensor) -> float:
    """Return the mean cosine between the representations of two different examples.

    Parameters
    ----------
    h : Tensor of shape (m, d) or (m, C, ...)
        A row for each example, m at least 2; further axes are flattened. Nothing is
        subtracted.

    Returns
    -------
    cosine : float
        Between -1 and 1, over all pairs of different rows. 1: all point the same way.

    Raises
    ------
    ValueError
        There are fewer than two rows, or a row is 0.
    """
    rows = _rows(h)
    m = len(rows)
    if m < 2:
        raise ValueError(f"expected at least 2 rows, got {m}")
    largest = rows.abs().amax(1, keepdim=True)
    if not (largest > 0).all():
        raise ValueError("expected rows that are not 0, got a row of 0")
    rows = rows / largest
    rows = rows / rows.norm(dim=1, keepdim=True)
    # |sum of unit rows|^2 = m + the cosines of all ordered pairs of different rows
    return ((rows.sum(0).square().sum() - m) / (m * (m - 1))).item()


@torch.no_grad()
def branch_variance(
    model: nn.Module, x: torch.Tensor
) -> dict[str, tuple[float, float]]:
    """Return for each residual block the variance of its skip path and of its branch.

    Parameters
    ----------
    model : nn.Module
        With blocks of the kind `bnlib.pytorch.variants.ResidualBlock`, in the mode in
        which it is to be measured.
    x : Tensor of shape (m, ...)
        A batch.

    Returns
    -------
    variances : dict of str to tuple of float
        For each block, in the order in which they ran: variance of the block's input
        and of what the block adds to it, each over all examples and features together.

    Raises
    ------
    ValueError
        The model has no residual block.

    References
    ----------
    De and Smith (2020), Batch normalization biases residual blocks towards the identity
    function in deep networks.
    """
    found: dict[str, tuple[float, float]] = {}

    def note(name: str, skip: torch.Tensor, out: torch.Tensor) -> None:
        pair = (skip.var(correction=0).item(), (out - skip).var(correction=0).item())
        _once(found, name, pair)

    with _unchanged(model), _watched(model, (ResidualBlock,), note):
        model(x)
    if not found:
        raise ValueError("expected a model with blocks ResidualBlock, found none")
    return found


def _rows(h: torch.Tensor) -> torch.Tensor:
    """Return one row for each example, in float64."""
    if h.ndim < 2:
        raise ValueError(f"expected shape (m, d) or (m, C, ...), got {tuple(h.shape)}")
    return h.detach().flatten(1).double()


def _once(found: dict, name: str, value: object) -> None:
    """Keep what a layer gave; refuse a layer that runs twice."""
    if name in found:
        raise ValueError(f"expected each layer to run once, but {name!r} ran twice")
    found[name] = value


@contextmanager
def _watched(
    model: nn.Module,
    kinds: tuple[type[nn.Module], ...],
    note: Callable[[str, torch.Tensor, torch.Tensor], None],
) -> Iterator[None]:
    """Call ``note(name, input, output)`` when a layer of some kinds runs."""

    def hook(name: str) -> Callable[..., None]:
        return lambda _, inputs, output: note(name, inputs[0], output)

    named = [(n, m) for n, m in model.named_modules() if isinstance(m, kinds)]
    handles = [module.register_forward_hook(hook(name)) for name, module in named]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put the buffers of a model, such as running statistics, back at the end."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])
