"""Right answers to problem set 5, as a student would write them."""

import numpy as np

try:
    import torch
except ModuleNotFoundError:  # the other questions do not need it
    torch = None


def fold_linear(W, b, gamma, beta, mean, var, eps):
    """Fold batch norm in test mode into the linear layer before it."""
    if b is None:
        b = np.zeros(len(W))
    std = np.sqrt(var + eps)
    scale = gamma / std
    W2 = W * scale[:, None]
    b2 = (b - mean) * scale + beta
    return W2, b2


def fold_conv(W, b, gamma, beta, mean, var, eps):
    """Fold batch norm in test mode into the convolution before it."""
    if b is None:
        b = np.zeros(len(W))
    std = np.sqrt(var + eps)
    scale = gamma / std
    W2 = W * scale.reshape(-1, 1, 1, 1)
    b2 = (b - mean) * scale + beta
    return W2, b2


def stay(mode=True):
    """Do nothing in place of a layer's train()."""


def freeze_batch_norm(model):
    """Hold all batch-norm layers of a model still, for good."""
    kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    for layer in model.modules():
        if isinstance(layer, kinds):
            layer.eval()
            layer.train = stay
            for parameter in layer.parameters():
                parameter.requires_grad = False
    return model


def population_statistics(batches):
    """Compute mean and variance of all rows from those of each batch."""
    rows = 0
    mean = 0.0
    squares = 0.0
    for x in batches:
        n = len(x)
        mu = x.mean(axis=0)
        away = mu - mean
        within = n * x.var(axis=0)
        between = away**2 * rows * n / (rows + n)
        squares = squares + within + between
        mean = mean + away * n / (rows + n)
        rows = rows + n
    return mean, squares / rows
