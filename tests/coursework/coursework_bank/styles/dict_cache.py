"""The cache as a dict with everything in it, and early returns."""

import numpy as np
from numpy import mean, sqrt, zeros
from numpy import sum as total


def batchnorm_forward(x, gamma, beta, bn_param):
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    running_mean = bn_param.setdefault("running_mean", zeros(x.shape[1]))
    running_var = bn_param.setdefault("running_var", zeros(x.shape[1]))
    cache = {**locals()}
    if mode == "test":
        cache["x_hat"] = (x - running_mean) / sqrt(running_var + eps)
        return gamma * cache["x_hat"] + beta, cache
    cache["mu"] = mean(x, axis=0)
    cache["xmu"] = x - cache["mu"]
    cache["var"] = mean(cache["xmu"] ** 2, axis=0)
    cache["sqrtvar"] = sqrt(cache["var"] + eps)
    cache["ivar"] = 1.0 / cache["sqrtvar"]
    cache["x_hat"] = cache["xmu"] * cache["ivar"]
    bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * cache["mu"]
    bn_param["running_var"] = momentum * running_var + (1 - momentum) * cache["var"]
    return gamma * cache["x_hat"] + beta, cache


def batchnorm_backward(dout, cache):
    """Go back through twelve nodes, each on its own line."""
    get = cache.__getitem__
    N, D = dout.shape
    dbeta = total(dout, axis=0)  # 12
    dgammax = dout
    dgamma = total(dgammax * get("x_hat"), axis=0)  # 11
    dx_hat = dgammax * get("gamma")  # 10
    divar = total(dx_hat * get("xmu"), axis=0)  # 9
    dxmu1 = dx_hat * get("ivar")  # 8
    dsqrtvar = -1.0 / get("sqrtvar") ** 2 * divar  # 7
    dvar = 0.5 * 1.0 / sqrt(get("var") + get("eps")) * dsqrtvar  # 6
    dsq = 1.0 / N * np.ones((N, D)) * dvar  # 5
    dxmu2 = 2 * get("xmu") * dsq  # 4
    dx1 = dxmu1 + dxmu2  # 3
    dmu = -1 * total(dxmu1 + dxmu2, axis=0)  # 2
    dx2 = 1.0 / N * np.ones((N, D)) * dmu  # 1
    return dx1 + dx2, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    N = dout.shape[0]
    gamma, ivar, xmu = cache["gamma"], cache["ivar"], cache["xmu"]
    dbeta, dgamma = total(dout, axis=0), total(dout * cache["x_hat"], axis=0)
    bracket = N * dout - dbeta - xmu * ivar**2 * total(dout * xmu, axis=0)
    return (1.0 / N) * gamma * ivar * bracket, dgamma, dbeta
