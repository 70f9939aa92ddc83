"""Batch-norm layers with one thing changed, for PyTorch.

Each takes the place of ``torch.nn.BatchNorm1d`` and keeps its arguments and state. A
test compares each with a plain slow implementation.
"""

from __future__ import annotations

import torch
from torch import nn

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
