"""The length and the direction of weights: what is scale invariant, and its rate."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call


def scale_invariant(
    model: nn.Module,
    x: Tensor,
    *,
    by_unit: bool = False,
    factor: float = 2.0,
    tol: float = 1e-3,
) -> list[str]:
    """Find by a test the weights whose length does not change the model's output.

    Each weight is multiplied by a factor, and the output is compared. So it finds what
    is followed by a norm, whatever the layers are called. A weight that does not matter
    at all is left out: the output must change when the weight is turned.

    Parameters
    ----------
    model : nn.Module
        Used in the modes that its layers are in. In evaluation mode batch norm divides
        by stored statistics, and no weight before it is scale invariant.
    x : Tensor
        A batch.
    by_unit : bool
        Whether each unit (first axis of a weight) has a factor of its own, from 1 to
        ``factor``: batch norm allows that, layer norm does not.
    factor : float
        More than 1.
    tol : float
        Largest change that counts as none, relative to the length of the output. It
        must leave room for eps, which breaks the invariance a little: the change is
        less than eps / (2 * variance).

    Returns
    -------
    names : list of str
        Parameters with two axes or more, in the model's order.

    Raises
    ------
    ValueError
        ``factor`` is not over 1, or the output is not finite.

    Notes
    -----
    Random layers, such as dropout, draw the same numbers each time; the state of the
    random generators is put back.

    References
    ----------
    van Laarhoven (2017), L2 regularization versus batch and weight normalization.
    """
    if not factor > 1:
        raise ValueError(f"expected a factor over 1, got {factor}")
    weights = {n: p.detach() for n, p in model.named_parameters() if p.ndim > 1}
    output = _output_with(model, x, {})
    if not output.isfinite().all():
        raise ValueError("expected a finite output, got nan or infinity")

    def changes(name: str, weight: Tensor) -> bool:
        """Say whether another weight gives another output."""
        moved = _output_with(model, x, {name: weight}) - output
        return not bool(moved.norm() <= tol * output.norm())

    names = []
    for name, weight in weights.items():
        scales = torch.full((len(weight),), factor, dtype=weight.dtype)
        if by_unit:
            scales = torch.linspace(1, factor, len(weight), dtype=weight.dtype)
        scales = scales.to(weight.device).view(-1, *[1] * (weight.ndim - 1))
        turned = weight.flip(0) - weight.roll(1, -1)
        if not changes(name, weight * scales) and changes(name, turned):
            names.append(name)
    return names


@torch.no_grad()
def _output_with(model: nn.Module, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Return the output with some weights replaced; nothing of the model changes."""
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    with torch.random.fork_rng():  # random layers draw the same numbers each time
        return functional_call(model, buffers | weights, (x,))


def effective_learning_rate(
    model: nn.Module, lr: float, names: Iterable[str]
) -> dict[str, float]:
    r"""Return lr / \|w\|^2 of scale-invariant weights: the rate of their direction.

    A step of gradient descent moves the direction w / \|w\| as a step with this rate
    would move a weight of length 1.

    Parameters
    ----------
    model : nn.Module
        The model.
    lr : float
        Learning rate of these weights, 0 or more.
    names : iterable of str
        Names of parameters, as `scale_invariant` returns them.

    Returns
    -------
    rates : dict of str to float
        One for each name; infinite where a weight is zero.

    Raises
    ------
    ValueError
        The rate is negative, or there is no parameter of such a name.

    References
    ----------
    van Laarhoven (2017), section 3.
    """
    if lr < 0:
        raise ValueError(f"expected a learning rate of 0 or more, got {lr}")
    weights = dict(model.named_parameters())
    names = list(names)
    if unknown := [name for name in names if name not in weights]:
        raise ValueError(f"expected names of parameters, got {', '.join(unknown)}")
    squares = {name: weights[name].detach().square().sum().item() for name in names}
    return {n: lr / s if s else float("inf") for n, s in squares.items()}


def angle(before: Tensor, after: Tensor, *, by_unit: bool = False) -> Tensor:
    """Return the angle between two weights, in radians, 0 to pi.

    Parameters
    ----------
    before, after : Tensor of one shape
        For example a weight before and after an update.
    by_unit : bool
        Whether each unit (first axis) has an angle of its own.

    Returns
    -------
    angle : Tensor of shape () or (units,)
        nan where a weight is zero. Small angles keep all their digits, which the arc
        cosine would lose.

    Raises
    ------
    ValueError
        The shapes differ.

    References
    ----------
    Kahan (2006), How futile are mindless assessments of roundoff, section 12.
    """
    a, b = (_unit_vectors(w, by_unit) for w in _same_shape(before, after))
    return 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))


def radial_share(weight: Tensor, grad: Tensor, *, by_unit: bool = False) -> Tensor:
    """Return the cosine between a weight and its gradient, -1 to 1.

    It is 0 for a scale-invariant weight: its gradient has no part along the weight.

    Parameters
    ----------
    weight, grad : Tensor of one shape
        A weight and the gradient of the loss at it.
    by_unit : bool
        Whether each unit (first axis) has a cosine of its own.

    Returns
    -------
    share : Tensor of shape () or (units,)
        nan where weight or gradient is zero.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    a, b = (_unit_vectors(w, by_unit) for w in _same_shape(weight, grad))
    return (a * b).sum(dim=-1)


def _same_shape(*weights: Tensor) -> tuple[Tensor, ...]:
    first, second = (tuple(w.shape) for w in weights)
    if first != second:
        raise ValueError(f"expected tensors of one shape, got {first} and {second}")
    return tuple(w.detach() for w in weights)


def _unit_vectors(weight: Tensor, by_unit: bool) -> Tensor:
    """Return weights of length 1: the whole as one vector, or each unit as one."""
    flat = weight.flatten(1) if by_unit else weight.flatten()
    return flat / flat.norm(dim=-1, keepdim=True)
