"""Right answers to problem set 2, as a student would write them."""
# ruff: noqa: RUF059

import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    """Normalize each column, pasted from problem set 1."""
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    D = x.shape[1]
    running_mean = bn_param.get("running_mean", np.zeros(D))
    running_var = bn_param.get("running_var", np.zeros(D))
    if mode == "test":
        x_hat = (x - running_mean) / np.sqrt(running_var + eps)
        return gamma * x_hat + beta, None
    mu = np.mean(x, axis=0)
    centred = x - mu
    var = np.mean(centred**2, axis=0)
    std = np.sqrt(var + eps)
    x_hat = centred / std
    out = gamma * x_hat + beta
    bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mu
    bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    cache = (x, x_hat, centred, std, gamma, beta, eps)
    return out, cache


def batchnorm_backward(dout, cache):
    """Send the gradient back through the graph, step by step."""
    x, x_hat, centred, std, gamma, beta, eps = cache
    N, D = x.shape
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * x_hat, axis=0)
    dx_hat = dout * gamma
    direct = dx_hat / std
    dstd = -np.sum(dx_hat * centred, axis=0) / std**2
    dvar = 0.5 * dstd / std
    dsquare = np.ones((N, D)) * dvar / N
    dcentred = direct + 2 * centred * dsquare
    dmu = -np.sum(dcentred, axis=0)
    dx = dcentred + dmu / N
    return dx, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    """Compute the same gradients, dx by one closed formula."""
    x, x_hat, centred, std, gamma, beta, eps = cache
    N = len(dout)
    g = dout * gamma
    A = np.sum(g, axis=0)
    B = np.sum(g * x_hat, axis=0)
    dgamma = np.sum(dout * x_hat, axis=0)
    dbeta = np.sum(dout, axis=0)
    dx = (N * g - A - x_hat * B) / (N * std)
    return dx, dgamma, dbeta


def check_gradient(f, x, grad, h=1e-5, tol=1e-6):
    """Say whether grad is the gradient of f at x, by central differences."""
    numerical = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        kept = x[place]
        x[place] = kept + h
        above = f(x)
        x[place] = kept - h
        below = f(x)
        x[place] = kept
        numerical[place] = (above - below) / (2 * h)
    worst = np.max(np.abs(numerical - grad))
    size = max(np.max(np.abs(numerical)), np.max(np.abs(grad)))
    return bool(worst <= tol * size)


def ghost_batchnorm_backward(dout, x, gamma, eps, k):
    """Return the gradients of ghost batch norm."""
    dx = np.zeros(x.shape)
    dgamma = np.zeros(x.shape[1])
    dbeta = np.zeros(x.shape[1])
    for start in range(0, len(x), k):
        rows = slice(start, start + k)
        centred = x[rows] - x[rows].mean(axis=0)
        std = np.sqrt((centred**2).mean(axis=0) + eps)
        x_hat = centred / std
        g = dout[rows] * gamma
        A = g.mean(axis=0)
        B = x_hat * (g * x_hat).mean(axis=0)
        dx[rows] = (g - A - B) / std
        dgamma += (dout[rows] * x_hat).sum(axis=0)
        dbeta += dout[rows].sum(axis=0)
    return dx, dgamma, dbeta


def weighted_batchnorm_backward(dout, x, gamma, eps, w):
    """Return the gradients of weighted batch norm; w is a constant."""
    p = (w / w.sum())[:, None]
    mu = (p * x).sum(axis=0)
    centred = x - mu
    std = np.sqrt((p * centred**2).sum(axis=0) + eps)
    x_hat = centred / std
    g = dout * gamma
    A = p * g.sum(axis=0)
    B = p * x_hat * (g * x_hat).sum(axis=0)
    dx = (g - A - B) / std
    dgamma = (dout * x_hat).sum(axis=0)
    dbeta = dout.sum(axis=0)
    return dx, dgamma, dbeta


def clipped_batchnorm_backward(dout, x, gamma, eps, floor):
    """Return the gradients of batch norm with a floor under the variance."""
    centred = x - x.mean(axis=0)
    var = (centred**2).mean(axis=0)
    std = np.sqrt(np.maximum(var, floor) + eps)
    x_hat = centred / std
    g = dout * gamma
    A = g.mean(axis=0)
    B = x_hat * (g * x_hat).mean(axis=0)
    moves = var > floor
    dx = (g - A - moves * B) / std
    dgamma = (dout * x_hat).sum(axis=0)
    dbeta = dout.sum(axis=0)
    return dx, dgamma, dbeta
