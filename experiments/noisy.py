"""Whether batch norm still helps when its outputs are made unsteady on purpose.

Protocol, written before the first run
--------------------------------------
Source. Santurkar et al. (2018), section 2.1 and figure 2: noise with a mean that is not
0 and a variance that is not 1, drawn anew at each step, is put behind each batch norm.
The distributions are then less stable than those of a plain net, and yet the net trains
almost as fast as with batch norm, and faster than the plain one. Their net is a VGG net
on photographs. The kinds and sizes of the noise are theirs, as `NoisyBatchNorm1d` says.

Nets. 784-100-...-100-10 with three and with nine hidden layers, ReLU, He weights.
Three arms: plain; batch norm; noisy batch norm, with noise in training mode only. All
have the same rates, 0.03 and 0.1, batches of 60, 1,000 steps, plain gradient descent,
float32. These rates train all arms; none was chosen by its result.

Data. The embedded MNIST subset: 7,000 images to train, 2,000 to test.

Seeds. 0 to 7, which draw weights, batches and noise: compared nets start from the same
weights and see the same batches. A trial run with seeds 200 and 201 (validation images)
showed that all arms train; that at nine layers the noise costs up to 25 points early in
evaluation mode; and that most of this is gone with the judged images' own statistics.

Metric. Test accuracy: "early" is its mean over the steps 50 to 150, "end" over the
steps 800 to 1,000. It is taken in two ways, both without noise: in evaluation mode, and
with the test images' "own" statistics, all 2,000 as one batch. The second way is a
control. The noise multiplies each layer's output by 1.125 in the mean, so the running
statistics of the layers above are made of larger values than those that evaluation mode
sends there; with depth this grows. That is a fault of the judging, and not of training.
Shift: 500 training images are sent through the net in training mode at a step and at
the next one; of each unit of the last hidden layer, before its activation (behind the
norm and the noise), the distance of the two means,
divided by the unit's deviation; mean over the units, median over the evaluations.
With batch norm this is nearly 0 by construction: the mean behind it is beta.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict. Accuracies count as the same when they are less than 2 points apart early, and
less than 1 point at the end, in the median over the seeds.

Reduced form. Three layers, rate 0.1, seeds 0 and 1, 60 steps, all arms.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from bnlib.pytorch.variants import NoisyBatchNorm1d
from experiments import nets
from experiments.claims import (
    Claim,
    Verdict,
    all_or_some,
    mean_between,
    medians_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

WIDTH, BATCH_SIZE, STEPS, REDUCED_STEPS, IMAGES = 100, 60, 1_000, 60, 500
DEPTHS, LRS, ARMS, SEEDS = (3, 9), (0.03, 0.1), ("none", "batch", "noisy"), range(8)
EVALUATIONS = (*range(10, 151, 10), 200, 400, 600, 800, 900, STEPS)
EARLY, LATE = (50, 150), (800, STEPS)


def build(depth: int, arm: str, seed: int) -> nn.Sequential:
    """Build a net of the protocol; the noise has a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    norms: dict[str, nets.Norm] = {
        "none": None,
        "batch": nn.BatchNorm1d,
        "noisy": lambda n: NoisyBatchNorm1d(n, generator=generator),
    }
    sizes = [784, *[WIDTH] * depth, 10]
    return nets.mlp(sizes, np.random.default_rng(seed), norm=norms[arm])


