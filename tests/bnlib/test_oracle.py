"""All norms against textbook formulas in long double, in units of the last place."""

import numpy as np
import pytest

import bnlib.functional as F

NORMS = {  # norm -> shape as sets, and the axes along which a set lies
    "batch": lambda n, g, c, l: ((n, g * c, l), (0, 2)),
    "instance": lambda n, g, c, l: ((n, g * c, l), (2,)),
    "group": lambda n, g, c, l: ((n, g, c, l), (2, 3)),
    "layer": lambda n, g, c, l: ((n, g * c, l), (1, 2)),
    "rms": lambda n, g, c, l: ((n, g * c, l), (1, 2)),
}
CASES = 200
# The largest errors that were seen are 2.0, 1.7, 1.5 and 0.8.
LIMITS = {"y": 3.0, "grad_x": 3.0, "grad_weight": 3.0, "grad_bias": 2.0}


def draw_case(seed, dtype):
    """Draw sizes, scale, offset and eps; return the arrays in a dtype, and the rest."""
    rng = np.random.default_rng(seed)
    n, g, c, l = (int(rng.integers(low, 9)) for low in (2, 1, 1, 2))
    scale, sigmas = 10 ** rng.uniform(-3, 3), rng.choice([0, 1, 30, 1000])
    eps = float(rng.choice([1e-12, 1e-5, 1e-3, 0.1, 1.0]))
    x, gradient = rng.normal(size=(2, n, g * c, l))
    x = scale * (x + sigmas)
    weight, bias = rng.normal(size=(2, g * c))
    arrays = [a.astype(dtype) for a in (x, gradient, weight, bias)]
    return arrays, (n, g, c, l), eps


def in_bnlib(norm, arrays, groups, eps):
    """Return y, and the gradients of x, weight and bias."""
    x, gradient, weight, bias = arrays
    rows = [np.broadcast_to(a[:, None], x.shape[1:]).copy() for a in (weight, bias)]
    y, cache = {
        "batch": lambda: F.batch_norm(x, None, None, weight, bias, True, eps=eps),
        "instance": lambda: F.instance_norm(x, None, None, weight, bias, eps=eps),
        "group": lambda: F.group_norm(x, groups, weight, bias, eps),
        "layer": lambda: F.layer_norm(x, x.shape[1:], *rows, eps),
        "rms": lambda: F.rms_norm(x, x.shape[1:], rows[0], eps),
    }[norm]()
    return y, *F.norm_backward(gradient, cache)


def in_long_double(norm, arrays, sizes, eps):
    """Return the same, and for each the size of the terms that are added up."""
    x, dy, gamma, beta = (a.astype(np.longdouble) for a in arrays)
    gamma, beta = gamma[:, None], beta[:, None] * (norm != "rms")
    shape, axes = NORMS[norm](*sizes)

    def mean(a):
        return a.reshape(shape).mean(axes, keepdims=True)

    def spread(a):
        return np.broadcast_to(a, shape).reshape(x.shape)

    mu = 0 * x if norm == "rms" else spread(mean(x))
    inv_std = 1 / np.sqrt(spread(mean((x - mu) ** 2)) + np.longdouble(eps))
    x_hat, g = (x - mu) * inv_std, dy * gamma
    y = x_hat * gamma + beta
    along = spread(mean(g * x_hat))
    grad_x = inv_std * (g - (0 if norm == "rms" else spread(mean(g))) - x_hat * along)
    summed = (1, 2) if norm in ("layer", "rms") else (0, 2)
    by = (0,) if norm in ("layer", "rms") else summed
    exact = y, grad_x, (dy * x_hat).sum(by), dy.sum(by)
    # x_hat is a difference of terms of this size: an offset is paid with its digits.
    terms = np.abs(x_hat) + 2 * np.abs(mu * inv_std)
    twisted = np.abs(x_hat) * spread(mean(np.abs(g) * terms)) + np.abs(along) * terms
    sizes_of_terms = (
        (np.abs(gamma) * terms + np.abs(beta)).max(),
        (inv_std * (np.abs(g) + twisted)).max(),
        (np.abs(dy) * terms).sum(by).max(),
        np.abs(dy).sum(by).max(),
    )
    return exact, sizes_of_terms


def errors(norm, dtype):
    """Yield for each case the name of a result and its error, in units."""
    for seed in range(CASES):
        arrays, sizes, eps = draw_case(seed, dtype)
        found = in_bnlib(norm, arrays, sizes[1], eps)
        exact, terms = in_long_double(norm, arrays, sizes, eps)
        for name, ours, right, size in zip(LIMITS, found, exact, terms, strict=True):
            if ours is not None:
                assert ours.dtype == dtype
                assert ours.shape == right.shape
                unit = np.finfo(dtype).eps * size
                yield name, float(np.abs(ours - right).max() / unit)


@pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="long double is double here"
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_forward_and_backward_are_right_to_some_units_of_the_last_place(norm, dtype):
    largest = dict.fromkeys(LIMITS, 0.0)
    for name, error in errors(norm, dtype):
        largest[name] = max(largest[name], error)
    print(norm, np.dtype(dtype), {k: f"{v:.2f}" for k, v in largest.items()})
    assert all(largest[name] <= limit for name, limit in LIMITS.items())
