"""Everything is allocated in the number type of the input."""

import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    kind = x.dtype
    eps = kind.type(bn_param.get("eps", 1e-5))
    momentum = bn_param.get("momentum", 0.9)
    N, D = x.shape
    running_mean = bn_param.get("running_mean", np.zeros(D, dtype=kind))
    running_var = bn_param.get("running_var", np.zeros(D, dtype=kind))
    out, x_hat = np.empty((N, D), dtype=kind), np.empty_like(x)
    inverse = np.empty(D, dtype=kind)
    if bn_param["mode"] == "train":
        mean = np.mean(x, axis=0, dtype=kind)
        np.subtract(x, mean, out=x_hat)
        var = np.mean(np.square(x_hat), axis=0, dtype=kind)
        np.divide(1, np.sqrt(var + eps), out=inverse)
        np.multiply(x_hat, inverse, out=x_hat)
        bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mean
        bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    elif bn_param["mode"] == "test":
        np.divide(1, np.sqrt(running_var + eps), out=inverse)
        np.multiply(x - running_mean, inverse, out=x_hat)
    np.multiply(x_hat, gamma, out=out)
    np.add(out, beta, out=out)
    return out, (x_hat, inverse, gamma)


def batchnorm_backward(dout, cache):
    x_hat, inverse, gamma = cache
    n = dout.dtype.type(len(dout))
    dgamma, dbeta = np.zeros_like(gamma), np.zeros_like(gamma)
    np.add.reduce(dout * x_hat, axis=0, out=dgamma)
    np.add.reduce(dout, axis=0, out=dbeta)
    dx = np.multiply(dout, gamma, dtype=dout.dtype)
    dx -= x_hat * (np.add.reduce(dx * x_hat, axis=0) / n)
    dx -= np.add.reduce(dx, axis=0) / n
    dx *= inverse
    return dx, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    x_hat, inverse, gamma = cache
    n = len(dout)
    s, t = dout.sum(axis=0), (dout * x_hat).sum(axis=0)
    return gamma * inverse / n * (n * dout - s - x_hat * t), t, s
