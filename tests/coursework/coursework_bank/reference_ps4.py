"""Right answers to problem set 4, as a student would write them."""

import numpy as np

try:
    import torch
except ModuleNotFoundError:  # the other questions do not need it
    torch = None


def batchnorm_forward(x, gamma, beta, bn_param):
    """Normalize each column, pasted from problem set 1."""
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    N, D = x.shape
    running_mean = bn_param.get("running_mean", np.zeros(D))
    running_var = bn_param.get("running_var", np.zeros(D))
    if mode == "test":
        test_std = np.sqrt(running_var + eps)
        return gamma * (x - running_mean) / test_std + beta, None
    mu = np.mean(x, axis=0)
    centred = x - mu
    var = np.mean(centred**2, axis=0)
    std = np.sqrt(var + eps)
    x_hat = centred / std
    bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mu
    bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    return gamma * x_hat + beta, (x_hat, std, gamma, N)


def batchnorm_backward(dout, cache):
    """Return the gradients, pasted from problem set 2."""
    x_hat, std, gamma, N = cache
    g = dout * gamma
    A = np.sum(g, axis=0) / N
    B = np.sum(g * x_hat, axis=0) / N
    dx = (g - A - x_hat * B) / std
    return dx, np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    """Normalize each channel over the batch and all positions."""
    N, C, H, W = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, C)
    out, cache = batchnorm_forward(rows, gamma, beta, bn_param)
    out = out.reshape(N, H, W, C).transpose(0, 3, 1, 2)
    return out, cache


def spatial_batchnorm_backward(dout, cache):
    """Send the gradient back through spatial_batchnorm_forward."""
    N, C, H, W = dout.shape
    rows = dout.transpose(0, 2, 3, 1).reshape(-1, C)
    dx, dgamma, dbeta = batchnorm_backward(rows, cache)
    dx = dx.reshape(N, H, W, C).transpose(0, 3, 1, 2)
    return dx, dgamma, dbeta


def layernorm_forward(x, gamma, beta, ln_param):
    """Normalize each row over its features."""
    eps = ln_param.get("eps", 1e-5)
    D = x.shape[1]
    mu = np.sum(x, axis=1, keepdims=True) / D
    centred = x - mu
    var = np.sum(centred**2, axis=1, keepdims=True) / D
    std = np.sqrt(var + eps)
    x_hat = centred / std
    out = gamma * x_hat + beta
    return out, (x, x_hat, std, gamma)


def layernorm_backward(dout, cache):
    """Send the gradient back through layernorm_forward."""
    x, x_hat, std, gamma = cache
    N, D = x.shape
    g = dout * gamma
    A = np.sum(g, axis=1, keepdims=True) / D
    B = np.sum(g * x_hat, axis=1, keepdims=True) / D
    dx = (g - A - x_hat * B) / std
    dgamma = np.sum(dout * x_hat, axis=0)
    dbeta = np.sum(dout, axis=0)
    return dx.reshape(N, D), dgamma, dbeta


def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):
    """Normalize each group of channels of each example."""
    eps = gn_param.get("eps", 1e-5)
    N, C, H, W = x.shape
    grouped = x.reshape(N, G, C // G, H, W)
    mu = grouped.mean(axis=(2, 3, 4), keepdims=True)
    centred = grouped - mu
    var = (centred**2).mean(axis=(2, 3, 4), keepdims=True)
    std = np.sqrt(var + eps)
    x_hat = (centred / std).reshape(N, C, H, W)
    out = gamma.reshape(1, C, 1, 1) * x_hat + beta.reshape(1, C, 1, 1)
    return out, (x_hat, std, gamma, G)


def spatial_groupnorm_backward(dout, cache):
    """Send the gradient back through spatial_groupnorm_forward."""
    x_hat, std, gamma, G = cache
    N, C, H, W = dout.shape
    shape = (N, G, C // G, H, W)
    g = (dout * gamma.reshape(1, C, 1, 1)).reshape(shape)
    hats = x_hat.reshape(shape)
    A = g.mean(axis=(2, 3, 4), keepdims=True)
    B = (g * hats).mean(axis=(2, 3, 4), keepdims=True)
    dx = ((g - A - hats * B) / std).reshape(N, C, H, W)
    dgamma = (dout * x_hat).sum(axis=(0, 2, 3)).reshape(gamma.shape)
    dbeta = dout.sum(axis=(0, 2, 3)).reshape(gamma.shape)
    return dx, dgamma, dbeta


class BatchNorm1d(torch.nn.Module if torch else object):
    """Batch norm with the conventions of torch.nn.BatchNorm1d."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = torch.nn.Parameter(torch.ones(num_features))
        self.bias = torch.nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x):
        n = x.shape[0]
        if self.training:
            mu = x.mean(dim=0)
            var = ((x - mu) ** 2).mean(dim=0)
            with torch.no_grad():
                m = self.momentum
                unbiased = var * n / (n - 1)
                self.running_mean.copy_((1 - m) * self.running_mean + m * mu)
                self.running_var.copy_((1 - m) * self.running_var + m * unbiased)
                self.num_batches_tracked += 1
        else:
            mu = self.running_mean
            var = self.running_var
        x_hat = (x - mu) / torch.sqrt(var + self.eps)
        return self.weight * x_hat + self.bias


def unequal_groupnorm(x, gamma, beta, sizes, eps):
    """Normalize groups of channels of the given sizes."""
    x_hat = np.zeros(x.shape)
    start = 0
    for size in sizes:
        group = slice(start, start + size)
        part = x[:, group]
        centred = part - part.mean(axis=(1, 2, 3), keepdims=True)
        var = (centred**2).mean(axis=(1, 2, 3), keepdims=True)
        std = np.sqrt(var + eps)
        x_hat[:, group] = centred / std
        start = start + size
    return gamma[:, None, None] * x_hat + beta[:, None, None]


def masked_spatial_batchnorm(x, gamma, beta, mask, eps):
    """Normalize maps with the statistics of the pixels where mask is 1."""
    keep = mask[:, None]
    count = mask.sum()
    mu = (keep * x).sum(axis=(0, 2, 3), keepdims=True) / count
    centred = x - mu
    var = (keep * centred**2).sum(axis=(0, 2, 3), keepdims=True) / count
    std = np.sqrt(var + eps)
    x_hat = centred / std
    return gamma[:, None, None] * x_hat + beta[:, None, None]
