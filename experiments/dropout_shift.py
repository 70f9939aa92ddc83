"""What dropout does to the variance that a batch norm expects.

Protocol, written before the first run
--------------------------------------
Source. Li et al. (2019): dropout before a batch norm makes the variance smaller in
evaluation mode than the running variance. They report that the shift grows with depth,
that it costs accuracy, and that dropout after the last batch norm does no such harm.

Nets. 784, five hidden layers of 64, 10; each has batch norm, ReLU and dropout with
share p ("every"), so that the second to the fifth batch norm stand behind dropout. A
control has dropout behind the last ReLU only ("last"). He weights; plain gradient
descent, batches of 100, 500 steps.

Data. The first 2,000 training images of the embedded MNIST subset, 1,000 to validate,
2,000 to test. float32.

Seeds. 0 to 7; tuning seeds 100 and 101, used for nothing else. They draw weights,
batches and masks. Trial runs used seed 100 on validation images, with the shares and
most rates of the grid; they saw that the shift is smaller where the rate is larger, and
that the repair is large at low rates. So two rates are measured.

Rates. 0.03 for all ("common"), and for each share and place the rate of `GRID` with the
best mean validation accuracy of the tuning seeds ("own"; ties: the smaller one). The
grid reaches from rates at which nets stay far under their best to rates at which they
do so again; a test looks.

Metric. For each batch norm the ratio of its running variance to the variance of its
input in evaluation mode over the 2,000 images (`variance_shift`), median over its
units. Beside it the law of one layer: for a unit with input weights w and inputs u,
1 + p / (1 - p) * sum(w^2 E[u^2]) / Var(w u), with E and Var in evaluation mode. Test
accuracy in evaluation mode before and after the statistics are computed anew from the
2,000 images with dropout off (`precise_statistics`). The repair is the difference, in
points, of one net.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict. The running variance is an average over the last tens of steps, in which the
weights still move: at p = 0 the ratio shows how much that matters.

Reduced form. 20 steps, seeds 0 and 1, p = 0.3, every layer, float64.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from bnlib.pytorch.measure import variance_shift
from bnlib.pytorch.surgery import precise_statistics
from experiments import nets
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    all_or_some,
    best_of,
    median_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

SEEDS, TUNING_SEEDS = tuple(range(8)), (100, 101)
SIZES, IMAGES, BATCH_SIZE = (784, *[64] * 5, 10), 2_000, 100
STEPS, REDUCED_STEPS, COMMON = 500, 20, 0.03
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5)
NETS = (*(("every", p) for p in SHARES), ("last", 0.5))
GRID = (0.0003, 0.003, 0.03, 0.1, 0.3, 1.0, 3.0, 30.0)
DEPTH = len(SIZES) - 2


def build(place: str, p: float, seed: int, dtype: torch.dtype) -> nn.Sequential:
    """Return an untrained net with dropout behind every ReLU, or the last one."""
    rng = np.random.default_rng(seed)
    plain = nets.mlp(SIZES, rng, norm=nn.BatchNorm1d, dtype=dtype)
    last = max(i for i, layer in enumerate(plain) if isinstance(layer, nn.ReLU))
    layers: list[nn.Module] = []
    for i, layer in enumerate(plain):
        layers.append(layer)
        if isinstance(layer, nn.ReLU) and (place == "every" or i == last):
            layers.append(nn.Dropout(p))
    return nn.Sequential(*layers)


def trained(
    place: str, p: float, lr: float, seed: int, steps: int, dtype: torch.dtype
) -> nn.Sequential:
    """Return a net after training."""
    x, y = nets.images("train", dtype)
    model = build(place, p, seed, dtype)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the masks
        nets.train(
            model,
            (x[:IMAGES], y[:IMAGES]),
            torch.optim.SGD(model.parameters(), lr=lr),
            steps=steps,
            batch_size=BATCH_SIZE,
            rng=np.random.default_rng([seed, 1]),
        )
    return model


@torch.no_grad()
def one_layer_law(model: nn.Sequential, x: Tensor) -> list[float]:
    """Return the law's ratio at each batch norm, median over units, in order."""
    found, p = [], 0.0
    model.eval()
    for layer in model:
        if isinstance(layer, nn.Dropout):
            p = layer.p
        elif isinstance(layer, nn.Linear) and layer.out_features > 10:
            extra = (x**2).mean(0) @ layer.weight.T**2  # sum over inputs of w^2 E[u^2]
            ratio = 1 + p / (1 - p) * extra / layer(x).var(0)
            found.append(ratio.median().item())
        x = layer(x)
    return found


def measure(
    place: str, p: float, lr: float, seed: int,
    steps: int = STEPS, dtype: str = "float32",
) -> list[Row]:  # fmt: skip
    """Train one net; return a row for each batch norm."""
    kind = getattr(torch, dtype)
    model = trained(place, p, lr, seed, steps, kind)
    x, test = nets.images("train", kind)[0][:IMAGES], nets.images("test", kind)
    shift = variance_shift(model, x)
    numbers = {"accuracy": nets.accuracy(model, test)}
    laws = one_layer_law(model, x)
    precise_statistics(model, [x])
    numbers["repaired"] = nets.accuracy(model, test)
    rows = []
    for layer, (ratio, law) in enumerate(zip(shift.values(), laws, strict=True), 1):
        row = {"place": place, "p": p, "lr": lr, "seed": seed, "layer": layer}
        own = {"ratio": ratio.median().item(), "law": law}
        rows.append(row | {k: round(v, 5) for k, v in (own | numbers).items()})
    return rows