@torch.no_grad()
def moments(model: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of the last hidden inputs, (d,); nothing is changed."""
    state = copy.deepcopy(model.state_dict())
    hidden = model[:-2](x)  # without the last activation and the output layer
    model.load_state_dict(state)
    return hidden.mean(0), hidden.std(0, correction=0)


@torch.no_grad()
def own_accuracy(model: nn.Sequential, images: nets.Images) -> float:
    """Return the accuracy with the images' own statistics, without noise."""
    state = copy.deepcopy(model.state_dict())
    noisy = [layer for layer in model if isinstance(layer, NoisyBatchNorm1d)]
    sizes = [(layer.shift, layer.scale, layer.jitter) for layer in noisy]
    for layer in noisy:
        layer.shift, layer.scale, layer.jitter = 0.0, 1.0, 0.0
    x, y = images
    right = model.train()(x).argmax(1) == y
    for layer, size in zip(noisy, sizes, strict=True):
        layer.shift, layer.scale, layer.jitter = size
    model.load_state_dict(state)
    return right.double().mean().item()


def train(depth: int, lr: float, norm: str, seed: int, steps: int) -> list[Row]:
    """Train one net; return accuracy and shift at each evaluation."""
    model, images = build(depth, norm, seed), nets.images("train")
    test, x = nets.images("test"), images[0][:IMAGES]
    wanted = [step for step in EVALUATIONS if step <= steps]
    found: dict[int, tuple[Tensor, Tensor]] = {}
    rows: list[Row] = []
    net = {"depth": depth, "lr": lr, "norm": norm, "seed": seed}

    def look(step: int) -> None:
        found[step] = moments(model, x)
        if step - 1 in wanted:
            (mean, deviation), (after, _) = found[step - 1], found[step]
            moved = ((after - mean).abs() / deviation)[deviation > 0].mean().item()
            rows[-1]["shift"] = float(f"{moved:.4g}")
        if step in wanted:
            row = net | {"step": step, "accuracy": nets.accuracy(model, test)}
            row["own"] = own_accuracy(model, test)
            rows.append(row | {"shift": None})

    nets.train(
        model,
        images,
        torch.optim.SGD(model.parameters(), lr),
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
        call_at={s + i for s in wanted for i in (0, 1)},
        callback=look,
    )
    return rows


def tasks(
    depths: Sequence[int], lrs: Sequence[float], seeds: Sequence[int], steps: int
) -> list[Task]:
    """Return a task for each depth, rate, arm and seed."""
    return [
        {"depth": d, "lr": lr, "norm": n, "seed": s, "steps": steps}
        for d, lr, n, s in product(depths, lrs, ARMS, seeds)
    ]


STAGES = (
    Stage("curves", train, lambda _: tasks(DEPTHS, LRS, SEEDS, STEPS)),
    Stage("reduced", train, lambda _: tasks((3,), (0.1,), SEEDS[:2], REDUCED_STEPS)),
)
# 40 of 2,000 images: sums in another order move those that a young net is unsure of.
TOLERANCES = {"accuracy": 0.02, "own": 0.02, "shift": 0.02}


# --- reading the table ----------------------------------------------------------------


def percent(
    depth: int,
    lr: float,
    norm: str,
    between: tuple[int, int],
    column: str = "accuracy",
) -> np.ndarray:
    """Return for each seed the mean accuracy between two steps, in percent."""
    own = rows_where(load("noisy", "curves"), depth=depth, lr=lr, norm=norm)
    return 100 * mean_between(own, *between, column)


def shifts(depth: int, lr: float, norm: str) -> np.ndarray:
    """Return for each seed the median shift from step to step, in deviations."""
    own = rows_where(load("noisy", "curves"), depth=depth, lr=lr, norm=norm)
    return np.array(
        [np.nanmedian(own["shift"][own["seed"] == s]) for s in np.unique(own["seed"])]
    )


def claims() -> list[Claim]:
    """Judge the claims by the stored table; the rules were set before the run."""
    return [row for depth in DEPTHS for row in depth_claims(depth)]


def lead(
    depth: int, ahead: str, behind: str, between: tuple[int, int], column: str
) -> dict[float, np.ndarray]:
    """Return by how many points one arm is ahead of another, one for each seed."""
    return {
        lr: percent(depth, lr, ahead, between, column)
        - percent(depth, lr, behind, between, column)
        for lr in LRS
    }


JUDGED = {"accuracy": "in evaluation mode", "own": "with the images' own statistics"}


def depth_claims(depth: int) -> list[Claim]:
    """Judge the claims at one depth."""
    at = f"{depth} hidden layers"
    jump = {
        f"rate {lr:g}": shifts(depth, lr, "noisy") / shifts(depth, lr, "none")
        for lr in LRS
    }
    jumps = ", ".join(f"{spread(v, 1)} at {rate}" for rate, v in jump.items())
    rows = [
        _claim(
            "Noise behind batch norm makes the last hidden inputs jump at least as far "
            f"as those of the plain net: {at}",
            depth,
            f"shift from step to step, noisy / plain: {jumps}",
            medians_at_least(jump, 1, "the ratio of shifts"),
        )
    ]
    for column, judged in JUDGED.items():
        early = lead(depth, "batch", "noisy", EARLY, column)
        late = lead(depth, "batch", "noisy", LATE, column)
        won = lead(depth, "noisy", "none", EARLY, column)
        rows += [
            _claim(
                f"The noise costs batch norm little or nothing early: {at}, {judged}",
                depth,
                _points("lost to batch norm", EARLY, early),
                _within("batch norm is less than 2 points ahead", early, 2),
            ),
            _claim(
                f"The noise costs batch norm little or nothing late: {at}, {judged}",
                depth,
                _points("lost to batch norm", LATE, late),
                _within("batch norm is less than 1 point ahead", late, 1),
            ),
            _claim(
                f"The noisy net is ahead of the plain one early: {at}, {judged}",
                depth,
                _points("gained over the plain net", EARLY, won),
                _within("the plain net is over 2 points behind", won, 2, more=True),
            ),
        ]
    return rows


def _points(what: str, between: tuple[int, int], gaps: dict[float, np.ndarray]) -> str:
    values = ", ".join(f"{spread(gap, 1)} at rate {lr:g}" for lr, gap in gaps.items())
    return f"points {what}, steps {between[0]} to {between[1]:,}: {values}"


def _within(
    words: str, gaps: dict[float, np.ndarray], limit: float, more: bool = False
) -> Verdict:
    facts = {
        f"{words} at rate {lr:g}": bool((np.median(gap) > limit) == more)
        for lr, gap in gaps.items()
    }
    return all_or_some(facts, "in the median over the seeds ")


def _claim(claim: str, depth: int, effect: str, judged: Verdict) -> Claim:
    setting = f"{depth} hidden layers of {WIDTH}, {STEPS:,} steps, rates 0.03 and 0.1"
    seeds = tuple(SEEDS)
    return Claim(
        claim, "santurkar2018", setting, effect, judged, "ch-smoothness", seeds
    )
