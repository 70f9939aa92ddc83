"""np.add.reduce, np.mean, np.sum, methods and divisions, as they come."""

import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)

    N, D = x.shape
    running_mean = bn_param.get("running_mean", np.zeros(D, dtype=x.dtype))
    running_var = bn_param.get("running_var", np.zeros(D, dtype=x.dtype))

    out, cache = None, None
    if mode == "train":
        sample_mean = np.add.reduce(x, axis=0) / N
        sample_var = np.add.reduce((x - sample_mean) ** 2, 0) / np.size(x, 0)
        x_normalized = np.true_divide(x - sample_mean, np.power(sample_var + eps, 0.5))
        out = np.add(np.multiply(gamma, x_normalized), beta)
        running_mean = np.multiply(momentum, running_mean) + (1 - momentum) * x.mean(0)
        running_var = momentum * running_var + (1 - momentum) * np.var(x, axis=0)
        cache = [x, x_normalized, sample_mean, sample_var, gamma, beta, eps]
    elif mode == "test":
        out = (
            gamma * (x - running_mean) / np.hypot(np.sqrt(running_var), eps**0.5) + beta
        )
    else:
        raise ValueError('Invalid forward batchnorm mode "%s"' % mode)  # noqa: UP031

    bn_param["running_mean"] = running_mean
    bn_param["running_var"] = running_var
    return out, cache


def batchnorm_backward(dout, cache):
    x, x_normalized, mean, var, gamma, _, eps = cache
    N = x.shape[0]
    dgamma = np.add.reduce(np.multiply(dout, x_normalized))
    dbeta = np.add.reduce(dout)
    dn = dout * gamma
    dvar = np.sum(dn * (x - mean), axis=0) * -0.5 * (var + eps) ** -1.5
    dmean = np.sum(dn, axis=0) * -1 / np.sqrt(var + eps)
    dmean = dmean + dvar * np.mean(-2 * (x - mean), axis=0)
    dx = dn / (var + eps) ** 0.5 + dvar * 2 * (x - mean) / N
    return dx + dmean / N, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    x, _, mean, var, gamma, _, eps = cache
    N = len(x)
    away, inverse = x - mean, 1 / np.sqrt(var + eps)
    dx = (
        gamma
        * inverse
        / N
        * (N * dout - dout.sum(0) - away / (var + eps) * np.add.reduce(dout * away))
    )
    return dx, inverse * np.add.reduce(dout * away), np.cumsum(dout, axis=0)[-1]
