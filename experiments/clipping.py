"""How large the learning rates may be with clipping, and with batch norm.

Protocol, written before the first run
--------------------------------------
Source. Bjorck et al. (2018) say that batch norm's gain is that of the larger learning
rates it allows. Brock, De, Smith and Simonyan (2021) clip gradients unit by unit, and
report that this lets nets without a norm train at larger rates and in larger batches;
clipping the whole gradient at one length was less stable in their ablations.

Nets. 196-64-...-64-10, ten hidden layers, ReLU, He's weights, no skip path. Arms: plain
("none"); the whole gradient clipped at length 1 or 0.1 ("whole 1", "whole 0.1");
clipped by unit at 0.1 or 0.01 of the weights' length, the last layer left out ("unit
0.1", "unit 0.01"); batch norm before each activation ("batch"). The hidden layers have
no bias.

Data. The embedded MNIST subset, averaged to 14 x 14: 7,000 images to train, 1,000 to
validate, 2,000 to test. Batches of 64, plain gradient descent, 200 steps, float32.
Windows are counted on validation images.

Rates. `GRID`, half a decade from rate to rate. A window is the number of rates of the
grid at which a net's accuracy reaches a threshold: 70, 80 and 85 percent; its top is
the largest of them. At both ends of the grid every arm must fail; a test looks.

Seeds. 0 to 4 for windows. For test accuracies 0 to 7, each arm at the rate that is best
in the mean of the tuning seeds 100 and 101 on validation images. Arms of one seed start
from the same weights and see the same batches. A trial run with seed 200 chose the
grid's ends, the thresholds and the limits of clipping.

Metric. Rates in the window; half decades between an arm's top and that of the plain
net; test accuracy. And how far a step goes: the length of the change of the middle
hidden layer's weights in one update, as a share of their length, the median over the
last 100 updates ("moved").

What would refute. Clipping replaces the larger rates if, for the better of its two
limits at each threshold, the top is no lower than that of batch norm, in the median
over the seeds; a net that only gets the same number of rates is told apart by the
second rule. And clipping at a larger rate is not a larger step unless "moved" at its
top grows at least twofold against the plain net's at the plain net's own top.

Reduced form. Rates 0.03 and 1, 12 steps, seeds 0 and 1, all arms, float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor, nn

from experiments import no_norm
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    all_or_some,
    best_of,
    rows_where,
    spread,
)
from experiments.no_norm import PIXELS, Side, SideNorm, accuracies, flat_images
from experiments.runner import Row, Stage, Task, load

HIDDEN, LAYERS, STEPS, REDUCED_STEPS = 64, 10, 200, 12
ARMS = {
    "none": "plain",
    "whole 1": "whole gradient, at 1",
    "whole 0.1": "whole gradient, at 0.1",
    "unit 0.1": "by unit, at 0.1",
    "unit 0.01": "by unit, at 0.01",
    "batch": "batch norm",
}
GRID = (
    0.001, 0.00316, 0.01, 0.0316, 0.1, 0.316, 1.0, 3.16, 10.0, 31.6, 100.0, 316.0,
)  # fmt: skip
SEEDS, TUNING_SEEDS, TEST_SEEDS = tuple(range(5)), (100, 101), tuple(range(8))
THRESHOLDS = (0.7, 0.8, 0.85)


def build(norm: bool, seeds: Sequence[int], dtype: torch.dtype) -> nn.Sequential:
    """Return untrained nets side by side, for inputs (nets, m, PIXELS)."""
    rngs = [np.random.default_rng(seed) for seed in seeds]
    layers: list[nn.Module] = []
    sizes = [PIXELS, *[HIDDEN] * LAYERS]
    for n_in, n_out in pairwise(sizes):
        draws = np.stack([rng.standard_normal((n_out, n_in)) for rng in rngs])
        layers.append(Side(draws, (2 / n_in) ** 0.5))
        layers += [SideNorm(len(seeds), n_out)] if norm else []
        layers.append(nn.ReLU())
    draws = np.stack([rng.standard_normal((10, HIDDEN)) for rng in rngs])
    return nn.Sequential(*layers, Side(draws, HIDDEN**-0.5, bias=True)).to(dtype)


def whole(limit: float, many: int) -> Callable[[list[nn.Parameter]], None]:
    """Return what shortens the whole gradient of each net to at most a length."""

    def clip(parameters: list[nn.Parameter]) -> None:
        grads = [p.grad.view(many, -1) for p in parameters if p.grad is not None]
        length = torch.cat(grads, 1).norm(dim=1, keepdim=True)
        factor = (limit / length.clamp_min(1e-30)).clamp_max(1.0)
        for grad in grads:
            grad.mul_(factor)

    return clip


def clipper(arm: str, many: int) -> Callable[[list[nn.Parameter]], None] | None:
    """Return what clips the gradients of an arm, if anything does."""
    kind, _, limit = arm.partition(" ")
    if kind == "unit":
        return no_norm.by_unit(float(limit))
    return whole(float(limit), many) if kind == "whole" else None


def run(
    arm: str,
    rates: Sequence[float],
    seeds: Sequence[int],
    steps: int,
    dtype: torch.dtype,
) -> tuple[nn.Sequential, np.ndarray]:
    """Train nets side by side; return them, and how far a step goes in each."""
    many = len(rates)
    stack = build(arm == "batch", seeds, dtype)
    middle = [layer for layer in stack if isinstance(layer, Side)][LAYERS // 2].weight
    before = [middle.detach().clone().view(many, -1)]
    moved: list[Tensor] = []

    def watch(step: int) -> None:
        after = middle.detach().clone().view(many, -1)
        if step >= steps // 2:
            moved.append((after - before[0]).norm(dim=1) / before[0].norm(dim=1))
        before[0] = after

    no_norm.train(
        stack, flat_images("train", dtype), rates, seeds, steps,
        clipper(arm, many), watch,
    )  # fmt: skip
    return stack, torch.stack(moved).median(0).values.numpy()


def rows_of(
    arm: str, rates: Sequence[float], seeds: Sequence[int], part: str,
    steps: int = STEPS, dtype: torch.dtype = torch.float32,
) -> list[Row]:  # fmt: skip
    """Return a row for each pair of rate and seed."""
    stack, moved = run(arm, rates, seeds, steps, dtype)
    found = accuracies(stack, flat_images(part, dtype), len(rates))
    return [
        {"arm": arm, "lr": lr, "seed": s, "accuracy": round(float(a), 4)}
        | {"moved": float(f"{m:.3g}")}
        for lr, s, a, m in zip(rates, seeds, found, moved, strict=True)
    ]


def windows(arm: str, seeds: Sequence[int]) -> list[Row]:
    """Train at each rate of the grid; return validation accuracies."""
    rates, own = zip(*product(GRID, seeds), strict=True)
    return rows_of(arm, rates, own, "validation")


def measure(
    arm: str, rates: Sequence[float], seeds: Sequence[int],
    steps: int = STEPS, dtype: str = "float32",
) -> list[Row]:  # fmt: skip
    """Train at some rates with each seed; return test accuracies."""
    pairs, own = zip(*product(rates, seeds), strict=True)
    return rows_of(arm, pairs, own, "test", steps, getattr(torch, dtype))


# --- the stages -----------------------------------------------------------------------


def test_tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each arm, at the chosen rate."""
    tuning = load_table("tuning")
    return [
        {"arm": arm, "rates": (best_of(tuning, "lr", arm=arm),), "seeds": TEST_SEEDS}
        for arm in ARMS
    ]


