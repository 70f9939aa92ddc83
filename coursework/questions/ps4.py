"""Problem set 4: maps, layer norm, group norm, a PyTorch module, a term variant."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bncheck.calls import Handle
from bncheck.form import Check, Question
from bncheck.spec import Mistake, Right, alone
from bncheck.spec import mistake as M
from coursework.questions import ps1, ps2, shared
from coursework.questions.ps1 import batchnorm_forward
from coursework.questions.ps2 import GRADIENTS, batchnorm_backward
from coursework.questions.shared import BASIC, DGAMMA, DX, Norm, Rng, batch, sentences


def maps(rng: Rng, n: int, c: int, h: int, w: int) -> np.ndarray:
    """Draw maps whose channels, images and pixels differ."""
    x = to_maps(batch(rng, n * h * w, c), (n, c, h, w))
    return x + rng.normal(size=(n, c, 1, 1)) + 0.5 * rng.normal(size=(1, 1, h, w))


def flat(*part: int | slice) -> Callable[[np.ndarray], None]:
    """Return what shrinks the spread of a part of x: a fixed small eps is then seen."""

    def change(x: np.ndarray) -> None:
        x[part] *= 0.05 / x[part].std()

    return change


CHANNEL = flat(slice(None), 0)


def norm_of_maps(*own: Mistake) -> list[Mistake]:
    """Return the mistakes of a normalization that is not tried with a large mean."""
    return [m for m in shared.one_norm(*own) if m.name != "one-pass-variance"]


# --- q1: batch norm of maps -----------------------------------------------------------

SPATIAL = ("spatial_batchnorm_forward", "spatial_batchnorm_backward")


def to_rows(x):
    """Turn maps (N, C, H, W) into rows (N H W, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def to_maps(rows, shape):
    """Turn rows (N H W, C) back into maps (N, C, H, W)."""
    n, c, h, w = shape
    return np.moveaxis(rows.reshape(n, h, w, c), -1, 1)


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    """Normalize each channel over the batch and all pixels."""
    out, cache = batchnorm_forward(to_rows(x), gamma, beta, bn_param)
    return to_maps(out, x.shape), cache


def spatial_batchnorm_backward(dout, cache):
    """Send dout back through the layer of maps."""
    dx, dgamma, dbeta = batchnorm_backward(to_rows(dout), cache)
    return to_maps(dx, dout.shape), dgamma, dbeta


# Ways to make rows of maps, and maps of rows: the right one, and two that mix channels.
ROWS = ("to_rows({0})", "{0}.reshape(-1, {0}.shape[1])",
        "{0}.swapaxes(0, 1).reshape(-1, {0}.shape[1])")  # fmt: skip
MAPS = ("to_maps({0}, {1}.shape)", "{0}.reshape({1}.shape)",
        "{0}.reshape({1}.swapaxes(0, 1).shape).swapaxes(0, 1)")  # fmt: skip


def mixes() -> list[Mistake]:
    """Return all ways to mix channels, in the forward and the backward function."""
    made = [M("reshape-mixes", breaks=True), M("reshape-turned", breaks=True)]
    forward, ways = ((0, 0), (1, 1), (2, 0), (2, 2)), range(3)
    for (into, back), above, below in list(itertools.product(forward, ways, ways))[1:]:
        gradient = "dout-mixed" if above else "dx-mixed"
        root = (gradient, "reshape-mixes", "reshape-turned")[into]
        made.append(M(
            f"{root}-{into}{back}{above}{below}", "to_rows(x)", ROWS[into].format("x"),
            "to_maps(out, x.shape)", MAPS[back].format("out", "x"),
            "to_rows(dout)", ROWS[above].format("dout"),
            "to_maps(dx, dout.shape)", MAPS[below].format("dx", "dout"), of=root,
        ))  # fmt: skip
    return made


RUN = "out, cache = batchnorm_forward(to_rows(x), gamma, beta, bn_param)"
BACK = "dx, dgamma, dbeta = batchnorm_backward(to_rows(dout), cache)"
OVER = f"""{RUN}
if bn_param["mode"] == "train":
    away = x - x.mean(AXES, keepdims=True)
    x_hat = away / np.sqrt((away**2).mean(AXES, keepdims=True) + cache[3])
    out = gamma * to_rows(x_hat) + beta"""
AXES = {"per-pixel": "0", "per-image": "(2, 3)", "over-channels": "1",
        "channels-last": "(0, 1, 2)", "channels-third": "(0, 1, 3)"}  # fmt: skip
NOT_HERE = (
    "stats-over",
    "default-eps",
    "momentum-required",
    "zero-filled",
    "single-precision",
)
ONE_STEP = ("momentum-swapped", "last-batch-kept", "never", "mean-never", "mean-var",
            "var-never", "std-not-var", "eps-stored", "starts-at-one")  # fmt: skip
TRAINING, TESTING = (
    [m for m in right.mistakes if m.edits and not m.name.startswith(NOT_HERE)]
    for right in (ps1.TRAIN, ps1.EVALUATION)
)
SAYS, IN_TEST = sentences("ps4", "q1"), sentences("ps1", "q3")["mistakes"]
SAYS["mistakes"] = {f"{k}-test": v for k, v in IN_TEST.items()} | SAYS["mistakes"]
MAPPED = Right(
    spatial_batchnorm_forward, spatial_batchnorm_backward, batchnorm_forward,
    batchnorm_backward, to_rows, to_maps, says=SAYS,
    mistakes=[
        *mixes(),
        *(M(k, RUN, OVER.replace("AXES", v), breaks=True) for k, v in AXES.items()),
        *TRAINING, *shared.overwritten("gamma"),
        *(m for m in ps1.RUNNING.mistakes if m.name.startswith(ONE_STEP)),
        M("sample-variance-stored", ps1.NEW, "(1 - momentum) * x.var(0, ddof=1)",
          of="sample-variance"),
        *(m._replace(name=f"{m.name}-test", of=m.of or m.name) for m in TESTING),
        *(m for m in ps2.BACKWARD if m.edits),
        M("divided-by-images", BACK, f"{BACK}\ng, size = cache[6] * to_rows(dout), "
          "dout[0, 0].size\ndx = size * dx - (size - 1) * g / cache[4]"),
    ],
)  # fmt: skip


def spatial(rng: Rng) -> Question:
    """Question 1: batch norm of maps, forward and backward."""
    norm = Norm(MAPPED, ps1.in_training, maps)
    args = (SPATIAL[0], maps(rng, 2, 3, 4, 5), *shared.parameters(rng, 3))
    first, test = (*args, {"mode": "train"}), {"mode": "test", "eps": 0.3}
    mean, var = rng.normal(size=3), rng.uniform(0.3, 4, 3)
    given = (*args, test | {"running_mean": mean, "running_var": var})
    own = (*args, test | {"**": Handle(0, "arg3")})

    def later(*calls: tuple) -> Check:
        return MAPPED.check("evaluation mode", 0.25, calls, {"out in test mode": 0})

    return MAPPED.question("ps4.q1", [
        norm.output(rng, "values", 0.75, (2, 3, 4, 5)),
        norm.output(rng, "eps", 0.5, (3, 2, 2, 4), shared.large_eps(rng), CHANNEL),
        norm.output(rng, "H and W differ", 0.25, (1, 4, 2, 6)),
        MAPPED.check("running statistics", 0.25, [first], ps1.STORED,
                     shares=ps1.SHARES),
        # Statistics kept in another shape, as (1, C, 1, 1), fit only themselves.
        replace(later(given), instead=later(first, own)),
        norm.gradients(rng, "gradients", 0.75, (2, 3, 2, 3), 0.3),
        norm.kept(rng, 0.25, (2, 4, 2, 3), None, ("x", "gamma")),
    ], functions=SPATIAL)  # fmt: skip


# --- q2: layer norm -------------------------------------------------------------------


def layernorm_forward(x, gamma, beta, ln_param):
    """Normalize each row over its features."""
    eps = ln_param.get("eps", 1e-5)
    mu = x.mean(1, keepdims=True)
    away = x - mu
    var = (away**2).mean(1, keepdims=True)
    std = np.sqrt(var + eps)
    x_hat = away / std
    out = gamma * x_hat + beta
    return out, (x, var, std, x_hat, gamma)


def layernorm_backward(dout, cache):
    """Send dout back through layer norm; all sums of dx run over a row."""
    x, var, std, x_hat, gamma = cache
    g = gamma * dout
    along_mean = g.mean(1, keepdims=True)
    along_var = x_hat * (g * x_hat).mean(1, keepdims=True)
    dx = (g - along_mean - along_var) / std
    dgamma = (dout * x_hat).sum(0)
    dbeta = dout.sum(0)
    return dx, dgamma, dbeta


PATHS = [m for m in shared.gradient_mistakes() if m.name in (
    "statistics-constant", "mean-path-missing", "variance-path-missing",
    "no-gamma-in-dx", "variance-half", "variance-twice", "sign-of-mean-path",
    "sign-of-variance-path", "minus-half-lost", "no-eps-in-dx",
    "dgamma-over-all", "dbeta-over-all",
    "dout-missing-in-dx")]  # fmt: skip
MEAN = "mean(1, keepdims=True)"
ROW = f"mu = x.{MEAN}\naway = x - mu\nvar = (away**2).{MEAN}"
OF_LAYER = [
    M("batch-axis", ROW, "mu = x.mean(0)\naway = x - mu\nvar = x.var(0)", breaks=True),
    M("over-all", ROW, "mu = x.mean()\naway = x - mu\nvar = x.var()", breaks=True),
    *shared.one_norm(
        M("sample-variance", f"(away**2).{MEAN}", "x.var(1, ddof=1, keepdims=True)")),
    *shared.overwritten("gamma")[1:],
    M("row-sums", DGAMMA, "(dout * x_hat).sum(1)", shared.DBETA, "dout.sum(1)"),
    *alone(M("parameter-means", DGAMMA, "(dout * x_hat).mean(0)",
             shared.DBETA, "dout.mean(0)"), "dgamma", "dbeta"),
    *PATHS,
    M("divided-by-N", f"g.{MEAN}", "g.sum(1, keepdims=True) / len(x)",
      f"(g * x_hat).{MEAN}", "(g * x_hat).sum(1, keepdims=True) / len(x)"),
    M("batch-sums", f"g.{MEAN}", "g.mean(0)",
      f"(g * x_hat).{MEAN}", "(g * x_hat).mean(0)"),
    M("gamma-after-sums", shared.G, "dout", DX, f"gamma * {DX}"),
    M("dgamma-uses-x", DGAMMA, "(dout * x).sum(0)"),
    M("second-call"),
    M("dout-overwritten"),
]  # fmt: skip
LAYER = Right(layernorm_forward, layernorm_backward, says=sentences("ps4", "q2"),
              mistakes=OF_LAYER)  # fmt: skip


def layer(rng: Rng) -> Question:
    """Question 2: layer norm, forward and backward."""
    norm = Norm(LAYER, lambda rng, x, gamma, beta, eps: (
        x, gamma, beta, {} if eps is None else {"eps": eps}))  # fmt: skip

    def gradients(category: str, points: float, n: int, d: int, eps: float, tol: float):
        x, dout = batch(rng, n, d), rng.normal(size=(n, d)) + 0.3
        forward = ("layernorm_forward", x, *shared.parameters(rng, d), {"eps": eps})
        back = ("layernorm_backward", dout, Handle(0, 1))
        again = {f"{label} again": i for label, i in GRADIENTS.items()}
        first = {label: (1, i) for label, i in GRADIENTS.items()}
        places = first | again | {"dout": (1, "arg0")}
        halves = {label: v / 2 for label, v in shared.GRADIENT_SHARES.items()}
        weak = dict.fromkeys(again, ("second-call",)) | {"dout": ("dout-overwritten",)}
        check = LAYER.check(
            category, points, [forward, back, back], places, tol, whatever=weak,
            forward=(0, 1e-5, 1e-7), floor=1e-3 * float(np.abs(dout).max()),
            shares={**halves, **{f"{k} again": v for k, v in halves.items()},
                    "dout": 1 / 3},
        )  # fmt: skip
        *slopes, kept = check.expects
        check = replace(check, expects=(*slopes, replace(kept, tol=0.0)))
        return ps2.labelled(check, *GRADIENTS, *GRADIENTS, "dout")

    def equal_row(x):
        x[1] = 0.5

    return LAYER.question("ps4.q2", [
        norm.output(rng, "values", 1.0, (4, 7)),
        norm.output(rng, "eps", 0.5, (5, 3), shared.large_eps(rng), flat(0)),
        norm.output(rng, "large mean", 0.25, (3, 8)),
        norm.kept(rng, 0.25, (4, 5), None, ("x", "gamma")),
        gradients("gradients", 1.5, 4, 6, 1e-5, BASIC),
        gradients("eps in gradients", 0.25, 5, 3, 0.4, 1e-6),
        norm.output(rng, "constant feature", 0.25, (3, 5), change=equal_row),
    ], observer="rows")  # fmt: skip


# --- q3: group norm -------------------------------------------------------------------


def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):
    """Normalize each of G groups of consecutive channels of an image."""
    eps = gn_param.get("eps", 1e-5)
    n, c, h, w = x.shape
    parts = x.reshape(n, G, c // G, h, w)
    axes = (2, 3, 4)
    away = parts - parts.mean(axes, keepdims=True)
    var = (away**2).mean(axes, keepdims=True)
    std = np.sqrt(var + eps)
    x_hat = (away / std).reshape(x.shape)
    gamma, beta = gamma.reshape(-1, 1, 1), beta.reshape(-1, 1, 1)
    out = gamma * x_hat + beta
    return out, (parts.shape, var, std, x_hat, gamma)


def spatial_groupnorm_backward(dout, cache):
    """Send dout back through group norm; all sums of dx run over a group."""
    shape, var, std, x_hat, gamma = cache
    g, hats = (gamma * dout).reshape(shape), x_hat.reshape(shape)
    over = (2, 3, 4)
    along_mean = g.mean(over, keepdims=True)
    along_var = hats * (g * hats).mean(over, keepdims=True)
    dx = ((g - along_mean - along_var) / std).reshape(dout.shape)
    dgamma = (dout * x_hat).sum((0, 2, 3))
    dbeta = dout.sum((0, 2, 3))
    return dx, dgamma, dbeta


PARTS, SQUARES = "x.reshape(n, G, c // G, h, w)", "(away**2).mean(axes, keepdims=True)"
GROUPED = "axes = (2, 3, 4)"
SHAPED = "gamma, beta = gamma.reshape(-1, 1, 1), beta.reshape(-1, 1, 1)"
PER_GROUP = "np.repeat({}.ravel()[:G], c // G).reshape(-1, 1, 1)"
SUMMED = {
    f"{a}.sum((0, 2, 3))": f"{a}.mean((0, 2, 3))" for a in ("(dout * x_hat)", "dout")
}
GROUP = Right(
    spatial_groupnorm_forward, spatial_groupnorm_backward, says=sentences("ps4", "q3"),
    mistakes=[
        M("per-channel", GROUPED, "axes = (3, 4)", breaks=True),
        M("layer", GROUPED, "axes = (1, 2, 3, 4)", breaks=True),
        M("over-batch", GROUPED, "axes = (0, 2, 3, 4)", breaks=True),
        M("interleaved", PARTS, "x.reshape(n, c // G, G, h, w).swapaxes(1, 2)",
          "away / std", "(away / std).swapaxes(1, 2)", breaks=True),
        M("size-for-number", PARTS, "x.reshape(n, c // G, G, h, w)"),
        M("spread-only", GROUPED, "axes = (2,)"),
        *norm_of_maps(
            M("sample-variance", SQUARES, "parts.var(axes, ddof=1, keepdims=True)"),
            M("not-centred", "away / std", "parts / std")),
        M("gamma-per-group", SHAPED,
          f"gamma, beta = {PER_GROUP.format('gamma')}, {PER_GROUP.format('beta')}"),
        *shared.overwritten("gamma")[1:],
        *(m for m in PATHS if not m.name.endswith("-over-all")),
        M("channel-sums", "over = (2, 3, 4)", "over = (3, 4)"),
        *alone(M("parameter-means", *itertools.chain(*SUMMED.items())),
               "dgamma", "dbeta"),
    ],
)  # fmt: skip


def group(rng: Rng, layout: bool = False) -> Question:
    """Question 3: group norm; ``layout`` for gamma of shape (1, C, 1, 1)."""

    def arguments(rng, x, gamma, beta, eps):
        shape = (1, -1, 1, 1) if layout else (-1,)
        groups = 3 if x.shape[2] == 4 else 2  # three in the basic check alone
        more = groups, {} if eps is None else {"eps": eps}
        return x, gamma.reshape(shape), beta.reshape(shape), *more

    norm, one_group = Norm(GROUP, arguments, maps), flat(0, slice(2))
    gradients = norm.gradients(rng, "gradients", 1.0, (2, 6, 2, 3), 0.3)
    dx, *others = gradients.expects
    loose = (dx, *(replace(e, loose=True) for e in others))
    return GROUP.question("ps4.q3", [
        norm.output(rng, "values", 1.0, (2, 6, 4, 3)),
        norm.output(rng, "eps", 0.5, (3, 4, 2, 5), shared.large_eps(rng), one_group),
        norm.output(rng, "H and W differ", 0.25, (1, 6, 2, 5)),
        replace(gradients, expects=loose),
        norm.kept(rng, 0.25, (2, 4, 2, 3), None, ("x", "gamma")),
    ])  # fmt: skip


# --- q4: a module for PyTorch ---------------------------------------------------------


def scaled(x, mu, var, gamma, beta, eps):
    """Normalize with given statistics."""
    away = x - mu
    std = np.sqrt(var + eps)
    x_hat = away / std
    return gamma * x_hat + beta


def trained(x, weight, bias, eps):
    """Normalize a batch as the module does in training mode."""
    return scaled(x, x.mean(0), x.var(0), weight, bias, eps)


def module(x, other, options):
    """Return what `bncheck.glue.module` does."""
    momentum, eps = options["momentum"], options["eps"]
    weight, bias = options["weight"], options["bias"]
    mean = momentum * x.mean(0)
    var = (1 - momentum) * np.ones(x.shape[1]) + momentum * x.var(0, ddof=1)
    out = trained(x, weight, bias, eps)
    later = scaled(other, mean, var, weight, bias, eps)
    return out, mean, var, later, var, np.array(1)


def module_gradients(x):
    """Differentiate sum(cos(x) * out) by x, numerically."""
    dout, gradient = np.cos(x), np.empty(x.shape)
    for i in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[i] = 1e-6
        above, below = (trained(x + s * step, 1.0, 0.0, 1e-5) for s in (1, -1))
        gradient[i] = (dout * (above - below)).sum() / 2e-6
    return gradient, np.array(0)


def module_state(d):
    """Return the shapes in state_dict; no wrong parameters, no other entries."""
    shapes = {k: [d] for k in ("weight", "bias", "running_mean", "running_var")}
    return {**shapes, "num_batches_tracked": []}, np.array(0), np.array(0)


MOMENTUM, STORED, USED = 'options["momentum"]', "x.var(0, ddof=1)", "x.var(0)"
STATE = {f"{k} in state_dict": f"out.{k}" for k in module_state(1)[0]}
STATE |= {"the parameters": 1, "other entries": 2}
NOT_THERE = {label: [label.replace(" ", "-")] for label in STATE}
TRAINED, AS_TESTED = (
    "trained(x, weight, bias, eps)",
    "scaled(x, 0.0, 1.0, weight, bias, eps)",
)
UPDATED = f"(1 - momentum) * np.ones(x.shape[1]) + momentum * {STORED}"
MODULE = Right(
    scaled, trained, module, module_gradients, module_state,
    says=sentences("ps4", "q4"), mistakes=[
        M("not-unbiased", STORED, USED),
        M("sample-variance", USED, STORED),
        M("sample-variance-twice", STORED, f"{STORED} * len(x) / (len(x) - 1)",
          USED, STORED, of="sample-variance"),
        M("not-counted", "np.array(1)", "np.array(0)"),
        M("mode-by-gradients", TRAINED, AS_TESTED,
          "momentum * x.mean(0)", "0 * x.mean(0)",
          UPDATED, "np.ones(x.shape[1])", "np.array(1)", "np.array(0)"),
        M("momentum-swapped", MOMENTUM, f"1 - {MOMENTUM}"),
        M("momentum-fixed", MOMENTUM, "0.1"),
        M("never-written", MOMENTUM, "0.0"),
        *shared.spread_mistakes(),
        M("eval-batch-stats", "scaled(other, mean, var, weight, bias, eps)",
          "trained(other, weight, bias, eps)"),
        M("no-affine", "gamma * x_hat + beta", "x_hat"),
        M("starts-at-zero", "np.ones(x.shape[1])", "0.0"),
        M("one-pass-variance"), M("input-overwritten"), M("state-changed"),
        M("detached"), M("statistics-carry"),
        *(M(name) for (name,) in NOT_THERE.values()),
    ],
)  # fmt: skip
LATER = "running_var after evaluation"
CARRY = "the number of running statistics that carry a gradient"
RESULTS = ("out", "running_mean", "running_var", "out in evaluation mode", LATER,
           "num_batches_tracked")  # fmt: skip
SHARES = dict(zip(RESULTS, (0.5, 0.3, 0.3, 0.5, 0.3, 0.2), strict=True))


def pytorch(rng: Rng) -> Question:
    """Question 4: a module for PyTorch."""

    def look(category: str, points: float, x: np.ndarray, expect: dict, tol: float,
             weak: dict | list, momentum: float = 0.1, eps: float = 1e-5):  # fmt: skip
        weight, bias = shared.parameters(rng, x.shape[1])
        options = {"momentum": momentum, "eps": eps, "weight": weight, "bias": bias}
        call = ("*module", x, batch(rng, 5, x.shape[1]), options)
        large = category == "large mean"
        return MODULE.check(
            category, points, [call], expect, tol, whatever=weak, shares=SHARES,
            proofs=shared.one_pass(MODULE, call, 1, {"out": 0}) if large else (),
        )  # fmt: skip

    results, changed = {k: i for i, k in enumerate(RESULTS)}, {LATER: ["state-changed"]}
    small, large = batch(rng, 5, 3), batch(rng, 6, 3) + shared.LARGE_MEAN
    CHANNEL(small)
    wide = rng.uniform(0.3, 0.6), rng.uniform(0.2, 0.5)
    values = np.arange(15.0).reshape(5, 3) ** 1.5 % 7
    return MODULE.question("ps4.q4", [
        look("values", 0.75, batch(rng, 7, 4), results, BASIC, changed),
        look("momentum and eps", 1.0, small, results, 1e-5, changed, *wide),
        look("large mean", 0.25, large, {"out": 0}, BASIC, ["one-pass-variance"]),
        MODULE.check("state_dict", 0.5, [("*module_state", 4)], STATE, 0.0,
                     whatever=NOT_THERE),
        look("no mutation", 0.25, batch(rng, 6, 3), {"x": "arg0", "other": "arg1"}, 0.0,
             ["input-overwritten"]),
        MODULE.check("gradients", 0.25, [("*module_gradients", values)],
                     {"the gradient that autograd finds": 0, CARRY: 1}, 1e-4,
                     whatever={"the gradient that autograd finds": ["detached"],
                               CARRY: ["statistics-carry"]}),
    ], functions=("BatchNorm1d",))  # fmt: skip


# --- q5: the term variant -------------------------------------------------------------


def variant(right: Right, draw: Callable[[Rng, np.ndarray], object]) -> Callable:
    """Return the question of a function of (x, gamma, beta, extra, eps)."""

    def question(rng: Rng) -> Question:
        norm = Norm(right, lambda rng, x, g, b, eps: (x, g, b, draw(rng, x), eps), maps)
        return right.question("ps4.q5", [
            norm.output(rng, "values", 1.75, (2, 6, 3, 4)),
            norm.output(rng, "eps", 0.75, (3, 5, 2, 4), shared.large_eps(rng), CHANNEL),
            norm.output(rng, "H and W differ", 0.25, (1, 6, 2, 5)),
            norm.kept(rng, 0.25, (2, 5, 2, 3), 1e-3),
        ])  # fmt: skip

    return question


def unequal_groupnorm(x, gamma, beta, sizes, eps):
    """Normalize groups of channels of the given sizes."""
    parts = np.split(x, np.cumsum(sizes)[:-1], axis=1)
    axes, hats = (1, 2, 3), []
    for part in parts:
        away = part - part.mean(axes, keepdims=True)
        var = (away**2).mean(axes, keepdims=True)
        std = np.sqrt(var + eps)
        hats.append(away / std)
    x_hat = np.concatenate(hats, axis=1)
    gamma, beta = gamma[:, None, None], beta[:, None, None]
    return gamma * x_hat + beta


BOUNDS = "np.cumsum(sizes)[:-1]"
SPREAD = "gamma, beta = gamma[:, None, None], beta[:, None, None]"
unequal = variant(
    Right(unequal_groupnorm, says=sentences("ps4", "unequal"), mistakes=norm_of_maps(
        M("sizes-reversed", BOUNDS, "np.cumsum(sizes[::-1])[:-1]"),
        M("sizes-ignored", BOUNDS, "[]"),
        M("per-channel", BOUNDS, "x.shape[1]", breaks=True),
        M("gamma-per-group", SPREAD,
          "gamma, beta = (np.repeat(p[: len(sizes)], sizes)[:, None, None]"
          " for p in (gamma, beta))"),
        M("over-batch", "(1, 2, 3)", "(0, 1, 2, 3)", breaks=True),
        M("sample-variance", SQUARES, "part.var(axes, ddof=1, keepdims=True)"),
        M("not-centred", "away / std", "part / std"),
    )),
    lambda rng, x: [1, 2, 3] if x.shape[1] == 6 else [1, 4],
)  # fmt: skip


def masked_spatial_batchnorm(x, gamma, beta, mask, eps):
    """Normalize maps with the statistics of the pixels where the mask is 1."""
    keep = mask[:, None]
    count, axes = keep.sum(), (0, 2, 3)
    mu = (keep * x).sum(axes, keepdims=True) / count
    away = x - mu
    var = (keep * away**2).sum(axes, keepdims=True) / count
    std = np.sqrt(var + eps)
    x_hat = away / std
    gamma, beta = gamma[:, None, None], beta[:, None, None]
    return gamma * x_hat + beta


def some_pixels(rng: Rng, x: np.ndarray) -> np.ndarray:
    """Draw a mask that keeps three fifths of the pixels of all maps together."""
    mask = np.zeros(x[:, 0].size)
    mask[rng.permutation(mask.size)[: mask.size * 3 // 5]] = 1.0
    return mask.reshape(x[:, 0].shape)


KEEP, MEAN = "keep = mask[:, None]", "(keep * x).sum(axes, keepdims=True) / count"
VAR = "(keep * away**2).sum(axes, keepdims=True) / count"
OF_MASK = norm_of_maps(
    M("mask-ignored", KEEP, "keep = np.ones_like(mask)[:, None]"),
    M("mask-turned", KEEP, "keep = 1 - mask[:, None]"),
    M("divided-by-all", "keep.sum()", "keep.size"),
    M("zeroed-input", KEEP, f"{KEEP}\nx, keep = x * keep, np.ones_like(keep)"),
    M("zeroed-input-statistics", MEAN, "(keep * x).mean(axes, keepdims=True)",
      VAR, "(keep * x).var(axes, keepdims=True)", of="zeroed-input"),
    M("channels-last", "(0, 2, 3)", "(0, 1, 2)"),
    M("channels-third", "(0, 2, 3)", "(0, 1, 3)"),
    M("plain-variance", VAR, "x.var(axes, keepdims=True)"),
    M("plain-variance-around-mask", VAR, SQUARES, of="plain-variance"),
    M("output-masked", "gamma * x_hat + beta", "keep * (gamma * x_hat + beta)"),
    M("output-masked-x-hat", "away / std", "keep * away / std", of="output-masked"),
    M("sample-variance", VAR, VAR.replace("count", "(count - 1)")),
)  # fmt: skip
MASKED = Right(
    masked_spatial_batchnorm, says=sentences("ps4", "masked"), mistakes=OF_MASK
)
VARIANTS = {"unequal": unequal, "masked": variant(MASKED, some_pixels)}


def questions(rng: Rng, variant: str) -> list[Question]:
    """Draw the questions of the set, with the term's variant."""
    return [spatial(rng), layer(rng), group(rng), pytorch(rng), VARIANTS[variant](rng)]
