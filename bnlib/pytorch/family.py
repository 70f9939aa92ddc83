"""Relatives of batch norm that ``torch.nn`` lacks.

Conditional batch norm and FiLM, adaptive instance norm, decorrelated batch norm, and
batch norm inside a recurrent cell. Weight norm and spectral norm are in
``torch.nn.utils.parametrizations``. Derived in: {ref}`ch-family`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# --- scale and shift from a condition -------------------------------------------------


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Give values (N, C) trailing axes, so that they fit x of shape (N, C, ...)."""
    if values.shape != x.shape[:2]:
        raise ValueError(
            f"expected one value per example and channel, {tuple(x.shape[:2])}, got "
            f"{tuple(values.shape)}"
        )
    return values.reshape(*values.shape, *[1] * (x.ndim - 2))


class _AnyBatchNorm(_BatchNorm):
    """Batch norm of (N, C, ...), with any number of axes behind."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  torch's name
        if input.ndim < 2:
            raise ValueError(f"expected x of shape (N, C, ...), got {input.ndim} axes")


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a scale and a shift of its own for each class of a condition.

    y = gamma[c] * x_hat + beta[c], where c is the class of the example. The statistics
    are those of the whole batch, whatever its classes.

    Parameters
    ----------
    num_features : int
        Channels C.
    num_conditions : int
        Classes of the condition, 1 or more.
    **more
        Those of ``torch.nn.BatchNorm1d`` but ``affine``: eps, momentum,
        track_running_stats.

    Raises
    ------
    ValueError
        There is no class, or not one class for each example. IndexError: a class is out
        of range.

    References
    ----------
    Dumoulin, Shlens and Kudlur (2017), section 2.2, with instance norm; de Vries et al.
    (2017), with batch norm.
    """

    def __init__(self, num_features: int, num_conditions: int, **more: Any) -> None:
        super().__init__()
        if num_conditions < 1:
            raise ValueError(f"expected 1 condition or more, got {num_conditions}")
        self.norm = _AnyBatchNorm(num_features, affine=False, **more)
        self.weight = nn.Parameter(torch.ones(num_conditions, num_features))
        self.bias = nn.Parameter(torch.zeros(num_conditions, num_features))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalize x, of shape (N, C, ...), with classes of shape (N,), int64."""
        gamma, beta = self.weight[condition], self.bias[condition]
        return _per_channel(gamma, x) * self.norm(x) + _per_channel(beta, x)


class FiLM(nn.Module):
    """Scale and shift channels by a linear function of a condition; no statistics.

    Parameters
    ----------
    condition_features : int
        Length k of the vector that is the condition.
    num_features : int
        Channels C.

    Raises
    ------
    ValueError
        The condition has another number of examples than x, or x other channels.

    Notes
    -----
    At the start the scale is 1 and the shift 0, whatever the condition.

    References
    ----------
    Perez et al. (2018), FiLM: Visual reasoning with a general conditioning layer.
    """

    def __init__(self, condition_features: int, num_features: int) -> None:
        super().__init__()
        self.make = nn.Linear(condition_features, 2 * num_features)
        with torch.no_grad():
            self.make.weight.zero_()
            self.make.bias.zero_()
            self.make.bias[:num_features] = 1.0

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Change x, of shape (N, C, ...), by conditions of shape (N, k)."""
        gamma, beta = self.make(condition).chunk(2, dim=1)
        return _per_channel(gamma, x) * x + _per_channel(beta, x)


def adaptive_instance_norm(content: Tensor, style: Tensor, eps: float = 1e-5) -> Tensor:
    """Give each map of the content the mean and the standard deviation of the style's.

    Parameters
    ----------
    content : Tensor of shape (N, C, ...)
        What is normalized, map by map.
    style : Tensor of shape (N, C, ...)
        Where the moments come from; its maps may have another size.
    eps : float
        Added to both variances, under the root.

    Returns
    -------
    y : Tensor of the content's shape

    Raises
    ------
    ValueError
        N or C differ, or there are no positions to take moments of.

    References
    ----------
    Huang and Belongie (2017), equation 8.
    """
    if content.ndim < 3 or content.shape[:2] != style.shape[:2] or style.ndim < 3:
        raise ValueError(
            f"expected maps (N, C, ...) with the same N and C, got "
            f"{tuple(content.shape)} and {tuple(style.shape)}"
        )

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(2)
        root = torch.sqrt(flat.var(2, correction=0) + eps)
        return _per_channel(flat.mean(2), content), _per_channel(root, content)

    (mean, root), (new_mean, new_root) = moments(content), moments(style)
    return new_root * (content - mean) / root + new_mean


