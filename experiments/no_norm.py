"""Residual nets without batch norm, each with its own remedy and its own rate.

Protocol, written before the first run
--------------------------------------
Source. De and Smith (2020): what deep residual nets need at the start is a branch that
is small beside its skip path; then they train without a norm. Shao et al. (2020) train
residual nets without a norm by weights on both paths whose squares sum to 1. Brock, De
and Smith (2021) standardize weights and divide each branch's input by the standard
deviation that theory predicts; Brock, De, Smith and Simonyan (2021) add clipping by
unit, and report that large nets then match batch norm. Zhu et al. (2025) put
tanh(alpha x) in the place of layer norm.

Nets. A linear layer from 14 x 14 pixels to 32 units, then 10 or 50 blocks, ReLU, a
linear output layer. Branches without bias, He's scale, LeCun's scale for first and last
layer. The block's output, with f the linear layer after ReLU:
none: h + f(h). batch: h + f(norm(h)). root: h + f(h) / sqrt(blocks). half: (h + f(h)) /
sqrt(2). skipinit: h + s f(h), s learned from 0. tanh: h + f(DyT(h)), alpha 0.5.
standard: h + f(h / sqrt(l + 1)), l = 0, 1, ..., with standardized weights and the gain
of ReLU, and a learned scale of each unit from 1. clipped: as standard, and the
gradients of all weights but the last layer's clipped by unit at 0.1 (the limit is not
tuned).

Data. The embedded MNIST subset, averaged to 14 x 14, mean near 0: 7,000 images to
train, 1,000 to validate, 2,000 to test. Batches of 64, plain gradient descent at a
constant rate, 200 steps, float32.

Rates. For each arm and depth the one of `GRID` with the best mean validation accuracy
of the tuning seeds (ties: the smaller one). The grid reaches failure on both sides; a
test looks. An output that is not finite counts as wrong.

Seeds. 0 to 7; tuning seeds 100 and 101, used for nothing else. Arms of one seed start
from the same draws and see the same batches. A trial run with seed 200, on validation
images, chose the grid's ends and the size of the nets.

Metric. Test accuracy in evaluation mode after the last step. A loss is batch norm less
the remedy, of one seed, in points.

What would refute. "Keeps up" asks that the median loss is under 1 point at both depths
(also judged at 3 points). The untouched net
must fail at 50 blocks, or there is nothing to remedy.

Reduced form. 8 steps, 4 blocks, seeds 0 and 1, all arms, float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from bnlib import data
from bnlib.pytorch.without import RELU_GAIN, clipped_by_unit, standardized
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    all_or_some,
    best_of,
    rows_where,
    spread,
)
from experiments.family_nets import small_images
from experiments.nets import Images
from experiments.runner import Row, Stage, Task, load

PIXELS, WIDTH, DEPTHS, STEPS, REDUCED_STEPS, BATCH_SIZE = 196, 32, (10, 50), 200, 8, 64
ARMS = {
    "none": "nothing in its place",
    "batch": "batch norm",
    "root": "branch / sqrt(blocks)",
    "half": "sum / sqrt(2)",
    "skipinit": "SkipInit",
    "standard": "standardized weights",
    "clipped": "standardized and clipped",
    "tanh": "dynamic tanh",
}
REMEDIES = tuple(ARMS)[2:]
SOURCES = {
    "root": "de2020", "half": "shao2020", "skipinit": "de2020", "tanh": "zhu2025",
    "standard": "brock2021signal", "clipped": "brock2021nfnet",
}  # fmt: skip
GRID = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
SEEDS, TUNING_SEEDS = tuple(range(8)), (100, 101)
ALPHA, LIMIT, POINTS = 0.5, 0.1, (1, 3)


def flat_images(part: str, dtype: torch.dtype = torch.float32) -> Images:
    """Return the images of a part, (n, PIXELS), and their classes."""
    x, y = small_images(part, dtype)
    return x.flatten(1), y


# --- nets side by side ----------------------------------------------------------------


class Side(nn.Module):
    """Linear layers of several nets: (nets, m, in) to (nets, m, out).

    The weights of all nets stand in one matrix, a row for each unit.
    """

    def __init__(self, draws: np.ndarray, sd: float, bias: bool = False) -> None:
        super().__init__()
        self.nets, self.n_out, n_in = draws.shape
        rows = torch.from_numpy(sd * draws).view(self.nets * self.n_out, n_in)
        self.weight = nn.Parameter(rows)
        start = torch.zeros(self.nets, 1, self.n_out, dtype=rows.dtype)
        self.bias = nn.Parameter(start) if bias else None

    def matrix(self) -> Tensor:
        """Return the weights that are used."""
        return self.weight

    def forward(self, u: Tensor) -> Tensor:
        """Return W u of each net, with its bias if there is one."""
        weight = self.matrix().view(self.nets, self.n_out, -1).transpose(1, 2)
        x = torch.bmm(u, weight)
        return x if self.bias is None else x + self.bias


class SideStandardized(Side):
    """`Side` with standardized weights and a learned scale of each unit."""

    def __init__(self, draws: np.ndarray, sd: float, bias: bool = False) -> None:
        super().__init__(draws, sd, bias)
        start = torch.ones(len(self.weight), 1, dtype=self.weight.dtype)
        self.scale = nn.Parameter(start)

    def matrix(self) -> Tensor:
        """Return the standardized weights."""
        return self.scale * standardized(self.weight, RELU_GAIN)


class SideNorm(nn.Module):
    """Batch norm of the units of all nets."""

    def __init__(self, nets: int, units: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(nets * units)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, of shape (nets, m, units)."""
        rows = x.transpose(0, 1)
        return self.norm(rows.flatten(1)).view(rows.shape).transpose(0, 1)


