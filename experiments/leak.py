"""How much of a pretext task's answer comes through the statistics of the batch.

Protocol, written before the first run
--------------------------------------
Source. He et al. (2020): a contrastive net finds for each query its own key among many;
with batch norm it seems to cheat, since the statistics of a batch tell which key is its
own. Their remedy: shuffle the keys among the devices before they are normalized. Wu and
Johnson (2021) call this and its relatives information leakage.

Data. 7,000 training images of the embedded MNIST subset, 1,000 to validate, 2,000 to
test. float32. Each step draws 64 images; each device holds 2, 4 or 8 of them. A view of
an image is shifted by up to one pixel each way, and gets Gaussian noise of 0.1.

Task. Each image gives a query and a key, two views. A query must find one key among
that key and the keys of all other devices: cross-entropy of cosines divided by 0.2. In
the task "pairs" it is the key of its own image. In the control "strangers" it is that
of the *next* image of its device, so the image itself says nothing about the answer:
what the net finds beyond chance comes through the statistics. Chance is 1 of 63 with
devices of 2, 1 of 61 with 4, 1 of 57 with 8.

Nets. 784-128-128-32, norm and ReLU behind the first two layers, and for queries one
more linear layer. Keys get no gradient. Arms: batch norm on each device ("own"); the
same with keys shuffled among the devices and put back ("shuffled"); statistics shared
by all devices ("shared"); layer norm ("layer"). Adam, 200 steps at the rate 0.003 for
all. No setting is chosen: the question is whether a leak is there, not who wins.

Seeds. 0 to 7. Trial runs with seed 100, on validation images, chose task, sizes, views
and rate: with devices of 16 and 8, and views shifted by 3, no leak was found; with
devices of 2 it was large.

Metric. Pretext accuracy on ten batches of test images: in training mode, arranged as in
training ("training"), and in evaluation mode ("evaluation"). Features: the share of
1,000 test images whose nearest of 2,000 training images, by the cosine of the second
layer in evaluation mode, has the same class ("neighbour").

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. 8 steps, seeds 0 and 1, strangers, two arms, devices of 2, float64.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from bnlib.pytorch.variants import GhostBatchNorm1d
from experiments import nets
from experiments.claims import (
    Claim,
    Verdict,
    all_or_some,
    median_at_least,
    rows_where,
    spread,
)
from experiments.nets import Images
from experiments.runner import Row, Stage, load

BATCH, SIZES, STEPS, REDUCED_STEPS, LOOKS = 64, (2, 4, 8), 200, 8, 10
TEMPERATURE, LR, SEEDS = 0.2, 0.003, tuple(range(8))
CASES = (
    *(("strangers", "own", size) for size in SIZES),
    *(("strangers", "shuffled", size) for size in (2, 4)),
    *(("strangers", arm, 2) for arm in ("shared", "layer")),
    *(("pairs", arm, 4) for arm in ("own", "shuffled", "shared", "layer")),
)


def chance(size: int) -> float:
    """Return the share that guessing finds, in percent."""
    return 100 / (1 + BATCH - size)


class Finder(nn.Module):
    """A net for queries and keys, and a linear layer for queries alone."""

    def __init__(self, arm: str, size: int, seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)

        def ghost(units: int) -> nn.Module:
            return GhostBatchNorm1d(units, size)

        norms: dict[str, nets.Norm] = {
            "own": ghost,
            "shuffled": ghost,
            "shared": nn.BatchNorm1d,
            "layer": nn.LayerNorm,
        }
        sizes = (784, 128, 128, 32)
        self.body = nets.mlp(sizes, rng, norm=norms[arm], dtype=dtype)
        self.head = nets.linear(32, 32, rng, dtype=dtype)
        self.shuffled = arm == "shuffled"

    def forward(self, x: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return queries and keys of one batch of images, of all devices in a row."""
        queries = self.head(self.body(view(x, rng)))
        with torch.no_grad():
            other = view(x, rng)
            if not self.shuffled:
                return queries, self.body(other)
            order = torch.from_numpy(rng.permutation(len(x)))
            keys = torch.empty_like(queries)
            keys[order] = self.body(other[order])
        return queries, keys


