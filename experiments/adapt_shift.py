"""What re-estimated statistics repair when the images have changed, and what not.

Protocol, written before the first run
--------------------------------------
Source. Li et al. (2016): statistics of the new domain in place of the stored ones
(AdaBN). Schneider et al. (2020) and Nado et al. (2020): the same lowers the error on
corrupted images, for many kinds of corruption. Wang et al. (2021): entropy minimization
of gamma and beta on test batches (Tent) lowers it further. All with large nets.

Data. 7,000 training images of the embedded MNIST subset, 1,000 to validate, 2,000 to
test. float32. Training and choices see clean images, and validation images under three
held-out shifts: half of the pixels set to 0 ("speckle"), a mean over 11 pixels of a row
("smear"), 0.6 x + 0.4 in each fourth column ("stripes"). The test shifts are those of
`TEST_SHIFTS`; values are not clipped. No test shift is used for a choice.

Nets. `stacks.build`: dense 784-100-100-100-10, and convolutional (zero padding, images
of 14 x 14), with batch norm, layer norm, or none. Plain gradient descent, 300 steps of
60 images.

Methods. "source": stored statistics. "input": the images' own mean and standard
deviation, one number each over all pixels of the pool, brought to those of the source;
for every net. For batch norm also: "batch": statistics of each test batch of 100;
"mixed": these mixed with the source's; "all": statistics of the pool; "tent": one step
of Adam on gamma and beta for each batch of 100, answers taken before the step (the nets
run side by side, so that Adam's epsilon counts as many times as there are nets); and in
the mixture "domains": each of its two halves with statistics of its own. The pool is
the 1,000 validation images under the test shift, without labels. Test batches are
shuffled.

Rates and strengths. Learning rate: best mean accuracy of the tuning seeds on clean
validation images, from `GRID`. Weight of the source from `WEIGHTS`, Tent's rate from
`TENT_GRID`: best mean accuracy over the three held-out shifts. Ties: the smaller one.

Seeds. 0 to 7; tuning seeds 100 and 101, used for nothing else. A trial run with seeds
102 and 103, on validation images with the test shifts, chose grids and strengths of the
shifts, and showed what to expect: the dense net comes back whole from what is affine in
each unit, the convolutional one does not from a brighter image; under a point by Tent;
the net without batch norm ahead of the one with it before adaptation.

Metric. Accuracy on 2,000 test images. A gain is a difference with one seed, in points.
"images": the same after the statistics of n images of the pool, n from `COUNTS`.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. Dense net, 30 steps, seeds 0 and 1, two shifts, float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from bnlib import data
from bnlib.pytorch.adapting import minimize_entropy, mix_statistics
from bnlib.pytorch.surgery import adapt
from experiments import nets, stacks
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

NETS, NORMS = ("dense", "conv"), ("batch", "layer", "none")
HELD_OUT = ("speckle", "smear", "stripes")
AFFINE = ("contrast", "brightness", "both", "shade")
TEST_SHIFTS = ("none", *AFFINE, "noise", "blur", "invert", "mixture")
OTHER = ("noise", "blur")
BATCH_SIZE, STEPS, TEST_BATCH = 60, 300, 100
SEEDS, TUNING_SEEDS = tuple(range(8)), (100, 101)
GRID = (0.003, 0.03, 0.1, 0.3, 1.0, 10.0)
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
TENT_GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1, 1.0)
COUNTS = (2, 5, 10, 20, 50, 100, 300, 1000)
REDUCED_STEPS = 30


# --- the shifts -----------------------------------------------------------------------


def box_mean(x: Tensor, height: int, width: int) -> Tensor:
    """Return the mean over a box around each pixel; beyond the border all is 0."""
    maps = x.view(-1, 1, 28, 28)
    padding = (height // 2, width // 2)
    return nn.functional.avg_pool2d(maps, (height, width), 1, padding).view(x.shape)


def shifted(name: str, x: Tensor) -> Tensor:
    """Return images (n, 784) after a shift; random ones are the same at each call."""
    rng = np.random.default_rng([14, len(x)])
    row = torch.arange(28, dtype=x.dtype)
    shade = (row / 27).repeat(28)  # dark on the left, bright on the right
    stripes = (row % 4 == 0).to(x.dtype).repeat(28)
    changes: dict[str, Callable[[], Tensor]] = {
        "none": lambda: x,
        "contrast": lambda: 0.3 * x,
        "brightness": lambda: x + 0.5,
        "both": lambda: 0.3 * x + 0.5,
        "shade": lambda: 0.6 * x + 0.5 * shade,
        "noise": lambda: x + 0.5 * torch.from_numpy(rng.standard_normal(x.shape)).to(x),
        "blur": lambda: box_mean(x, 7, 7),
        "invert": lambda: 1 - x,
        "mixture": lambda: torch.where(second(x)[:, None], 0.3 * x + 0.5, x),
        "speckle": lambda: x * torch.from_numpy(rng.random(x.shape) > 0.5).to(x),
        "smear": lambda: box_mean(x, 1, 11),
        "stripes": lambda: 0.6 * x + 0.4 * stripes,
    }
    return changes[name]()


def second(x: Tensor) -> Tensor:
    """Say which images belong to the second domain of the mixture: each other one."""
    return torch.arange(len(x)) % 2 == 1


def like_source(x: Tensor, pool: Tensor, source: Tensor) -> Tensor:
    """Bring x from the pool's mean and standard deviation to those of the source."""
    return (x - pool.mean()) / pool.std() * source.std() + source.mean()


