"""All statistics keep their axis until they are handed back."""

import numpy as np

AXIS = {"axis": 0, "keepdims": True}


def batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    gamma, beta = gamma.reshape(1, -1), beta.reshape(1, -1)
    rm = bn_param.get("running_mean", np.zeros(x.shape[1])).reshape(1, -1)
    rv = bn_param.get("running_var", np.zeros(x.shape[1])).reshape(1, -1)
    training = bn_param["mode"] == "train"
    mu, var = (np.mean(x, **AXIS), np.var(x, **AXIS)) if training else (rm, rv)
    inv = 1.0 / np.sqrt(var + eps)
    x_hat = (x - mu) * inv
    if training:
        bn_param["running_mean"] = np.squeeze(momentum * rm + (1 - momentum) * mu, 0)
        bn_param["running_var"] = np.squeeze(momentum * rv + (1 - momentum) * var, 0)
    return x_hat * gamma + beta, (x, x_hat, mu, var, inv, gamma, beta, eps)


def batchnorm_backward(dout, cache):
    x, x_hat, mu, var, inv, gamma, _beta, _eps = cache
    N, D = x.shape
    dgamma = np.sum(dout * x_hat, **AXIS).reshape(D)
    dbeta = np.sum(dout, **AXIS).reshape(D)
    dx_hat = dout * gamma
    dvar = np.sum(dx_hat * (x - mu) * -0.5 * inv**3, **AXIS)
    dmu = np.sum(-dx_hat * inv, **AXIS) + dvar * np.mean(-2 * (x - mu), **AXIS)
    dx = dx_hat * inv + dvar * 2 * (x - mu) / N + dmu / N
    assert var.shape == dmu.shape == (1, D)
    return dx, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    _x, x_hat, _mu, _var, inv, gamma, _beta, _eps = cache
    inner = np.mean(dout, **AXIS) + x_hat * np.mean(dout * x_hat, **AXIS)
    dx = gamma * inv * (dout - inner)
    return dx, np.sum(dout * x_hat, **AXIS)[0], np.sum(dout, **AXIS)[0]
