"""Batch-norm layers with one thing changed, for PyTorch.

Each takes the place of ``torch.nn.BatchNorm1d`` and keeps its arguments and state. A
test compares each with a plain slow implementation.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Model = TypeVar("Model", bound=nn.Module)

# --- unsteady on purpose, and held still ----------------------------------------------


class NoisyBatchNorm1d(nn.BatchNorm1d):
    """Batch norm whose output is shifted and scaled by noise that changes each step.

    In training mode, for each unit, a shift from U(-shift, shift) and a scale from
    U(1, scale) are drawn anew at each call. Around them each example gets its own:
    shift + U(-jitter, jitter) and N(scale, jitter). Then y becomes scale * y + shift.
    In evaluation mode there is no noise.

    Parameters
    ----------
    num_features : int
        Units.
    shift : float
        Largest shift of a unit, at least 0.
    scale : float
        Largest scale of a unit, at least 1.
    jitter : float
        Spread of the single examples around their unit's shift and scale, at least 0.
    generator : torch.Generator, optional
        Source of the noise; torch's own if not given.
    eps, momentum, affine, track_running_stats, dtype
        As in ``nn.BatchNorm1d``.

    Raises
    ------
    ValueError
        A size of the noise is below its least value, or the input is not (m, d).

    References
    ----------
    Santurkar et al. 2018, section 2.1; the sizes 0.5, 1.25 and 0.1 are theirs. Used
    in: {ref}`ch-smoothness`.
    """

    def __init__(
        self,
        num_features: int,
        shift: float = 0.5,
        scale: float = 1.25,
        jitter: float = 0.1,
        generator: torch.Generator | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, dtype=dtype
        )
        if not (shift >= 0 and scale >= 1 and jitter >= 0):
            raise ValueError(
                "expected shift and jitter of at least 0 and scale of at least 1, got "
                f"{shift}, {jitter} and {scale}"
            )
        self.shift, self.scale, self.jitter = shift, scale, jitter
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (m, d), and in training mode add the noise."""
        if x.ndim != 2:
            raise ValueError(f"expected input of shape (m, d), got {tuple(x.shape)}")
        y = super().forward(x)
        if not self.training:
            return y
        unit, all_ = (self.num_features,), tuple(y.shape)
        shift = self.shift * self._uniform(unit, y)  # (d,)
        scale = 1 + (self.scale - 1) * (self._uniform(unit, y) + 1) / 2
        shift = shift + self.jitter * self._uniform(all_, y)  # (m, d)
        scale = scale + self.jitter * torch.randn(
            all_, generator=self.generator, dtype=y.dtype, device=y.device
        )
        return scale * y + shift

    def _uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw from U(-1, 1)."""
        draw = torch.rand(
            shape, generator=self.generator, dtype=like.dtype, device=like.device
        )
        return 2 * draw - 1

    def extra_repr(self) -> str:
        """Say the sizes of the noise, too."""
        noise = f"shift={self.shift}, scale={self.scale}, jitter={self.jitter}"
        return f"{super().extra_repr()}, {noise}"


def hold_statistics(model: Model, *inputs: Tensor) -> Model:
    """Return a copy whose batch norms hold the statistics of one batch as constants.

    On this batch the copy gives what the model gives in training mode, and its loss has
    the same value; but the statistics no longer follow the weights, so the gradients
    differ. It is the model without what makes batch norm a function of the batch.

    Parameters
    ----------
    model : nn.Module
        In training mode. It is not changed.
    *inputs : Tensor
        What the model takes: one batch.

    Returns
    -------
    held : nn.Module
        A copy in training mode, but for its batch norms, which are in evaluation mode;
        gamma and beta are still trained.

    Raises
    ------
    ValueError
        The model has no batch norm, or is not in training mode, or one of its batch
        norms stores no running statistics.

    References
    ----------
    Used in: {ref}`ch-smoothness`.
    """
    held = copy.deepcopy(model)
    norms = [m for m in held.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        raise ValueError(f"expected a batch norm, got a {type(model).__name__} without")
    if not all(m.training for m in norms):
        raise ValueError("expected batch norms in training mode, got evaluation mode")
    hooks = [m.register_forward_pre_hook(_hold) for m in norms]
    try:
        with torch.no_grad():
            held(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return held


def _hold(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Store mean and biased variance of a layer's input, and make it use them."""
    mean, var = layer.running_mean, layer.running_var
    if not isinstance(mean, Tensor) or not isinstance(var, Tensor):
        raise ValueError("expected running statistics, got a layer that stores none")
    axes = [axis for axis in range(inputs[0].ndim) if axis != 1]
    mean.copy_(inputs[0].mean(axes))
    var.copy_(inputs[0].var(axes, correction=0))
    layer.eval()


