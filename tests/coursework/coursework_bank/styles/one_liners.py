"""As few lines as possible."""
# ruff: noqa: E731, PLC3002

import numpy as np

root = lambda v, e: np.sqrt(v + e)
normal = lambda x, m, s, g, b: g * ((x - m) / s) + b


def batchnorm_forward(x, gamma, beta, bn_param):
    e, r, z = (
        bn_param.get("eps", 1e-5),
        bn_param.get("momentum", 0.9),
        np.zeros_like(x[0]),
    )
    m, v = (
        (x.mean(0), x.var(0))
        if (t := bn_param["mode"] == "train")
        else (bn_param["running_mean"], bn_param["running_var"])
    )
    if t:
        bn_param |= {
            "running_mean": r * bn_param.get("running_mean", z) + (1 - r) * m,
            "running_var": r * bn_param.get("running_var", z) + (1 - r) * v,
        }
    return normal(x, m, root(v, e), gamma, beta), (
        (x - m) / root(v, e),
        gamma / root(v, e),
    )


batchnorm_backward_alt = lambda dout, cache: (
    cache[1] * (dout - dout.mean(0) - cache[0] * (dout * cache[0]).mean(0)),
    (dout * cache[0]).sum(0),
    dout.sum(0),
)
batchnorm_backward = lambda dout, cache: (
    (lambda c: c - c.mean(0))(
        cache[1] * (dout - cache[0] * np.mean(dout * cache[0], axis=0))
    ),
    np.sum(dout * cache[0], axis=0),
    np.sum(dout, axis=0),
)
ghost_batchnorm = lambda x, gamma, beta, eps, k: np.concatenate(
    [
        normal(p, p.mean(0), root(p.var(0), eps), gamma, beta)
        for p in x.reshape(-1, k, x.shape[1])
    ]
)
clipped_batchnorm = lambda x, gamma, beta, eps, floor: normal(
    x, x.mean(0), root(x.var(0).clip(floor), eps), gamma, beta
)
weighted_batchnorm = lambda x, gamma, beta, eps, w: normal(
    x, m := np.average(x, 0, w), root(np.average((x - m) ** 2, 0, w), eps), gamma, beta
)
corrected_statistics = lambda batches, momentum: tuple(
    np.average(s, 0, momentum ** np.arange(len(batches))[::-1])
    for s in (batches.mean(1), batches.var(1))
)
check_gradient = lambda f, x, grad, h=1e-5, tol=1e-6: bool(
    np.abs(
        (
            n := np.array(
                [
                    (f(x + d) - f(x - d)) / (2 * h)
                    for d in h * np.eye(x.size).reshape(-1, *x.shape)
                ]
            ).reshape(x.shape)
        )
        - grad
    ).max()
    <= tol * max(np.abs(n).max(), np.abs(grad).max())
)
