"""The loss along the gradient, and the shift of a layer's gradient, while nets train.

Protocol, written before the first run
--------------------------------------
Source. Santurkar et al. (2018). Figure 4: while a VGG net trains, the loss and the
gradient are followed along the gradient's direction; with batch norm the loss varies
less, the gradient changes less, and the effective smoothness is better. Section 2.2 and
figure 3: internal covariate shift, defined as the change of a layer's gradient when the
layers below take their step, is similar or worse with batch norm, in a VGG net and in a
deep linear net of 25 layers.

Nets. 784-64-...-64-10 with 5, 10 and 15 hidden layers, ReLU, He weights, plain and with
batch norm before each activation. The same rates for both, 0.01, 0.03 and 0.1; batches
of 60, plain gradient descent, 500 steps, float64, so that rounding is no part of a
small change.

Data. The embedded MNIST subset: 7,000 images to train; for the measurements too,
batches of 60 drawn from these, the same for both nets.

Seeds. 0 to 4, which draw weights and batches: a pair of nets starts from the same
weights and sees the same batches. A trial run with seed 200, depths 5 and 15, showed
that at these rates all nets learn (at 0.3 the plain net with 15 layers does not), and
how large the numbers are. It saw that the effective smoothness of the two nets is about
equal, and that the range of the loss is not.

Metric. Every 50 steps, on a batch that no step uses, in training mode:
- walk along the gradient, to 0.5, 1, 2 and 4 times the learning rate. Range: largest
  less smallest loss of the walk. Rise: largest loss of the walk less the loss at the
  start, 0 if none is larger. Change: largest distance of the gradient from that at the
  start. Relative: the same at one learning rate, divided by the gradient's length.
  Smooth: largest change per distance walked.
- shift of the weights of the middle and of the last hidden layer, when all that stands
  below takes a step of the learning rate: relative change and cosine of its gradient,
  and the plain distance, which is the definition of the paper.
Each is the median over the 11 looks of a run.

Trajectory, the confound. Each net is measured where its own training has led it, at a
loss of its own. So each look is taken twice, at the same weights, on the same batch, at
the same loss: of the net with batch norm also with its statistics *held* at their
values on this batch, as constants (`hold_statistics`); of the plain net also with batch
norms put in whose gamma and beta *restore* what was there (`restore`). The two of a
look are the same function of the batch, and differ only in whether the statistics
follow the weights.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict. Ratios of 2 are asked of the walk in each of the nine settings. "Not reduced"
means: the relative change with batch norm is at least 0.9 of that without, and the
cosine is not more than 0.05 higher.

Reduced form. Five layers, rate 0.03, seeds 0 and 1, both nets, 50 steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from bnlib.pytorch.measure import internal_covariate_shift, walk_along_gradient
from bnlib.pytorch.variants import hold_statistics
from experiments import nets
from experiments.claims import Claim, Verdict, medians_at_least, rows_where, spread
from experiments.runner import Row, Stage, Task, load

WIDTH, BATCH_SIZE, STEPS, REDUCED_STEPS, EVERY = 64, 60, 500, 50, 50
DEPTHS, LRS, SEEDS = (5, 10, 15), (0.01, 0.03, 0.1), (0, 1, 2, 3, 4)
FACTORS = (0.5, 1.0, 2.0, 4.0)  # steps of the walk, times the learning rate
NORMS: dict[str, nets.Norm] = {"none": None, "batch": nn.BatchNorm1d}
FIXED, FOLLOWING = "fixed", "following"  # statistics: constants, or of the weights
OWN = {"none": FIXED, "batch": FOLLOWING}  # what a net trains with
PLACES = ("middle", "last")


def build(depth: int, norm: str, seed: int) -> nn.Sequential:
    """Build a net of the protocol."""
    sizes = [784, *[WIDTH] * depth, 10]
    rng = np.random.default_rng(seed)
    return nets.mlp(sizes, rng, norm=NORMS[norm], dtype=torch.float64)


def restore(model: nn.Sequential, x: Tensor) -> nn.Sequential:
    """Return a copy of a plain net with batch norms that change nothing on a batch.

    Each linear layer but the last gets one. Its gamma is the root of variance + eps of
    the layer's output on the batch x, and its beta the mean.
    """
    layers: list[nn.Module] = []
    with torch.no_grad():
        for layer in [*model][:-1]:
            x = layer(x)
            layers.append(layer)
            if isinstance(layer, nn.Linear):
                norm = nn.BatchNorm1d(layer.out_features, dtype=x.dtype)
                norm.weight.copy_((x.var(0, correction=0) + norm.eps).sqrt())
                norm.bias.copy_(x.mean(0))
                layers.append(norm)
    return nn.Sequential(*layers, model[-1])  # the linear layers are shared


def views(model: nn.Sequential, norm: str, x: Tensor) -> dict[str, nn.Sequential]:
    """Return the net with statistics that are fixed, and with some that follow."""
    if norm == "none":
        return {FIXED: model, FOLLOWING: restore(model, x)}
    return {FIXED: hold_statistics(model, x), FOLLOWING: model}


def measured(model: nn.Sequential, x: Tensor, y: Tensor, lr: float) -> Row:
    """Return all numbers of one look, rounded to four digits."""

    def loss() -> Tensor:
        return nn.functional.cross_entropy(model(x), y)

    along = walk_along_gradient(model, loss, [lr * f for f in FACTORS])
    hidden = [layer for layer in model if isinstance(layer, nn.Linear)][:-1]
    layers = [hidden[len(hidden) // 2], hidden[-1]]
    shift = internal_covariate_shift(model, loss, lr, layers)
    row = {
        "loss": along.loss,
        "norm_of_gradient": along.norm,
        "range": along.range,
        "rise": max(along.losses.max() - along.loss, 0.0),
        "change": along.changes.max(),
        "relative": along.changes[FACTORS.index(1.0)] / along.norm,
        "smooth": along.smoothness,
    }
    for i, place in enumerate(PLACES):
        row[f"shift_{place}"] = shift.relative[i]
        row[f"cosine_{place}"] = shift.cosine[i]
        row[f"distance_{place}"] = shift.change[i]
    return {key: float(f"{value:.4g}") for key, value in row.items()}


def probe(depth: int, lr: float, norm: str, seed: int, steps: int) -> list[Row]:
    """Train one net and look at it; return two rows for each look."""
    model, images = build(depth, norm, seed), nets.images("train", torch.float64)
    rng = np.random.default_rng([seed, 2])
    net = {"depth": depth, "lr": lr, "norm": norm, "seed": seed}
    rows: list[Row] = []

    def look(step: int) -> None:
        index = rng.choice(len(images[1]), BATCH_SIZE, replace=False)
        x, y = (part[torch.from_numpy(index)] for part in images)
        for statistics, view in views(model, norm, x).items():
            place = {"step": step, "statistics": statistics}
            rows.append(net | place | measured(view, x, y, lr))

    nets.train(
        model,
        images,
        torch.optim.SGD(model.parameters(), lr),
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
        call_at=range(0, steps + 1, EVERY),
        callback=look,
    )
    return rows


def tasks(
    depths: Sequence[int], lrs: Sequence[float], seeds: Sequence[int], steps: int
) -> list[Task]:
    """Return a task for each depth, rate, net and seed."""
    return [
        {"depth": d, "lr": lr, "norm": n, "seed": s, "steps": steps}
        for d, lr, n, s in product(depths, lrs, NORMS, seeds)
    ]


STAGES = (
    Stage("looks", probe, lambda _: tasks(DEPTHS, LRS, SEEDS, STEPS)),
    Stage("reduced", probe, lambda _: tasks((5,), (0.03,), SEEDS[:2], REDUCED_STEPS)),
)
# Numbers are rounded to four digits and computed in float64 over few steps: only the
# last digit may move, which is 0.1 where they are above 100.
TOLERANCES = dict.fromkeys(
    ("loss", "norm_of_gradient", "range", "rise", "change", "relative"), 0.01
) | {"smooth": 0.2}
TOLERANCES |= {
    f"{k}_{p}": 0.01 for k in ("shift", "cosine", "distance") for p in PLACES
}


# --- reading the table ----------------------------------------------------------------


def typical(
    column: str, depth: int, lr: float, norm: str, statistics: str | None = None
) -> np.ndarray:
    """Return for each seed the median of a column over the looks.

    Parameters
    ----------
    column : str
        What was measured.
    depth, lr, norm : int, float, str
        Whose training.
    statistics : {"fixed", "following"}, optional
        Which of the two views; the one with which the net trains if not given.
    """
    statistics = statistics or OWN[norm]
    own = rows_where(
        load("landscape", "looks"), depth=depth, lr=lr, norm=norm, statistics=statistics
    )
    return np.array(
        [np.median(own[column][own["seed"] == s]) for s in np.unique(own["seed"])]
    )


def settings() -> dict[str, tuple[int, float]]:
    """Return depth and rate of the nine settings by their words."""
    return {f"{d} layers, rate {lr:g}": (d, lr) for d, lr in product(DEPTHS, LRS)}


def own_ratios(column: str) -> dict[str, np.ndarray]:
    """Divide plain by batch norm, each where its own training has led it."""
    return {
        words: typical(column, *at, "none") / typical(column, *at, "batch")
        for words, at in settings().items()
    }


def same_ratios(column: str, norm: str) -> dict[str, np.ndarray]:
    """Divide fixed by following statistics at the same weights, those of one net."""
    return {
        words: typical(column, *at, norm, FIXED) / typical(column, *at, norm, FOLLOWING)
        for words, at in settings().items()
    }


# --- the claims -----------------------------------------------------------------------

WALK = {
    "range": "the range of the loss",
    "change": "the change of the gradient",
    "smooth": "the effective smoothness",
}


def claims() -> list[Claim]:
    """Judge the claims by the stored table; the rules were set before the run."""
    return [*walk_claims(), *control_claims(), *shift_claims()]


def walk_claims() -> list[Claim]:
    """Judge the three measurements, each net on its own trajectory."""
    claims = {
        "range": "Along the gradient, batch norm halves the range of the loss",
        "change": "Along the gradient, batch norm halves the change of the gradient",
        "smooth": "Along the gradient, batch norm makes the loss twice as smooth",
    }
    return [
        _claim(
            f"{claims[column]}, each net on its own trajectory",
            "santurkar2018",
            f"{words}, plain / batch norm",
            own_ratios(column),
            2,
        )
        for column, words in WALK.items()
    ]


def control_claims() -> list[Claim]:
    """Judge the same at the same weights: statistics fixed, or following."""
    where = {"batch": "the weights of the net with batch norm",
             "none": "the plain net's weights"}  # fmt: skip
    verbs = {"range": "halve the range of the loss",
             "smooth": "make the loss twice as smooth"}  # fmt: skip
    return [
        _claim(
            f"Statistics that follow the weights {verb} at {place}",
            "control of this book",
            f"{WALK[column]}, statistics fixed / following",
            same_ratios(column, norm),
            2,
        )
        for (norm, place), (column, verb) in product(where.items(), verbs.items())
    ]


def shift_claims() -> list[Claim]:
    """Judge internal covariate shift, by depth, and at the same weights."""
    rows = []
    for depth in DEPTHS:
        at = {w: pair for w, pair in settings().items() if pair[0] == depth}
        ratios, gaps = {}, {}
        for (words, pair), place in product(at.items(), PLACES):
            name = f"{words}, {place} hidden layer"
            shift = {n: typical(f"shift_{place}", *pair, n) for n in NORMS}
            cosine = {n: typical(f"cosine_{place}", *pair, n) for n in NORMS}
            ratios[name] = shift["batch"] / shift["none"]
            gaps[name] = cosine["none"] - cosine["batch"]
        about = f"Batch norm does not reduce internal covariate shift, {depth} layers"
        rows += [
            _claim(
                f"{about}: relative change of the gradient",
                "santurkar2018",
                "the relative change, batch norm / plain",
                ratios,
                0.9,
            ),
            _claim(
                f"{about}: cosine of the gradients",
                "santurkar2018",
                "the cosine, plain less batch norm",
                gaps,
                -0.05,
                2,
            ),
        ]
    for place in PLACES:
        column = f"shift_{place}"
        ratios = same_ratios(column, "batch")
        rows.append(
            _claim(
                "At the same weights, statistics that follow reduce the shift of the "
                f"{place} hidden layer by a tenth",
                "control of this book",
                "the relative change, statistics fixed / following",
                ratios,
                1.1,
            )
        )
    return rows


def _claim(
    claim: str,
    source: str,
    what: str,
    values: dict[str, np.ndarray],
    least: float,
    digits: int = 1,
) -> Claim:
    effect = "; ".join(f"{spread(v, digits)} at {at}" for at, v in values.items())
    judged: Verdict = medians_at_least(values, least, what)
    setting = f"hidden layers of {WIDTH}, {STEPS} steps, a look every {EVERY}"
    return Claim(
        claim, source, setting, f"{what}: {effect}", judged, "ch-smoothness", SEEDS
    )
