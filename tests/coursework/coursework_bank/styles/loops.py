"""Everything in loops over features and rows."""
# ruff: noqa: SIM401

import math

import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    n, d = x.shape
    eps = bn_param["eps"] if "eps" in bn_param else 1e-5
    momentum = bn_param["momentum"] if "momentum" in bn_param else 0.9
    for name in ("running_mean", "running_var"):
        if name not in bn_param:
            bn_param[name] = np.zeros(d)
    out = np.empty((n, d))
    cache = []
    for j in range(d):
        if bn_param["mode"] == "train":
            mean = math.fsum(x[i, j] for i in range(n)) / n
            var = math.fsum((x[i, j] - mean) ** 2 for i in range(n)) / n
        else:
            mean, var = bn_param["running_mean"][j], bn_param["running_var"][j]
        root = math.sqrt(var + eps)
        hats = []
        for i in range(n):
            hats.append((x[i, j] - mean) / root)
            out[i, j] = gamma[j] * hats[i] + beta[j]
        cache.append((hats, root, gamma[j]))
        if bn_param["mode"] == "train":
            for name, value in (("running_mean", mean), ("running_var", var)):
                old = bn_param[name][j]
                bn_param[name][j] = momentum * old + (1 - momentum) * value
    return out, cache


def batchnorm_backward(dout, cache):
    n, d = dout.shape
    dx, dgamma, dbeta = np.zeros((n, d)), np.zeros(d), np.zeros(d)
    for j in range(d):
        hats, root, scale = cache[j]
        droot = 0.0
        for i in range(n):
            dbeta[j] += dout[i, j]
            dgamma[j] += dout[i, j] * hats[i]
            dx[i, j] = dout[i, j] * scale / root
            droot -= dout[i, j] * scale * hats[i] / root
        for i in range(n):
            dx[i, j] += droot * hats[i] / n
        dmean = -sum(dx[i, j] for i in range(n))
        for i in range(n):
            dx[i, j] += dmean / n
    return dx, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    n, d = dout.shape
    dx, dgamma, dbeta = np.zeros((n, d)), np.zeros(d), np.zeros(d)
    for j in range(d):
        hats, root, scale = cache[j]
        dbeta[j] = sum(dout[:, j])
        dgamma[j] = sum(a * b for a, b in zip(dout[:, j], hats, strict=True))
        for i in range(n):
            inner = n * dout[i, j] - dbeta[j] - hats[i] * dgamma[j]
            dx[i, j] = scale * inner / (n * root)
    return dx, dgamma, dbeta


def check_gradient(f, x, grad, h=1e-5, tol=1e-6):
    flat = x.ravel().tolist()
    slopes = []
    for i in range(len(flat)):
        ends = []
        for sign in (1, -1):
            moved = list(flat)
            moved[i] += sign * h
            ends.append(f(np.array(moved).reshape(x.shape)))
        slopes.append((ends[0] - ends[1]) / (2 * h))
    given = np.asarray(grad).ravel().tolist()
    largest = max(abs(s) for s in slopes + given)
    return all(abs(s - g) <= tol * largest for s, g in zip(slopes, given, strict=True))
