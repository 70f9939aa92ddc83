"""Features first inside: rows of the transpose are normalized."""

import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    xt = x.T  # (D, N)
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    if bn_param["mode"] == "train":
        mean, var = xt.mean(axis=1), xt.var(axis=1)
        start = np.zeros(len(xt))
        bn_param["running_mean"] = (
            momentum * bn_param.get("running_mean", start) + (1 - momentum) * mean
        )
        bn_param["running_var"] = (
            momentum * bn_param.get("running_var", start) + (1 - momentum) * var
        )
    else:
        mean, var = bn_param["running_mean"], bn_param["running_var"]
    hats = (xt - mean[:, None]) / np.sqrt(var + eps)[:, None]
    out = gamma[:, None] * hats + beta[:, None]
    return out.T, (hats, np.sqrt(var + eps), gamma)


def batchnorm_backward(dout, cache):
    hats, std, gamma = cache
    dt = dout.T
    dbeta, dgamma = dt.sum(axis=1), (dt * hats).sum(axis=1)
    dhats = gamma[:, None] * dt
    dvar = (dhats * hats).sum(axis=1) * -0.5 / std**2
    daway = dhats / std[:, None] + 2 * (dvar * std / dt.shape[1])[:, None] * hats
    dx = daway - daway.mean(axis=1, keepdims=True)
    return dx.T, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    hats, std, gamma = cache
    dt = dout.T
    inner = dt.mean(axis=1)[:, None] + hats * (dt * hats).mean(axis=1)[:, None]
    dx = (gamma / std)[:, None] * (dt - inner)
    return dx.T, (dt * hats).sum(axis=1), dt.sum(axis=1)
