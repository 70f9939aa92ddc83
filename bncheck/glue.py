"""Ways to try what is no plain function of arrays: PyTorch modules and models.

A `Call` whose function begins with ``*`` is one of these; it gets the student's
namespace first. PyTorch is imported here only, when such a call is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Namespace = Mapping[str, Any]


def module(
    names: Namespace, x: np.ndarray, other: np.ndarray, options: Mapping[str, Any]
) -> tuple:
    """Run a student's BatchNorm1d once in training mode, then in evaluation mode.

    Parameters
    ----------
    names : mapping
        Holds ``BatchNorm1d``.
    x, other : ndarray of shape (N, D)
        Batches for training mode and for evaluation mode.
    options : mapping
        ``momentum``, ``eps``, and arrays ``weight`` and ``bias``.

    Returns
    -------
    results : tuple of ndarray
        Output, running mean and variance after the step, output in evaluation mode,
        running variance after it, number of batches.
    """
    import torch  # noqa: PLC0415

    eps, momentum = options["eps"], options["momentum"]
    if _is_stub(names, x.copy()):
        return (None,)
    layer = names["BatchNorm1d"](x.shape[1], eps=eps, momentum=momentum).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(options["weight"]))
        layer.bias.copy_(torch.from_numpy(options["bias"]))
        layer.train()
        out = np.array(layer(torch.from_numpy(x)))
        mean, var = np.array(layer.running_mean), np.array(layer.running_var)
        layer.eval()
        later = np.array(layer(torch.from_numpy(other)))
        after, count = np.array(layer.running_var), layer.num_batches_tracked
    return out, mean, var, later, after, np.array(int(count))


def _is_stub(names: Namespace, x: np.ndarray) -> bool:
    """Say whether a student's BatchNorm1d has no weight yet, or gives None."""
    import torch  # noqa: PLC0415

    layer = names["BatchNorm1d"](x.shape[1])
    if not hasattr(layer, "weight"):
        return True
    return layer.double()(torch.from_numpy(x)) is None


def module_state(names: Namespace, num_features: int) -> tuple:
    """Look at the state_dict of a student's BatchNorm1d.

    Parameters
    ----------
    names : mapping
        Holds ``BatchNorm1d``.
    num_features : int
        Its number of features.

    Returns
    -------
    results : tuple
        Shapes by name; how many of weight and bias are no parameters or other things
        are; how many entries torch.nn.BatchNorm1d has not.
    """
    layer = names["BatchNorm1d"](num_features)
    state = {k: list(v.shape) for k, v in layer.state_dict().items()}
    trained = {k for k, _ in layer.named_parameters()}
    wrong = trained ^ {"weight", "bias"}
    buffers = {"running_mean", "running_var", "num_batches_tracked"}
    more = set(state) - buffers - wrong - {"weight", "bias"}
    return state, np.array(len(wrong)), np.array(len(more))


def module_gradients(names: Namespace, x: np.ndarray) -> tuple:
    """Train a student's BatchNorm1d for one step, with autograd on.

    Parameters
    ----------
    names : mapping
        Holds ``BatchNorm1d``.
    x : ndarray of shape (N, D)
        The batch.

    Returns
    -------
    results : tuple of ndarray
        The gradient of sum(cos(x) * out) by x, as autograd finds it; how many of the
        running statistics carry a gradient afterwards.
    """
    import torch  # noqa: PLC0415

    layer = names["BatchNorm1d"](x.shape[1]).double().train()
    tensor: Any = torch.from_numpy(x).requires_grad_()
    (layer(tensor.clone()) * torch.cos(tensor.detach())).sum().backward()
    kept = [getattr(layer, name, None) for name in ("running_mean", "running_var")]
    carry = sum(getattr(value, "grad_fn", None) is not None for value in kept)
    return tensor.grad.numpy(), np.array(carry)


def freeze(names: Namespace, x: np.ndarray, steps: int, deep: bool) -> tuple:
    """Fine-tune a model after a student's freeze_batch_norm; return what drifted.

    Parameters
    ----------
    names : mapping
        Holds ``freeze_batch_norm``.
    x : ndarray of shape (N, 8)
        The new data, far from the old.
    steps : int
        Steps of gradient descent, each after ``model.train()``.
    deep : bool
        Whether the model holds maps and a nested block.

    Returns
    -------
    results : tuple of ndarray
        Largest change of running statistics, of weight and bias of the batch-norm
        layers, of their number of batches, and the smallest change of another layer;
        last, whether the output of training mode is that of evaluation mode.
    """
    import torch  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    torch.manual_seed(0)
    if deep:
        block = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
        model = nn.Sequential(block, nn.Flatten(), nn.Linear(12, 2))
        data = torch.from_numpy(x.reshape(len(x), 2, 2, 2)).float()
    else:
        model = nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5), nn.ReLU(),
                              nn.Linear(5, 2))  # fmt: skip
        data = torch.from_numpy(x).float()
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    norms: list[Any] = [m for m in model.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        for norm in norms:
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ours = tuple(f"{n}." for n, m in model.named_modules() if m in norms)
    frozen = names["freeze_batch_norm"](model)
    if frozen is None:
        return (None,)
    parameters = [p for p in frozen.parameters() if p.requires_grad]
    if parameters:  # with none, nothing learns
        optimizer = torch.optim.SGD(parameters, lr=0.05, weight_decay=0.01)
    for _ in range(steps):
        frozen.train()
        loss = (frozen(data) - 1).square().mean()
        if parameters:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    frozen.train()
    with torch.no_grad():
        same = torch.allclose(frozen(data), frozen.eval()(data), atol=1e-5)
    moved = {  # what is returned may be a copy, and its layers need not be torch's
        k: float((v - before[k]).abs().max())
        for k, v in frozen.state_dict().items()
        if k in before
    }

    def largest(*ends: str) -> float:
        drifts = [
            v for k, v in moved.items() if k.startswith(ours) and k.endswith(ends)
        ]
        return max(drifts, default=0.0)

    others = min((v for k, v in moved.items() if not k.startswith(ours)), default=0.0)
    results = (
        largest("running_mean", "running_var"),
        largest("weight", "bias"),
        others > 0,
    )
    return *(np.array(r) for r in results[:2]), results[2], bool(same)


GLUE: dict[str, tuple[Callable[..., tuple], str]] = {
    "*module": (module, "BatchNorm1d"),
    "*module_state": (module_state, "BatchNorm1d"),
    "*module_gradients": (module_gradients, "BatchNorm1d"),
    "*freeze": (freeze, "freeze_batch_norm"),
}