# --- the runs -------------------------------------------------------------------------


def trained(
    net: str, norm: str, pairs: Sequence[tuple[float, int]],
    steps: int = STEPS, dtype: torch.dtype = torch.float32,
) -> nn.Sequential:  # fmt: skip
    """Return nets after training side by side, one for each pair of rate and seed."""
    images, seeds = nets.images("train", dtype), [seed for _, seed in pairs]
    stack = stacks.build(net, norm, seeds, dtype)
    orders = {
        seed: data.endless_batches(
            len(images[1]), BATCH_SIZE, np.random.default_rng([seed, 1])
        )
        for seed in set(seeds)
    }

    def batch(_: int) -> np.ndarray:
        found = {seed: next(order) for seed, order in orders.items()}
        return np.stack([found[seed] for seed in seeds], axis=1)

    stacks.train(stack, images, [lr for lr, _ in pairs], batch, steps)
    return stack.eval()


def beside(x: Tensor, many: int) -> Tensor:
    """Return the same images for each of the nets: (n, nets, 784)."""
    return x[:, None].expand(-1, many, -1)


@torch.no_grad()
def answers(model: nn.Module, batches: Sequence[Tensor]) -> Tensor:
    """Return the logits for all batches, in evaluation mode, (n, nets, 10)."""
    return torch.cat([model.eval()(batch) for batch in batches])


def shares(logits: Tensor, y: Tensor) -> np.ndarray:
    """Return for each net the share of images that it names."""
    return (logits.argmax(2) == y[:, None]).double().mean(0).numpy()


def ways(
    stack: nn.Module, norm: str, shift: str, many: int,
    x: Tensor, known: Tensor, weight: float, tent: float,
) -> Iterator[tuple[str, Tensor]]:  # fmt: skip
    """Yield each method and its logits for shifted images x; the pool is `known`."""
    seen, pool = shifted(shift, x), shifted(shift, known)
    batches = beside(seen, many).split(TEST_BATCH)
    yield "source", answers(stack, batches)
    own = like_source(seen, pool, known)
    yield "input", answers(stack, beside(own, many).split(TEST_BATCH))
    if norm != "batch":
        return
    yield "batch", answers(mix_statistics(stack, 0), batches)
    yield "mixed", answers(mix_statistics(stack, weight), batches)
    yield "all", answers(adapt(stack, [beside(pool, many)]), batches)
    yield "tent", minimize_entropy(stack, batches, lr=tent)[1]
    if shift == "mixture":
        logits = torch.empty(len(x), many, 10, dtype=x.dtype)
        for part in (False, True):
            at, own_pool = second(x) == part, pool[second(known) == part]
            model = adapt(stack, [beside(own_pool, many)])
            logits[at] = answers(model, [beside(seen[at], many)])
        yield "domains", logits


def shuffled(part: str, dtype: torch.dtype) -> nets.Images:
    """Return the images of a part in a fixed mixed order."""
    x, y = nets.images(part, dtype)
    order = torch.from_numpy(np.random.default_rng(len(y)).permutation(len(y)))
    return x[order], y[order]


def measure(
    net: str, norm: str, lr: float, weight: float, tent: float, seeds: Sequence[int],
    shifts: Sequence[str] = TEST_SHIFTS, steps: int = STEPS, dtype: str = "float32",
) -> list[Row]:  # fmt: skip
    """Train nets side by side; return a row for each seed, shift and method."""
    dt, many = getattr(torch, dtype), len(seeds)
    stack = trained(net, norm, [(lr, seed) for seed in seeds], steps, dt)
    x, y = shuffled("test", dt)
    known = nets.images("validation", dt)[0]
    rows = []
    for shift in shifts:
        for way, logits in ways(stack, norm, shift, many, x, known, weight, tent):
            row = {"net": net, "norm": norm, "lr": lr, "shift": shift, "method": way}
            row |= {"weight": weight, "tent": tent}
            rows += [
                row | {"seed": seed, "accuracy": round(float(share), 5)}
                for seed, share in zip(seeds, shares(logits, y), strict=True)
            ]
    return rows


