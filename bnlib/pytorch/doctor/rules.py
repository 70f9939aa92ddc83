"""The doctor's rules: one function for each code, from what was seen to findings.

A rule yields the name of a layer and the evidence, in words with numbers. Its
`Complaint` holds what is the same each time: severity, page, reason and fix. The page
is the file of a chapter and the anchor of a section there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnlib.pytorch.doctor.look import NORMS, WEIGHTED, Seen, Sight

ERROR, WARNING, NOTE = "error", "warning", "note"
Found = Iterator[tuple[str, str]]

FEW_VALUES = 8  # below it the batch's mean is off by a third of a sd and more
START_LEFT = 0.1  # weight of the start in the running statistics
MEAN_OFF, RATIO_OFF, CHANNELS_OFF = 1.0, 3.0, 0.1
CLOSE = 0.2  # in sd, and for the logarithm of a ratio of variances
HUGE = 1e4
PADDED = 0.2  # share of positions
APART = 0.5  # share of the variance that lies between batches
SMALL_GAMMA = 0.2
COMPANY = 0.01  # in sd of the answers
SIGNAL = 100.0  # growth or decay of the signal over a net without norms


class Complaint(NamedTuple):
    """What a code means, the section of the clinic, and the rule that finds it."""

    severity: str
    page: str
    reason: str
    fix: str
    rule: Callable[[Sight], Found]


RULES: dict[str, Complaint] = {}


def rule(
    code: str, severity: str, page: str, reason: str, fix: str
) -> Callable[[Callable], Callable]:
    """Enter a function under its code."""

    def enter(function: Callable[[Sight], Found]) -> Callable[[Sight], Found]:
        RULES[code] = Complaint(severity, page, reason, fix, function)
        return function

    return enter


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


def _scaled(sight: Sight) -> dict[str, nn.Module]:
    """Return every norm of any kind, by name."""
    modules = sight.model.named_modules()
    return {n or type(m).__name__: m for n, m in modules if isinstance(m, NORMS)}


def _tiny(sight: Sight, name: str) -> Tensor | None:
    """Return which channels vary by less than eps, if they are more than half."""
    seen, eps = sight.seen[name], sight.norms[name].eps
    if seen.mean is None or seen.var is None or seen.count < 16:
        return None
    varies = seen.var > 1e-10 * seen.mean**2  # beyond what rounding does
    tiny = varies & (seen.var < eps)
    return tiny if float(tiny.double().mean()) > 0.5 else None


def _young(sight: Sight, norm: _BatchNorm) -> bool:
    """Say whether a training that has hardly begun will renew the statistics."""
    steps, step = norm.num_batches_tracked, norm.momentum
    if steps is None or not step or sight.purpose != "train":
        return False
    return norm.training and (1 - step) ** int(steps) > START_LEFT


def _parameter(value: object) -> Tensor | None:
    return value if isinstance(value, Tensor) else None


# --- what stands where ----------------------------------------------------------------


@rule(
    "bias-before-norm",
    NOTE,
    "17e_check_the_neighbours#clinic-bias",
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
    "17e_check_the_neighbours#clinic-order-dropout",
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
    "17e_check_the_neighbours#clinic-order-activation",
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
    "norm-axis",
    WARNING,
    "17d_mind_shapes_and_numbers#clinic-batch-axis",
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
    "17d_mind_shapes_and_numbers#clinic-silent-zeros",
    "one value less its own mean is 0: beta comes out, whatever goes in",
    "fewer groups, so that several values share a mean; or no norm there",
)
def one_value_group(sight: Sight) -> Found:
    """Find a group or layer norm that normalizes single values."""
    for name, shape in sight.single.items():
        yield name, f"1 value for each mean, in {shape}"


@rule(
    "shared-norm",
    WARNING,
    "17c_look_at_the_batch#clinic-shared-layer",
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
    "17c_look_at_the_batch#clinic-called-twice",
    "each call moves the running statistics, which then mix what differs",
    "give each call a norm of its own, or join the inputs into one batch",
)
def called_twice(sight: Sight) -> Found:
    """Find more than one call in one forward pass."""
    for name, seen in sight.seen.items():
        if seen.calls > 1:
            yield name, f"{seen.calls} calls in one forward pass"


@rule(
    "signal-lost",
    NOTE,
    "17b_follow_the_statistics#clinic-signal-lost",
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
    "never-called",
    NOTE,
    "17e_check_the_neighbours#clinic-never-called",
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
    "17e_check_the_neighbours#clinic-zero-gamma",
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


# --- modes ----------------------------------------------------------------------------


@rule(
    "training-mode",
    ERROR,
    "17a_check_the_mode#clinic-training-mode",
    "in training mode an answer depends on the other examples of the batch, and the "
    "running statistics move",
    "call model.eval() before evaluation, and model.train() before training goes on",
)
def training_mode(sight: Sight) -> Found:
    """Find a norm in training mode where the model evaluates."""
    evaluating = sight.purpose in ("evaluate", "deploy") or not sight.model.training
    for name, norm in sight.norms.items():
        if evaluating and norm.training:
            yield name, f"training=True, purpose {sight.purpose}"


@rule(
    "company",
    WARNING,
    "17e_check_the_neighbours#clinic-unregistered",
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
    "live-statistics",
    WARNING,
    "17a_check_the_mode#clinic-live-statistics",
    "requires_grad=False does not stop the running statistics, which move in each "
    "forward pass in training mode",
    "bnlib.pytorch.surgery.freeze, which a later train() does not undo",
)
def live_statistics(sight: Sight) -> Found:
    """Find frozen gamma and beta, statistics that go on moving."""
    for name, norm in sight.norms.items():
        own = list(norm.parameters(recurse=False))
        frozen = bool(own) and not any(p.requires_grad for p in own)
        if frozen and norm.training and norm.running_mean is not None:
            yield name, "gamma and beta have requires_grad=False, training=True"


# --- statistics -----------------------------------------------------------------------


@rule(
    "not-finite",
    ERROR,
    "17b_follow_the_statistics#clinic-one-inf",
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
    "nan-made",
    ERROR,
    "17e_check_the_neighbours#clinic-huge-channels",
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
    "half-statistics",
    WARNING,
    "17d_mind_shapes_and_numbers#clinic-half-precision",
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
    "graph-in-statistics",
    ERROR,
    "17b_follow_the_statistics#clinic-graph-in-statistics",
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
    "tracking-off",
    ERROR,
    "17a_check_the_mode#clinic-tracking-off",
    "the layer does not update its statistics in training, and uses the old ones in "
    "evaluation",
    "set track_running_stats when the layer is built; or set running_mean, running_var "
    "and num_batches_tracked to None as well",
)
def tracking_off(sight: Sight) -> Found:
    """Find tracking switched off while the statistics are still there."""
    for name, norm in sight.norms.items():
        if norm.running_mean is not None and not norm.track_running_stats:
            yield name, "track_running_stats=False, and running_mean is there"


@rule(
    "momentum",
    WARNING,
    "17b_follow_the_statistics#clinic-cold-average",
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
    "17b_follow_the_statistics#clinic-momentum-meaning",
    "the running statistics are nearly those of the last batch, with its noise",
    "lower momentum: 0.1 is PyTorch's default",
)
def momentum_too_large(sight: Sight) -> Found:
    """Find an average over hardly more than one batch."""
    for name, norm in sight.norms.items():
        if norm.momentum is not None and norm.momentum > 0.5:
            yield name, f"momentum {norm.momentum:g}"


@rule(
    "one-value",
    ERROR,
    "17c_look_at_the_batch#clinic-batch-of-one",
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
    "17c_look_at_the_batch#clinic-accumulation",
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
    "statistics-off",
    WARNING,
    "17b_follow_the_statistics#clinic-averaged-weights",
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


@rule(
    "padding",
    NOTE,
    "17c_look_at_the_batch#clinic-padding",
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
    "17c_look_at_the_batch#clinic-batches-apart",
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


@rule(
    "tiny-scale",
    WARNING,
    "17d_mind_shapes_and_numbers#clinic-tiny-scale",
    "the variance is smaller than eps, so that the norm divides by eps and does not "
    "normalize",
    "scale the input, or lower eps",
)
def tiny_scale(sight: Sight) -> Found:
    """Find norms whose channels mostly vary, but by less than eps."""
    for name, seen in sight.seen.items():
        tiny, eps = _tiny(sight, name), sight.norms[name].eps
        if tiny is not None and seen.var is not None:
            words = f"{int(tiny.sum())} of {len(tiny)} channels have variances below"
            yield name, f"{words} eps={eps:g}, median {float(seen.var.median()):.2g}"


@rule(
    "dead-channels",
    WARNING,
    "17e_check_the_neighbours#clinic-dead-channels",
    "a channel that is constant on this data comes out as beta and learns nothing",
    "look at what stands before the norm: a dead activation, a masked input",
)
def dead_channels(sight: Sight) -> Found:
    """Find channels without variance."""
    for name, seen in sight.seen.items():
        if seen.var is None or seen.count < 16:
            continue
        dead = int((seen.var < 1e-3 * sight.norms[name].eps).sum())
        if (tiny := _tiny(sight, name)) is not None:
            dead = int((~tiny & (seen.var < sight.norms[name].eps)).sum())
        if dead:
            yield (
                name,
                f"{dead} of {len(seen.var)} channels have variance below eps/1000",
            )


@rule(
    "huge-channels",
    WARNING,
    "17e_check_the_neighbours#clinic-huge-channels",
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


# --- training and deployment ----------------------------------------------------------


@rule(
    "decay-on-norm",
    NOTE,
    "17e_check_the_neighbours#clinic-weight-decay",
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
    "17e_check_the_neighbours#clinic-not-in-optimizer",
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


@rule(
    "not-synchronised",
    WARNING,
    "17f_move_the_model#clinic-sync",
    "each replica normalizes by the statistics of its own part of the batch",
    "nn.SyncBatchNorm.convert_sync_batchnorm(model), if the parts are small",
)
def not_synchronised(sight: Sight) -> Found:
    """Find replicas with a norm of their own."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    wrapped = [
        type(m).__name__ for m in sight.model.modules() if isinstance(m, parallel)
    ]
    if not wrapped:
        return
    for name, norm in sight.norms.items():
        if not isinstance(norm, nn.SyncBatchNorm):
            yield name, f"inside {wrapped[0]}, not SyncBatchNorm"


@rule(
    "foldable",
    NOTE,
    "17f_move_the_model#clinic-fold-in-training",
    "in evaluation the norm is a scale and a shift, which the layer before it can do",
    "bnlib.pytorch.surgery.fold",
)
def can_fold(sight: Sight) -> Found:
    """Find pairs that a deployed model need not compute apart."""
    if sight.purpose == "deploy":
        for layer, norm in sight.pairs:
            yield norm, f"into {layer!r}"
