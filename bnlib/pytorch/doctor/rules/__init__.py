"""The doctor's rules, one module for each page of the clinic that has cases.

Each rule is one function; what it enters stands in `bnlib.pytorch.doctor.complaints`.
"""

from bnlib.pytorch.doctor.rules import (
    batch,
    mode,
    moving,
    neighbours,
    shapes,
    statistics,
)

__all__ = ["batch", "mode", "moving", "neighbours", "shapes", "statistics"]
