"""What is put in batch norm's place, for PyTorch.

Weights that are standardized, residual sums that keep their variance, a squashing
function, and gradients that are clipped unit by unit. None looks at a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))
"""What brings the variance of ReLU of a standard Gaussian to 1: about 1.713."""


def standardized(weight: Tensor, gain: float = 1.0, eps: float = 1e-8) -> Tensor:
    r"""Give each unit's weights the mean 0 and the variance gain² / fan-in.

    Parameters
    ----------
    weight : Tensor of shape (out, ...)
        One row, or one filter, for each unit.
    gain : float
        What the activation before the layer needs: 1 without one, `RELU_GAIN` for ReLU.
    eps : float
        Is added to the variance of a unit's weights.

    Returns
    -------
    weight : Tensor of the same shape
        A part of the graph: the gradient goes through mean and variance.

    Notes
    -----
    With independent inputs of one mean and of variance v, an output has the mean 0
    and the variance gain² v.

    References
    ----------
    Qiao et al. (2019) for the weights; Brock, De and Smith (2021) for the gain and the
    fan-in. Used in: {ref}`ch-without`.
    """
    fan_in = weight[0].numel()
    rows = weight.flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    var = centred.square().mean(1, keepdim=True)
    return (gain * centred / torch.sqrt(fan_in * (var + eps))).view(weight.shape)


class StandardizedLinear(nn.Linear):
    """A linear layer that uses its weights standardized.

    Parameters
    ----------
    in_features, out_features : int
        As for ``torch.nn.Linear``; at least 2 in.
    gain : float
        See `standardized`.
    **more
        Those of ``torch.nn.Linear``: bias, device, dtype.

    Raises
    ------
    ValueError
        A unit has one weight only: standardized, it would be 0.

    References
    ----------
    Qiao et al. (2019). Used in: {ref}`ch-without`.
    """

    def __init__(
        self, in_features: int, out_features: int, gain: float = 1.0, **more: Any
    ) -> None:
        super().__init__(in_features, out_features, **more)
        _several(self.weight)
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Map x, of shape (..., in_features), to (..., out_features)."""
        return nn.functional.linear(x, standardized(self.weight, self.gain), self.bias)


class StandardizedConv2d(nn.Conv2d):
    """`StandardizedLinear` for maps: a convolution with standardized filters.

    Parameters
    ----------
    *sizes
        As for ``torch.nn.Conv2d``: in_channels, out_channels, kernel_size, ...
    gain : float
        See `standardized`.
    **more
        Those of ``torch.nn.Conv2d``.

    Raises
    ------
    ValueError
        A filter has one weight only.

    Notes
    -----
    Zeros around the maps lower the variance at the border.

    References
    ----------
    Qiao et al. (2019). Used in: {ref}`ch-without`.
    """

    def __init__(self, *sizes: Any, gain: float = 1.0, **more: Any) -> None:
        super().__init__(*sizes, **more)
        _several(self.weight)
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Map x, of shape (m, C_in, H, W), to (m, C_out, H', W')."""
        weight = standardized(self.weight, self.gain)
        return self._conv_forward(x, weight, self.bias)


class BalancedBlock(nn.Module):
    """Mix a branch into its own input so that the variance stays.

    The output is sqrt(1 - share) x + sqrt(share) branch(x). With a share of 1/2 it is
    (x + branch(x)) / sqrt(2).

    Parameters
    ----------
    branch : nn.Module
        Gives an output of its input's shape.
    share : float
        The branch's part of the output's variance, 0 to 1.

    Raises
    ------
    ValueError
        The share is not between 0 and 1.

    References
    ----------
    Shao et al. (2020) choose two weights whose squares sum to 1. Used in:
    {ref}`ch-without`.
    """

    def __init__(self, branch: nn.Module, share: float = 0.5) -> None:
        super().__init__()
        if not 0 <= share <= 1:
            raise ValueError(f"expected a share from 0 to 1, got {share}")
        self.branch, self.share = branch, share

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixture, of the shape of x."""
        return math.sqrt(1 - self.share) * x + math.sqrt(self.share) * self.branch(x)


