"""Rules on what stands beside a norm: page 17e of the clinic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnlib.pytorch.doctor.complaints import (
    ERROR,
    NOTE,
    WARNING,
    Found,
    rules_of,
    tiny_channels,
)
from bnlib.pytorch.doctor.sight import NORMS, Sight

rule = rules_of("17e_check_the_neighbours")
HUGE = 1e4
SMALL_GAMMA = 0.2
COMPANY = 0.01  # in sd of the answers


def _scaled(sight: Sight) -> dict[str, nn.Module]:
    """Return every norm of any kind, by name."""
    modules = sight.model.named_modules()
    return {n or type(m).__name__: m for n, m in modules if isinstance(m, NORMS)}


def _parameter(value: object) -> Tensor | None:
    return value if isinstance(value, Tensor) else None


@rule(
    "bias-before-norm",
    NOTE,
    "clinic-bias",
    "the norm subtracts the mean, and with it any constant that was added before",
    "build the layer with bias=False; beta takes its place",
)
def bias_before_norm(sight: Sight) -> Found:
    """Find a bias that the norm takes off again."""
    for name, seen in sight.seen.items():
        if seen.before != "weights" or not seen.alone or seen.calls != 1:
            continue
        layer = sight.model.get_submodule(seen.layer)
        bias = _parameter(layer.bias)
        if isinstance(layer, nn.Linear) and seen.axes > 2:
            continue  # its biases lie along another axis than the norm's channels
        if bias is not None:
            yield seen.layer, f"{bias.numel()} biases before the norm {name!r}"


@rule(
    "dropout-before-norm",
    WARNING,
    "clinic-order-dropout",
    "dropout makes the variance larger in training than in evaluation, and the running "
    "variance is that of training",
    "put dropout behind the last norm, or re-estimate the statistics with dropout off",
)
def dropout_before_norm(sight: Sight) -> Found:
    """Find an active dropout upstream, with no norm between."""
    for name, seen in sight.seen.items():
        if seen.dropouts:
            yield name, f"behind {', '.join(sorted(set(seen.dropouts)))}"


@rule(
    "odd-order",
    NOTE,
    "clinic-order-activation",
    "most norms of this net stand before the activation and this one behind it",
    "check that the order is meant",
)
def odd_order(sight: Sight) -> Found:
    """Find a norm behind an activation where the net's own pattern is before it."""
    kinds = {name: seen.before for name, seen in sight.seen.items()}
    usual = sum(kind == "weights" for kind in kinds.values())
    odd = [name for name, kind in kinds.items() if kind == "activation"]
    if usual >= 3 and len(odd) <= usual / 3:
        for name in odd:
            yield name, f"{usual} norms follow a layer with weights"


@rule(
    "never-called",
    NOTE,
    "clinic-never-called",
    "the model holds this norm, and no batch reaches it",
    "call it in forward, or take it out of the model",
)
def never_called(sight: Sight) -> Found:
    """Find a batch norm that did not run."""
    for name in sight.norms:
        if name not in sight.seen:
            yield name, f"0 calls in {sight.batches} batches"


@rule(
    "gamma-around-zero",
    WARNING,
    "clinic-zero-gamma",
    "every norm multiplies by small numbers of both signs, and little of the signal is "
    "left",
    "start gamma at 1: normal_(1.0, 0.02), not normal_(0.0, 0.02)",
)
def gamma_around_zero(sight: Sight) -> Found:
    """Find gammas that were all drawn around 0."""
    gammas = {n: m.weight.detach() for n, m in sight.norms.items() if m.affine}

    def drawn(gamma: Tensor) -> bool:
        negative = float((gamma < 0).double().mean())
        small = float(gamma.abs().max()) < SMALL_GAMMA
        return len(gamma) >= 4 and small and 0.1 < negative < 0.9

    if gammas and all(drawn(gamma) for gamma in gammas.values()):
        for name, gamma in gammas.items():
            yield name, f"gamma between {gamma.min():.2g} and {gamma.max():.2g}"


