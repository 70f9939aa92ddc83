"""What can be measured on a model while it trains, for PyTorch.

Nothing here changes a model: parameters, gradients, statistics and modes are put back.
A test compares each measurement with theory, or with a plain slow implementation.
"""

from bnlib.pytorch.measure.depth import (
    branch_variance,
    effective_rank,
    gradient_norms,
    mean_cosine,
)
from bnlib.pytorch.measure.landscape import (
    Along,
    CovariateShift,
    effective_smoothness,
    gradient_change,
    internal_covariate_shift,
    loss_along_gradient,
    walk_along_gradient,
)
from bnlib.pytorch.measure.noise import (
    Noise,
    batch_noise,
    variance_shift,
)
from bnlib.pytorch.measure.sphere import (
    angle,
    effective_learning_rate,
    radial_share,
    scale_invariant,
)

__all__ = [
    "Along",
    "CovariateShift",
    "Noise",
    "angle",
    "batch_noise",
    "branch_variance",
    "effective_learning_rate",
    "effective_rank",
    "effective_smoothness",
    "gradient_change",
    "gradient_norms",
    "internal_covariate_shift",
    "loss_along_gradient",
    "mean_cosine",
    "radial_share",
    "scale_invariant",
    "variance_shift",
    "walk_along_gradient",
]