class SideTanh(nn.Module):
    """Dynamic tanh with an alpha, and scales and shifts, of each net."""

    def __init__(self, alphas: Sequence[float], units: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(alphas).view(-1, 1, 1))
        self.weight = nn.Parameter(torch.ones(len(alphas), 1, units))
        self.bias = nn.Parameter(torch.zeros(len(alphas), 1, units))

    def forward(self, x: Tensor) -> Tensor:
        """Squash x, of shape (nets, m, units)."""
        return torch.tanh(self.alpha * x) * self.weight + self.bias


class Step(nn.Module):
    """A block a h + b f(g(c h)): two paths, their factors, and what stands before f."""

    def __init__(
        self, linear: Side, before: nn.Module, skip: float, branch: Tensor, inner: float
    ) -> None:
        super().__init__()
        self.linear, self.before, self.branch = linear, before, branch
        self.skip, self.inner = skip, inner

    def forward(self, h: Tensor) -> Tensor:
        """Return the block's output, (nets, m, units)."""
        added = self.linear(torch.relu(self.before(self.inner * h)))
        return self.skip * h + self.branch * added


def block(
    arm: str, number: int, blocks: int, draws: np.ndarray, alphas: Sequence[float]
) -> Step:
    """Return a block of an arm, of several nets."""
    many, units, _ = draws.shape
    kind = SideStandardized if arm in ("standard", "clipped") else Side
    before: nn.Module = nn.Identity()
    if arm == "batch":
        before = SideNorm(many, units)
    if arm == "tanh":
        before = SideTanh(alphas, units)
    start = {"root": blocks**-0.5, "half": 0.5**0.5, "skipinit": 0.0}.get(arm, 1.0)
    branch = torch.full((many, 1, 1), start, dtype=torch.float64)
    return Step(
        kind(draws, (2 / units) ** 0.5),
        before,
        skip=0.5**0.5 if arm == "half" else 1.0,
        branch=nn.Parameter(branch, requires_grad=arm == "skipinit"),
        inner=(number + 1) ** -0.5 if kind is SideStandardized else 1.0,
    )


