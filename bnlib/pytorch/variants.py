"""Batch-norm layers with one thing changed, for PyTorch.

Each takes the place of ``torch.nn.BatchNorm1d`` and keeps its arguments and state. A
test compares each with a plain slow implementation.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

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
