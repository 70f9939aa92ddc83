"""A layer as a class; the functions only wrap it."""

import numpy as np


class Statistics:
    def __init__(self, size, momentum):
        self.mean, self.var, self.momentum = np.zeros(size), np.zeros(size), momentum

    def load(self, state):
        self.mean = np.array(state.get("running_mean", self.mean))
        self.var = np.array(state.get("running_var", self.var))
        return self

    def push(self, mean, var):
        self.mean += (1 - self.momentum) * (mean - self.mean)
        self.var += (1 - self.momentum) * (var - self.var)

    def save(self, state):
        state["running_mean"], state["running_var"] = self.mean, self.var


class BatchNorm:
    """Batch norm over the rows, with an optional choice of statistics."""

    def __init__(self, gamma, beta, eps):
        self.gamma, self.beta, self.eps = gamma, beta, eps

    def statistics(self, x):
        mean = x.mean(0)
        return mean, np.square(x - mean).mean(0)

    def apply(self, x, mean, var):
        self.std = np.sqrt(var + self.eps)
        self.normalized = (x - mean) / self.std
        return self.gamma * self.normalized + self.beta

    def train(self, x):
        self.mean, self.var = self.statistics(x)
        return self.apply(x, self.mean, self.var)

    def parameter_gradients(self, dout):
        return (dout * self.normalized).sum(0), dout.sum(0)

    def input_gradient(self, dout):
        dnormalized = dout * self.gamma
        total = dnormalized.sum(0)
        along = (dnormalized * self.normalized).sum(0)
        return (dnormalized - (total + self.normalized * along) / len(dout)) / self.std

    def staged_input_gradient(self, dout):
        dnormalized = dout * self.gamma
        centred = self.normalized * self.std
        dvar = (dnormalized * centred).sum(0) * -0.5 / self.std**3
        dcentred = dnormalized / self.std + 2 * dvar * centred / len(dout)
        return dcentred - dcentred.mean(0)


def batchnorm_forward(x, gamma, beta, bn_param):
    layer = BatchNorm(gamma, beta, bn_param.get("eps", 1e-5))
    kept = Statistics(x.shape[1], bn_param.get("momentum", 0.9)).load(bn_param)
    if bn_param["mode"] == "test":
        return layer.apply(x, kept.mean, kept.var), layer
    out = layer.train(x)
    kept.push(layer.mean, layer.var)
    kept.save(bn_param)
    return out, layer


def batchnorm_backward(dout, cache):
    return cache.staged_input_gradient(dout), *cache.parameter_gradients(dout)


def batchnorm_backward_alt(dout, cache):
    return cache.input_gradient(dout), *cache.parameter_gradients(dout)


class Clipped(BatchNorm):
    def __init__(self, gamma, beta, eps, floor):
        super().__init__(gamma, beta, eps)
        self.floor = floor

    def statistics(self, x):
        mean, var = super().statistics(x)
        self.free = var > self.floor
        return mean, np.where(self.free, var, self.floor)

    def input_gradient(self, dout):
        d = dout * self.gamma
        along = np.where(self.free, (d * self.normalized).mean(0), 0)
        return (d - d.mean(0) - self.normalized * along) / self.std


def clipped_batchnorm(x, gamma, beta, eps, floor):
    return Clipped(gamma, beta, eps, floor).train(x)


def clipped_batchnorm_backward(dout, x, gamma, eps, floor):
    layer = Clipped(gamma, 0.0, eps, floor)
    layer.train(x)
    return layer.input_gradient(dout), *layer.parameter_gradients(dout)


def ghost_batchnorm(x, gamma, beta, eps, k):
    return np.vstack(
        [BatchNorm(gamma, beta, eps).train(p) for p in np.split(x, len(x) // k)]
    )


def ghost_batchnorm_backward(dout, x, gamma, eps, k):
    dxs, dgamma, dbeta = [], 0, 0
    for rows, d in zip(
        np.split(x, len(x) // k), np.split(dout, len(x) // k), strict=True
    ):
        layer = BatchNorm(gamma, 0.0, eps)
        layer.train(rows)
        dxs.append(layer.input_gradient(d))
        part = layer.parameter_gradients(d)
        dgamma, dbeta = dgamma + part[0], dbeta + part[1]
    return np.vstack(dxs), dgamma, dbeta
