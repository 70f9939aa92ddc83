"""Sums written with einsum."""

import numpy as np


def column_mean(a):
    return np.einsum("nd->d", a) / len(a)


def batchnorm_forward(x, gamma, beta, bn_param):
    mode, eps = bn_param["mode"], bn_param.get("eps", 1e-5)
    rho = 1 - bn_param.get("momentum", 0.9)
    old_mean = bn_param.get("running_mean", 0 * x[0])
    old_var = bn_param.get("running_var", 0 * x[0])
    if mode == "test":
        scale = gamma / np.sqrt(old_var + eps)
        return np.einsum("nd,d->nd", x - old_mean, scale) + beta, ()
    mu = column_mean(x)
    away = x - mu
    var = np.einsum("nd,nd->d", away, away) / len(x)
    inverse = (var + eps) ** -0.5
    hats = np.einsum("nd,d->nd", away, inverse)
    bn_param.update(
        running_mean=old_mean + rho * (mu - old_mean),
        running_var=old_var + rho * (var - old_var),
    )
    return np.einsum("nd,d->nd", hats, gamma) + beta, (hats, inverse, gamma)


def batchnorm_backward(dout, cache):
    hats, inverse, gamma = cache
    dbeta = np.einsum("nd->d", dout)
    dgamma = np.einsum("nd,nd->d", dout, hats)
    dhats = np.einsum("nd,d->nd", dout, gamma)
    dvar = -0.5 * np.einsum("nd,nd,d->d", dhats, hats, inverse**2)
    daway = np.einsum("nd,d->nd", dhats, inverse)
    daway += 2 / len(dout) * np.einsum("nd,d->nd", hats / inverse, dvar)
    return daway - column_mean(daway), dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    hats, inverse, gamma = cache
    share = np.eye(len(dout)) - 1 / len(dout)
    share = share[:, :, None] - np.einsum("nd,md->nmd", hats, hats) / len(dout)
    dx = np.einsum("nmd,md,d,d->nd", share, dout, gamma, inverse)
    return dx, np.einsum("nd,nd->d", dout, hats), np.einsum("nd->d", dout)


def ghost_batchnorm(x, gamma, beta, eps, k):
    parts = x.reshape(-1, k, x.shape[1])
    away = parts - np.einsum("gkd->gd", parts)[:, None] / k
    var = np.einsum("gkd,gkd->gd", away, away) / k
    hats = np.einsum("gkd,gd->gkd", away, (var + eps) ** -0.5)
    return np.einsum("gkd,d->gkd", hats, gamma).reshape(x.shape) + beta


def ghost_batchnorm_backward(dout, x, gamma, eps, k):
    parts, ups = (a.reshape(-1, k, x.shape[1]) for a in (x, dout))
    away = parts - parts.mean(1)[:, None]
    inverse = (np.einsum("gkd,gkd->gd", away, away) / k + eps) ** -0.5
    hats = np.einsum("gkd,gd->gkd", away, inverse)
    first = np.einsum("gkd->gd", ups)[:, None] / k
    second = np.einsum("gkd,gjd,gjd->gkd", hats, hats, ups) / k
    dx = np.einsum("gkd,gd,d->gkd", ups - first - second, inverse, gamma)
    return dx.reshape(x.shape), np.einsum("gkd,gkd->d", ups, hats), dout.sum(0)


def weighted_batchnorm(x, gamma, beta, eps, w):
    p = w / np.einsum("n->", w)
    away = x - np.einsum("n,nd->d", p, x)
    var = np.einsum("n,nd,nd->d", p, away, away)
    return away * (gamma / np.sqrt(var + eps)) + beta


def weighted_batchnorm_backward(dout, x, gamma, eps, w):
    p = w / np.einsum("n->", w)
    away = x - np.einsum("n,nd->d", p, x)
    inverse = (np.einsum("n,nd,nd->d", p, away, away) + eps) ** -0.5
    hats = away * inverse
    first = np.einsum("n,md->nd", p, dout)
    second = np.einsum("n,nd,md,md->nd", p, hats, hats, dout)
    dgamma = np.einsum("nd,nd->d", dout, hats)
    return (dout - first - second) * gamma * inverse, dgamma, np.einsum("nd->d", dout)
