"""Rules on the batch and on calls: page 17c of the clinic."""

from __future__ import annotations

import torch
from torch import nn

from bnlib.pytorch.doctor.complaints import ERROR, NOTE, WARNING, Found, rules_of
from bnlib.pytorch.doctor.sight import Sight

rule = rules_of("17c_look_at_the_batch")
FEW_VALUES = 8  # below it the batch's mean is off by a third of a sd and more
PADDED = 0.2  # share of positions
APART = 0.5  # share of the variance that lies between batches


@rule(
    "shared-norm",
    WARNING,
    "clinic-shared-layer",
    "one norm that stands at two places keeps one set of statistics for both",
    "give each place a norm of its own",
)
def shared_norm(sight: Sight) -> Found:
    """Find one module under two names."""
    places: dict[nn.Module, list[str]] = {}
    for name, module in sight.model.named_modules(remove_duplicate=False):
        if module in sight.norms.values():
            places.setdefault(module, []).append(name)
    for names in places.values():
        if len(names) > 1:
            yield names[0], f"stands at {', '.join(names)}"


@rule(
    "called-twice",
    WARNING,
    "clinic-called-twice",
    "each call moves the running statistics, which then mix what differs",
    "give each call a norm of its own, or join the inputs into one batch",
)
def called_twice(sight: Sight) -> Found:
    """Find more than one call in one forward pass."""
    for name, seen in sight.seen.items():
        if seen.calls > 1:
            yield name, f"{seen.calls} calls in one forward pass"


@rule(
    "one-value",
    ERROR,
    "clinic-batch-of-one",
    "one value per channel has no variance: the layer stops with an error in training",
    "drop the last batch if it holds one example (drop_last=True), or use another norm",
)
def one_value(sight: Sight) -> Found:
    """Find a batch with one value per channel."""
    if sight.purpose in ("evaluate", "deploy"):
        return
    for name, seen in sight.seen.items():
        ones = [number for number, n in enumerate(seen.values) if n == 1]
        if ones:
            yield name, f"batch {ones[0]} of {len(seen.values)} has 1 value per channel"


@rule(
    "small-batch",
    WARNING,
    "clinic-accumulation",
    "the statistics of so few values are noisy, and differ from the running ones",
    "larger batches, group norm, or statistics over several devices (SyncBatchNorm)",
)
def small_batch(sight: Sight) -> Found:
    """Find few values per channel in training."""
    if sight.purpose in ("evaluate", "deploy"):
        return
    for name, seen in sight.seen.items():
        values = [n for n in seen.values if n > 1]
        if values and (n := max(values)) < FEW_VALUES:
            noise = n**-0.5
            yield name, f"{n} values per channel: the mean is off by {noise:.2f} sd"


@rule(
    "padding",
    NOTE,
    "clinic-padding",
    "what fills up short sequences enters the statistics, which then depend on the "
    "lengths in a batch",
    "take the statistics of what is data only: a mask",
)
def padding(sight: Sight) -> Found:
    """Find sequences that end in many equal positions."""
    for name, seen in sight.seen.items():
        if seen.padded > PADDED:
            yield (
                name,
                f"{seen.padded:.0%} of the positions repeat the end of a sequence",
            )


@rule(
    "batches-apart",
    WARNING,
    "clinic-batches-apart",
    "the statistics of one batch are not those of the next, and the running ones fit "
    "none of them",
    "shuffle the loader; or norms that do not look at the batch",
)
def batches_apart(sight: Sight) -> Found:
    """Find batches whose means differ more than the values within them."""
    for name, seen in sight.seen.items():
        means, var = seen.means, seen.var
        if sight.purpose in ("evaluate", "deploy") or not sight.norms[name].training:
            continue
        if (
            len(means) < 3
            or seen.calls > 1
            or var is None
            or min(seen.values) < FEW_VALUES
        ):
            continue
        between = torch.stack(means).var(0, unbiased=False)
        share = float((between / (var + sight.norms[name].eps)).median())
        if share > APART:
            yield name, f"{share:.0%} of the variance lies between the batches"
