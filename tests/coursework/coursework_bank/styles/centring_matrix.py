"""Matrices: centring as a product, the whole Jacobian of each feature."""

import numpy as np


def centring(n):
    return np.eye(n) - np.ones((n, n)) / n


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, m = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    n, d = x.shape
    state = [bn_param.get(k, np.zeros(d)) for k in ("running_mean", "running_var")]
    if bn_param["mode"] == "test":
        return (x - state[0]) @ np.diag(gamma / np.sqrt(state[1] + eps)) + beta, None
    if bn_param["mode"] != "train":
        raise ValueError("mode is train or test")
    ones = np.ones(n) / n
    # The matrix of all rows but one loses digits at a large mean, so shift first.
    shift = x[0].copy()
    y = centring(n) @ (x - shift)
    mu, var = ones @ (x - shift) + shift, ones @ (y * y)
    bn_param["running_mean"] = m * state[0] + (1 - m) * mu
    bn_param["running_var"] = m * state[1] + (1 - m) * var
    z = y @ np.diag(1 / np.sqrt(var + eps))
    return z @ np.diag(gamma) + beta, {"z": z, "std": np.sqrt(var + eps), "g": gamma}


def batchnorm_backward(dout, cache):
    z, std, gamma = cache["z"], cache["std"], cache["g"]
    n, d = z.shape
    dx = np.zeros(z.shape)
    for j in range(d):
        jacobian = (np.eye(n) - np.outer(z[:, j], z[:, j]) / n) @ centring(n) / std[j]
        dx[:, j] = jacobian.T @ (gamma[j] * dout[:, j])
    return dx, np.diag(dout.T @ z).copy(), np.ones(n) @ dout


def batchnorm_backward_alt(dout, cache):
    z, std, gamma = cache["z"], cache["std"], cache["g"]
    n = len(z)
    g = dout @ np.diag(gamma)
    dx = (centring(n) @ g - z @ np.diag(np.diag(z.T @ g)) / n) @ np.diag(1 / std)
    return dx, np.sum(dout * z, 0), np.sum(dout, 0)


def check_gradient(f, x, grad, h=1e-5, tol=1e-6):
    basis = np.eye(x.size).reshape(x.size, *x.shape)
    numerical = np.array([f(x + h * e) - f(x - h * e) for e in basis]) / (2 * h)
    gap = np.linalg.norm(numerical - np.ravel(grad), np.inf)
    size = np.linalg.norm(np.append(numerical, grad), np.inf)
    return gap <= tol * size


def clipped_batchnorm(x, gamma, beta, eps, floor):
    y = centring(len(x)) @ (x - x[0])
    var = np.diag(y.T @ y) / len(x)
    return y @ np.diag(gamma / np.sqrt(np.fmax(var, floor) + eps)) + beta


def clipped_batchnorm_backward(dout, x, gamma, eps, floor):
    n = len(x)
    y = centring(n) @ x
    var = np.diag(y.T @ y) / n
    std = np.sqrt(np.fmax(var, floor) + eps)
    z = y / std
    opened = np.heaviside(var - floor, 0)
    through = centring(n) @ dout - z @ np.diag(opened * np.diag(z.T @ dout)) / n
    return through * gamma / std, np.diag(dout.T @ z).copy(), dout.T @ np.ones(n)
