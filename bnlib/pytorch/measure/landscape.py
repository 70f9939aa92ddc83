"""The loss along the gradient: its range, its smoothness, and covariate shift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Loss = Callable[[], Tensor]


class Along(NamedTuple):
    """What a walk along the gradient has met; see `walk_along_gradient`.

    Attributes
    ----------
    loss : float
        Loss at the model's own parameters.
    norm : float
        Length of the gradient there.
    steps : ndarray of shape (n,)
        Step sizes s; the walk was at Theta - s * gradient.
    losses : ndarray of shape (n,)
        Loss at each step.
    changes : ndarray of shape (n,)
        Distance of the gradient at each step from the one at the start.
    """

    loss: float
    norm: float
    steps: NDArray[np.float64]
    losses: NDArray[np.float64]
    changes: NDArray[np.float64]

    @property
    def range(self) -> float:
        """Largest loss of the walk less the smallest one, the start not counted."""
        return float(self.losses.max() - self.losses.min())

    @property
    def smoothness(self) -> float:
        """Largest change of the gradient per distance walked; nan without gradient."""
        with np.errstate(invalid="ignore", divide="ignore"):
            slopes = self.changes / (self.steps * self.norm)
        return float(slopes.max()) if self.norm > 0 else float("nan")


def walk_along_gradient(model: nn.Module, loss: Loss, steps: Sequence[float]) -> Along:
    """Walk down the gradient in a straight line; return losses and gradients met.

    The gradient is that of the parameters that are trained, taken once, at the start.

    Parameters
    ----------
    model : nn.Module
        It keeps its mode during the walk: in training mode a batch norm uses the batch.
    loss : callable
        Takes nothing and returns the loss of the model on a fixed batch, a scalar:
        ``lambda: cross_entropy(model(x), y)``. Random layers draw the same numbers in
        each call, as far as they draw from torch's own generators.
    steps : sequence of float
        Step sizes, each above 0: the walk goes to Theta - step * gradient.

    Returns
    -------
    along : Along
        Losses, changes of the gradient, and what follows from them.

    Raises
    ------
    ValueError
        There is no step or one is not above 0, the loss is not one number, or nothing
        is trained.

    Notes
    -----
    One forward and one backward pass for each step. Parameters, gradients, buffers and
    modes are put back, also after an error.

    References
    ----------
    Santurkar et al. 2018, section 3.1 and figure 4. Used in: {ref}`ch-smoothness`.

    Examples
    --------
    On the loss w^2 / 2, steps of 0.5 and 2 go from w = 3 to 1.5 and to -3.

    >>> model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    >>> _ = nn.init.constant_(model.weight, 3.0)
    >>> loss = lambda: model.weight.square().sum() / 2
    >>> along = walk_along_gradient(model, loss, [0.5, 2])
    >>> along.losses.tolist(), along.changes.tolist(), along.smoothness
    ([1.125, 4.5], [1.5, 6.0], 1.0)
    """
    sizes = np.array(steps, dtype=np.float64).reshape(-1)
    if not len(sizes) or not (sizes > 0).all():
        raise ValueError(f"expected steps, each above 0, got {[*steps]}")
    losses, changes = [], []
    with _kept(model), _same_random_numbers(model) as rewind:
        trained = _trained(model)
        start, gradient = _gradient(loss, trained)
        origin = [p.detach().clone() for p in trained]
        for size in sizes:
            with torch.no_grad():
                for p, o, g in zip(trained, origin, gradient, strict=True):
                    p.copy_(o - float(size) * g)
            rewind()
            value, there = _gradient(loss, trained)
            losses.append(value)
            changes.append(
                _length([b - a for a, b in zip(gradient, there, strict=True)])
            )
    return Along(start, _length(gradient), sizes, np.array(losses), np.array(changes))


def loss_along_gradient(
    model: nn.Module, loss: Loss, steps: Sequence[float]
) -> NDArray[np.float64]:
    """Return the loss at Theta - step * gradient for each step, shape (n,).

    Parameters, errors and source: see `walk_along_gradient`. Its range over the steps
    is the first of Santurkar's measurements.
    """
    return walk_along_gradient(model, loss, steps).losses


def gradient_change(
    model: nn.Module, loss: Loss, steps: Sequence[float], *, relative: bool = False
) -> NDArray[np.float64]:
    """Return how far the gradient at each step is from the one at the start.

    Parameters
    ----------
    model, loss, steps
        See `walk_along_gradient`, also for errors and source.
    relative : bool
        Divide by the length of the gradient at the start: 0 is a gradient that stays,
        1 one that has changed by its own length. nan if there is no gradient.

    Returns
    -------
    changes : ndarray of shape (n,)
        Euclidean distances over all parameters; the "gradient predictiveness" of the
        paper, where less is better.
    """
    along = walk_along_gradient(model, loss, steps)
    with np.errstate(invalid="ignore", divide="ignore"):
        return along.changes / along.norm if relative else along.changes


def effective_smoothness(model: nn.Module, loss: Loss, steps: Sequence[float]) -> float:
    """Return the largest change of the gradient per distance walked.

    Less is smoother. On a quadratic loss it is at most the largest eigenvalue of the
    Hessian matrix. Parameters, errors and source: see `walk_along_gradient`.
    """
    return walk_along_gradient(model, loss, steps).smoothness


class CovariateShift(NamedTuple):
    """How the update of the layers below changes a layer's gradient.

    Attributes
    ----------
    change : ndarray of shape (layers,)
        Distance of the two gradients of the layer: the definition of the paper.
    relative : ndarray of shape (layers,)
        The same, divided by the length of the gradient before the update.
    cosine : ndarray of shape (layers,)
        Cosine of the angle between the two, -1 to 1.
    """

    change: NDArray[np.float64]
    relative: NDArray[np.float64]
    cosine: NDArray[np.float64]


def internal_covariate_shift(
    model: nn.Module, loss: Loss, lr: float, layers: Sequence[nn.Module]
) -> CovariateShift:
    """Compare a layer's gradient before and after the layers below take their step.

    For each layer, all parameters that the model holds *before* it, in the order of
    ``model.parameters()``, move by -lr times their gradient; the layer itself and what
    stands above it stay. Its gradient is taken again, on the same batch.

    Parameters
    ----------
    model : nn.Module
        Its parameters are registered in the order of the forward pass, as in a
        ``Sequential``.
    loss : callable
        As in `walk_along_gradient`.
    lr : float
        Learning rate of the step, above 0.
    layers : sequence of nn.Module
        Parts of the model with parameters of their own, none of them the first.

    Returns
    -------
    shift : CovariateShift
        One value for each layer. nan where a gradient is zero.

    Raises
    ------
    ValueError
        lr is not above 0, or a layer is not part of the model, has nothing that is
        trained, or has nothing below it.

    References
    ----------
    Santurkar et al. 2018, definition 2.1. Used in: {ref}`ch-smoothness`.
    """
    if not lr > 0:
        raise ValueError(f"expected a learning rate above 0, got {lr}")
    trained = _trained(model)
    place = {id(p): i for i, p in enumerate(trained)}
    spans = [_span(layer, place) for layer in layers]
    rows = []
    with _kept(model), _same_random_numbers(model) as rewind:
        _, gradient = _gradient(loss, trained)
        for first, stop in spans:
            before = gradient[first:stop]
            with _kept(model):
                with torch.no_grad():
                    for p, g in zip(trained[:first], gradient[:first], strict=True):
                        p.sub_(lr * g)
                rewind()
                _, after = _gradient(loss, trained[first:stop])
            change = _length([b - a for a, b in zip(before, after, strict=True)])
            sizes = _length(before), _length(after)
            dot = sum(
                float((a.double() * b.double()).sum())
                for a, b in zip(before, after, strict=True)
            )
            rows.append(
                (change, _over(change, sizes[0]), _over(dot, sizes[0] * sizes[1]))
            )
    columns = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return CovariateShift(*columns)


def _span(layer: nn.Module, place: Mapping[int, int]) -> tuple[int, int]:
    """Return where the parameters of a layer begin and end in the model's order."""
    own = sorted(place[id(p)] for p in layer.parameters() if id(p) in place)
    name = type(layer).__name__
    if not own:
        raise ValueError(
            f"expected layers of the model that are trained, got a {name} without "
            "trained parameters there"
        )
    if own[0] == 0:
        raise ValueError(f"expected layers with others below, got the first, a {name}")
    return own[0], own[-1] + 1


