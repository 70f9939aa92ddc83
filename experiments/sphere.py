"""Weights before a batch norm: their gradient, what eps does to it, and their growth.

Protocol, written before the first run
--------------------------------------
Source. Van Laarhoven (2017) and Hoffer et al. (2018) say: a weight that is followed by
batch norm has a gradient orthogonal to it, of a size inverse to its length; so a step
of plain gradient descent makes it longer, |w'|^2 = |w|^2 + lr^2 |g|^2, and the rate at
which its direction moves is lr / |w|^2. The first part is proved in the chapter; here
it is checked in numbers. How much weights grow in training is measured.

Nets. 784-64-64-10, ReLU, batch norm before each activation, float64. The weights of the
two hidden layers are scale invariant; a test finds them. Plain gradient descent. All
other parameters (scale, shift, output layer) have the rate 0.1. eps is the usual 1e-5,
or 1e-30, which PyTorch accepts in place of 0; the identities also at 0.1.

Data. The embedded MNIST subset, 7,000 images to train, batches of 64.

Seeds. 0 to 4. They draw weights and batches; all starts and rates of one seed have the
same directions of the first weights and the same batches. Trial runs with seed 100
chose starts, rates and the number of steps, and showed the longest weights after the
smallest start.

Metric. Identities, at the first batch: the largest cosine of a unit's weight and its
gradient; the relative gap of |w'|^2 for a step at rate 1; weights times 10: relative
change of the logits, and of ten times the gradient; and how far w . g of a layer is
from its value by the chapter, the sum over units of gamma * dl/dgamma *
eps / (variance + eps), relative to |w||g|. Growth: the length of each hidden layer's
weights over 1,000 steps from He weights times 1, 0.1 and 0.01, at the rates 0.1 and 1,
beside the root of |w_0|^2 + sum of lr^2 |g|^2.

What would refute a claim is written beside it in `claims`, as the rule that makes its
verdict.

Reduced form. The growth from the start 0.1 at rate 0.1, seeds 0 and 1, 100 steps.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import nn

from bnlib.pytorch.measure import radial_share
from experiments import nets
from experiments.claims import (
    Claim,
    Verdict,
    all_or_some,
    all_together,
    at_last_step,
    medians_at_least,
    rows_where,
    spread,
)
from experiments.runner import Row, Stage, Task, load

SEEDS = (0, 1, 2, 3, 4)
SIZES = (784, 64, 64, 10)
HIDDEN = ("0.weight", "3.weight")  # what `measure.scale_invariant` finds
USUAL, TINY = 1e-5, 1e-30
REST, BATCH_SIZE = 0.1, 64
GAINS, LRS = (0.01, 0.1, 1.0), (0.1, 1.0)
STEPS, REDUCED_STEPS = 1_000, 100
EXACT, NEARLY = 1e-10, 1e-3  # what counts as equal, and as nearly orthogonal


def build(seed: int, gain: float = 1.0, eps: float = USUAL) -> nn.Sequential:
    """Return the net in float64; gain multiplies its hidden weights."""
    rng = np.random.default_rng([seed, 0])
    return nets.mlp(
        SIZES,
        rng,
        norm=lambda n: nn.BatchNorm1d(n, eps=eps),
        gain=gain,
        dtype=torch.float64,
    )


def groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the scale-invariant weights of the net, and all other parameters."""
    named = dict(model.named_parameters())
    hidden = [named.pop(name) for name in HIDDEN]
    return hidden, [*named.values()]


def sgd(
    model: nn.Module, lr: float, decay: float = 0.0, rest: float = REST
) -> torch.optim.SGD:
    """Return plain gradient descent; only the scale-invariant weights decay."""
    hidden, others = groups(model)
    settings = [
        {"params": hidden, "lr": lr, "weight_decay": decay},
        {"params": others, "lr": rest},
    ]
    return torch.optim.SGD(settings, lr=rest)


def log_steps(steps: int, number: int = 40) -> list[int]:
    """Return steps that are about evenly spaced on a logarithmic axis, and 0."""
    return sorted({0, *np.geomspace(1, steps, number).round().astype(int).tolist()})


# --- the stages -----------------------------------------------------------------------


