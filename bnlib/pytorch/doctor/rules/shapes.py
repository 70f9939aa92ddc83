"""Rules on shapes and numbers: page 17d of the clinic."""

from __future__ import annotations

import torch
from torch import nn

from bnlib.pytorch.doctor.complaints import (
    ERROR,
    WARNING,
    Found,
    rules_of,
    tiny_channels,
)
from bnlib.pytorch.doctor.sight import Sight

rule = rules_of("17d_mind_shapes_and_numbers")


@rule(
    "norm-axis",
    WARNING,
    "clinic-batch-axis",
    "the layer before the norm puts its features on another axis than the norm takes",
    "move the axis for the norm and back, or use a norm over the axis of the features",
)
def norm_axis(sight: Sight) -> Found:
    """Find batch norm on axis 1 of a linear layer, layer norm over a map's width."""
    yield from sight.across.items()
    for name, seen in sight.seen.items():
        if seen.before == "weights" and seen.axes > 2:
            layer = sight.model.get_submodule(seen.layer)
            if isinstance(layer, nn.Linear):
                words = f"{layer.out_features} features of {seen.layer!r} on axis"
                channels = sight.norms[name].num_features
                yield name, f"{words} {seen.axes - 1}, {channels} channels on axis 1"


@rule(
    "one-value-group",
    ERROR,
    "clinic-silent-zeros",
    "one value less its own mean is 0: beta comes out, whatever goes in",
    "fewer groups, so that several values share a mean; or no norm there",
)
def one_value_group(sight: Sight) -> Found:
    """Find a group or layer norm that normalizes single values."""
    for name, shape in sight.single.items():
        yield name, f"1 value for each mean, in {shape}"


@rule(
    "half-statistics",
    WARNING,
    "clinic-half-precision",
    "float16 ends at 65,504, and small steps of an average are lost in half precision",
    "keep norms in float32: norm.float(), or autocast instead of model.half()",
)
def half_statistics(sight: Sight) -> Found:
    """Find running statistics in 16 bits."""
    for name, norm in sight.norms.items():
        var = norm.running_var
        if var is not None and var.dtype in (torch.float16, torch.bfloat16):
            yield name, f"running_var is {str(var.dtype).removeprefix('torch.')}"


@rule(
    "tiny-scale",
    WARNING,
    "clinic-tiny-scale",
    "the variance is smaller than eps, so that the norm divides by eps and does not "
    "normalize",
    "scale the input, or lower eps",
)
def tiny_scale(sight: Sight) -> Found:
    """Find norms whose channels mostly vary, but by less than eps."""
    for name, seen in sight.seen.items():
        tiny, eps = tiny_channels(sight, name), sight.norms[name].eps
        if tiny is not None and seen.var is not None:
            words = f"{int(tiny.sum())} of {len(tiny)} channels have variances below"
            yield name, f"{words} eps={eps:g}, median {float(seen.var.median()):.2g}"