def _over(a: float, b: float) -> float:
    return a / b if b else float("nan")


def _length(tensors: Sequence[Tensor]) -> float:
    return float(np.sqrt(sum(float(t.double().square().sum()) for t in tensors)))


def _trained(model: nn.Module) -> list[nn.Parameter]:
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError(
            f"expected a model with trained parameters, got a {type(model).__name__} "
            "without"
        )
    return trained


def _gradient(
    loss: Loss, parameters: Sequence[nn.Parameter]
) -> tuple[float, list[Tensor]]:
    """Return loss and gradient; a parameter that the loss does not use has 0."""
    with torch.enable_grad():
        value = loss()
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = (
                tuple(value.shape)
                if isinstance(value, Tensor)
                else type(value).__name__
            )
            raise ValueError(f"expected the loss as one number in a tensor, got {got}")
        found = torch.autograd.grad(value, parameters, allow_unused=True)
    pairs = zip(found, parameters, strict=True)
    return value.item(), [torch.zeros_like(p) if g is None else g for g, p in pairs]


@contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """Put parameters, buffers, gradients and modes back at the end."""
    tensors = [*model.parameters(), *model.buffers()]
    values = [t.detach().clone() for t in tensors]
    gradients = {p: p.grad for p in model.parameters()}
    modes = {m: m.training for m in model.modules()}
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _same_random_numbers(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Yield what rewinds torch's generators; they end as they were."""
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.is_cuda})
    with torch.random.fork_rng(devices):
        cpu = torch.random.get_rng_state()
        cuda = {d: torch.cuda.get_rng_state(d) for d in devices}

        def rewind() -> None:
            torch.random.set_rng_state(cpu)
            for device, state in cuda.items():
                torch.cuda.set_rng_state(state, device)

        yield rewind
