"""Rules on the running statistics: page 17b of the clinic."""

from __future__ import annotations

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from bnlib.pytorch.doctor.complaints import ERROR, NOTE, WARNING, Found, rules_of
from bnlib.pytorch.doctor.sight import NORMS, WEIGHTED, Seen, Sight

rule = rules_of("17b_follow_the_statistics")
START_LEFT = 0.1  # weight of the start in the running statistics
MEAN_OFF, RATIO_OFF, CHANNELS_OFF = 1.0, 3.0, 0.1
CLOSE = 0.2  # in sd, and for the logarithm of a ratio of variances
SIGNAL = 100.0  # growth or decay of the signal over a net without norms


def _fits(norm: _BatchNorm, seen: Seen | None) -> bool:
    """Say whether stored statistics are those of the data, however they were made."""
    mean, var = norm.running_mean, norm.running_var
    if seen is None or seen.mean is None or seen.var is None or seen.count < 16:
        return False
    if mean is None or var is None:
        return False
    off = (seen.mean - mean.double()).abs() / (seen.var + norm.eps).sqrt()
    ratio = (seen.var + norm.eps) / (var.double() + norm.eps)
    return bool(off.median() < CLOSE and ratio.log().abs().median() < CLOSE)


def _at_start(norm: _BatchNorm) -> bool:
    """Say whether the stored statistics are exactly mean 0 and variance 1."""
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        return False
    return bool((mean == 0).all() and (var == 1).all())


def _young(sight: Sight, norm: _BatchNorm) -> bool:
    """Say whether a training that has hardly begun will renew the statistics."""
    steps, step = norm.num_batches_tracked, norm.momentum
    if steps is None or not step or sight.purpose != "train":
        return False
    return norm.training and (1 - step) ** int(steps) > START_LEFT


@rule(
    "signal-lost",
    NOTE,
    "clinic-signal-lost",
    "the signal grows or fades from layer to layer, and no norm holds it",
    "put a norm into the net, or scale the first weights (He, LeCun)",
)
def signal_lost(sight: Sight) -> Found:
    """Find a deep net without any norm in which the signal explodes or vanishes."""
    modules = list(sight.model.modules())
    if any(isinstance(m, NORMS) for m in modules) or len(sight.spreads) < 5:
        return
    if any("norm" in type(m).__name__.lower() for m in modules):
        return
    first, last = sight.spreads[0], sight.spreads[-1]
    if not first / SIGNAL < last < first * SIGNAL:
        layers = [n for n, m in sight.model.named_modules() if isinstance(m, WEIGHTED)]
        words = f"standard deviation {first:.2g} behind the first layer, {last:.2g} at "
        yield layers[-1], f"{words}the last of {len(sight.spreads)}"


@rule(
    "not-finite",
    ERROR,
    "clinic-one-inf",
    "one inf or nan in a batch stays in the running average for good, and is seen in "
    "evaluation only",
    "bnlib.pytorch.surgery.precise_statistics on clean data",
)
def not_finite(sight: Sight) -> Found:
    """Find buffers or parameters with nan or inf."""
    for name, norm in sight.norms.items():
        for key, value in norm.state_dict().items():
            bad = int((~torch.isfinite(value)).sum())
            if bad:
                yield name, f"{bad} of {value.numel()} values of {key} are nan or inf"


@rule(
    "graph-in-statistics",
    ERROR,
    "clinic-graph-in-statistics",
    "running statistics that carry a graph cannot be copied, and hold all past batches",
    "detach what is stored",
)
def graph_in_statistics(sight: Sight) -> Found:
    """Find buffers with a history."""
    for name, norm in sight.norms.items():
        for key in ("running_mean", "running_var"):
            value = getattr(norm, key)
            if value is not None and value.requires_grad:
                yield name, f"{key}.requires_grad is True"


@rule(
    "momentum",
    WARNING,
    "clinic-cold-average",
    "the running statistics still hold their start, mean 0 and variance 1",
    "train longer, raise momentum (in PyTorch the weight of the new batch), or use "
    "bnlib.pytorch.surgery.precise_statistics",
)
def momentum_too_small(sight: Sight) -> Found:
    """Find too few steps for the momentum."""
    for name, norm in sight.norms.items():
        steps, step = norm.num_batches_tracked, norm.momentum
        if steps is None or step is None or _young(sight, norm):
            continue
        if ((n := int(steps)) == 0 and step > 0) or (step == 0 and not _at_start(norm)):
            continue
        left = (1 - step) ** n
        if left > START_LEFT and not _fits(norm, sight.seen.get(name)):
            yield name, f"momentum {step:g}, {n} batches: {left:.0%} of the start left"


@rule(
    "momentum-large",
    NOTE,
    "clinic-momentum-meaning",
    "the running statistics are nearly those of the last batch, with its noise",
    "lower momentum: 0.1 is PyTorch's default",
)
def momentum_too_large(sight: Sight) -> Found:
    """Find an average over hardly more than one batch."""
    for name, norm in sight.norms.items():
        if norm.momentum is not None and norm.momentum > 0.5:
            yield name, f"momentum {norm.momentum:g}"


@rule(
    "statistics-off",
    WARNING,
    "clinic-averaged-weights",
    "in evaluation the layer does not normalize this data",
    "bnlib.pytorch.surgery.precise_statistics on training data, or adapt on new data; "
    "check the inputs' scaling first",
)
def statistics_off(sight: Sight) -> Found:
    """Find stored statistics far from those of the data."""
    for name, seen in sight.seen.items():
        norm = sight.norms[name]
        mean, var = norm.running_mean, norm.running_var
        if seen.mean is None or seen.var is None or mean is None or var is None:
            continue
        fresh = norm.num_batches_tracked is not None and not int(
            norm.num_batches_tracked
        )
        held = sight.model.training and not norm.training
        asked = held or sight.purpose in ("evaluate", "deploy")
        if seen.count < 16 or (fresh and not asked) or _young(sight, norm):
            continue
        scale = (torch.minimum(seen.var, var.double()) + norm.eps).sqrt()
        off = (seen.mean - mean.double()).abs() / scale
        ratio = (seen.var + norm.eps) / (var.double() + norm.eps)
        wrong = (off > MEAN_OFF) & ((seen.mean - mean.double()).abs() > 1e-3)
        wrong |= (ratio > RATIO_OFF) | (ratio < 1 / RATIO_OFF)
        share = float(wrong.double().mean())
        if bool(torch.isfinite(off).all()) and share > CHANNELS_OFF:
            yield (
                name,
                f"{share:.0%} of the channels; median distance of the means "
                f"{float(off.median()):.2g} sd, median ratio of the variances "
                f"{float(ratio.median()):.2g}" + (", 0 batches seen" if fresh else ""),
            )
