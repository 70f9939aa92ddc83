"""How fast gradients grow through a deep random net with batch norm.

Protocol, written before the first run
--------------------------------------
Source. Yang et al. (2019) show for wide random nets that with batch norm the gradient
grows exponentially with depth, and that no choice of the weights' scale or of the
activation avoids it; near-linear nets grow least. We compare with two constants, both
derived on the chapter's page and not taken from the paper: the squared gradient of an
identity net grows by (B - 2) / (B - 3) for each layer, where B is the batch size, which
the chapter and the claims call m; and in the limit of large batches it grows by
E[g'(z)^2] / Var[g(z)], z standard normal, for an activation g. For ReLU the latter is
pi / (pi - 1), about 1.467.

Nets. 30 hidden layers of 512 units: linear, batch norm, activation. Independent
Gaussian weights, of He's scale for ReLU and LeCun's for the others, no bias, gamma 1,
beta 0, eps 1e-5. The control is the ReLU net without batch norm. Batch sizes 4 to 512.

Data. B independent standard Gaussian inputs of 512 features. float64. The loss is the
sum of the outputs times independent Gaussian numbers, so that the gradient that enters
the last layer does not depend on the net.

Seeds. 0 to 7: weights, inputs and loss. Trial runs, to see what width can be afforded,
used seeds 100 to 102. They showed that the identity net's factor at B = 256 and 512,
where the constant is 1.004 and 1.002, is as near to 1 as the seeds scatter, and that
B = 4 scatters most.

Metric. The norm of the gradient with respect to the outputs of the linear layers; the
factor is the growth of its square for each layer, as a geometric mean between the
layers 5 and 25 (the first and the last are left out). "spread_of_layers" is the ratio
of the norms of these two layers.

Decision. For the identity net what is judged is the excess over 1, which is 1 / (B - 3)
in theory: its median over the seeds must be within a quarter of that, at the batch
sizes 8 to 128; the others are shown. For the limits of large batches the median factor
at B = 512 must be within 2 percent. A net grows if its factor is above 1 in every seed:
the identity net at B up to 64, the others at all batch sizes.

What would refute. A factor of a net with batch norm that is not above 1, or a plain He
net that grows as well, would refute the claim; factors outside these bounds would
refute the constants at this size. The rules are written beside the claims in `claims`.

Reduced form. Width 64, 12 layers (between layers 2 and 10), B = 8 and 32, seeds 0 and
1. It is deterministic and in float64; the tolerance leaves room for the order in which
another processor adds.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import nn

from bnlib.pytorch.measure import gradient_norms
from experiments import nets
from experiments.claims import Claim, Verdict, all_or_some, rows_where, spread
from experiments.runner import Row, Stage, Task, load

WIDTH, DEPTH, BETWEEN = 512, 30, (5, 25)
BATCH_SIZES, SEEDS = (4, 8, 16, 32, 64, 128, 256, 512), tuple(range(8))
JUDGED, GROWING = (8, 16, 32, 64, 128), (4, 8, 16, 32, 64)  # of the identity net
LARGEST, NEAR, QUARTER, STILL = 512, 0.02, 0.25, 0.05
NETS = (
    ("identity", "batch"),
    ("relu", "batch"),
    ("tanh", "batch"),
    ("sigmoid", "batch"),
    ("relu", "none"),
)
NAMES = {"relu": "ReLU", "identity": "identity", "tanh": "tanh", "sigmoid": "sigmoid"}


def growth(
    activation: str,
    norm: str,
    batch_size: int,
    seed: int,
    width: int,
    depth: int,
    first: int,
    last: int,
) -> list[Row]:
    """Return how much the squared gradient of one random net grows for each layer."""
    rng = np.random.default_rng(seed)
    layer = nn.BatchNorm1d if norm == "batch" else None
    sizes = (width,) * (depth + 2)
    net = nets.mlp(sizes, rng, norm=layer, activation=activation, dtype=torch.float64)
    x, weights = torch.from_numpy(rng.standard_normal((2, batch_size, width)))
    norms = [*gradient_norms(net, x, lambda out: (out * weights).sum()).values()]
    of_layers = norms[first - 1] / norms[last - 1]
    row: Row = {"activation": activation, "norm": norm, "batch_size": batch_size}
    row |= {"seed": seed, "width": width, "depth": depth, "first": first, "last": last}
    factor = of_layers ** (2 / (last - first))
    return [row | {"factor": round(factor, 6), "spread_of_layers": of_layers}]


def tasks(
    batch_sizes: tuple[int, ...],
    seeds: tuple[int, ...],
    width: int,
    depth: int,
    between: tuple[int, int],
) -> list[Task]:
    """Return a task for each net, batch size and seed."""
    return [
        {"activation": a, "norm": n, "batch_size": b, "seed": s}
        | {"width": width, "depth": depth, "first": between[0], "last": between[1]}
        for (a, n), b, s in product(NETS, batch_sizes, seeds)
    ]


STAGES = (
    Stage("growth", growth, lambda _: tasks(BATCH_SIZES, SEEDS, WIDTH, DEPTH, BETWEEN)),
    Stage("reduced", growth, lambda _: tasks((8, 32), SEEDS[:2], 64, 12, (2, 10))),
)
TOLERANCES = {"factor": 1e-5, "spread_of_layers": 1e-5}  # float64, no training


# --- theory ---------------------------------------------------------------------------


def identity_factor(batch_size: int) -> float:
    """Return (B - 2) / (B - 3), for B above 3."""
    return (batch_size - 2) / (batch_size - 3)


def large_batch_factor(activation: str) -> float:
    """Return E[g'(z)^2] / Var[g(z)] for standard normal z, summed on a fine grid."""
    z = torch.linspace(-12, 12, 2_400_000, dtype=torch.float64, requires_grad=True)
    g = nets.ACTIVATIONS[activation]()(z)
    (slope,) = torch.autograd.grad(g.sum(), z)
    density = torch.exp(-(z**2) / 2).detach()
    density /= density.sum()
    mean = (density * g).sum()
    variance = (density * (g - mean) ** 2).sum()
    return ((density * slope**2).sum() / variance).item()


# --- reading the table, and the claims ------------------------------------------------


def factors(activation: str, norm: str, batch_size: int) -> np.ndarray:
    """Return the measured factor of each seed."""
    own = rows_where(
        load("explosion", "growth"),
        activation=activation,
        norm=norm,
        batch_size=batch_size,
    )
    return own["factor"]


def off(values: np.ndarray, theory: float) -> float:
    """Return how far the median is from theory, as a share of it."""
    return abs(float(np.median(values)) / theory - 1)


def claims() -> list[Claim]:
    """Judge the claims by the stored table; the rules were set before the run."""
    batch = [a for a, norm in NETS if norm == "batch"]
    asked = {a: GROWING if a == "identity" else BATCH_SIZES for a in batch}
    least = {a: min(factors(a, "batch", b).min() for b in asked[a]) for a in batch}
    plain = np.concatenate([factors("relu", "none", b) for b in BATCH_SIZES])
    grows = {
        f"the factor of the {NAMES[a]} net with batch norm is above 1 at each m from "
        f"{asked[a][0]} to {asked[a][-1]}": bool(least[a] > 1)
        for a in batch
    }
    still = f"that of the plain ReLU net is within {STILL:g} of 1"
    grows[still] = bool(abs(plain - 1).max() < STILL)
    identity = {b: factors("identity", "batch", b) for b in BATCH_SIZES}
    agrees = {
        f"the median excess over 1 at m = {b} is within a quarter of {1 / (b - 3):.4f}":
            off(identity[b] - 1, 1 / (b - 3)) < QUARTER
        for b in JUDGED
    }  # fmt: skip
    rows = [
        _claim(
            "Batch norm makes gradients grow with depth, whatever the activation",
            "yang2019",
            "smallest factor of a seed: "
            + ", ".join(f"{NAMES[a]} {least[a]:.3f}" for a in batch)
            + f"; plain ReLU {spread(plain, 3)}",
            all_or_some(grows),
        ),
        _claim(
            "The squared gradient of an identity net grows by (m - 2) / (m - 3)",
            "derived in this book",
            ", ".join(f"{spread(identity[b], 4)} at m = {b}" for b in BATCH_SIZES),
            all_or_some(agrees, ""),
        ),
    ]
    for a in batch[1:]:
        limit = large_batch_factor(a)
        values = factors(a, "batch", LARGEST)
        fact = f"the median is within {100 * NEAR:g} % of {limit:.3f}"
        rows.append(
            _claim(
                f"In a large batch the {NAMES[a]} net's squared gradient grows by "
                f"{limit:.3f} for each layer",
                "derived in this book",
                f"{spread(values, 3)} at m = {LARGEST}",
                all_or_some({fact: off(values, limit) < NEAR}, ""),
            )
        )
    return rows


def _claim(claim: str, source: str, effect: str, judged: Verdict) -> Claim:
    setting = f"random nets, {DEPTH} layers of {WIDTH}, growth for each layer"
    return Claim(claim, source, setting, effect, judged, "ch-depth", SEEDS)
