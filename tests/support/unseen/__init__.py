"""Sixty models whose writer had not seen the doctor's rules: 30 sick, 30 healthy.

Each sick one carries the sentence that a good doctor should say, written before the
doctor was asked.
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
