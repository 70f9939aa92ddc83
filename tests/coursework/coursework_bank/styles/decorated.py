"""A decorator, keyword arguments, and type hints."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


def as_arrays(function):
    """Turn array arguments into float arrays before the call."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any):
        args = [np.asarray(a) if isinstance(a, (list, np.ndarray)) else a for a in args]
        return function(*args, **kwargs)

    return wrapper


def normalize(x: np.ndarray, mean: np.ndarray, var: np.ndarray, *, eps: float):
    std = np.sqrt(var + eps)
    return (x - mean) / std, std


@as_arrays
def batchnorm_forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, bn_param: dict[str, Any]
) -> tuple[np.ndarray, Any]:
    """Normalize, scale and shift."""
    eps: float = bn_param.get("eps", 1e-5)
    momentum: float = bn_param.get("momentum", 0.9)
    match bn_param["mode"]:
        case "train":
            mean, var = np.mean(x, axis=0), np.var(x, axis=0)
            for key, value in {"running_mean": mean, "running_var": var}.items():
                old = bn_param.get(key, np.zeros_like(value))
                bn_param[key] = momentum * old + (1 - momentum) * value
        case "test":
            mean, var = bn_param["running_mean"], bn_param["running_var"]
    x_hat, std = normalize(x, mean, var, eps=eps)

    def backward(dout: np.ndarray) -> np.ndarray:
        dx_hat = dout * gamma
        dcentred = dx_hat / std - x_hat * np.mean(dx_hat * x_hat, axis=0) / std
        return dcentred - np.mean(dcentred, axis=0)

    return gamma * x_hat + beta, (backward, x_hat, std, gamma)


@as_arrays
def batchnorm_backward(dout, cache):
    backward, x_hat, *_ = cache
    return backward(dout), np.sum(dout * x_hat, axis=0), np.sum(dout, axis=0)


@as_arrays
def batchnorm_backward_alt(dout, cache):
    _, x_hat, std, gamma = cache
    n, dbeta, dgamma = len(dout), np.sum(dout, axis=0), np.sum(dout * x_hat, axis=0)
    return gamma * (n * dout - dbeta - x_hat * dgamma) / (n * std), dgamma, dbeta


@as_arrays
def weighted_batchnorm(x, gamma, beta, eps, w):
    kept = w > 0
    mean = np.average(x[kept], axis=0, weights=w[kept])
    var = np.average((x[kept] - mean) ** 2, axis=0, weights=w[kept])
    return gamma * normalize(x, mean, var, eps=eps)[0] + beta


@as_arrays
def clipped_batchnorm(x, gamma, beta, eps, floor):
    var = [v if v >= floor else floor for v in x.var(axis=0)]
    return gamma * normalize(x, x.mean(axis=0), np.array(var), eps=eps)[0] + beta
