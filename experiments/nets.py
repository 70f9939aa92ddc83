"""What the experiments on PyTorch share: images, nets, a training loop.

Weights and batches come from NumPy generators, so that two arms that get equal
generators start from the same weights and see the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from bnlib import data

torch.set_num_threads(1)  # small nets: quicker, and the same digits in each process
GAINS = {"relu": 2.0, "sigmoid": 1.0, "tanh": 1.0, "identity": 1.0}
ACTIVATIONS = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}
Images = tuple[torch.Tensor, torch.Tensor]
Norm = Callable[[int], nn.Module] | None


def images(part: str, dtype: torch.dtype = torch.float32) -> Images:
    """Load images and classes of the embedded MNIST subset.

    Parameters
    ----------
    part : {"train", "validation", "test"}
        7,000, 1,000 and 2,000 images.
    dtype : torch.dtype
        Of the images.

    Returns
    -------
    x : Tensor of shape (n, 784)
        Pixels, 0 to 1.
    y : Tensor of int64, shape (n,)
        Classes.
    """
    x, y = data.load_mnist10k(part)
    return torch.from_numpy(x).to(dtype), torch.from_numpy(y)


def linear(
    n_in: int,
    n_out: int,
    rng: np.random.Generator,
    *,
    bias: bool = True,
    sd: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> nn.Linear:
    """Return a linear layer with Gaussian weights from rng, and bias 0.

    Parameters
    ----------
    n_in, n_out : int
        Features.
    rng : numpy.random.Generator
        Source of the weights.
    bias : bool
        Whether it has one.
    sd : float, optional
        Standard deviation of the weights; sqrt(1 / n_in) if not given.
    dtype : torch.dtype
        Of the parameters.
    """
    sd = n_in**-0.5 if sd is None else sd
    layer = nn.Linear(n_in, n_out, bias=bias, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(sd * rng.standard_normal((n_out, n_in))))
        if bias:
            layer.bias.zero_()
    return layer


def mlp(
    sizes: Sequence[int],
    rng: np.random.Generator,
    *,
    norm: Norm = None,
    activation: str = "relu",
    gain: float = 1.0,
    after: bool = False,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """Build a fully connected net: linear, norm, activation in each hidden layer.

    Parameters
    ----------
    sizes : sequence of int
        Features of the input, of each hidden layer, and of the output.
    rng : numpy.random.Generator
        Source of the weights. Nets from equal generators start from the same ones.
    norm : callable, optional
        Makes the norm of a layer of n features: ``nn.BatchNorm1d``. The linear layers
        before a norm have no bias.
    activation : {"relu", "sigmoid", "tanh", "identity"}
        Activation of the hidden layers.
    gain : float
        Factor on the standard deviation of the hidden weights, which is that of He for
        ReLU and of LeCun for the others.
    after : bool
        Whether the norm stands after the activation.
    dtype : torch.dtype
        Of the parameters.

    Returns
    -------
    model : nn.Sequential
        In training mode.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        sd = gain * (GAINS[activation] / n_in) ** 0.5
        bias = norm is None or after
        middle = [ACTIVATIONS[activation]()]
        if norm is not None:
            middle.insert(1 if after else 0, norm(n_out).to(dtype))
        layers += [linear(n_in, n_out, rng, bias=bias, sd=sd, dtype=dtype), *middle]
    layers.append(linear(sizes[-2], sizes[-1], rng, dtype=dtype))
    return nn.Sequential(*layers)


def train(
    model: nn.Module,
    train_images: Images,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    batch_size: int,
    rng: np.random.Generator,
    call_at: Iterable[int] = (),
    callback: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Train a classifier with the cross-entropy loss; **changes the model**.

    Parameters
    ----------
    model : nn.Module
        Its mode is not changed.
    train_images : tuple of Tensor
        Images and classes.
    optimizer : torch.optim.Optimizer
        Over those parameters that are trained.
    steps : int
        Updates. It ends early, with nan for the rest, when the loss is not finite.
    batch_size : int
        Images in a batch.
    rng : numpy.random.Generator
        Shuffles the images at each epoch.
    call_at : iterable of int
        Steps at which ``callback(step)`` is called; 0 is before the first update.
    callback : callable, optional
        May change the mode of layers; it is put back.

    Returns
    -------
    losses : ndarray of shape (steps,)
        Loss of each batch before its update.
    """
    x, y = train_images
    batches = data.endless_batches(len(y), batch_size, rng)
    losses, called = np.full(steps, np.nan), set(call_at)
    for step in range(steps + 1):
        if step in called and callback is not None:
            modes = {m: m.training for m in model.modules()}
            callback(step)
            for module, mode in modes.items():
                module.training = mode
        if step == steps:
            break
        index = torch.from_numpy(next(batches))
        loss = nn.functional.cross_entropy(model(x[index]), y[index])
        losses[step] = loss.item()
        if not np.isfinite(losses[step]):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


@torch.no_grad()
def accuracy(model: nn.Module, test_images: Images) -> float:
    """Return the share of images named correctly in evaluation mode, 0 to 1.

    A net whose output is not finite names none correctly.
    """
    x, y = test_images
    training = {m: m.training for m in model.modules()}
    logits = model.eval()(x)
    for module, mode in training.items():
        module.training = mode
    right = (logits.argmax(1) == y) & logits.isfinite().all(1)
    return right.double().mean().item()
