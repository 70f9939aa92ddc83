"""Training: a network, an optimizer, a loop, and what is recorded on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bnlib import functional as F
from bnlib._check import Array, check_sizes
from bnlib.layers import (
    BatchNorm1d,
    LayerNorm,
    Linear,
    Module,
    Parameter,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)

ACTIVATIONS = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}
NORMS: dict[str | None, Callable[..., Module] | None] = {
    None: None,
    "batch": BatchNorm1d,
    "layer": LayerNorm,
}


def mlp(
    sizes: Sequence[int],
    *,
    rng: np.random.Generator,
    activation: str = "relu",
    norm: str | None = None,
    init: str | float = "he",
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Build a fully connected network; a norm stands before each activation.

    Parameters
    ----------
    sizes : sequence of int
        Features of the input, of each hidden layer, and of the output.
    rng : numpy.random.Generator
        Source of the initial weights. Networks that differ only in ``norm`` and come
        from equal generators start from the same weights.
    activation : {"relu", "sigmoid", "tanh"}
        Activation of the hidden layers.
    norm : {None, "batch", "layer"}
        Normalization of the hidden layers. With "batch" their linear layers have no
        bias: beta plays its role.
    init : {"he", "lecun"} or float
        Standard deviation of the weights, as in `bnlib.layers.Linear`.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    model : Sequential
        In training mode.

    Raises
    ------
    ValueError
        Unknown activation or norm, or fewer than two sizes.
    """
    for name, value, allowed in (
        ("activation", activation, ACTIVATIONS),
        ("norm", norm, NORMS),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}")
    if len(sizes) < 2:
        raise ValueError(f"sizes must name input and output at least, got {sizes}")
    layers: list[Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        bias = norm != "batch"
        layers.append(Linear(n_in, n_out, bias, rng=rng, init=init, dtype=dtype))
        if (make_norm := NORMS[norm]) is not None:
            layers.append(make_norm(n_out, dtype=dtype))
        layers.append(ACTIVATIONS[activation]())
    layers.append(Linear(sizes[-2], sizes[-1], rng=rng, init=init, dtype=dtype))
    return Sequential(*layers)


class SGD:
    """Stochastic gradient descent, with optimizer momentum and weight decay.

    Parameters
    ----------
    params : iterable of Parameter
        What is updated, **in place**.
    lr : float
        Learning rate, eta.
    momentum : float
        Optimizer momentum: ``v = momentum * v + grad``, then ``data -= lr * v``.
    weight_decay : float
        Added to the gradient as ``weight_decay * data``.

    Raises
    ------
    ValueError
        A negative number, or no parameter.

    References
    ----------
    PyTorch, ``torch.optim.SGD``.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        numbers = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        for name, value in numbers.items():
            if not value >= 0:
                raise ValueError(f"{name} must be >= 0, got {value}")
        self.params = list(params)
        if not self.params:
            raise ValueError("params must hold at least one parameter, got none")
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self._velocity: list[Array | None] = [None] * len(self.params)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Update each parameter that has a gradient; all of them or, refused, none."""
        for parameter in self.params:
            data, grad = parameter.data, parameter.grad
            if grad is None or (grad.shape == data.shape and data.flags.writeable):
                continue
            if data.flags.writeable:
                raise ValueError(f"grad must have shape {data.shape}, got {grad.shape}")
            raise ValueError("a parameter is updated in place, and it is read-only")
        for i, parameter in enumerate(self.params):
            grad = parameter.grad
            if grad is None:
                continue
            if self.weight_decay:
                grad = grad + self.weight_decay * parameter.data
            if self.momentum:
                old = self._velocity[i]
                grad = grad.copy() if old is None else self.momentum * old + grad
                self._velocity[i] = grad
            parameter.data -= self.lr * grad


@dataclass
class History:
    """What `fit` records.

    Attributes
    ----------
    loss : ndarray of shape (steps,)
        Training loss of each step's batch, before the update, in nats.
    eval_step : ndarray of int, shape (evaluations,)
        Updates done at each evaluation.
    accuracy : ndarray of shape (evaluations,)
        Share of right answers in evaluation mode, 0 to 1.
    seconds : ndarray of shape (evaluations,)
        Seconds of training up to the evaluation; evaluation is not counted.
    """

    loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    eval_step: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, int))
    accuracy: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    seconds: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def step(self) -> NDArray[np.int64]:
        """Number of each step, from 1, for plots of the loss."""
        return np.arange(1, len(self.loss) + 1)

    def steps_to(self, accuracy: float) -> int | None:
        """Return the first evaluated step at which the accuracy was reached.

        Parameters
        ----------
        accuracy : float
            Share of right answers, 0 to 1.

        Returns
        -------
        step : int or None
            None when it was not reached.
        """
        reached = np.flatnonzero(self.accuracy >= accuracy)
        return int(self.eval_step[reached[0]]) if len(reached) else None


