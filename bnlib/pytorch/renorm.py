"""Batch renormalization for PyTorch: batch norm tied to its running statistics.

``BatchRenorm1d`` and ``BatchRenorm2d`` take the place of ``torch.nn.BatchNorm1d`` and
``BatchNorm2d`` and keep their state, so that a trained net loads into either.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _BatchRenorm(_BatchNorm):
    """Batch renormalization; a subclass says which inputs it takes."""

    def __init__(
        self,
        num_features: int,
        r_max: float = 3.0,
        d_max: float = 5.0,
        **more: Any,
    ) -> None:
        super().__init__(num_features, **more)
        self.set_limits(r_max, d_max)

    def set_limits(self, r_max: float, d_max: float) -> None:
        """Change how far r and d may go: training starts close to batch norm."""
        if not (r_max >= 1 and d_max >= 0):
            raise ValueError(
                f"expected r_max of at least 1 and d_max of at least 0, got {r_max} "
                f"and {d_max}"
            )
        self.r_max, self.d_max = float(r_max), float(d_max)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of the layer."""
        return f"{super().extra_repr()}, r_max={self.r_max}, d_max={self.d_max}"

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, of shape (m, C) or (m, C, ...)."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        values = x.numel() // x.shape[1]
        if values < 2:
            raise ValueError("expected 2 values per channel or more, got 1")
        axes = (0, *range(2, x.ndim))
        shape = (-1, *[1] * (x.ndim - 2))
        mean = x.mean(axes)  # (C,)
        var = x.var(axes, correction=0)
        std = torch.sqrt(var + self.eps)
        r, d = self.correction(mean.detach(), std.detach())
        x_hat = (x - mean.view(shape)) / std.view(shape)
        x_hat = x_hat * r.view(shape) + d.view(shape)
        self._store(mean.detach(), var.detach() * values / (values - 1))
        if self.weight is None:
            return x_hat  # type: ignore[unreachable]
        return x_hat * self.weight.view(shape) + self.bias.view(shape)

    def correction(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Return r and d for a batch's mean and standard deviation, each (C,)."""
        if self.running_mean is None or self.running_var is None:
            return torch.ones_like(std), torch.zeros_like(mean)
        running = torch.sqrt(self.running_var + self.eps)
        r = (std / running).clamp(1 / self.r_max, self.r_max)
        d = ((mean - self.running_mean) / running).clamp(-self.d_max, self.d_max)
        return r, d

    @torch.no_grad()
    def _store(self, mean: Tensor, unbiased: Tensor) -> None:
        """Move the running statistics, as PyTorch's batch norm does."""
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        step = self.momentum
        if step is None:  # a cumulative average, as in PyTorch
            step = 1.0 / float(self.num_batches_tracked)  # type: ignore[arg-type]
        self.running_mean.lerp_(mean.to(self.running_mean), step)
        self.running_var.lerp_(unbiased.to(self.running_var), step)


class BatchRenorm1d(_BatchRenorm):
    r"""Batch norm whose output is corrected towards the running statistics.

    In training mode :math:`\hat{x} = r\,(x - \mu_B) / \sigma_B + d`, where
    :math:`r = \sigma_B / \bar\sigma` and :math:`d = (\mu_B - \bar\mu) / \bar\sigma`
    bring the batch's statistics to the running ones; both are clipped, and count as
    constants in the backward pass. Evaluation mode is that of
    ``torch.nn.BatchNorm1d``.

    Parameters
    ----------
    num_features : int
        Features or channels C of inputs of shape (m, C) or (m, C, length).
    r_max : float
        r is clipped to 1 / r_max to r_max; at least 1.
    d_max : float
        d is clipped to -d_max to d_max; at least 0.
    **more
        Those of ``torch.nn.BatchNorm1d``: eps, momentum, affine, track_running_stats.

    Raises
    ------
    ValueError
        A limit below its least value. In training mode: one value per channel.

    Notes
    -----
    With ``r_max=1, d_max=0``, or without running statistics, it is batch norm. Without
    clipping (``inf``) the output is that of evaluation mode, but the gradient still
    flows through the batch's statistics. r and d use the running statistics from
    before this batch.

    The paper averages the batches' standard deviations. Here the unbiased variance is
    averaged, as PyTorch does, so that the state is the same. In batches of two values
    the two differ: a standard deviation with divisor m is too small in the mean.

    References
    ----------
    Ioffe (2017), Batch renormalization, algorithm 1; the limits 3 and 5 are those that
    training ends with there. Used in: {ref}`ch-batch-lies`.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim not in (2, 3):
            raise ValueError(
                "expected input of shape (m, C) or (m, C, length), got "
                f"{tuple(x.shape)}"
            )


class BatchRenorm2d(_BatchRenorm):
    """`BatchRenorm1d` for feature maps of shape (m, C, H, W)."""

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim != 4:
            raise ValueError(
                f"expected input of shape (m, C, H, W), got {tuple(x.shape)}"
            )


def set_limits(model: nn.Module, r_max: float, d_max: float) -> int:
    """Set the limits of all batch-renorm layers of a model; return their number."""
    layers = [m for m in model.modules() if isinstance(m, _BatchRenorm)]
    for layer in layers:
        layer.set_limits(r_max, d_max)
    return len(layers)
