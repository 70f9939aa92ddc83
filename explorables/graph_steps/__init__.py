"""The computation graph of the layer, stepped forward and backward."""