STAGES = (
    Stage(
        "tuning",
        windows,
        lambda _: [{"arm": arm, "seeds": TUNING_SEEDS} for arm in ARMS],
        choosing=True,
    ),
    Stage(
        "windows",
        windows,
        lambda _: [{"arm": arm, "seeds": SEEDS} for arm in ARMS],
        choosing=True,
    ),
    Stage("best", measure, test_tasks),
    Stage(
        "reduced",
        measure,
        lambda _: [
            {"arm": arm, "rates": (0.03, 1.0), "seeds": SEEDS[:2]}
            | {"steps": REDUCED_STEPS, "dtype": "float64"}
            for arm in ARMS
        ],
    ),
)
# In float64 twelve steps differ by 1e-10 between processors: one image on an edge, or
# the last of three stored digits.
TOLERANCES = {"accuracy": 0.0006, "moved": 0.002}


# --- reading the tables, and the claims -----------------------------------------------


def window(arm: str, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return for each seed how many rates reach a share, and the last one's place.

    The place counts half decades from the start of the grid; -1 if there is none.
    """
    table = load("clipping", "windows")
    counts, tops = [], []
    for seed in SEEDS:
        own = rows_where(table, arm=arm, seed=seed)
        reached = np.flatnonzero(own["accuracy"] >= share)
        counts.append(len(reached))
        tops.append(max(reached, default=-1))
    return np.array(counts), np.array(tops)


def median_accuracy(arm: str) -> np.ndarray:
    """Return the median validation accuracy at each rate of the grid, in percent."""
    table = load("clipping", "windows")
    return np.array(
        [100 * np.median(rows_where(table, arm=arm, lr=r)["accuracy"]) for r in GRID]
    )


def moved_at_top(arm: str, share: float) -> np.ndarray:
    """Return for each seed how far a step goes at the largest rate of the window."""
    table, found = load("clipping", "windows"), []
    for seed, top in zip(SEEDS, window(arm, share)[1], strict=True):
        own = rows_where(table, arm=arm, seed=seed)
        found.append(own["moved"][top] if top >= 0 else np.nan)
    return np.array(found)


def of(arm: str) -> np.ndarray:
    """Return the test accuracy by seed at the arm's own rate, in percent."""
    return 100 * rows_where(load("clipping", "best"), arm=arm)["accuracy"]


def better(kind: str, share: float) -> str:
    """Return the arm of a kind of clipping with the higher median top."""
    arms = [arm for arm in ARMS if arm.startswith(kind)]
    return max(arms, key=lambda arm: float(np.median(window(arm, share)[1])))


KINDS = {"whole": "Clipping the whole gradient", "unit": "Clipping by unit"}


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    return [
        *(claim for kind in KINDS for claim in _kind_claims(kind)),
        _step_claim(),
        _accuracy_claim(),
    ]


def _kind_claims(kind: str) -> list[Claim]:
    """Judge tops and counts of one kind of clipping against batch norm."""
    tops, counts, words = {}, {}, []
    for share in THRESHOLDS:
        arm = better(kind, share)
        (n, top), (n_batch, top_batch), (_, top_none) = (
            window(a, share) for a in (arm, "batch", "none")
        )
        tops[f"{share:.0%}"] = bool(np.median(top - top_batch) >= 0)
        counts[f"{share:.0%}"] = bool(np.median(n - n_batch) >= 0)
        words.append(
            f"{share:.0%} ({arm}): top {spread(top - top_none)} half decades above the "
            f"plain net's, batch norm's {spread(top_batch - top_none)}; rates "
            f"{spread(n)}, batch norm {spread(n_batch)}"
        )
    effect = "; ".join(words)
    claims = []
    for what, facts in (("allows rates as large", tops), ("has as many rates", counts)):
        asked = {
            f"the median of the difference to batch norm is at least 0 at {share}": yes
            for share, yes in facts.items()
        }
        claims.append(
            _claim(
                f"{KINDS[kind]} {what} as batch norm",
                "brock2021nfnet" if kind == "unit" else "bjorck2018",
                effect,
                all_or_some(asked, ""),
            )
        )
    return claims


def _step_claim() -> Claim:
    """Judge whether the larger rates of clipping are larger steps."""
    share = THRESHOLDS[1]
    arm = better("unit", share)
    base = np.nanmedian(moved_at_top("none", share))
    ratios = {a: moved_at_top(a, share) / base for a in (arm, "batch")}
    words = ", ".join(
        f"{ARMS[a]} {np.nanmedian(v):.1f} times" for a, v in ratios.items()
    )
    larger = bool(np.nanmedian(ratios[arm]) >= 2)
    return _claim(
        "The larger rates that clipping by unit allows are larger steps",
        "brock2021nfnet",
        f"step at the top of the window ({share:.0%}), against the plain net's at its "
        f"own top, {100 * base:.1g} % of the weights: {words}",
        all_or_some({"the median is at least 2 times the plain net's": larger}, ""),
    )


def _accuracy_claim() -> Claim:
    """Judge the plain net with the better clipping by unit against batch norm."""
    lost = {arm: of("batch") - of(arm) for arm in ARMS if arm.startswith("unit")}
    facts = {
        f"the median loss is under {points} point{'s' if points > 1 else ''}": min(
            float(np.median(v)) for v in lost.values()
        )
        < points
        for points in (1, 3)
    }
    words = ", ".join(f"{ARMS[arm]} {spread(v, 1)}" for arm, v in lost.items())
    return _claim(
        "A plain deep net whose gradients are clipped by unit is as good as batch norm",
        "brock2021nfnet",
        f"points lost, each at its own rate: {words}; with no clipping "
        f"{spread(of('batch') - of('none'), 1)}",
        all_or_some(facts, ""),
    )._replace(seeds=TEST_SEEDS)


def _claim(claim: str, source: str, effect: str, judged: Verdict) -> Claim:
    setting = f"nets of {LAYERS} hidden layers without skips, {STEPS} steps"
    return Claim(claim, source, setting, effect, judged, "ch-without", SEEDS)