def view(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a view of each image: shifted by up to one pixel, with noise."""
    n = len(x)
    images = np.pad(x.numpy().reshape(n, 28, 28), ((0, 0), (1, 1), (1, 1)))
    down, right = rng.integers(0, 3, (2, n, 1))
    rows, columns = down + np.arange(28), right + np.arange(28)
    cut = images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None]]
    cut = cut.reshape(n, 784)
    return torch.from_numpy(cut + 0.1 * rng.standard_normal(cut.shape)).to(x.dtype)


def logits(queries: Tensor, keys: Tensor, task: str, size: int) -> Tensor:
    """Return the cosines of each query with its candidates, the right key first."""
    q, k = (nn.functional.normalize(v, dim=1) for v in (queries, keys))
    if task == "strangers":  # the key of the device's next image
        k = k.unflatten(0, (-1, size)).roll(-1, 1).flatten(0, 1)
    cosines = q @ k.T / TEMPERATURE
    device = torch.arange(len(q)) // size
    same = device[:, None] == device
    own = cosines.diagonal()[:, None]
    return torch.cat([own, cosines.masked_fill(same, -torch.inf)], dim=1)


def trained(
    task: str, arm: str, size: int, seed: int, steps: int, dtype: torch.dtype
) -> Finder:
    """Return a net after training on a task."""
    model = Finder(arm, size, seed, dtype)
    x, _ = nets.images("train", dtype)
    rng = np.random.default_rng([seed, 1])
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    right = torch.zeros(BATCH, dtype=torch.long)
    for _ in range(steps):
        own = torch.from_numpy(rng.choice(len(x), BATCH, replace=False))
        queries, keys = model(x[own], rng)
        loss = nn.functional.cross_entropy(logits(queries, keys, task, size), right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def found(model: Finder, task: str, size: int, x: Tensor, seed: int) -> float:
    """Return the share of queries that find their key, in the model's mode."""
    rng, shares = np.random.default_rng([seed, 2]), []
    for _ in range(LOOKS):
        own = torch.from_numpy(rng.choice(len(x), BATCH, replace=False))
        queries, keys = model(x[own], rng)
        named = logits(queries, keys, task, size).argmax(1)
        shares.append((named == 0).double().mean().item())
    return float(np.mean(shares))


@torch.no_grad()
def neighbour(model: Finder, known: Images, asked: Images) -> float:
    """Return the share of images whose nearest known image has the same class."""
    features = model.body.eval()[:-1]
    a, b = (nn.functional.normalize(features(x), dim=1) for x, _ in (asked, known))
    return (known[1][(a @ b.T).argmax(1)] == asked[1]).double().mean().item()


def measure(
    task: str, arm: str, size: int, seed: int,
    steps: int = STEPS, dtype: str = "float32",
) -> list[Row]:  # fmt: skip
    """Train one net; return its pretext accuracies and what its features are worth."""
    kind = getattr(torch, dtype)
    model = trained(task, arm, size, seed, steps, kind)
    (x, y), (u, v) = nets.images("test", kind), nets.images("train", kind)
    numbers = {
        "training": found(model.train(), task, size, x, seed),
        "evaluation": found(model.eval(), task, size, x, seed),
        "neighbour": neighbour(model, (u[:2_000], v[:2_000]), (x[:1_000], y[:1_000])),
    }
    row = {"task": task, "arm": arm, "size": size, "seed": seed}
    return [row | {k: round(v, 5) for k, v in numbers.items()}]


# --- the stages -----------------------------------------------------------------------

STAGES = (
    Stage(
        "arms",
        measure,
        lambda _: [
            {"task": task, "arm": arm, "size": size, "seed": s}
            for (task, arm, size), s in product(CASES, SEEDS)
        ],
    ),
    Stage(
        "reduced",
        measure,
        lambda _: [
            {"task": "strangers", "arm": arm, "size": 2, "seed": s}
            | {"steps": REDUCED_STEPS, "dtype": "float64"}
            for arm, s in product(("own", "layer"), SEEDS[:2])
        ],
    ),
)
# In float64 eight steps differ by 1e-10 between processors: an image or two on an edge.
TOLERANCES = dict.fromkeys(("training", "evaluation", "neighbour"), 0.0035)


# --- reading the tables ---------------------------------------------------------------


def of(task: str, arm: str, size: int, column: str = "training") -> np.ndarray:
    """Return a column by seed, in percent."""
    table = load("leak", "arms")
    return 100 * rows_where(table, task=task, arm=arm, size=size)[column]


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    rows = []
    for size in SIZES:
        leak, luck = of("strangers", "own", size), 2 * chance(size)
        rows.append(
            _claim(
                "Where the image says nothing about the answer, the statistics of a "
                f"device with {size} images say it",
                "he2020; wu2021",
                f"percent of strangers found: {spread(leak, 1)}; chance "
                f"{chance(size):.1f}",
                median_at_least(leak, 20, round(luck, 1), "the percent found"),
            )
        )
    for size in (2, 4):
        own, left = of("strangers", "own", size), of("strangers", "shuffled", size)
        rows.append(
            _claim(
                f"Shuffling the keys stops the leak on devices with {size} images",
                "he2020",
                f"percent of strangers found: {spread(left, 1)}",
                all_or_some(
                    {
                        "the median found is under half of that without shuffling":
                        bool(np.median(left) < np.median(own) / 2),
                        f"it is under {2 * chance(size):.1f}, twice chance":
                        bool(np.median(left) < 2 * chance(size)),
                    },
                    "",
                ),
            )
        )  # fmt: skip
    safe = {arm: of("strangers", arm, 2) for arm in ("shared", "layer")}
    most = round(2 * chance(2), 1)
    rows.append(
        _claim(
            "With statistics shared by all devices, or layer norm, nothing leaks",
            "control of this book",
            "percent of strangers found: "
            + "; ".join(f"{a}: {spread(v, 1)}" for a, v in safe.items()),
            all_or_some(
                {f"{a} finds under {most:g}, twice chance": bool(np.median(v) < most)
                 for a, v in safe.items()},
                "in the median ",
            ),
        )
    )  # fmt: skip
    lost = of("pairs", "own", 4) - of("pairs", "own", 4, "evaluation")
    rows.append(
        _claim(
            "With real pairs a part of the answers on devices with 4 images comes "
            "through the statistics",
            "he2020; wu2021",
            f"points lost in evaluation mode: {spread(lost, 1)}",
            median_at_least(lost, 10, 2, "the points lost"),
        )
    )
    own, shuffled = (of("pairs", arm, 4, "neighbour") for arm in ("own", "shuffled"))
    gain = shuffled - own
    rows.append(
        _claim(
            "With real pairs shuffling makes the features better, on devices with 4 "
            "images",
            "he2020",
            f"points gained by the nearest neighbour: {spread(gain, 1)}",
            median_at_least(gain, 1, 0.5, "the points gained"),
        )
    )
    return rows


def _claim(claim: str, source: str, effect: str, judged: Verdict) -> Claim:
    setting = f"{BATCH} images a step, dense net, Adam {LR:g}, {STEPS} steps"
    return Claim(claim, source, setting, effect, judged, "ch-batch-lies", SEEDS)
