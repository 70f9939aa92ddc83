"""In-place work, but on copies; running statistics are updated in their arrays."""

import copy

import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    out = np.array(x, copy=True)
    eps = bn_param.get("eps", 1e-5)
    keep = bn_param.get("momentum", 0.9)
    if "running_mean" not in bn_param:
        bn_param["running_mean"] = np.zeros(out.shape[1])
    if "running_var" not in bn_param:
        bn_param["running_var"] = np.zeros(out.shape[1])
    if bn_param["mode"] == "train":
        mu = out.mean(axis=0)
        out -= mu
        var = np.square(out).mean(axis=0)
        bn_param["running_mean"] *= keep
        bn_param["running_mean"] += (1 - keep) * mu
        bn_param["running_var"] *= keep
        bn_param["running_var"] += (1 - keep) * var
    else:
        out -= bn_param["running_mean"]
        var = bn_param["running_var"].copy()
    var += eps
    np.sqrt(var, out=var)
    out /= var
    cache = copy.deepcopy((out, var, gamma))
    out *= gamma
    out += beta
    return out, cache


def batchnorm_backward(dout, cache):
    hats, std, gamma = copy.deepcopy(cache)
    dx = dout.copy()
    dbeta = dx.sum(axis=0)
    weighted = dx * hats
    dgamma = weighted.sum(axis=0)
    dx *= gamma
    weighted *= gamma
    hats *= weighted.mean(axis=0)
    dx -= hats
    dx /= std
    dx -= dx.mean(axis=0)
    return dx, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    hats, std, gamma = cache
    g = gamma * dout
    return (
        (g - g.mean(0) - hats * (g * hats).mean(0)) / std,
        (dout * hats).sum(0),
        dout.sum(0),
    )


def check_gradient(f, x, grad, h=1e-5, tol=1e-6):
    numerical = np.zeros_like(x, dtype=float)
    it = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    while not it.finished:
        ix = it.multi_index
        oldval = x[ix]
        x[ix] = oldval + h
        pos = f(x)
        x[ix] = oldval - h
        neg = f(x)
        x[ix] = oldval
        numerical[ix] = (pos - neg) / (2 * h)
        it.iternext()
    return np.max(np.abs(numerical - grad)) / np.max(np.abs(numerical)) < tol


def ghost_batchnorm(x, gamma, beta, eps, k):
    out = x.copy()
    for i in range(0, len(out), k):
        out[i : i + k] -= out[i : i + k].mean(axis=0)
        out[i : i + k] /= np.sqrt((out[i : i + k] ** 2).mean(axis=0) + eps)
    out *= gamma
    out += beta
    return out


def ghost_batchnorm_backward(dout, x, gamma, eps, k):
    hats, dx = x.copy(), dout * gamma
    for i in range(0, len(x), k):
        s = slice(i, i + k)
        hats[s] -= hats[s].mean(axis=0)
        std = np.sqrt((hats[s] ** 2).mean(axis=0) + eps)
        hats[s] /= std
        dx[s] -= hats[s] * (dx[s] * hats[s]).mean(axis=0)
        dx[s] -= dx[s].mean(axis=0)
        dx[s] /= std
    return dx, (dout * hats).sum(axis=0), dout.sum(axis=0)


def corrected_statistics(batches, momentum):
    total = np.zeros((2, batches.shape[2]))
    weight = 0.0
    for batch in batches:
        total *= momentum
        total += (1 - momentum) * np.stack([batch.mean(0), batch.var(0)])
        weight = momentum * weight + 1 - momentum
    total /= weight
    return total[0], total[1]
