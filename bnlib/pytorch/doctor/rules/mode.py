"""Rules on modes and on what is frozen: page 17a of the clinic."""

from __future__ import annotations

from bnlib.pytorch.doctor.complaints import ERROR, WARNING, Found, rules_of
from bnlib.pytorch.doctor.sight import Sight

rule = rules_of("17a_check_the_mode")


@rule(
    "training-mode",
    ERROR,
    "clinic-training-mode",
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
    "live-statistics",
    WARNING,
    "clinic-live-statistics",
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


@rule(
    "tracking-off",
    ERROR,
    "clinic-tracking-off",
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