def validate(place: str, p: float, lr: float, seed: int) -> list[Row]:
    """Train one net; return its validation accuracy."""
    model = trained(place, p, lr, seed, STEPS, torch.float32)
    share = nets.accuracy(model, nets.images("validation"))
    return [{"place": place, "p": p, "lr": lr, "seed": seed, "accuracy": share}]


# --- the stages -----------------------------------------------------------------------


def net_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each net, rate and seed; equal rates run once."""
    tuning, tasks = load_table("tuning"), []
    for place, p in NETS:
        rates = sorted({COMMON, best_of(tuning, "lr", place=place, p=p)})
        tasks += [
            {"place": place, "p": p, "lr": lr, "seed": s}
            for lr, s in product(rates, SEEDS)
        ]
    return tasks


STAGES = (
    Stage(
        "tuning",
        validate,
        lambda _: [
            {"place": place, "p": p, "lr": lr, "seed": s}
            for (place, p), lr, s in product(NETS, GRID, TUNING_SEEDS)
        ],
        choosing=True,
    ),
    Stage("nets", measure, net_tasks),
    Stage(
        "reduced",
        measure,
        lambda _: [
            {"place": "every", "p": 0.3, "lr": COMMON, "seed": s}
            | {"steps": REDUCED_STEPS, "dtype": "float64"}
            for s in SEEDS[:2]
        ],
    ),
)
# In float64 twenty steps differ by 1e-12 between processors: a few images on an edge,
# or the last of five stored digits.
TOLERANCES = {
    **dict.fromkeys(("accuracy", "repaired"), 0.002),
    **dict.fromkeys(("ratio", "law"), 2e-5),
}


# --- reading the tables ---------------------------------------------------------------


def own_rate(place: str, p: float) -> float:
    """Return the rate that was chosen for a net."""
    return best_of(load("dropout_shift", "tuning"), "lr", place=place, p=p)


def of(column: str, p: float, rate: str, layer: int = DEPTH, place: str = "every"):
    """Return a column for one net and batch norm, by seed; accuracies in percent."""
    lr = COMMON if rate == "common" else own_rate(place, p)
    own = rows_where(load("dropout_shift", "nets"), place=place, p=p, lr=lr)
    own = rows_where(own, layer=layer)
    return (100 if column in ("accuracy", "repaired") else 1) * own[column]


def repair(p: float, rate: str, place: str = "every") -> np.ndarray:
    """Return the points that new statistics give back, by seed."""
    after, before = (of(c, p, rate, place=place) for c in ("repaired", "accuracy"))
    return after - before


# --- the claims -----------------------------------------------------------------------

WORDS = {"common": f"the rate {COMMON:g} for all", "own": "each net's own rate"}
DROPPED = SHARES[1:]


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    rows = []
    for rate in ("common", "own"):
        off = {
            p: 100 * np.abs(of("ratio", p, rate, 2) / of("law", p, rate, 2) - 1)
            for p in DROPPED
        }
        deep = {p: of("ratio", p, rate) / of("ratio", p, rate, 2) for p in DROPPED}
        rows += [
            _claim(
                "Behind one dropout the running variance is too large, by the law of "
                "one layer",
                rate,
                f"percent off the law at the second batch norm: {_by_p(off, 1)}",
                all_or_some({f"within {most} % at p = {p:g}":
                             bool(np.median(v) < most)
                             for p, v in off.items() for most in (5, 10)},
                            "the median is "),
            ),
            _claim(
                "The shift grows with depth",
                rate,
                f"ratio at the fifth / at the second batch norm: {_by_p(deep, 2)}",
                all_or_some({f"p = {p:g}": deep[p].min() > 1.1 for p in DROPPED},
                            "in every seed it is over 1.1 at "),
            ),
            _repair("0.5", rate),
            _claim(
                "At small shares the shift costs next to nothing",
                rate,
                "points that new statistics give back: "
                + _by_p({p: repair(p, rate) for p in (0.1, 0.2, 0.3)}, 1),
                all_or_some({f"p = {p:g}":
                             bool(np.median(repair(p, rate)) < 0.5)
                             for p in (0.1, 0.2, 0.3)},
                            "the median is under 0.5 points at "),
            ),
        ]  # fmt: skip
    last = of("accuracy", 0.5, "own", place="last")
    better = {
        "before": last - of("accuracy", 0.5, "own"),
        "after": last - of("repaired", 0.5, "own"),
    }
    rows.append(
        _claim(
            "Dropout of one half behind the last batch norm does better than behind "
            "every one",
            "own",
            f"points gained: {spread(better['before'], 1)}; over the net whose "
            f"statistics were repaired: {spread(better['after'], 1)}",
            all_or_some({f"it gains over 1 point over the net {when} the repair":
                         v.min() > 1 for when, v in better.items()}),
        )
    )  # fmt: skip
    return rows


def _by_p(values: dict[float, np.ndarray], digits: int) -> str:
    return "; ".join(f"p = {p:g}: {spread(v, digits)}" for p, v in values.items())


def _repair(p: str, rate: str) -> Claim:
    gains = repair(float(p), rate)
    return _claim(
        f"With dropout of {p} the shift costs accuracy that new statistics give back",
        rate,
        f"points given back: {spread(gains, 1)}",
        median_at_least(gains, 2, 0.5, "the points given back"),
    )


def _claim(claim: str, rate: str, effect: str, judged: Verdict) -> Claim:
    setting = f"five hidden layers, {IMAGES:,} images, {WORDS[rate]}"
    claim = f"{claim}, at {WORDS[rate]}"
    return Claim(claim, "li2019", setting, effect, judged, "ch-noise", SEEDS)
