"""Sixty models whose writer had not seen the doctor's rules: 30 sick, 30 healthy.

Each sick one carries the sentence that a good doctor should say, written before the
doctor was asked. `TOLD` came afterwards: the code that is expected now, or nothing
where the fault cannot be seen.
"""

from unseen import healthy_nets, healthy_pieces, sick_data, sick_layers, sick_training
from unseen.ward import Patient

SICK: list[Patient] = [
    *sick_training.WARD.patients,
    *sick_layers.WARD.patients,
    *sick_data.WARD.patients,
]
HEALTHY: list[Patient] = [
    *healthy_nets.WARD.patients,
    *healthy_pieces.WARD.patients,
]
TOLD = {
    "ragged_last_batch": "one-value",
    "validation_without_eval": "training-mode",
    "frozen_by_requires_grad": "live-statistics",
    "frozen_but_never_trained": "statistics-off",
    "poisoned_by_one_batch": "not-finite",
    "momentum_of_tensorflow": "momentum-large",
    "momentum_zero": "momentum",
    "decay_on_everything": "decay-on-norm",
    "optimizer_older_than_the_norms": "not-in-optimizer",
    "target_net_without_buffers": "statistics-off",
    "no_stored_statistics_one_by_one": "company",
    "checkpoint_updates_twice": "",  # happens in the backward pass, which is not run
    "channels_last_text": "norm-axis",
    "group_norm_of_one_value": "one-value-group",
    "one_pixel_bottleneck": "one-value-group",
    "instance_norm_that_tracks": "",  # does what it says, and may be meant
    "one_norm_two_domains": "called-twice",
    "dropout_before_norm": "dropout-before-norm",
    "gamma_drawn_around_zero": "gamma-around-zero",
    "layer_norm_over_the_width": "norm-axis",
    "functional_always_training": "company",
    "one_norm_after_two_convolutions": "called-twice",
    "norm_never_called": "never-called",
    "one_pass_variance": "nan-made",
    "quiet_sound": "tiny-scale",
    "padded_text": "padding",
    "overflow_in_half": "half-statistics",
    "pixels_up_to_255": "statistics-off",
    "constant_feature": "dead-channels",
    "sorted_by_class": "batches-apart",
}