def count(net: str, shift: str, lr: float, seeds: Sequence[int]) -> list[Row]:
    """Re-estimate from n images of the pool, other ones for each seed; return rows."""
    many = len(seeds)
    stack = trained(net, "batch", [(lr, seed) for seed in seeds])
    x, y = shuffled("test", torch.float32)
    batches = beside(shifted(shift, x), many).split(TEST_BATCH)
    pool = shifted(shift, nets.images("validation")[0])
    orders = [np.random.default_rng([s, 2]).permutation(len(pool)) for s in seeds]
    rows = []
    for n in COUNTS:
        index = torch.from_numpy(np.stack([order[:n] for order in orders], axis=1))
        found = shares(answers(adapt(stack, [pool[index]]), batches), y)
        rows += [
            {"net": net, "shift": shift, "lr": lr, "n": n, "seed": seed}
            | {"accuracy": round(float(share), 5)}
            for seed, share in zip(seeds, found, strict=True)
        ]
    return rows


def validate(net: str, norm: str) -> list[Row]:
    """Train at each rate with each tuning seed; return clean validation accuracies."""
    pairs = list(product(GRID, TUNING_SEEDS))
    stack = trained(net, norm, pairs)
    found = stacks.accuracy(stack, nets.images("validation"), len(pairs))
    return [
        {"net": net, "norm": norm, "lr": lr, "seed": seed}
        | {"accuracy": round(float(share), 5)}
        for (lr, seed), share in zip(pairs, found, strict=True)
    ]


def choose(net: str, lr: float) -> list[Row]:
    """Try each weight and each rate of Tent on the held-out shifts; return rows."""
    stack = trained(net, "batch", [(lr, seed) for seed in TUNING_SEEDS])
    (x, y), many = shuffled("validation", torch.float32), len(TUNING_SEEDS)
    rows = []
    for shift in HELD_OUT:
        batches = beside(shifted(shift, x), many).split(TEST_BATCH)
        found = [("weight", w, answers(mix_statistics(stack, w), batches))
                 for w in WEIGHTS]  # fmt: skip
        found += [("tent", rate, minimize_entropy(stack, batches, lr=rate)[1])
                  for rate in TENT_GRID]  # fmt: skip
        rows += [
            {"net": net, "lr": lr, "shift": shift, "what": what, "value": value}
            | {"seed": seed, "accuracy": round(float(share), 5)}
            for what, value, logits in found
            for seed, share in zip(TUNING_SEEDS, shares(logits, y), strict=True)
        ]
    return rows


# --- the stages -----------------------------------------------------------------------


def rate(load_table: Callable[[str], Table], net: str, norm: str) -> float:
    """Return the chosen learning rate."""
    return best_of(load_table("tuning"), "lr", net=net, norm=norm)


def tasks(load_table: Callable[[str], Table]) -> list[Task]:
    """Return a task for each net and norm, with its own rates and weight."""
    found, choices = [], load_table("choices")
    for net, norm in product(NETS, NORMS):
        lr = rate(load_table, net, norm)
        weight, tent = (
            best_of(choices, "value", net=net, what=what) for what in ("weight", "tent")
        )
        found.append({"net": net, "norm": norm, "lr": lr, "weight": weight,
                      "tent": tent, "seeds": SEEDS})  # fmt: skip
    return found


STAGES = (
    Stage(
        "tuning",
        validate,
        lambda _: [{"net": n, "norm": m} for n, m in product(NETS, NORMS)],
        choosing=True,
    ),
    Stage(
        "choices",
        choose,
        lambda get: [{"net": n, "lr": rate(get, n, "batch")} for n in NETS],
        choosing=True,
    ),
    Stage("shifts", measure, tasks),
    Stage(
        "images",
        count,
        lambda get: [
            {"net": "dense", "shift": s, "lr": rate(get, "dense", "batch")}
            | {"seeds": SEEDS}
            for s in ("both", "blur")
        ],
    ),
    Stage(
        "reduced",
        measure,
        lambda _: [
            {"net": "dense", "norm": norm, "lr": 0.1, "weight": 0.25, "tent": 0.01}
            | {"seeds": SEEDS[:2], "shifts": ("both", "blur")}
            | {"steps": REDUCED_STEPS, "dtype": "float64"}
            for norm in ("batch", "none")
        ],
    ),
)
# In float64 thirty steps differ by 1e-10 between processors: a few images on an edge.
TOLERANCES = {"accuracy": 0.002}


# --- reading the tables ---------------------------------------------------------------


def of(net: str, norm: str, shift: str, method: str = "source") -> np.ndarray:
    """Return test accuracies by seed, in percent."""
    table = load("adapt_shift", "shifts")
    own = rows_where(table, net=net, norm=norm, shift=shift, method=method)
    return 100 * own["accuracy"]


