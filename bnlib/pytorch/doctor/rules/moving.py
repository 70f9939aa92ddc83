"""Rules on a model that moves to other machines: page 17f of the clinic."""

from __future__ import annotations

from torch import nn

from bnlib.pytorch.doctor.complaints import NOTE, WARNING, Found, rules_of
from bnlib.pytorch.doctor.sight import Sight

rule = rules_of("17f_move_the_model")


@rule(
    "not-synchronised",
    WARNING,
    "clinic-sync",
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
    "clinic-fold-in-training",
    "in evaluation the norm is a scale and a shift, which the layer before it can do",
    "bnlib.pytorch.surgery.fold",
)
def can_fold(sight: Sight) -> Found:
    """Find pairs that a deployed model need not compute apart."""
    if sight.purpose == "deploy":
        for layer, norm in sight.pairs:
            yield norm, f"into {layer!r}"