@rule(
    "company",
    WARNING,
    "clinic-unregistered",
    "in evaluation mode an answer still depends on the other examples of the batch",
    "store statistics (track_running_stats=True), give training=self.training to "
    "functions, keep layers where eval() finds them (nn.ModuleList)",
)
def company(sight: Sight) -> Found:
    """Find answers that change with the batch after eval()."""
    if sight.purpose not in ("evaluate", "deploy"):
        return
    bare = [name for name, norm in sight.norms.items() if norm.running_mean is None]
    for name in bare:
        yield name, "no statistics are stored"
    if not bare and sight.company > COMPANY:
        words = f"without half of the batch answers move by {sight.company:.2g} sd"
        yield type(sight.model).__name__, words


@rule(
    "nan-made",
    ERROR,
    "clinic-huge-channels",
    "finite values go in and nan comes out, which spreads to everything behind",
    "look for a root, a logarithm or a division there: a variance is a mean square of "
    "the differences to the mean, not a difference of two large numbers",
)
def nan_made(sight: Sight) -> Found:
    """Find the first module that makes nan, if no stored value explains it."""
    if sight.nan is None:
        return
    name, batch = sight.nan
    module = dict(sight.model.named_modules()).get(name, sight.model)
    stored = (*module.parameters(), *module.buffers())
    if all(bool(torch.isfinite(value).all()) for value in stored):
        yield name, f"in {batch}"


@rule(
    "dead-channels",
    WARNING,
    "clinic-dead-channels",
    "a channel that is constant on this data comes out as beta and learns nothing",
    "look at what stands before the norm: a dead activation, a masked input",
)
def dead_channels(sight: Sight) -> Found:
    """Find channels without variance."""
    for name, seen in sight.seen.items():
        if seen.var is None or seen.count < 16:
            continue
        dead = int((seen.var < 1e-3 * sight.norms[name].eps).sum())
        if (tiny := tiny_channels(sight, name)) is not None:
            dead = int((~tiny & (seen.var < sight.norms[name].eps)).sum())
        if dead:
            yield (
                name,
                f"{dead} of {len(seen.var)} channels have variance below eps/1000",
            )


@rule(
    "huge-channels",
    WARNING,
    "clinic-huge-channels",
    "values of this size overflow in half precision and swamp the next layer",
    "look for an unscaled input or a rate that is too high",
)
def huge_channels(sight: Sight) -> Found:
    """Find channels with huge values, or a huge gamma."""
    for name, seen in sight.seen.items():
        if seen.var is not None and seen.mean is not None:
            size = (seen.var + seen.mean**2).sqrt()
            if (huge := int((size > HUGE).sum())) and bool(torch.isfinite(size).all()):
                words = f"{huge} of {len(size)} channels have values over {HUGE:,.0f}"
                yield name, f"{words}, up to {float(size.max()):.2g}"
        gamma = sight.norms[name].weight
        largest = 0.0 if gamma is None else float(gamma.detach().abs().max())
        if largest > HUGE:
            yield name, f"gamma up to {largest:.2g}"


@rule(
    "decay-on-norm",
    NOTE,
    "clinic-weight-decay",
    "weight decay pulls gamma and beta to 0; whether that helps is disputed, and it is "
    "seldom meant",
    "put gamma and beta into a parameter group with weight_decay=0",
)
def decay_on_norm(sight: Sight) -> Found:
    """Find weight decay on gamma and beta."""
    if sight.optimizer is None:
        return
    decayed = {
        id(p): group["weight_decay"]
        for group in sight.optimizer.param_groups
        for p in group["params"]
        if group.get("weight_decay")
    }
    for name, norm in _scaled(sight).items():
        found = {decayed[id(p)] for p in norm.parameters() if id(p) in decayed}
        if found:
            yield name, f"weight_decay {max(found):g} on gamma or beta"


@rule(
    "not-in-optimizer",
    WARNING,
    "clinic-not-in-optimizer",
    "the optimizer does not know these parameters, so they stay what they are",
    "give the optimizer model.parameters() after the model is complete",
)
def not_in_optimizer(sight: Sight) -> Found:
    """Find gamma and beta that want gradients and are in no group."""
    if sight.optimizer is None:
        return
    known = {id(p) for g in sight.optimizer.param_groups for p in g["params"]}
    for name, norm in _scaled(sight).items():
        missing = [
            key
            for key, p in norm.named_parameters()
            if p.requires_grad and id(p) not in known
        ]
        if missing:
            yield name, f"{' and '.join(missing)} in no parameter group"
