"""Batch-norm layers with one thing changed, for PyTorch.

Each takes the place of ``torch.nn.BatchNorm1d`` and keeps its arguments and state. A
test compares each with a plain slow implementation.
"""
