"""The cache as a named tuple, constants and helpers at top level."""

from collections import namedtuple

import numpy as np

EPS, MOMENTUM = 1e-5, 0.9
RUNNING = ("running_mean", "running_var")
Cache = namedtuple("Cache", "x_hat std gamma batch_size")


def blend(old, new, momentum):
    return momentum * old + (1 - momentum) * new


def moments(x, weights=None):
    mean = np.average(x, axis=0, weights=weights)
    return mean, np.average((x - mean) ** 2, axis=0, weights=weights)


def batchnorm_forward(x, gamma, beta, bn_param):
    param = {"eps": EPS, "momentum": MOMENTUM, **bn_param}
    kept = [param.get(name, np.zeros(x.shape[1])) for name in RUNNING]
    if param["mode"] == "train":
        current = moments(x)
        for name, old, new in zip(RUNNING, kept, current, strict=True):
            bn_param[name] = blend(old, new, param["momentum"])
    else:
        current = kept
    std = np.sqrt(current[1] + param["eps"])
    x_hat = (x - current[0]) / std
    return gamma * x_hat + beta, Cache(x_hat, std, gamma, len(x))


def batchnorm_backward(dout, cache):
    dx_hat = dout * cache.gamma
    dstd = -(dx_hat * cache.x_hat).sum(axis=0) / cache.std
    dx = dx_hat / cache.std + dstd * cache.x_hat / cache.batch_size
    dx = dx + -dx.sum(axis=0) / cache.batch_size
    return dx, (dout * cache.x_hat).sum(axis=0), dout.sum(axis=0)


def batchnorm_backward_alt(dout, cache):
    dgamma, dbeta = (dout * cache.x_hat).sum(axis=0), dout.sum(axis=0)
    m = cache.batch_size
    dx = cache.gamma / cache.std * (dout - dbeta / m - cache.x_hat * dgamma / m)
    return dx, dgamma, dbeta


def weighted_batchnorm(x, gamma, beta, eps, w):
    mean, var = moments(x, w)
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


def weighted_batchnorm_backward(dout, x, gamma, eps, w):
    mean, var = moments(x, w)
    std, p = np.sqrt(var + eps), (w / w.sum()).reshape(-1, 1)
    x_hat, g = (x - mean) / std, dout * gamma
    dvar = -0.5 * (g * (x - mean)).sum(axis=0) / std**3
    dmean = -(g / std).sum(axis=0) - 2 * dvar * (p * (x - mean)).sum(axis=0)
    dx = g / std + dvar * 2 * p * (x - mean) + dmean * p
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)


def corrected_statistics(batches, momentum):
    mean = var = np.zeros(batches.shape[-1])
    for batch in batches:
        pair = moments(batch)
        mean, var = blend(mean, pair[0], momentum), blend(var, pair[1], momentum)
    return tuple(s / (1 - momentum ** len(batches)) for s in (mean, var))


def check_gradient(f, x, grad, h=1e-5, tol=1e-6):
    work, numerical = np.array(x, dtype=float), []
    for i in range(work.size):
        old = work.flat[i]
        work.flat[i] = old + h
        up = f(work)
        work.flat[i] = old - h
        down = f(work)
        work.flat[i] = old
        numerical.append((up - down) / h / 2)
    numerical = np.reshape(numerical, np.shape(x))
    scale = np.max(np.abs([numerical, grad]))
    return bool(np.allclose(grad, numerical, rtol=0, atol=tol * scale))
