"""bnlib: batch normalization in NumPy, written to be read.

Rooms: `functional` (batch norm and its relatives), `ops` (the rest of a network),
`layers` (both with state), `graph` (the computation graph), `training`, `data`, `roses`
(drawn images), `conventions` (what each framework means by its words), `checks`,
`plotting`. NumPy is all that ``import bnlib`` needs.
"""

__version__ = "0.1.0"