def build(
    arm: str,
    blocks: int,
    seeds: Sequence[int],
    dtype: torch.dtype = torch.float32,
    alphas: Sequence[float] | None = None,
) -> nn.Sequential:
    """Return untrained nets side by side, for inputs (nets, m, PIXELS)."""
    rngs = [np.random.default_rng(seed) for seed in seeds]

    def draw(n_out: int, n_in: int) -> np.ndarray:
        return np.stack([rng.standard_normal((n_out, n_in)) for rng in rngs])

    alphas = [ALPHA] * len(seeds) if alphas is None else alphas
    layers: list[nn.Module] = [Side(draw(WIDTH, PIXELS), PIXELS**-0.5)]
    for number in range(blocks):
        layers.append(block(arm, number, blocks, draw(WIDTH, WIDTH), alphas))
    last = Side(draw(10, WIDTH), WIDTH**-0.5, bias=True)
    return nn.Sequential(*layers, nn.ReLU(), last).to(dtype)


def train(
    stack: nn.Module,
    images: Images,
    rates: Sequence[float],
    seeds: Sequence[int],
    steps: int,
    clip: Callable[[list[nn.Parameter]], object] | None = None,
    after_step: Callable[[int], object] | None = None,
) -> None:
    """Train by plain gradient descent, each net at its rate; **changes the stack**.

    Nets of one seed see the same batches.

    Parameters
    ----------
    stack : nn.Module
        Nets side by side: each parameter's first axis holds one part for each net.
    images : tuple of Tensor
        Images (n, PIXELS) and classes.
    rates, seeds : sequence of float, of int
        One for each net.
    steps : int
        Updates.
    clip : callable, optional
        May change the gradients of the parameters that it gets, before an update.
    after_step : callable, optional
        Is called with each step's number.
    """
    x, y = images
    orders = {
        seed: data.endless_batches(len(y), BATCH_SIZE, np.random.default_rng([seed, 1]))
        for seed in dict.fromkeys(seeds)
    }
    rate = torch.tensor(rates, dtype=x.dtype)[:, None]
    trained = [p for p in stack.parameters() if p.requires_grad]
    for step in range(steps):
        batch = {seed: next(order) for seed, order in orders.items()}
        index = torch.from_numpy(np.stack([batch[seed] for seed in seeds]))
        logits = stack(x[index])  # (nets, m, 10)
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), y[index].flatten(), reduction="sum"
        )
        stack.zero_grad()
        (loss / BATCH_SIZE).backward()
        if clip is not None:
            clip(trained)
        with torch.no_grad():
            for p in trained:
                assert p.grad is not None
                p.view(len(rates), -1).sub_(rate * p.grad.view(len(rates), -1))
        if after_step is not None:
            after_step(step)


def by_unit(limit: float) -> Callable[[list[nn.Parameter]], None]:
    """Return what clips the matrices but the last one, unit by unit."""

    def clip(parameters: list[nn.Parameter]) -> None:
        for p in [p for p in parameters if p.ndim == 2 and p.shape[1] > 1][:-1]:
            assert p.grad is not None
            p.grad = clipped_by_unit(p.grad, p.detach(), limit)

    return clip


@torch.no_grad()
def accuracies(stack: nn.Module, images: Images, many: int) -> np.ndarray:
    """Return the share of images that each net names, in evaluation mode."""
    x, y = images
    stack.eval()
    right = torch.zeros(many)
    for part in torch.arange(len(y)).split(500):
        logits = stack(x[part].expand(many, -1, -1))
        named = (logits.argmax(2) == y[part]) & logits.isfinite().all(2)
        right += named.sum(1)
    return right.numpy() / len(y)


# --- the stages -----------------------------------------------------------------------


def trained(
    arm: str,
    depth: int,
    rates: Sequence[float],
    seeds: Sequence[int],
    steps: int,
    dtype: torch.dtype,
) -> nn.Sequential:
    """Return nets after training, side by side: one for each rate and its seed."""
    stack = build(arm, depth, seeds, dtype)
    clip = by_unit(LIMIT) if arm == "clipped" else None
    train(stack, flat_images("train", dtype), rates, seeds, steps, clip)
    return stack