# --- decorrelated batch norm ----------------------------------------------------------


class _InverseRoot(torch.autograd.Function):
    """S^(-1/2) of symmetric positive matrices, with a derivative without 0 / 0.

    With S = U diag(s) U', the derivative of f(S) is U (K * (U' dS U)) U', where
    K_ij = (f(s_i) - f(s_j)) / (s_i - s_j). For f(s) = s^(-1/2) this quotient is
    -1 / (r_i r_j (r_i + r_j)), r = sqrt(s): nothing is divided by s_i - s_j.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        s, u = torch.linalg.eigh(matrix)
        root = s.sqrt()
        ctx.save_for_backward(root, u)
        return (u / root[..., None, :]) @ u.mT

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        root, u = ctx.saved_tensors
        r, c = root[..., :, None], root[..., None, :]
        inner = u.mT @ grad_outputs[0] @ u
        return u @ (inner / (-r * c * (r + c))) @ u.mT


class DecorrelatedBatchNorm(nn.Module):
    """Batch norm that whitens: within a group, features become uncorrelated as well.

    x_hat = S^(-1/2) (x - mean), with the covariance S of the batch (divisor m) plus eps
    on its diagonal. Of all matrices that whiten, S^(-1/2), called ZCA, moves the values
    least. With groups of one feature it is batch norm.

    Parameters
    ----------
    num_features : int
        Channels C of inputs of shape (N, C, ...); positions count as examples.
    num_groups : int
        Groups of channels that are whitened together; must divide C.
    eps : float
        Added to each variance, over 0.
    momentum : float
        Running-average step: the weight of the new statistics, 0 to 1.
    affine : bool
        Whether there are a scale and a shift for each channel.

    Attributes
    ----------
    running_mean : Tensor of shape (C,)
    running_cov : Tensor of shape (groups, C / groups, C / groups)
        Unbiased covariances, as the running variance of ``torch.nn.BatchNorm1d``; they
        whiten in evaluation mode.

    Raises
    ------
    ValueError
        num_groups does not divide num_features; eps is not over 0; the input has other
        channels; in training mode, one value per channel.

    Notes
    -----
    The gradient passes through S^(-1/2). Its derivative is written out, because that of
    ``torch.linalg.eigh`` divides by differences of eigenvalues, which may be 0.

    References
    ----------
    Huang et al. (2018), Decorrelated batch normalization.
    """

    def __init__(self, num_features: int, num_groups: int = 1, eps: float = 1e-5,
                 momentum: float = 0.1, affine: bool = True) -> None:  # fmt: skip
        super().__init__()
        if num_groups < 1 or num_features % num_groups:
            raise ValueError(
                f"expected groups that divide {num_features} features, got {num_groups}"
            )
        if eps <= 0:
            raise ValueError(f"expected eps over 0, got {eps}")
        self.num_features, self.num_groups = num_features, num_groups
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        size = num_features // num_groups
        self.running_mean: Tensor
        self.running_cov: Tensor
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_cov", torch.eye(size).repeat(num_groups, 1, 1))

    def extra_repr(self) -> str:
        """Return what ``print`` shows of the layer."""
        return f"{self.num_features}, num_groups={self.num_groups}, eps={self.eps}"

    def forward(self, x: Tensor) -> Tensor:
        """Whiten x, of shape (N, C, ...)."""
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise ValueError(
                f"expected x of shape (N, {self.num_features}, ...), got "
                f"{tuple(x.shape)}"
            )
        rows = x.transpose(0, 1).flatten(1)  # (C, m)
        values = rows.unflatten(0, (self.num_groups, -1))  # (G, C / G, m)
        if self.training:
            m = rows.shape[1]
            if m < 2:
                raise ValueError("expected 2 values per channel or more, got 1")
            mean = values.mean(2, keepdim=True)
            cov = (values - mean) @ (values - mean).mT / m
            self._store(mean.flatten(), cov * m / (m - 1))
        else:
            mean = self.running_mean.view(self.num_groups, -1, 1)
            cov = self.running_cov
        eye = torch.eye(cov.shape[-1], dtype=cov.dtype, device=cov.device)
        x_hat = _InverseRoot.apply(cov + self.eps * eye) @ (values - mean)
        y = x_hat.flatten(0, 1)
        if self.weight is not None and self.bias is not None:
            y = self.weight[:, None] * y + self.bias[:, None]
        return y.unflatten(1, (x.shape[0], *x.shape[2:])).transpose(0, 1)

    @torch.no_grad()
    def _store(self, mean: Tensor, cov: Tensor) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_cov.lerp_(cov.to(self.running_cov), self.momentum)


# --- batch norm in a recurrent net ----------------------------------------------------


class StepBatchNorm1d(nn.Module):
    """Batch norm with one scale and shift, and running statistics for each time step.

    Parameters
    ----------
    num_features : int
        Features.
    num_steps : int
        Steps with statistics of their own; later steps use those of the last one.
    scale : float
        Scale gamma at the start.
    shift : bool
        Whether there is a shift beta.
    eps, momentum : float
        As in ``torch.nn.BatchNorm1d``.

    Attributes
    ----------
    running_mean, running_var : Tensor of shape (num_steps, num_features)
        The variance is unbiased.
    shared : bool
        If true, evaluation mode uses one mean and one variance for all steps, those of
        all steps' values together. False at the start.

    Raises
    ------
    ValueError
        There is no step, a step is below 0, or a batch in training mode has one value.

    References
    ----------
    Cooijmans et al. (2017), Recurrent batch normalization.
    """

    def __init__(self, num_features: int, num_steps: int, scale: float = 1.0,
                 shift: bool = True, eps: float = 1e-5,
                 momentum: float = 0.1) -> None:  # fmt: skip
        super().__init__()
        if num_steps < 1:
            raise ValueError(f"expected 1 step or more, got {num_steps}")
        self.eps, self.momentum, self.shared = eps, momentum, False
        self.weight = nn.Parameter(torch.full((num_features,), float(scale)))
        self.bias = nn.Parameter(torch.zeros(num_features)) if shift else None
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(num_steps, num_features))
        self.register_buffer("running_var", torch.ones(num_steps, num_features))

    def forward(self, x: Tensor, step: int) -> Tensor:
        """Normalize x, of shape (m, features), of a step, counted from 0."""
        if step < 0:
            raise ValueError(f"expected a step of 0 or more, got {step}")
        step = min(step, len(self.running_mean) - 1)
        mean, var = self.running_mean[step], self.running_var[step]
        if self.training and len(x) < 2:
            raise ValueError("expected 2 values per feature or more, got 1")
        if self.shared and not self.training:
            mean, var = self.pooled()
        return nn.functional.batch_norm(
            x, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps
        )

    def pooled(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of all steps' values together."""
        mean = self.running_mean.mean(0)
        between = self.running_mean.var(0, correction=0)
        return mean, self.running_var.mean(0) + between


