"""What can be measured on a model while it trains, for PyTorch.

Nothing here changes a model: parameters, gradients, statistics and modes are put back.
A test compares each measurement with theory, or with a plain slow implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from bnlib.pytorch.surgery import batch_norms
from bnlib.pytorch.variants import ResidualBlock

Loss = Callable[[], Tensor]

# --- the loss along the gradient ------------------------------------------------------


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


# --- signals and gradients in depth ---------------------------------------------------

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


# --- the length and the direction of weights ------------------------------------------


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


# --- the noise of a batch -------------------------------------------------------------


class Noise(NamedTuple):
    """How much the batch statistics of a layer differ from batch to batch.

    Attributes
    ----------
    mean : Tensor of shape (C,)
        Standard deviation of the batch mean, in standard deviations of the population.
    var : Tensor of shape (C,)
        Standard deviation of the batch variance (divisor m), in variances of the
        population.
    """

    mean: Tensor
    var: Tensor


@torch.no_grad()
def batch_noise(
    model: nn.Module,
    x: Tensor,
    batch_size: int,
    rng: np.random.Generator,
    *,
    batches: int = 200,
    replace: bool = True,
) -> dict[str, Noise]:
    """Measure the noise of the batch statistics at the input of each batch norm.

    Many batches are drawn from x, and the model runs on each. The population is x.

    Parameters
    ----------
    model : nn.Module
        Used in the modes that its layers are in. In evaluation mode an example's values
        do not depend on its batch, and what is measured is the noise of drawing. In
        training mode the noise of the layers before comes to it.
    x : Tensor of shape (n, ...)
        The population, n of 2 or more.
    batch_size : int
        Examples in a batch, 1 to n; 2 or more for layers in training mode.
    rng : numpy.random.Generator
        Draws the batches.
    batches : int
        How many, 2 or more. The relative error of a result is about
        1 / sqrt(2 * batches).
    replace : bool
        Whether an example may come twice in a batch. Without replacement the noise is
        smaller, and 0 for the whole of x.

    Returns
    -------
    noise : dict of str to Noise
        One for each batch-norm layer, by its name; inf or nan for a channel that does
        not vary.

    Raises
    ------
    ValueError
        Fewer than 2 batches or examples, a batch size out of range, or a model without
        batch norm.

    References
    ----------
    Luo et al. (2019), Towards understanding regularization in batch normalization,
    section 2.
    """
    if len(x) < 2 or batches < 2:
        raise ValueError(
            f"expected 2 examples and 2 batches or more, got {len(x)} and {batches}"
        )
    if not 1 <= batch_size <= len(x):
        raise ValueError(f"expected a batch_size from 1 to {len(x)}, got {batch_size}")
    with _watched(model) as seen:
        model(x)
        population = {name: _moments(value) for name, value in seen.items()}
        statistics: dict[str, list[Tensor]] = {name: [] for name in seen}
        for _ in range(batches):
            index = rng.choice(len(x), batch_size, replace=replace)
            model(x[torch.from_numpy(index)])
            for name, value in seen.items():
                statistics[name].append(_moments(value))
    noise = {}
    for name, drawn in statistics.items():
        spread = torch.stack(drawn).std(0)  # (2, C)
        _, var = population[name]
        noise[name] = Noise(spread[0] / var.sqrt(), spread[1] / var)
    return noise


@torch.no_grad()
def variance_shift(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Divide the running variance of each layer by its variance in evaluation mode.

    A layer expects its running variance. Where a layer before it behaves otherwise in
    evaluation mode, as dropout does, it gets another one, and the ratio is not 1.

    Parameters
    ----------
    model : nn.Module
        In any mode: it is run in evaluation mode.
    x : Tensor of shape (n, ...)
        Examples like those of training, with 2 values per channel or more.

    Returns
    -------
    ratio : dict of str to Tensor of shape (C,)
        One for each batch-norm layer that stores statistics, by its name; more than 1
        where training had more variance. inf or nan for a channel that does not vary.

    Raises
    ------
    ValueError
        A model without batch norm, or a batch norm that stores no statistics.

    References
    ----------
    Li et al. (2019), Understanding the disharmony between dropout and batch
    normalization by variance shift, who give the inverse ratio.
    """
    stored = {name: layer.running_var for name, layer in batch_norms(model).items()}
    if idle := [name for name, var in stored.items() if var is None]:
        raise ValueError(f"expected layers that store statistics, got {idle}")
    modes = {m: m.training for m in model.modules()}
    try:
        with _watched(model) as seen:
            model.eval()(x)
            ratio = {}
            for name, var in stored.items():
                rows = seen[name].transpose(0, 1).flatten(1)
                ratio[name] = torch.as_tensor(var) / rows.var(1)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return ratio


def _moments(x: Tensor) -> Tensor:
    """Return mean and biased variance of each channel, of shape (2, C)."""
    rows = x.transpose(0, 1).flatten(1)
    return torch.stack([rows.mean(1), rows.var(1, correction=0)])


@contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Keep the last input of each batch norm, by name; then leave no trace."""
    layers = batch_norms(model)
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _, inputs: seen.update({name: inputs[0].detach()})

    hooks = [m.register_forward_pre_hook(keep(name)) for name, m in layers.items()]
    try:
        with torch.random.fork_rng():
            yield seen
    finally:
        for hook in hooks:
            hook.remove()
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
