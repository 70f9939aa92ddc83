"""Operations on the norms of a trained PyTorch model.

Each function refuses, with a sentence, what it cannot do right. None changes the model
that it gets: the result is a copy, but for `precise_statistics`, which writes running
statistics, and `load_into`.
"""

from bnlib.pytorch.surgery._model import batch_norms
from bnlib.pytorch.surgery.converting import MaskedBatchNorm1d, convert
from bnlib.pytorch.surgery.exchange import load_into, to_torch
from bnlib.pytorch.surgery.folding import fold, fold_pair, foldable
from bnlib.pytorch.surgery.freezing import freeze, unfreeze
from bnlib.pytorch.surgery.statistics import adapt, precise_statistics

__all__ = [
    "MaskedBatchNorm1d",
    "adapt",
    "batch_norms",
    "convert",
    "fold",
    "fold_pair",
    "foldable",
    "freeze",
    "load_into",
    "precise_statistics",
    "to_torch",
    "unfreeze",
]