class BatchNormLSTM(nn.Module):
    """An LSTM with batch norm of what comes from the input, the past, and the cell.

    At step t the four gates are BN(W_h h; gamma_h) + BN(W_x x; gamma_x) + b. The new
    cell is sigmoid(f) c + sigmoid(i) tanh(g), and the new state sigmoid(o) tanh(BN(c)).
    The first two norms have no shift: b does its work.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of the input and of the state.
    num_steps : int
        Steps with statistics of their own.
    scale : float
        Scale gamma of all norms at the start. The paper takes 0.1.
    momentum : float
        Running-average step of all norms.

    References
    ----------
    Cooijmans et al. (2017), Recurrent batch normalization.
    """

    def __init__(self, input_size: int, hidden_size: int, num_steps: int,
                 scale: float = 0.1, momentum: float = 0.1) -> None:  # fmt: skip
        super().__init__()
        self.hidden_size = hidden_size
        self.from_input = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.from_past = nn.Linear(hidden_size, 4 * hidden_size)
        self.norms = nn.ModuleDict({
            "input": StepBatchNorm1d(4 * hidden_size, num_steps, scale, False,
                                     momentum=momentum),
            "past": StepBatchNorm1d(4 * hidden_size, num_steps, scale, False,
                                    momentum=momentum),
            "cell": StepBatchNorm1d(hidden_size, num_steps, scale, momentum=momentum),
        })  # fmt: skip

    def share(self, shared: bool = True) -> BatchNormLSTM:
        """Let evaluation mode use one set of statistics for all steps, or its own."""
        for norm in self.norms.values():
            if isinstance(norm, StepBatchNorm1d):
                norm.shared = shared
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the states (N, T, hidden) for inputs (N, T, input_size)."""
        h = x.new_zeros(len(x), self.hidden_size)
        c, states = h, []
        from_input, from_past, cell = self.norms.values()
        for t in range(x.shape[1]):
            past = h @ self.from_past.weight.T
            gates = from_past(past, t) + from_input(self.from_input(x[:, t]), t)
            f, i, o, g = (gates + self.from_past.bias).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(cell(c, t))
            states.append(h)
        return torch.stack(states, dim=1)