def over(net: str, norm: str, method: str, shifts: Sequence[str]) -> np.ndarray:
    """Return the mean accuracy over some shifts, by seed, in percent."""
    return np.mean([of(net, norm, shift, method) for shift in shifts], axis=0)


def with_images(shift: str, n: int) -> np.ndarray:
    """Return test accuracies by seed after statistics of n images, in percent."""
    return 100 * rows_where(load("adapt_shift", "images"), shift=shift, n=n)["accuracy"]


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    found = []
    for net, title in (("dense", "the dense net"), ("conv", "the convolutional net")):
        lost = {
            s: of(net, "batch", "none") - of(net, "batch", s, "all") for s in AFFINE
        }
        found.append(_claim(
            f"Statistics of the new domain bring {title} back whole from contrast, "
            "brightness, both, and a shade", "li2016",
            "points below clean images: "
            + "; ".join(f"{s}: {spread(v, 1)}" for s, v in lost.items()),
            all_or_some({f"{s} stays under 1 point below": bool((v < 1).all())
                         for s, v in lost.items()})))  # fmt: skip
    gains = {f"{s} in the {net} net": of(net, "batch", s, "all") - of(net, "batch", s)
             for net, s in product(NETS, OTHER)}  # fmt: skip
    found.append(_claim(
        "Statistics of the new domain help with noise and blur too",
        "schneider2020; nado2020",
        "points gained: " + "; ".join(f"{k}: {spread(v, 1)}" for k, v in gains.items()),
        medians_at_least(gains, 5, "the points gained", "for")))  # fmt: skip
    invert = {net: of(net, "batch", "invert", "all") for net in NETS}
    found.append(_claim(
        "An inverted image is not repaired", "control of this book",
        "accuracy: " + "; ".join(f"{k}: {spread(v, 1)}" for k, v in invert.items()),
        all_or_some({f"{k} names under 20 %": bool((v < 20).all())
                     for k, v in invert.items()})))  # fmt: skip
    whole, apart = (of("dense", "batch", "mixture", m) for m in ("all", "domains"))
    found += [
        _claim("Statistics of a mixture of two domains repair the mixture",
               "control of this book", f"points gained: "
               f"{spread(whole - of('dense', 'batch', 'mixture'), 1)}",
               median_at_least(whole - of("dense", "batch", "mixture"), 20, 5,
                               "the points gained")),
        _claim("Statistics for each domain repair the mixture", "li2016",
               f"points gained over one set of statistics: {spread(apart - whole, 1)}",
               median_at_least(apart - whole, 20, 5, "the points gained")),
    ]  # fmt: skip
    for net, title in (("dense", "dense"), ("conv", "convolutional")):
        tent = over(net, "batch", "tent", OTHER) - over(net, "batch", "batch", OTHER)
        found.append(_claim(
            f"Entropy minimization adds to the statistics of the batch, {title} net, "
            "mean of noise and blur", "wang2021", f"points gained: {spread(tent, 2)}",
            median_at_least(tent, 1, 0.2, "the points gained")))  # fmt: skip
    six = (*AFFINE, *OTHER)
    for net, title in (("dense", "dense"), ("conv", "convolutional")):
        before = over(net, "batch", "source", six) - over(net, "none", "source", six)
        after = over(net, "batch", "all", six) - over(net, "none", "input", six)
        found += [
            _claim(f"Before any adaptation the {title} net with batch norm bears "
                   "shifts better than the one without, mean of six shifts",
                   "control of this book", f"points ahead: {spread(before, 1)}",
                   median_at_least(before, 5, 0, "the points ahead")),
            _claim("Each with its own remedy, new statistics or a new scaling of the "
                   f"input, the {title} net with batch norm is ahead, mean of six "
                   "shifts",
                   "control of this book", f"points ahead: {spread(after, 1)}",
                   median_at_least(after, 5, 0, "the points ahead")),
        ]  # fmt: skip
    short = {n: with_images("both", 1000) - with_images("both", n) for n in (20, 100)}
    found.append(_claim(
        "A few unlabelled images are enough for the statistics", "schneider2020",
        "points below 1,000 images: "
        + "; ".join(f"{n} images: {spread(v, 1)}" for n, v in short.items()),
        all_or_some({"20 images are under 5 points below": bool((short[20] < 5).all()),
                     "100 under 1": bool((short[100] < 1).all())})))  # fmt: skip
    return found


def _claim(claim: str, source: str, effect: str, judged: Verdict) -> Claim:
    setting = "digits, dense and convolutional nets, each arm at its own rate"
    return Claim(claim, source, setting, effect, judged, "ch-adapt", SEEDS)
