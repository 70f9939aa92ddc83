"""bnlib: batch normalization in NumPy, written to be read.

Rooms: `functional` (the mathematics), `relatives` (layer, group, instance and RMS
norm), `ops` (the rest of a network), `module` and `layers` (with state), `graph` (the
computation graph), `training`, `data`, `checks`, `plotting`. NumPy is all
that ``import bnlib`` needs.
"""

__version__ = "0.1.0"