def measure(
    arm: str, depth: int, lr: float, seeds: Sequence[int],
    steps: int = STEPS, dtype: str = "float32",
) -> list[Row]:  # fmt: skip
    """Train nets side by side; return the test accuracy of each seed."""
    kind, many = getattr(torch, dtype), len(seeds)
    stack = trained(arm, depth, [lr] * many, seeds, steps, kind)
    found = accuracies(stack, flat_images("test", kind), many)
    row = {"arm": arm, "depth": depth, "lr": lr}
    return [
        row | {"seed": s, "accuracy": round(float(a), 4)}
        for s, a in zip(seeds, found, strict=True)
    ]


def validate(arm: str, depth: int) -> list[Row]:
    """Train at each rate with each tuning seed; return validation accuracies."""
    rates, seeds = zip(*product(GRID, TUNING_SEEDS), strict=True)
    stack = trained(arm, depth, rates, seeds, STEPS, torch.float32)
    found = accuracies(stack, flat_images("validation"), len(seeds))
    row = {"arm": arm, "depth": depth}
    return [
        row | {"lr": lr, "seed": s, "accuracy": round(float(a), 4)}
        for lr, s, a in zip(rates, seeds, found, strict=True)
    ]


def test_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each arm and depth, at the chosen rate."""
    tuning = load_table("tuning")
    return [
        {"arm": arm, "depth": depth, "lr": best_of(tuning, "lr", arm=arm, depth=depth)}
        | {"seeds": SEEDS}
        for arm, depth in product(ARMS, DEPTHS)
    ]


STAGES = (
    Stage(
        "tuning",
        validate,
        lambda _: [{"arm": a, "depth": d} for a, d in product(ARMS, DEPTHS)],
        choosing=True,
    ),
    Stage("nets", measure, test_tasks),
    Stage(
        "reduced",
        measure,
        lambda _: [
            {"arm": arm, "depth": 4, "lr": 0.03, "seeds": SEEDS[:2]}
            | {"steps": REDUCED_STEPS, "dtype": "float64"}
            for arm in ARMS
        ],
    ),
)
# In float64 eight steps differ by 1e-12 between processors: one image on an edge.
TOLERANCES = {"accuracy": 0.0006}


# --- reading the tables, and the claims -----------------------------------------------


def of(arm: str, depth: int) -> np.ndarray:
    """Return the test accuracy by seed, in percent."""
    return 100 * rows_where(load("no_norm", "nets"), arm=arm, depth=depth)["accuracy"]


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    deep = DEPTHS[-1]
    fails = float(np.median(of("none", deep))) < 50
    rows = [
        _claim(
            f"A residual net of {deep} blocks fails with nothing in batch norm's place",
            "de2020",
            f"test accuracy: {spread(of('none', deep), 1)} %, with batch norm "
            f"{spread(of('batch', deep), 1)} %",
            all_or_some({"the median is under 50 %": fails}, ""),
        )
    ]
    for arm, points in product(REMEDIES, POINTS):
        lost = {d: of("batch", d) - of(arm, d) for d in DEPTHS}
        facts = {
            f"the median loss at {d} blocks is under {points} point"
            f"{'s' if points > 1 else ''}": bool(np.median(v) < points)
            for d, v in lost.items()
        }
        words = ", ".join(f"{spread(v, 1)} at {d} blocks" for d, v in lost.items())
        rows.append(
            _claim(
                f"In batch norm's place, {ARMS[arm]}: the net keeps up, to {points} "
                f"point{'s' if points > 1 else ''}",
                SOURCES[arm],
                f"points lost: {words}",
                all_or_some(facts, ""),
            )
        )
    return rows


def _claim(claim: str, source: str, effect: str, judged: Verdict) -> Claim:
    setting = f"residual nets of width {WIDTH}, {STEPS} steps, each arm's own rate"
    return Claim(claim, source, setting, effect, judged, "ch-without", SEEDS)