# --- a residual block with a choice of scale ------------------------------------------


class ResidualBlock(nn.Module):
    """Add a branch to its own input: ``y = x + scale * branch(x)``.

    Parameters
    ----------
    branch : nn.Module
        Gives an output of its input's shape. It holds the batch norm, if there is one.
    scale : float
        What the branch is multiplied by: 1, or 1 / sqrt(number of blocks).
    learned : bool
        Whether the scale is a parameter. SkipInit is ``scale=0.0, learned=True``.

    Attributes
    ----------
    branch : nn.Module
        As given.
    scale : Tensor of shape ()
        A parameter if learned, else a buffer.

    References
    ----------
    De and Smith (2020), section 4, for SkipInit.
    """

    def __init__(
        self, branch: nn.Module, scale: float = 1.0, *, learned: bool = False
    ) -> None:
        super().__init__()
        self.branch = branch
        some = next(branch.parameters(), torch.zeros(()))
        start = torch.tensor(float(scale), dtype=some.dtype, device=some.device)
        if learned:
            self.scale = nn.Parameter(start)
        else:
            self.register_buffer("scale", start)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x + scale * branch(x), of the shape of x.

        Raises
        ------
        ValueError
            The branch changes the shape.
        """
        added = self.branch(x)
        if added.shape != x.shape:
            raise ValueError(
                f"expected the branch to keep the shape {tuple(x.shape)}, "
                f"got {tuple(added.shape)}"
            )
        return x + self.scale * added


# --- the noise of a batch -------------------------------------------------------------


class _OwnStatistics1d(nn.BatchNorm1d):
    """Batch norm in evaluation mode; in training mode what a subclass makes of it."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, of shape (m, C) or (m, C, length)."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        return self._train(x)

    def _train(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _affine(self, x_hat: Tensor) -> Tensor:
        if self.weight is None:
            return x_hat  # type: ignore[unreachable]
        shape = (-1, *[1] * (x_hat.ndim - 2))
        return x_hat * self.weight.view(shape) + self.bias.view(shape)

    @torch.no_grad()
    def _store(self, mean: Tensor, var: Tensor, values: int) -> None:
        """Update the running statistics by a mean and a biased variance of a set."""
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        step = self.momentum
        if step is None:  # a cumulative average, as in PyTorch
            step = 1.0 / float(self.num_batches_tracked)  # type: ignore[arg-type]
        self.running_mean.lerp_(mean.to(self.running_mean), step)
        unbiased = var * values / (values - 1)
        self.running_var.lerp_(unbiased.to(self.running_var), step)


class GhostBatchNorm1d(_OwnStatistics1d):
    """Batch norm whose statistics are shared in groups of examples, not in the batch.

    In training mode the batch is cut, in its order, into groups of ``group_size``
    examples, and each group is normalized by its own mean and variance. Evaluation mode
    is that of ``torch.nn.BatchNorm1d``.

    Parameters
    ----------
    num_features : int
        Features or channels C of inputs of shape (m, C) or (m, C, length).
    group_size : int
        Examples that share statistics; must divide the batch size in training mode.
    **more
        Those of ``torch.nn.BatchNorm1d``: eps, momentum, affine, track_running_stats.

    Raises
    ------
    ValueError
        ``group_size`` is less than 1. In training mode: it does not divide the batch
        size, or a group has one value for each channel.

    Notes
    -----
    A batch updates the running statistics once, by the averages of the groups' means
    and of their unbiased variances. Hoffer et al. let each group update them in turn.

    References
    ----------
    Hoffer, Hubara and Soudry (2017), Train longer, generalize better, algorithm 1.
    """

    def __init__(self, num_features: int, group_size: int, **more: Any) -> None:
        super().__init__(num_features, **more)
        if group_size < 1:
            raise ValueError(f"expected a group_size of 1 or more, got {group_size}")
        self.group_size = group_size

    def extra_repr(self) -> str:
        """Return what ``print`` shows of the layer."""
        return f"{super().extra_repr()}, group_size={self.group_size}"

    def _train(self, x: Tensor) -> Tensor:
        if len(x) % self.group_size:
            raise ValueError(
                f"expected a batch that groups of {self.group_size} divide, got "
                f"{len(x)} examples"
            )
        values = self.group_size * x[0, 0].numel()
        if values < 2:
            raise ValueError("expected 2 values per channel and group or more, got 1")
        groups = x.unflatten(0, (-1, self.group_size))  # (groups, group_size, C, ...)
        axes = (1, *range(3, groups.ndim))
        mean = groups.mean(axes, keepdim=True)
        centred = groups - mean
        var = centred.square().mean(axes, keepdim=True)
        x_hat = (centred / torch.sqrt(var + self.eps)).flatten(0, 1)
        shared = [s.flatten(1).mean(0) for s in (mean, var)]
        self._store(*shared, values)  # type: ignore[call-arg]
        return self._affine(x_hat)


class DetachedBatchNorm1d(_OwnStatistics1d):
    """Batch norm whose gradient takes the batch's mean or variance for a constant.

    The forward pass is that of ``torch.nn.BatchNorm1d``, in both modes. In the backward
    pass of training mode what is detached sends no gradient: without the mean's part
    the gradient keeps its mean, without the variance's part it keeps what lies along
    x_hat.

    Parameters
    ----------
    num_features : int
        Features or channels C of inputs of shape (m, C) or (m, C, length).
    detach : collection of {"mean", "var"}
        What counts as a constant; an empty one gives batch norm.
    **more
        Those of ``torch.nn.BatchNorm1d``: eps, momentum, affine, track_running_stats.

    Raises
    ------
    ValueError
        ``detach`` holds something else. In training mode: one value per channel.

    Notes
    -----
    The variance depends on the mean, but its derivative by the mean is zero; so the two
    parts do not mix.
    """

    def __init__(
        self,
        num_features: int,
        detach: Collection[str] = ("mean", "var"),
        **more: Any,
    ) -> None:
        super().__init__(num_features, **more)
        detach = (detach,) if isinstance(detach, str) else tuple(detach)
        if unknown := set(detach) - {"mean", "var"}:
            raise ValueError(
                f'expected "mean" or "var" to detach, got {sorted(map(str, unknown))}'
            )
        self.detach = detach

    def extra_repr(self) -> str:
        """Return what ``print`` shows of the layer."""
        return f"{super().extra_repr()}, detach={self.detach}"

    def _train(self, x: Tensor) -> Tensor:
        axes = (0, *range(2, x.ndim))
        values = x.numel() // x.shape[1]
        if values < 2:
            raise ValueError("expected 2 values per channel or more, got 1")
        mean = x.mean(axes, keepdim=True)
        if "mean" in self.detach:
            mean = mean.detach()
        centred = x - mean
        var = centred.square().mean(axes, keepdim=True)
        if "var" in self.detach:
            var = var.detach()
        self._store(mean.flatten(), var.flatten(), values)
        return self._affine(centred / torch.sqrt(var + self.eps))
