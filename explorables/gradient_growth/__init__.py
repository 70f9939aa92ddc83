"""Gradients that grow with depth, beside theory."""
