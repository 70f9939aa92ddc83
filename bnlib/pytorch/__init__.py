"""PyTorch's side of bnlib: variants of the layer, and measurements on any model.

`bnlib.pytorch.variants` holds batch-norm layers with one thing changed, and
`bnlib.pytorch.measure` what the experiments measure on a model. Both take PyTorch's
modules and tensors. The rest of bnlib never imports torch.
"""
