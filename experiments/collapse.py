"""Whether different inputs fall together in a deep random net.

Protocol, written before the first run
--------------------------------------
Source. Daneshmand et al. (2020): in random nets without batch norm the representations
of a batch collapse with depth to one direction; with batch norm the rank stays up. For
linear nets they prove a lower bound that grows as the square root of the width; for
ReLU nets they show it by experiments.

Nets. 200 hidden layers: linear, batch norm or none, activation: identity or ReLU.
Independent Gaussian weights, of He's scale for ReLU and LeCun's for identity, no bias
with batch norm and bias 0 without. Widths 32, 64 and 128.

Data. 128 independent standard Gaussian inputs, as many features as the net is wide.
float64.

Seeds. 0 to 7: weights and inputs. Trial runs used seeds 100 and 101; they gave
effective ranks near 1 without and 5, 7 and 11 with batch norm for linear nets of the
three widths, and cosines near 1 without and 0.33 with batch norm for ReLU nets.

Metric. Behind the activations of the layers `AT`: the effective rank
(sum s^2)^2 / sum s^4 of the singular values s, and the mean cosine between the
representations of two different inputs. Nothing is subtracted.

Decision. After 200 layers. Linear nets: the ratio of effective ranks, batch norm to
plain, median over the seeds, of at least 3 at each width is reproduced. Width: the
effective rank with batch norm at width 128 against width 32, divided seed by seed, has
a median between 1.5 and 2.7; a square root gives 2. ReLU nets: the plain cosine is
above 0.95 and that with batch norm below 0.5, in every seed at each width. The limit of
wide nets and large batches for the latter is 1 / pi = 0.318, derived on the chapter's
page: at the widths 64 and 128 the median must be within 0.03 of it.

What would refute. Ranks or cosines that do not differ. The rules are written beside the
claims in `claims`.

Reduced form. Width 32, 40 layers, seeds 0 and 1. Deterministic and in float64; but the
direction in which a random linear net collapses depends on all its layers, so that
rounding grows with depth: the tolerance is 0.001.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import nn

from bnlib.pytorch.measure import effective_rank, mean_cosine
from experiments import nets
from experiments.claims import (
    Claim,
    Verdict,
    all_or_some,
    all_together,
    medians_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

WIDTHS, DEPTH, EXAMPLES, SEEDS = (32, 64, 128), 200, 128, tuple(range(8))
AT = (1, 2, 5, 10, 20, 40, 70, 100, 150, 200)
NETS = tuple(product(("identity", "relu"), ("none", "batch")))
NAMES = {"identity": "linear", "relu": "ReLU"}
RATIO, ROOT, TOGETHER, APART, NEAR = 3, (1.5, 2.7), 0.95, 0.5, 0.03


@torch.no_grad()
def signals(activation: str, norm: str, width: int, seed: int, depth: int) -> list[Row]:
    """Send one batch through a random net; return rank and cosine at some layers."""
    rng = np.random.default_rng(seed)
    layer = nn.BatchNorm1d if norm == "batch" else None
    sizes = (width,) * (depth + 2)
    net = nets.mlp(sizes, rng, norm=layer, activation=activation, dtype=torch.float64)
    h = torch.from_numpy(rng.standard_normal((EXAMPLES, width)))
    rows: list[Row] = []
    at = 0
    for module in net:
        h = module(h)
        if not isinstance(module, nets.ACTIVATIONS[activation]):
            continue
        at += 1
        if at in AT:
            row = {"activation": activation, "norm": norm, "width": width}
            row |= {"seed": seed, "depth": depth, "layer": at}
            row["rank"] = round(effective_rank(h), 6)
            rows.append(row | {"cosine": round(mean_cosine(h), 6)})
    return rows


def tasks(widths: tuple[int, ...], seeds: tuple[int, ...], depth: int) -> list[Task]:
    """Return a task for each net, width and seed."""
    return [
        {"activation": a, "norm": n, "width": w, "seed": s, "depth": depth}
        for (a, n), w, s in product(NETS, widths, seeds)
    ]


STAGES = (
    Stage("signals", signals, lambda _: tasks(WIDTHS, SEEDS, DEPTH)),
    Stage("reduced", signals, lambda _: tasks(WIDTHS[:1], SEEDS[:2], 40)),
)
TOLERANCES = {"rank": 1e-3, "cosine": 1e-3}  # float64, rounding grows with depth


def at_layer(
    column: str, activation: str, norm: str, width: int, layer: int = DEPTH
) -> np.ndarray:
    """Return rank or cosine behind one layer, one per seed."""
    net = {"activation": activation, "norm": norm, "width": width}
    return rows_where(load("collapse", "signals"), **net, layer=layer)[column]


def claims() -> list[Claim]:
    """Judge the claims by the stored table; the rules were set before the run."""
    rank = {
        (n, w): at_layer("rank", "identity", n, w)
        for n, w in product(("none", "batch"), WIDTHS)
    }
    cosine = {
        (n, w): at_layer("cosine", "relu", n, w)
        for n, w in product(("none", "batch"), WIDTHS)
    }
    ratios = {f"width {w}": rank["batch", w] / rank["none", w] for w in WIDTHS}
    root = rank["batch", WIDTHS[-1]] / rank["batch", WIDTHS[0]]
    low, high = ROOT
    between = f"the median of the ratio is between {low:g} and {high:g}"
    plain = np.concatenate([cosine["none", w] for w in WIDTHS])
    batch = np.concatenate([cosine["batch", w] for w in WIDTHS])
    apart = {
        f"the plain net's mean cosine is above {TOGETHER:g}": plain.min() > TOGETHER,
        f"that with batch norm is below {APART:g}": batch.max() < APART,
    }
    limit = {
        f"the median at width {w} is within {NEAR:g} of {1 / np.pi:.3f}": bool(
            abs(np.median(cosine["batch", w]) - 1 / np.pi) < NEAR
        )
        for w in WIDTHS[1:]
    }
    ranks = "; ".join(
        f"width {w}: {spread(rank['none', w], 1)} plain, "
        f"{spread(rank['batch', w], 1)} batch norm"
        for w in WIDTHS
    )
    return [
        _claim(
            "In a deep random linear net batch norm keeps the rank up",
            f"effective rank after {DEPTH} layers: {ranks}",
            medians_at_least(ratios, RATIO, "the ratio of effective ranks"),
        ),
        _claim(
            "That rank grows as the square root of the width",
            f"effective rank, width {WIDTHS[-1]} / width {WIDTHS[0]}: "
            f"{spread(root, 2)}",
            all_or_some({between: bool(low < np.median(root) < high)}, ""),
        ),
        _claim(
            "In a deep random ReLU net batch norm keeps different inputs apart",
            f"mean cosine after {DEPTH} layers: plain {spread(plain, 2)}, batch norm "
            f"{spread(batch, 2)}",
            all_together(apart),
        ),
        _claim(
            "In a ReLU net with batch norm the cosine settles at 1 / pi",
            f"mean cosine after {DEPTH} layers: "
            + ", ".join(
                f"{spread(cosine['batch', w], 3)} at width {w}" for w in WIDTHS
            ),
            all_or_some(limit, ""),
        )._replace(source="derived in this book"),
    ]


def _claim(claim: str, effect: str, judged: Verdict) -> Claim:
    setting = f"random nets, {DEPTH} layers, {EXAMPLES} Gaussian inputs"
    return Claim(claim, "daneshmand2020", setting, effect, judged, "ch-depth", SEEDS)