class DynamicTanh(nn.Module):
    """Squash each value by tanh(alpha x), with a learned alpha, scale and shift.

    Parameters
    ----------
    num_features : int
        Features, or channels.
    alpha : float
        The start of alpha, above 0: the slope at 0.
    dim : int
        Which axis of the input holds the features: 1, or -1 for tokens.

    Attributes
    ----------
    alpha : Parameter of shape ()
        One number for the layer.
    weight, bias : Parameter of shape (num_features,)
        Scale and shift of each feature, 1 and 0 at the start.

    Raises
    ------
    ValueError
        alpha is not above 0; or, for an input, the axis has another length.

    References
    ----------
    Zhu et al. (2025). Used in: {ref}`ch-without`.
    """

    def __init__(self, num_features: int, alpha: float = 0.5, dim: int = 1) -> None:
        super().__init__()
        if not alpha > 0:
            raise ValueError(f"expected an alpha above 0, got {alpha}")
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Return the squashed input, of the same shape."""
        if x.shape[self.dim] != len(self.weight):
            raise ValueError(
                f"expected {len(self.weight)} features on axis {self.dim}, got an "
                f"input of shape {tuple(x.shape)}"
            )
        shape = [1] * x.ndim
        shape[self.dim] = -1
        y = torch.tanh(self.alpha * x)
        return y * self.weight.view(shape) + self.bias.view(shape)


def clipped_by_unit(
    grad: Tensor, weight: Tensor, limit: float = 0.01, eps: float = 1e-3
) -> Tensor:
    """Shorten each unit's gradient to at most a share of its weights' length.

    Parameters
    ----------
    grad, weight : Tensor of shape (out, ...)
        One row, or one filter, for each unit. A vector, or a number, is one unit.
    limit : float
        Largest length of a gradient, as a share of the length of the weights.
    eps : float
        Least length that is taken for the weights, so that zeros can move.

    Returns
    -------
    grad : Tensor of the same shape
        New; the arguments stay as they are.

    References
    ----------
    Brock, De, Smith and Simonyan (2021), equation 3. Used in: {ref}`ch-without`.
    """
    most = limit * _lengths(weight).clamp_min(eps)
    factor = (most / _lengths(grad).clamp_min(1e-30)).clamp_max(1.0)
    return grad * factor


@torch.no_grad()
def clip_by_unit(
    parameters: Iterable[Tensor], limit: float = 0.01, eps: float = 1e-3
) -> float:
    """Clip the gradients of parameters unit by unit; **changes their gradients**.

    Call it between ``backward`` and the optimizer's step. The authors leave out the
    last layer.

    Parameters
    ----------
    parameters : iterable of Tensor
        Those without a gradient are passed over.
    limit, eps : float
        See `clipped_by_unit`.

    Returns
    -------
    share : float
        Share of the units whose gradient was shortened, 0 to 1.
    """
    short, units = 0, 0
    for p in parameters:
        if p.grad is not None:
            over = _lengths(p.grad) > limit * _lengths(p).clamp_min(eps)
            short, units = short + int(over.sum()), units + over.numel()
            p.grad.copy_(clipped_by_unit(p.grad, p, limit, eps))
    return short / max(units, 1)


def _lengths(t: Tensor) -> Tensor:
    """Return the length of each unit's row, with axes that fit the tensor."""
    if t.ndim < 2:
        return torch.linalg.vector_norm(t)
    return torch.linalg.vector_norm(t, dim=tuple(range(1, t.ndim)), keepdim=True)


def _several(weight: Tensor) -> None:
    """Refuse units with a single weight."""
    if weight[0].numel() < 2:
        raise ValueError("expected 2 weights per unit or more, got 1")