def gradients(
    model: nn.Module, images: nets.Images
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the logits of a batch, and the gradients by the parameters' names."""
    x, y = images
    named = dict(model.named_parameters())
    logits = model(x)
    loss = nn.functional.cross_entropy(logits, y)
    grads = torch.autograd.grad(loss, [*named.values()])
    return logits.detach(), dict(zip(named, grads, strict=True))


def identities(seed: int, eps: float) -> list[Row]:
    """Return how far each identity is from equality at the first batch."""
    x, y = nets.images("train", torch.float64)
    rng = np.random.default_rng([seed, 1])
    index = torch.from_numpy(rng.permutation(len(y))[:BATCH_SIZE])
    batch = x[index], y[index]
    one, ten = build(seed, 1.0, eps), build(seed, 10.0, eps)
    inputs: list[torch.Tensor] = []  # of each batch norm
    for norm in (one[1], one[4]):
        norm.register_forward_hook(lambda _, given, __: inputs.append(given[0]))
    named = {name: p.detach() for name, p in one.named_parameters()}
    (logits, grads), (of_ten, grads_ten) = gradients(one, batch), gradients(ten, batch)
    rows = []
    for i, name in enumerate(HIDDEN):
        w, g, gamma = named[name], grads[name], ("1.weight", "4.weight")[i]
        variance = inputs[i].detach().var(0, correction=0)
        part = named[gamma] * grads[gamma] * eps / (variance + eps)
        square = w.square().sum() + g.square().sum()
        pythagoras = ((w - g).square().sum() / square - 1).abs()
        radial = ((w * g).sum() - part.sum()).abs() / (w.norm() * g.norm())
        rows.append(
            {"seed": seed, "eps": eps, "layer": i + 1}
            | {"cosine": radial_share(w, g, by_unit=True).abs().max().item()}
            | {"pythagoras": pythagoras.item()}
            | {"output": ((of_ten - logits).norm() / logits.norm()).item()}
            | {"gradient": ((10 * grads_ten[name] - g).norm() / g.norm()).item()}
            | {"radial": radial.item()}
        )
    return rows


def growth(seed: int, gain: float, eps: float, lr: float, steps: int) -> list[Row]:
    """Train one net without weight decay; return its lengths at some steps."""
    model = build(seed, gain, eps)
    hidden, _ = groups(model)
    first = [w.detach().square().sum().item() for w in hidden]
    path, rows = np.zeros(len(hidden)), []
    recorded = set(log_steps(steps))

    def watch(step: int) -> None:
        for i, w in enumerate(hidden):
            if step:
                path[i] += lr**2 * w.grad.square().sum().item()  # type: ignore[union-attr]
            if step in recorded:
                rows.append(
                    {"seed": seed, "gain": gain, "eps": eps, "lr": lr, "step": step}
                    | {"layer": i + 1, "length": w.detach().norm().item()}
                    | {"predicted": (first[i] + path[i]) ** 0.5}
                )

    nets.train(
        model,
        nets.images("train", torch.float64),
        sgd(model, lr),
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=np.random.default_rng([seed, 1]),
        call_at=range(steps + 1),
        callback=watch,
    )
    return rows


def growth_tasks(
    gains: tuple[float, ...], lrs: tuple[float, ...], seeds: tuple[int, ...], steps: int
) -> list[Task]:
    """Return a task for each start, eps, rate and seed."""
    return [
        {"seed": s, "gain": gain, "eps": eps, "lr": lr, "steps": steps}
        for gain, eps, lr, s in product(gains, (USUAL, TINY), lrs, seeds)
    ]


STAGES = (
    Stage(
        "identities",
        identities,
        lambda _: [
            {"seed": s, "eps": eps} for eps, s in product((TINY, USUAL, 0.1), SEEDS)
        ],
    ),
    Stage("growth", growth, lambda _: growth_tasks(GAINS, LRS, SEEDS, STEPS)),
    Stage(
        "reduced",
        growth,
        lambda _: growth_tasks(GAINS[1:2], LRS[:1], SEEDS[:2], REDUCED_STEPS),
    ),
)
# float64: 100 steps at a low rate keep ten digits on any processor
TOLERANCES = {"length": 1e-7, "predicted": 1e-7}


# --- reading the tables ---------------------------------------------------------------


def gap(column: str, eps: float) -> np.ndarray:
    """Return the largest gap of an identity over the layers, one per seed."""
    own = rows_where(load("sphere", "identities"), eps=eps)
    return own[column].reshape(len(SEEDS), -1).max(axis=1)


def lengths(gain: float, eps: float, lr: float, layer: int) -> tuple[np.ndarray, ...]:
    """Return the recorded steps (t,), and lengths and predictions (seeds, t)."""
    wanted = {"gain": gain, "eps": eps, "lr": lr, "layer": layer}
    own = rows_where(load("sphere", "growth"), **wanted)
    step = np.unique(own["step"])
    return step, *(own[k].reshape(-1, len(step)) for k in ("length", "predicted"))


def last_length(gain: float, eps: float, lr: float, layer: int) -> np.ndarray:
    """Return the length of a layer's weights after the last step, one per seed."""
    wanted = {"gain": gain, "eps": eps, "lr": lr, "layer": layer}
    return at_last_step(load("sphere", "growth"), "length", **wanted)


# --- the claims -----------------------------------------------------------------------


def claims() -> list[Claim]:
    """Judge the claims by the stored tables; the rules were set before the run."""
    exact = {
        "the cosine of a unit's weight and gradient": gap("cosine", TINY),
        "the relative gap of the squared length": gap("pythagoras", TINY),
        "the relative change of ten times the gradient": gap("gradient", TINY),
    }
    usual, large = gap("cosine", USUAL), gap("cosine", 0.1)
    radial = np.maximum(gap("radial", USUAL), gap("radial", 0.1))
    return [
        _claim(
            "The gradient of a weight before batch norm is orthogonal to it and inverse"
            " to its length, and a step makes it longer as Pythagoras says",
            "vanlaarhoven2017; hoffer2018",
            f"first batch, eps {TINY:g}, float64",
            f"largest of the three gaps: {_size(np.max([*exact.values()], axis=0))}",
            all_together({f"{n} is under {EXACT:g}": bool(v.max() < EXACT)
                          for n, v in exact.items()}),
        ),
        _claim(
            "With the usual eps the gradient is still nearly orthogonal",
            "control of this book",
            "first batch, He weights, float64",
            f"largest cosine over the units: {_size(usual)} at eps {USUAL:g}, "
            f"{_size(large)} at eps 0.1",
            all_together({f"the cosine of a unit's weight and gradient is under "
                          f"{NEARLY:g} at eps {USUAL:g}": bool(usual.max() < NEARLY)}),
        ),
        _claim(
            "The gradient's part along the weight is what eps makes of it: "
            "gamma * dl/dgamma * eps / (variance + eps), summed over the units",
            "control of this book",
            f"first batch, eps {USUAL:g} and 0.1, float64",
            f"largest gap, relative to |w||g|: {_size(radial)}",
            all_together({f"the gap is under {EXACT:g}": bool(radial.max() < EXACT)}),
        ),
        *growth_claims(),
    ]  # fmt: skip


def growth_claims() -> list[Claim]:
    """Judge the growth of the weights in training."""
    setting = f"no weight decay, {STEPS:,} steps, usual eps"
    factor = {}
    for gain, lr in product(GAINS[1:], LRS):
        step, length, _ = lengths(gain, USUAL, lr, 1)
        name = f"start {gain:g} with rate {lr:g}"
        factor[name] = length[:, -1] / length[:, step == 0][:, 0]
    grown = "; ".join(f"{name} {spread(v, 2)}" for name, v in factor.items())
    ends = {
        lr: [last_length(gain, TINY, lr, 1) for gain in (GAINS[0], GAINS[-1])]
        for lr in LRS
    }
    longest = {
        f"the first layer from start {GAINS[0]:g} ends longer than from start 1 at "
        f"rate {lr:g}": bool((small > one).all())
        for lr, (small, one) in ends.items()
    }
    words = "; ".join(
        f"rate {lr:g} {spread(small, 0)} from start {GAINS[0]:g}, {spread(one, 0)} "
        "from start 1"
        for lr, (small, one) in ends.items()
    )
    return [
        _claim(
            "Without weight decay the weights of a layer grow to 1.5 times their length"
            " in training",
            "vanlaarhoven2017; hoffer2018",
            setting,
            f"last length / first length, first layer: {grown}",
            medians_at_least(factor, 1.5, "this ratio", "for"),
        ),
        _claim(
            "The smallest start ends with the longest weights",
            "control of this book",
            setting.replace("usual eps", f"eps {TINY:g}"),
            f"length of the first layer at the end: {words}",
            all_or_some(longest),
        ),
    ]


def _size(values: np.ndarray) -> str:
    return f"{np.median(values):.1e} ({values.min():.1e} to {values.max():.1e})"


def _claim(
    claim: str, source: str, setting: str, effect: str, judged: Verdict
) -> Claim:
    return Claim(claim, source, setting, effect, judged, "ch-scale-free", SEEDS)
