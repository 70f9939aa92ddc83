"""Test batches that are small, of two classes or of one, and what mixing gives back.

Protocol, written before the first run; the second form before the second one
-----------------------------------------------------------------------------
Second form. In the first run (shift "both" alone) no mixture helped in batches of more
than 2 images: the source's statistics are far off there. So "blur" was added as a mild
shift, with the two claims about it; `adapt_shift` had shown what it does in mixed
batches of 100. All else is as it was.

Source. Schneider et al. (2020): with few test images mix their statistics with the
source's, weight N / (N + n). Nado et al. (2020) use the statistics of test batches.
Wang et al. (2021): entropy minimization, tried by its
authors on mixed test batches.

Data. As in `adapt_shift`; shifts "both" (0.3 x + 0.5; entropy minimization sees this
one alone) and "blur". Test batches of 2, 6, 15 or 50 images, equally many batches for
each class: of all classes ("mixed"), of two classes each ("two"), of one class ("one",
one class after the other). The images of a class are as many as fit into whole batches
in each class.

Nets. The dense net of `adapt_shift` with batch norm, at the rate chosen there.

Methods. Statistics of the batch, mixed with the source's by a weight of `WEIGHTS` (0:
the batch alone, 1: the source alone). "tent": entropy minimization with statistics of
the batch, in batches of 50, at each rate of `TENT_GRID`, mixed and one class; a stream
is the test images once.

Rates and strengths. For each size and kind of batch one weight is chosen on validation
images under the held-out shifts of `adapt_shift`, tuning seeds, best mean accuracy
(ties: the smaller weight). Tent's rate is the one of `adapt_shift`.

Seeds. 0 to 7; tuning seeds 100 and 101, used for nothing else. A trial run of
`adapt_shift` with seeds 102 and 103 showed what mixed batches of 100 do, and that a
rate of 1 makes Tent collapse; batches of one class were not tried on trained nets.

Metric. Test accuracy; for Tent also the share of the most frequent answer and the mean
entropy of the last fifth of the stream. Gains are differences with one seed, in points.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. 30 steps, seeds 0 and 1, batches of 15, three weights, float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from bnlib.pytorch.adapting import entropy, minimize_entropy, mix_statistics
from experiments import adapt_shift, nets
from experiments.adapt_shift import (
    HELD_OUT,
    SEEDS,
    STEPS,
    TENT_GRID,
    TUNING_SEEDS,
    answers,
    shifted,
)
from experiments.claims import (
    Claim,
    Table,
    Verdict,
    all_or_some,
    best_of,
    median_at_least,
    medians_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

KINDS, SIZES = ("mixed", "two", "one"), (2, 6, 15, 50)
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
SHIFTS, TENT_SIZE, REDUCED_STEPS = ("both", "blur"), 50, 30


def arranged(y: np.ndarray, kind: str, size: int, rng: np.random.Generator):
    """Return the images of each test batch, shape (batches, size).

    All kinds use equally many images of each class.
    """
    each = int(np.bincount(y).min()) // size * size
    classes = rng.permutation(10)
    own = [rng.permutation(np.flatnonzero(y == c))[:each] for c in classes]
    many = {"one": 1, "two": 2, "mixed": 10}[kind]
    groups = [np.concatenate(own[k : k + many]) for k in range(0, 10, many)]
    return np.concatenate([rng.permutation(g) for g in groups]).reshape(-1, size)


def streams(y: np.ndarray, kind: str, size: int, seeds: Sequence[int]) -> Tensor:
    """Return test batches for nets side by side, shape (batches, size, nets)."""
    own = [arranged(y, kind, size, np.random.default_rng([s, 3])) for s in seeds]
    return torch.from_numpy(np.stack(own, axis=2))


def named(logits: Tensor, y: Tensor) -> np.ndarray:
    """Return for each net the share of right answers; y of shape (n, nets)."""
    return (logits.argmax(2) == y).double().mean(0).numpy()


def mixing(
    stack: torch.nn.Module, images: nets.Images, kind: str, size: int,
    seeds: Sequence[int], weights: Sequence[float],
) -> list[Row]:  # fmt: skip
    """Return a row for each seed and weight."""
    x, y = images
    index = streams(y.numpy(), kind, size, seeds)
    labels, batches = y[index].flatten(0, 1), [x[i] for i in index]
    return [
        {"kind": kind, "size": size, "weight": weight, "seed": seed}
        | {"accuracy": round(float(share), 5)}
        for weight in weights
        for seed, share in zip(
            seeds,
            named(answers(mix_statistics(stack, weight), batches), labels),
            strict=True,
        )
    ]


def measure(
    lr: float, seeds: Sequence[int], shifts: Sequence[str] = SHIFTS,
    kinds: Sequence[str] = KINDS, sizes: Sequence[int] = SIZES,
    weights: Sequence[float] = WEIGHTS, steps: int = STEPS, dtype: str = "float32",
) -> list[Row]:  # fmt: skip
    """Train nets; return a row for each shift, kind, size, weight and seed."""
    dt = getattr(torch, dtype)
    stack = adapt_shift.trained("dense", "batch", [(lr, s) for s in seeds], steps, dt)
    x, y = nets.images("test", dt)
    return [
        {"lr": lr, "shift": shift} | row
        for shift in shifts
        for kind, size in product(kinds, sizes)
        for row in mixing(stack, (shifted(shift, x), y), kind, size, seeds, weights)
    ]


def choose(lr: float) -> list[Row]:
    """Try each weight on validation images under the held-out shifts; return rows."""
    pairs = [(lr, seed) for seed in TUNING_SEEDS]
    stack = adapt_shift.trained("dense", "batch", pairs)
    x, y = nets.images("validation")
    return [
        {"lr": lr, "shift": shift} | row
        for shift, kind, size in product(HELD_OUT, KINDS, SIZES)
        for row in mixing(
            stack, (shifted(shift, x), y), kind, size, TUNING_SEEDS, WEIGHTS
        )
    ]


def collapse(lr: float, seeds: Sequence[int]) -> list[Row]:
    """Minimize entropy on mixed and one-class streams, at each rate; return rows."""
    stack = adapt_shift.trained("dense", "batch", [(lr, seed) for seed in seeds])
    x, y = nets.images("test")
    x, rows = shifted("both", x), []
    for kind in ("mixed", "one"):
        index = streams(y.numpy(), kind, TENT_SIZE, seeds)
        labels = y[index].flatten(0, 1)
        for tent in (0.0, *TENT_GRID):
            _, logits = minimize_entropy(stack, [x[i] for i in index], lr=tent)
            last = logits[-len(logits) // 5 :]
            counts = frequencies(last)
            columns = {
                "accuracy": named(logits, labels),
                "most": counts.max(0).values.numpy(),
                "entropy": entropy(last).mean(0).numpy(),
            }
            rows += [
                {"lr": lr, "kind": kind, "tent": tent, "seed": seed}
                | {k: round(float(v[i]), 5) for k, v in columns.items()}
                for i, seed in enumerate(seeds)
            ]
    return rows


def frequencies(logits: Tensor) -> Tensor:
    """Return the share of each answer for each net, shape (10, nets)."""
    answer = logits.argmax(2)
    return torch.stack([(answer == c).double().mean(0) for c in range(10)])


# --- the stages -----------------------------------------------------------------------


def rate() -> float:
    """Return the learning rate that `adapt_shift` has chosen."""
    return best_of(load("adapt_shift", "tuning"), "lr", net="dense", norm="batch")


def tasks(_: Callable[[str], Table]) -> list[Task]:
    """Return the one task: all nets side by side."""
    return [{"lr": rate(), "seeds": SEEDS}]


STAGES = (
    Stage("choices", choose, lambda _: [{"lr": rate()}], choosing=True),
    Stage("kinds", measure, tasks),
    Stage("tent", collapse, tasks),
    Stage(
        "reduced",
        measure,
        lambda _: [
            {"lr": 0.1, "seeds": SEEDS[:2], "shifts": ("both",)}
            | {"kinds": ("mixed", "one"), "sizes": (15,)}
            | {"weights": (0.0, 0.5, 1.0), "steps": REDUCED_STEPS, "dtype": "float64"}
        ],
    ),
)
# In float64 thirty steps differ by 1e-10 between processors: a few images on an edge.
TOLERANCES = {"accuracy": 0.002}


# --- reading the tables ---------------------------------------------------------------


def of(kind: str, size: int, weight: float, shift: str = "both") -> np.ndarray:
    """Return test accuracies by seed, in percent."""
    own = rows_where(
        load("adapt_batches", "kinds"), shift=shift, kind=kind, size=size, weight=weight
    )
    return 100 * own["accuracy"]


def chosen(kind: str, size: int) -> float:
    """Return the weight of the source that the held-out shifts chose."""
    return best_of(load("adapt_batches", "choices"), "weight", kind=kind, size=size)


def tent(kind: str, rate: float, column: str = "accuracy") -> np.ndarray:
    """Return a column of the runs of Tent by seed; shares in percent."""
    own = rows_where(load("adapt_batches", "tent"), kind=kind, tent=rate)
    return (1 if column == "entropy" else 100) * own[column]


def tent_rate() -> float:
    """Return the rate of Tent that `adapt_shift` has chosen."""
    return best_of(load("adapt_shift", "choices"), "value", net="dense", what="tent")


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    skewed = {k: of("mixed", 50, 0.0) - of(k, 50, 0.0) for k in ("two", "one")}
    small = {f"{m}": of("mixed", m, chosen("mixed", m)) - of("mixed", m, 0.0)
             for m in (2, 6)}  # fmt: skip
    back = of("one", 50, chosen("one", 50))
    price = of("mixed", 50, 0.0) - of("mixed", 50, chosen("one", 50))
    gain = back - of("one", 50, 1.0)
    mild = {f"{m}": of("mixed", m, chosen("mixed", m), "blur")
            - of("mixed", m, 0.0, "blur") for m in (2, 6)}  # fmt: skip
    best = {shift: max((of("one", 50, w, shift) - of("one", 50, 1.0, shift)
                        for w in WEIGHTS[:-1]), key=np.median)
            for shift in SHIFTS}  # fmt: skip
    rate = tent_rate()
    more = tent("one", rate) - tent("one", 0.0)
    fall = {r: tent("mixed", 0.0) - tent("mixed", r) for r in (0.1, 1.0)}
    return [
        _claim("Statistics of batches of one class, or of two, cost most of what the "
               "repair gave", "control of this book",
               "points below mixed batches of 50: "
               + "; ".join(f"{k}: {spread(v, 1)}" for k, v in skewed.items()),
               medians_at_least(skewed, 40, "the points lost", "with classes:")),
        _claim("Under the strong shift, in mixed batches of 2 and of 6 images, the "
               "mixture with the source's "
               "statistics is better than the batch alone", "schneider2020",
               "points gained: "
               + "; ".join(f"of {k}: {spread(v, 1)}" for k, v in small.items()),
               medians_at_least(small, 5, "the points gained", "in batches of")),
        _claim("Under the mild shift the same weights help in mixed batches of 2 and "
               "of 6 images", "schneider2020",
               "points gained: "
               + "; ".join(f"of {k}: {spread(v, 1)}" for k, v in mild.items()),
               medians_at_least(mild, 5, "the points gained", "in batches of")),
        _claim("In batches of one class some mixture, chosen in hindsight, is better "
               "than the source alone", "control of this book",
               "points gained: "
               + "; ".join(f"{k}: {spread(v, 1)}" for k, v in best.items()),
               medians_at_least(best, 5, "the points gained", "under")),
        _claim("In batches of one class the mixture, with the weight of the held-out "
               "shifts, saves the repair", "control of this book",
               f"accuracy: {spread(back, 1)}; points above the source alone: "
               f"{spread(gain, 1)}",
               median_at_least(gain, 40, 10, "the points above the source alone")),
        _claim("The weight that suits batches of one class costs little in mixed ones",
               "control of this book", f"points lost: {spread(price, 1)}",
               all_or_some({f"the median is under {most} points":
                            bool(np.median(price) < most) for most in (2, 10)}, "")),
        _claim("Entropy minimization, at the rate of the held-out shifts, makes a "
               "stream sorted by class worse than the batch statistics alone",
               "control of this book", f"points gained: {spread(more, 1)}",
               median_at_least(-more, 5, 1, "the points lost")),
        _claim("A rate of entropy minimization that is too large collapses the "
               "answers, mixed batches", "control of this book",
               "points lost: "
               + "; ".join(f"rate {r:g}: {spread(v, 1)}" for r, v in fall.items()),
               medians_at_least({f"{r:g}": v for r, v in fall.items()}, 20,
                                "the points lost", "at the rates")),
    ]  # fmt: skip


def _claim(claim: str, source: str, effect: str, judged: Verdict) -> Claim:
    setting = "digits, dense net with batch norm, 0.3 x + 0.5 or a blur"
    return Claim(claim, source, setting, effect, judged, "ch-adapt", SEEDS)