def fit(
    model: Module,
    x: Array,
    y: NDArray[np.integer],
    *,
    steps: int,
    rng: np.random.Generator | None = None,
    lr: float = 0.01,
    batch_size: int = 60,
    batches: Iterable[NDArray[np.integer]] | None = None,
    optimizer: SGD | None = None,
    eval_at: Iterable[int] = (),
    x_eval: Array | None = None,
    y_eval: NDArray[np.integer] | None = None,
    callback: Callable[[int, Module], None] | None = None,
) -> History:
    """Train a classifier with the cross-entropy loss; **changes the model**.

    Parameters
    ----------
    model : Module
        Network with K outputs. A model in evaluation mode is set to training; in one
        that is in training mode already, frozen layers stay frozen.
    x : ndarray of shape (n, ...)
        Training inputs.
    y : ndarray of int, shape (n,)
        Classes, 0 to K - 1.
    steps : int
        Number of updates, >= 0.
    rng : numpy.random.Generator
        Shuffles the examples at each epoch; not needed with ``batches``.
    lr : float
        Learning rate of the default optimizer, plain `SGD`.
    batch_size : int
        Examples in a batch; a smaller last batch of an epoch is left out.
    batches : iterable of index arrays, optional
        The batches, instead of shuffled ones.
    optimizer : SGD, optional
        Instead of ``SGD(model.parameters(), lr)``.
    eval_at : iterable of int
        Steps after which accuracy is measured; 0 is before the first update.
    x_eval, y_eval : ndarray, optional
        Images and classes for it.
    callback : callable, optional
        Called as ``callback(step, model)`` at each step of ``eval_at``; the modes of
        the layers are put back after it.

    Returns
    -------
    history : History
        Losses, accuracies, and seconds.

    Raises
    ------
    ValueError
        Lengths that differ, neither rng nor batches, or batches that end too early.
    """
    if len(x) != len(y):
        raise ValueError(f"x and y must be equally long, got {len(x)} and {len(y)}")
    if (x_eval is None) != (y_eval is None):
        raise ValueError("x_eval and y_eval must be given together")
    if batches is None:
        if rng is None:
            raise ValueError("fit needs rng or batches, got neither")
        batches = _shuffled(len(x), batch_size, rng)
    optimizer = optimizer or SGD(model.parameters(), lr)
    eval_at = set(eval_at)
    losses, records, seconds = np.empty(steps), [], 0.0
    batches = iter(batches)
    if not model.training:
        model.train()
    started = time.perf_counter()
    for step in range(steps + 1):
        if step in eval_at:
            seconds += time.perf_counter() - started
            if x_eval is not None and y_eval is not None:
                records.append((step, accuracy(model, x_eval, y_eval), seconds))
            if callback is not None:
                with _put_back(model):
                    callback(step, model)
            started = time.perf_counter()
        if step == steps:
            break
        index = next(batches, None)
        if index is None:
            raise ValueError(f"batches ended after {step} steps, expected {steps}")
        logits = model(x[index])
        losses[step], cache = F.cross_entropy(logits, y[index])
        optimizer.zero_grad()
        grad = F.cross_entropy_backward(cache)
        model.backward(grad, input_grad=False)
        optimizer.step()
    columns = zip(*records, strict=True) if records else ([], [], [])
    eval_step, accuracies, times = (np.array(column) for column in columns)
    return History(losses, eval_step.astype(int), accuracies, times)


@contextmanager
def _put_back(model: Module) -> Iterator[None]:
    """Put the mode and the cache of each layer back at the end, whatever happened."""
    before = [(m, m.training, m._cache) for m in model.modules()]
    try:
        yield
    finally:
        for module, mode, cache in before:
            module.training, module._cache = mode, cache


def predict(model: Module, x: Array, batch_size: int = 1000) -> Array:
    """Return the outputs in evaluation mode; the model's modes and caches are restored.

    Parameters
    ----------
    model : Module
        Network.
    x : ndarray of shape (n, ...)
        Inputs.
    batch_size : int
        Examples at a time; it does not change the result.

    Returns
    -------
    outputs : ndarray of shape (n, K)
        One row for each example.
    """
    check_sizes(batch_size=batch_size)
    starts = range(0, max(len(x), 1), batch_size)
    with _put_back(model):
        model.eval()
        return np.concatenate([model(x[i : i + batch_size]) for i in starts])


def accuracy(model: Module, x: Array, y: NDArray[np.integer]) -> float:
    """Return the share of right answers in evaluation mode.

    Parameters
    ----------
    model : Module
        Network.
    x : ndarray of shape (n, ...)
        Inputs.
    y : ndarray of int, shape (n,)
        Classes.

    Returns
    -------
    share : float
        0 to 1. Outputs of a diverged network (nan) count as wrong.

    Raises
    ------
    ValueError
        No example, or y of another shape.
    """
    if not len(x):
        raise ValueError("x must hold at least one example, got none")
    outputs = predict(model, x)
    if np.shape(y) != outputs.shape[:1]:
        raise ValueError(f"y must have shape {outputs.shape[:1]}, got {np.shape(y)}")
    finite = np.isfinite(outputs).all(1)
    return float(np.mean((outputs.argmax(1) == y) & finite))


def activations(model: Sequential, x: Array) -> list[Array]:
    """Return the output of each layer, in the model's present mode.

    Parameters
    ----------
    model : Sequential
        Network. In training mode its running statistics move, as in any forward pass.
    x : ndarray of shape (n, ...)
        Inputs.

    Returns
    -------
    outputs : list of ndarray
        One for each layer, in order; copies, since the next layer keeps its input.
    """
    outputs = []
    for layer in model:
        x = layer(x)
        outputs.append(x.copy())
    return outputs


def _shuffled(
    n: int, batch_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield index arrays without end, in a new order at each epoch."""
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch_size must lie in 1 to {n}, got {batch_size}")
    while True:
        order = rng.permutation(n)
        for i in range(0, n - batch_size + 1, batch_size):
            yield order[i : i + batch_size]
