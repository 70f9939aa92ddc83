"""Problem set 4: maps, layer norm, group norm, a PyTorch module, a term variant."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.calls import Call, Handle
from bncheck.form import Check, Expect
from coursework.questions import references as ref
from coursework.questions import sentences as say
from coursework.questions.build import (
    ANY,
    BASIC,
    LARGE_MEAN,
    LOOSE,
    batch,
    expect_gradients,
    expect_out,
    parameters,
    unchanged,
    wrong,
)
from coursework.questions.old import OwnForward, Question

Rng = np.random.Generator
Array = np.ndarray


def questions(rng: Rng, variant: str) -> list[Question]:
    """Draw the questions of the set; see `ps1.questions`."""
    return [spatial(rng), layer(rng), group(rng), module(rng), VARIANTS[variant](rng)]


def maps(rng: Rng, n: int, c: int, h: int, w: int) -> Array:
    """Draw maps whose channels, images and pixels differ."""
    x = ref.to_maps(batch(rng, n * h * w, c), (n, c, h, w))
    return x + rng.normal(size=(n, c, 1, 1)) + 0.5 * rng.normal(size=(1, 1, h, w))


def flatten(part: Array) -> Array:
    """Shrink the spread of a part, a view of x, so that a fixed small eps is seen."""
    part *= 0.05 / part.std()
    return part


def by_group(x: Array, gamma: Array, beta: Array, sizes: list[int], eps: float,
             recipe: ref.Recipe = ref.RIGHT, n: int = 0) -> Array:  # fmt: skip
    """Normalize groups of channels as a recipe does, n rows of values for each group."""
    inner = ref.twisted(recipe, scale=True, shift=True, affine="scale-shift")
    parts = [
        ref.forward(p.reshape(n or len(x), -1).T, 1.0, 0.0, eps, inner).T.reshape(
            p.shape
        )
        for p in np.split(x, np.cumsum(sizes)[:-1], axis=1)
    ]
    by_channel = (-1,) + (1,) * (x.ndim - 2)
    return ref.affine(np.concatenate(parts, axis=1), gamma.reshape(by_channel),
                      beta.reshape(by_channel), recipe)  # fmt: skip


ROW_BUGS = ("sample-variance", "eps-outside-root", "no-eps", "eps-fixed", "eps-fixed#8",
            "eps-squared", "eps-root-outside", "eps-twice", "variance-not-root",
            "not-centred", "no-gamma", "no-beta", "shift-before-scale")  # fmt: skip
ROW_SAYS = {name: say.FORWARD[name] for name in (*ROW_BUGS, "input-overwritten")}
DIVISORS = (*ref.FORWARD_DIVISORS, "forward:variance-not-root", "forward:not-centred")


def by_recipes(
    x: Array, gamma: Array, beta: Array, sizes: list[int], eps: float
) -> dict:
    """Return what the known mistakes give in a normalization of groups."""
    bugs = {b: ref.FORWARD_BUGS[b] for b in ROW_BUGS}
    return {b: by_group(x, gamma, beta, sizes, eps, r) for b, r in bugs.items()}


@np.errstate(all="ignore")
def row_gradient(
    g: Array,
    x: Array,
    eps: float,
    bug: str = "",
    pieces: int = 1,
    used: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Send g back through the normalization of each row; return dx and x_hat.

    ``used`` is what a wrong forward pass has in place of x - mean and the variance.
    """
    away, var = used or (x - x.mean(1, keepdims=True), x.var(1, keepdims=True))
    root = np.sqrt(var + eps)
    recipe = ref.FORWARD_BUGS.get(bug.removeprefix("forward:"))
    if bug.startswith("forward:") and recipe:  # right, but for what the forward made
        away = away if recipe.centre else x
        var = ref.statistics(x.T, recipe)[1][:, None]
        root = 1 / ref.divide(np.ones_like(var), var, eps, recipe)
    x_hat = away / root
    if bug == "no-eps-in-dx":
        root = np.sqrt(var)

    def average(a: Array) -> Array:
        if bug == "batch-sums":
            return a.mean(0)
        if bug == "channel-sums":
            means = a.reshape(len(a), pieces, -1).mean(2)
            return np.repeat(means, a.shape[1] // pieces, axis=1)
        total = a.sum(1, keepdims=True)
        return total / (len(a) if bug == "divided-by-N" else a.shape[1])

    along_mean, along_var = average(g), x_hat * average(g * x_hat)
    if bug in ("statistics-constant", "mean-path-missing"):
        along_mean = 0
    if bug in ("statistics-constant", "variance-path-missing"):
        along_var = 0
    return (g - along_mean - along_var) / root, x_hat


def to_rows(expect: Expect, shape: tuple[int, ...], **changes: Any) -> Expect:
    """Turn what is expected of rows (N H W, C) into maps (N, C, H, W)."""

    def turn(value: Any) -> Any:
        if np.shape(value) == (shape[0] * shape[2] * shape[3], shape[1]):
            return ref.to_maps(value, shape)
        return value

    others = {k: turn(v) for k, v in expect.wrong.items()}
    return replace(expect, value=turn(expect.value), wrong=others, **changes)


# --- q1: batch norm of maps -----------------------------------------------------------

SPATIAL = ("spatial_batchnorm_forward", "spatial_batchnorm_backward")
MIXED_DOUT = "Your gradients mix channels: dout is reshaped to (-1, C) without moving the channel axis last. Transpose first, as in the forward pass."
MIXED_DX = "Your dx mixes channels: rows (N H W, C) are reshaped to (N, C, H, W) directly. Reshape to (N, H, W, C), then move the channel axis back."
SPATIAL_SAYS = {
    "reshape-mixes#turned": "The channels of your output are not normalized: you move the channel axis first and then reshape to (-1, C), which mixes channels. Move it last.",
    **{
        f"reshape-mixes#dout:right-{above}-{back}": MIXED_DOUT
        for above in ("mixed", "turned")
        for back in ("right", "mixed", "turned")
    },
    **{
        f"reshape-mixes#dx:right-right-{back}": MIXED_DX for back in ("mixed", "turned")
    },
    "reshape-mixes": "The channels of your output are not normalized: a reshape to (-1, C) without moving the channel axis last mixes channels. Transpose first.",
    "per-pixel": "Your statistics run over the batch only, for each pixel by itself: with one image you return beta everywhere. They must run over N, H and W together.",
    "per-image": "Your statistics run over each image by itself (instance norm). They must run over N, H and W together.",
    "over-channels": "Your statistics run over the channels. Each channel has its own: take them over N, H and W.",
    "eval-batch-stats": "In test mode you use the statistics of the batch. Use running_mean and running_var there.",
    **{
        k: v
        for k, v in say.FORWARD.items()
        if k not in ("stats-over-features", "stats-over-all")
    },
    **{
        k: v
        for k, v in say.RUNNING.items()
        if k
        in (
            "momentum-swapped",
            "never-written",
            "last-batch-kept",
            "std-not-var-stored",
            "eps-stored",
        )
    },
    "starts-at-one": say.RUNNING["starts-at-one"],
    **{f"{k}#test": v for k, v in say.EVALUATION.items()},
    **say.BACKWARD,
    "divided-by-images": "dx divides its sums by N. A channel has N H W values: divide by N H W.",
    "sample-variance": "Your variance divides by N H W - 1. It divides by N H W, the number of values of a channel.",
    "sample-variance#stored": "Your running variance is N/(N-1) times the expected one, with N the number of values of a channel: this exercise stores the divide-by-N variance (PyTorch stores the other).",
    "sample-variance#test": "In test mode you multiply running_var by N/(N-1). Use it as it is.",
}


def normalized(
    x: Array, axes: tuple[int, ...], gamma: Array, beta: Array, eps: float
) -> Array:
    """Normalize maps over the given axes, with one gamma and beta for each channel."""
    mu, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    x_hat = (x - mu) / np.sqrt(var + eps)
    return gamma[:, None, None] * x_hat + beta[:, None, None]


# Ways to make rows of maps: the right one, and two that mix channels.
ROWS = {
    "right": ref.to_rows,
    "mixed": lambda x: x.reshape(-1, x.shape[1]),
    "turned": lambda x: x.transpose(1, 0, 2, 3).reshape(-1, x.shape[1]),
}
MAPS = {
    "right": ref.to_maps,
    "mixed": lambda rows, shape: rows.reshape(shape),
    "turned": lambda rows, shape: np.swapaxes(
        rows.reshape(shape[1], shape[0], *shape[2:]), 0, 1
    ),
}


def _mixed(x: Array, function: Callable[[Array], Array]) -> dict[str, Array]:
    """Return what a function of rows gives when making them mixes channels."""
    return {
        "reshape-mixes": function(ROWS["mixed"](x)).reshape(x.shape),
        "reshape-mixes#turned": ref.to_maps(function(ROWS["turned"](x)), x.shape),
        "reshape-mixes#turned-back": MAPS["turned"](
            function(ROWS["turned"](x)), x.shape
        ),
    }


def _spatial_out(
    call: int, x: Array, gamma: Array, beta: Array, eps: float, tol: float
) -> Expect:
    rows = expect_out(call, ref.to_rows(x), gamma, beta, eps, tol)
    expect = to_rows(rows, x.shape)
    known = {k: v for k, v in expect.wrong.items() if not k.startswith("stats-over")}
    others = _mixed(x, lambda rows: ref.forward(rows, gamma, beta, eps)) | {
        "per-pixel": normalized(x, (0,), gamma, beta, eps),
        "per-image": normalized(x, (2, 3), gamma, beta, eps),
        "over-channels": normalized(x, (1,), gamma, beta, eps),
    }
    return replace(expect, wrong=wrong(expect.value, others | known))


def spatial(rng: Rng) -> Question:
    """Question 1: batch norm of maps, forward and backward."""
    forward = SPATIAL[0]
    checks = []
    plan = (("values", 0.75, (2, 3, 4, 5), 1e-5, BASIC, ""),
            ("eps", 0.5, (3, 2, 2, 4), rng.uniform(0.2, 0.6), 1e-6, "With a large eps"),
            ("H and W differ", 0.25, (1, 4, 2, 6), 1e-5, BASIC, "With one image"))  # fmt: skip
    for category, points, shape, eps, tol, when in plan:
        x, (gamma, beta) = maps(rng, *shape), parameters(rng, shape[1])
        if category == "eps":
            flatten(x[:, 0])
        param = {"mode": "train", "eps": eps}
        call = Call(forward, (x, gamma, beta, param))
        checks.append(
            Check(category, points, (call,),
                  (_spatial_out(0, x, gamma, beta, eps, tol),), when=when)
        )  # fmt: skip
    checks += [*_spatial_state(rng), _spatial_gradients(rng), _kept(rng, forward, 4)]
    return Question("ps4.q1", "Batch norm of feature maps", 3.0, SPATIAL,
                    tuple(checks), SPATIAL_SAYS)  # fmt: skip


def _spatial_state(rng: Rng) -> list[Check]:
    """Look at a step of running statistics, and at an output in test mode."""
    shape = (2, 3, 4, 5)
    x, (gamma, beta) = maps(rng, *shape), parameters(rng, 3)
    rows = ref.to_rows(x)
    mu, v, n = rows.mean(0), rows.var(0), len(rows)
    mixed, turned = ROWS["mixed"](x), ROWS["turned"](x)
    first = Call(SPATIAL[0], (x, gamma, beta, {"mode": "train"}), after=(3,))
    expects = (
        Expect(0, "arg3.running_mean", 0.1 * mu, "running_mean", 1e-6,
               {"momentum-swapped": 0.9 * mu, "never-written": 0 * mu, "last-batch-kept": mu,
                "never-written#absent": None, "reshape-mixes": 0.1 * mixed.mean(0),
                "reshape-mixes#turned": 0.1 * turned.mean(0)}),
        Expect(0, "arg3.running_var", 0.1 * v, "running_var", 1e-6,
               {"momentum-swapped": 0.9 * v, "never-written": 0 * v, "last-batch-kept": v,
                "sample-variance#stored": 0.1 * v * n / (n - 1), "std-not-var-stored": 0.1 * np.sqrt(v),
                "eps-stored": 0.1 * (v + 1e-5), "starts-at-one": 0.9 + 0.1 * v,
                "never-written#absent": None, "reshape-mixes": 0.1 * mixed.var(0),
                "reshape-mixes#turned": 0.1 * turned.var(0)}),
    )  # fmt: skip
    running = Check("running statistics", 0.25, (first,), expects)
    mean, var = rng.normal(size=3), rng.uniform(0.3, 4, 3)
    given = {"mode": "test", "eps": 0.3, "running_mean": mean, "running_var": var}
    supplied = Check(
        "evaluation mode", 0.25, (Call(SPATIAL[0], (x, gamma, beta, given)),),
        (_spatial_test(0, x, gamma, beta, mean, var),),
    )  # fmt: skip
    # Statistics kept in another shape, as (1, C, 1, 1), fit only themselves.
    own = {"**": Handle(0, "arg3"), "mode": "test", "eps": 0.3}
    stored = Check(
        "evaluation mode", 0.25, (first, Call(SPATIAL[0], (x, gamma, beta, own))),
        (_spatial_test(1, x, gamma, beta, 0.1 * mu, 0.1 * v),),
    )  # fmt: skip
    return [running, replace(supplied, instead=stored)]


def _spatial_test(
    call: int, x: Array, gamma: Array, beta: Array, mean: Array, var: Array
) -> Expect:
    """Expect the right output in test mode with eps 0.3."""
    args = (gamma, beta, mean, var, 0.3)
    out = ref.to_maps(ref.evaluate(ref.to_rows(x), *args), x.shape)
    made = {f"{b}#test": ref.to_maps(ref.evaluate(ref.to_rows(x), *args, r), x.shape)
            for b, r in ref.EVAL_BUGS.items()}  # fmt: skip
    made["eval-batch-stats"] = normalized(x, (0, 2, 3), gamma, beta, 0.3)
    made |= _mixed(x, lambda rows: ref.evaluate(rows, *args))
    n = x.size // x.shape[1]
    rows = ref.evaluate(ref.to_rows(x), gamma, beta, mean, var * n / (n - 1), 0.3)
    made["sample-variance#test"] = ref.to_maps(rows, x.shape)
    return Expect(call, 0, out, "out in test mode", 1e-6, wrong(out, made))


def _spatial_gradients(rng: Rng) -> Check:
    shape, eps = (2, 3, 2, 3), 0.3
    x, (gamma, beta) = maps(rng, *shape), parameters(rng, 3)
    dout = rng.normal(size=shape) + 0.3
    calls = (
        Call(SPATIAL[0], (x, gamma, beta, {"mode": "train", "eps": eps})),
        Call(SPATIAL[1], (dout, Handle(0, 1)), take=(0, 1, 2)),
    )
    rows = expect_gradients(
        1, ref.to_rows(dout), ref.to_rows(x), gamma, beta, eps, 1e-6
    )
    expects = [to_rows(e, shape) for e in rows]
    dx = {"divided-by-images": _divided_by_images(dout, x, gamma, eps)}
    expects[0] = replace(expects[0], wrong=dx | expects[0].wrong)
    mixed = _mixed_gradients(dout, x, gamma, eps)
    expects = tuple(
        replace(e, wrong=e.wrong | wrong(e.value, {b: v[i] for b, v in mixed.items()}))
        for i, e in enumerate(expects)
    )
    own = OwnForward(0, _spatial_out(0, x, gamma, beta, eps, 1e-7), dout)
    return Check("gradients", 0.75, calls, expects, own)


def _mixed_gradients(
    dout: Array, x: Array, gamma: Array, eps: float
) -> dict[str, tuple]:
    """Return the gradients when rows are made of x, or dout, or maps of dx, wrongly."""
    made = {}
    for forward, above, back in itertools.product(ROWS, ROWS, MAPS):
        rows = ref.backward(ROWS[above](dout), ROWS[forward](x), gamma, eps)
        names = {"forward": forward, "dout": above, "dx": back}
        what = next((k for k, way in names.items() if way != "right"), "")
        if what:
            name = f"reshape-mixes#{what}:{forward}-{above}-{back}"
            made[name] = (MAPS[back](rows[0], x.shape), *rows[1:])
    return made


def _divided_by_images(dout: Array, x: Array, gamma: Array, eps: float) -> Array:
    rows, g = ref.to_rows(x), gamma * ref.to_rows(dout)
    root = np.sqrt(rows.var(0) + eps)
    x_hat, n = (rows - rows.mean(0)) / root, len(x)
    dx = (g - g.sum(0) / n - x_hat * (g * x_hat).sum(0) / n) / root
    return ref.to_maps(dx, x.shape)


def _kept(rng: Rng, name: str, axes: int) -> Check:
    """Look at whether a forward function leaves its inputs alone."""
    x = maps(rng, 2, 4, 2, 3) if axes == 4 else batch(rng, 4, 5)
    d = x.shape[1]
    gamma, beta = parameters(rng, d)
    extra = {"mode": "train"}
    args = (x, gamma, beta, 2, {}) if "group" in name else (x, gamma, beta, extra)
    bug, says = "input-overwritten", "Your function changes its input array."
    expects = (
        unchanged(0, 0, x, "x", bug, says),
        unchanged(0, 1, gamma, "gamma", bug, says),
    )
    return Check("no mutation", 0.25, (Call(name, args, after=(0, 1)),), expects)


# --- q2: layer norm -------------------------------------------------------------------

LAYER = ("layernorm_forward", "layernorm_backward")
LAYER_SAYS = {
    "batch-axis": "Your rows are not normalized, your columns are: layer norm takes statistics over the features of one example (axis 1).",
    "over-all": "You use one mean and one variance for all numbers. Each row has its own.",
    **ROW_SAYS,
    "sample-variance": "Your output is too small by the root of (D-1)/D: layer norm divides by D, the number of features.",
    "no-eps": "Your output does not depend on eps, and a row of equal numbers gives nan. Add eps to the variance before the root.",
    "not-centred": "You never take off the mean of the row.",
    "no-affine": "gamma and beta are not used. They scale and shift each feature.",
    "one-pass-variance": say.FORWARD["one-pass-variance"],
    "row-sums": "dgamma and dbeta have one number for each example; they need one for each feature. dx may be computed on the transpose, dgamma and dbeta may not.",
    "parameter-means": "dgamma or dbeta is an average. Sum over the examples.",
    "statistics-constant": say.BACKWARD["statistics-constant"].replace("batch", "row"),
    "mean-path-missing": "Each row of dx must sum to 0. Yours does not: the gradient through the mean is missing.",
    "variance-path-missing": "dx has a component along x_hat: the gradient through the variance is missing.",
    "divided-by-N": "dx divides its sums by N, the number of examples. Here they run over D features.",
    "batch-sums": "The sums in dx run over the batch. In layer norm they run over the features of one row.",
    "no-gamma-in-dx": say.BACKWARD["no-gamma-in-dx"],
    "no-eps-in-dx": say.BACKWARD["no-eps-in-dx"],
    "gamma-after-sums": "gamma comes in after the sums of dx. Each feature has its own gamma: multiply dout by it first.",
    "dgamma-uses-x": "dgamma changes when a constant is added to x; it should not. Sum dout * x_hat, not dout * x.",
    "second-call": say.BACKWARD["second-call"],
    "dout-overwritten": say.BACKWARD["dout-overwritten"],
}


def _layer_out(
    call: int, x: Array, gamma: Array, beta: Array, eps: float, tol: float
) -> Expect:
    out = ref.layer(x, gamma, beta, eps)
    one = np.ones_like(gamma)
    others = by_recipes(x, gamma, beta, [x.shape[1]], eps) | {
        "batch-axis": ref.forward(x, gamma, beta, eps),
        "over-all": gamma * (x - x.mean()) / np.sqrt(x.var() + eps) + beta,
        "no-affine": ref.layer(x, one, 0 * one, eps),
    }
    return Expect(call, 0, out, "out", tol, wrong(out, others))


def layer_backward(
    dout: Array, x: Array, gamma: Array, eps: float, bug: str = ""
) -> tuple:
    """Return the gradients of layer norm, with or without a mistake."""
    g = dout if bug in ("no-gamma-in-dx", "gamma-after-sums") else gamma * dout
    axes = {"forward:batch-axis": 0, "forward:over-all": None}
    used = None
    if bug in axes:
        used = (x - x.mean(axes[bug]), x.var(axes[bug], keepdims=True))
    dx, x_hat = row_gradient(g, x, eps, bug, used=used)
    if bug == "gamma-after-sums":
        dx = gamma * dx
    dgamma, dbeta = (dout * x_hat).sum(0), dout.sum(0)
    if bug == "row-sums":
        dgamma, dbeta = (dout * x_hat).sum(1), dout.sum(1)
    if bug == "parameter-means":
        dgamma, dbeta = dgamma / len(x), dbeta / len(x)
    if bug == "dgamma-uses-x":
        dgamma = (dout * x).sum(0)
    return dx, dgamma, dbeta


LAYER_BUGS = ("row-sums", "parameter-means", "statistics-constant", "mean-path-missing",
              "variance-path-missing", "divided-by-N", "batch-sums", "no-gamma-in-dx",
              "gamma-after-sums", "dgamma-uses-x", "no-eps-in-dx", *DIVISORS,
              "forward:batch-axis", "forward:over-all")  # fmt: skip


def _named(
    call: int, right: tuple, others: dict[str, tuple], tol: float, dout: Array
) -> tuple[Expect, ...]:
    floor = float(np.abs(dout).max()) * 1e-3
    return tuple(
        Expect(call, i, right[i], label, tol,
               wrong(right[i], {b: v[i] for b, v in others.items()}), floor=floor)
        for i, label in enumerate(("dx", "dgamma", "dbeta"))
    )  # fmt: skip


def layer(rng: Rng) -> Question:
    """Question 2: layer norm, forward and backward."""
    forward, backward = LAYER
    checks = []
    plan = (("values", 1.0, 4, 7, 1e-5, BASIC, 0.0, ""),
            ("eps", 0.5, 5, 3, rng.uniform(0.2, 0.6), 1e-6, 0.0, "With a large eps"),
            ("large mean", 0.25, 3, 8, 1e-5, LOOSE * 10, LARGE_MEAN, ""))  # fmt: skip
    for category, points, n, d, eps, tol, offset, when in plan:
        x, (gamma, beta) = batch(rng, n, d) + offset, parameters(rng, d)
        if category == "eps":
            flatten(x[0])
        expect = _layer_out(0, x, gamma, beta, eps, tol)
        if offset:
            expect = replace(expect, wrong=expect.wrong | {"one-pass-variance": ANY})
        call = Call(forward, (x, gamma, beta, {"eps": eps}))
        checks.append(Check(category, points, (call,), (expect,), when=when))
    checks.append(_kept(rng, forward, 2))
    for category, points, n, d, eps in (("gradients", 1.5, 4, 6, 1e-5),
                                        ("eps in gradients", 0.25, 5, 3, 0.4)):  # fmt: skip
        x, (gamma, beta) = batch(rng, n, d), parameters(rng, d)
        dout = rng.normal(size=x.shape) + 0.3
        calls = (
            Call(forward, (x, gamma, beta, {"eps": eps})),
            Call(backward, (dout, Handle(0, 1)), take=(0, 1, 2), after=(0,)),
            Call(backward, (dout, Handle(0, 1)), take=(0, 1, 2)),
        )
        right = layer_backward(dout, x, gamma, eps)
        others = {b: layer_backward(dout, x, gamma, eps, b) for b in LAYER_BUGS}
        tol = BASIC if category == "gradients" else 1e-6
        first = _named(1, right, others, tol, dout)
        again = tuple(
            replace(e, call=2, wrong={"second-call": ANY, **e.wrong}) for e in first
        )
        kept = unchanged(1, 0, dout, "dout", "dout-overwritten", "dout changes.")
        own = OwnForward(0, _layer_out(0, x, gamma, beta, eps, 1e-7), dout)
        checks.append(Check(category, points, calls, (*first, *again, kept), own))
    checks.append(_equal_rows(rng))
    return Question(
        "ps4.q2", "Layer norm", 4.0, LAYER, tuple(checks), LAYER_SAYS, "rows"
    )


def _equal_rows(rng: Rng) -> Check:
    x, (gamma, beta) = batch(rng, 3, 5), parameters(rng, 5)
    x[1] = 0.5
    call = Call(LAYER[0], (x, gamma, beta, {"eps": 1e-5}))
    expect = _layer_out(0, x, gamma, beta, 1e-5, BASIC)
    return Check("constant feature", 0.25, (call,), (expect,),
                 when="With a row of equal numbers")  # fmt: skip


# --- q3: group norm -------------------------------------------------------------------

GROUP = ("spatial_groupnorm_forward", "spatial_groupnorm_backward")
GROUP_SAYS = {
    "per-channel": "Changing the number of groups changes nothing: you normalize each channel by itself. Pool the channels of a group.",
    "layer": "You normalize over all channels together. Only the channels of one group share their statistics.",
    "over-batch": "Your statistics run over the batch, too. Group norm looks at one image at a time.",
    "interleaved": "Your groups take every G-th channel. A group is made of C/G consecutive channels.",
    "size-for-number": "You use G as the number of channels in a group. G is the number of groups.",
    "spread-only": "Your statistics run over the channels of a group for each pixel by itself. They run over H and W as well.",
    **ROW_SAYS,
    "sample-variance": "Your variance divides by one less than the number of values in a group. It divides by their number.",
    "not-centred": "You never take off the mean of the group.",
    "no-affine": "gamma and beta are not used.",
    "statistics-constant": say.BACKWARD["statistics-constant"].replace(
        "batch", "group"
    ),
    "mean-path-missing": "dx of each group must sum to 0. Yours does not: the gradient through the mean is missing.",
    "variance-path-missing": "dx has a component along x_hat: the gradient through the variance is missing.",
    "channel-sums": "The sums in dx run over one channel. They run over all channels of a group.",
    "no-gamma-in-dx": say.BACKWARD["no-gamma-in-dx"],
    "no-eps-in-dx": say.BACKWARD["no-eps-in-dx"],
    "parameter-means": "dgamma or dbeta is an average. Sum over N, H and W.",
}


def _group_out(
    call: int, x: Array, gamma: Array, beta: Array, g: int, eps: float, tol: float
) -> Expect:
    n, c, h, w = x.shape
    sizes = [c // g] * g
    out = ref.groups(x, gamma, beta, sizes, eps)
    order = np.arange(c).reshape(-1, g).T.reshape(-1)
    mixed = np.empty_like(x)
    mixed[:, order] = ref.groups(x[:, order], gamma[order], beta[order], sizes, eps)
    grouped = x.reshape(n, g, c // g, h, w)
    centred = grouped - grouped.mean(2, keepdims=True)
    by_pixel = centred / np.sqrt(grouped.var(2, keepdims=True) + eps)
    others = by_recipes(x, gamma, beta, sizes, eps) | {
        "per-channel": normalized(x, (2, 3), gamma, beta, eps),
        "layer": normalized(x, (1, 2, 3), gamma, beta, eps),
        "over-batch": by_group(x, gamma, beta, sizes, eps, n=1),
        "interleaved": mixed,
        "spread-only": gamma[:, None, None] * by_pixel.reshape(x.shape)
        + beta[:, None, None],
        "no-affine": ref.groups(x, np.ones(c), np.zeros(c), sizes, eps),
    }
    if c % g == 0 and g != c // g:
        others["size-for-number"] = ref.groups(x, gamma, beta, [g] * (c // g), eps)
    return Expect(call, 0, out, "out", tol, wrong(out, others))


def group_backward(
    dout: Array, x: Array, gamma: Array, g: int, eps: float, bug: str = ""
) -> tuple:
    """Return the gradients of group norm, with or without a mistake."""
    n, c, h, w = x.shape
    scaled = dout if bug == "no-gamma-in-dx" else gamma[:, None, None] * dout
    v, rows = x.reshape(n, g, c // g, h, w), (n * g, -1)
    used, axes = None, GROUP_AXES.get(bug)
    if axes:
        var = np.broadcast_to(v.var(axes, keepdims=True), v.shape)
        used = ((v - v.mean(axes, keepdims=True)).reshape(rows), var.reshape(rows))
    dx, x_hat = row_gradient(
        scaled.reshape(rows), x.reshape(rows), eps, bug, c // g, used
    )
    count = n * h * w if bug == "parameter-means" else 1
    dgamma = (dout * x_hat.reshape(x.shape)).sum((0, 2, 3)) / count
    return dx.reshape(x.shape), dgamma, dout.sum((0, 2, 3)) / count


GROUP_AXES = {
    "forward:per-channel": (3, 4),
    "forward:layer": (1, 2, 3, 4),
    "forward:over-batch": (0, 2, 3, 4),
    "forward:spread-only": (2,),
}
GROUP_BUGS = ("statistics-constant", "mean-path-missing", "variance-path-missing",
              "channel-sums", "no-gamma-in-dx", "parameter-means", "no-eps-in-dx",
              *DIVISORS, *GROUP_AXES)  # fmt: skip


def group(rng: Rng, layout: bool = False) -> Question:
    """Question 3: group norm; ``layout`` for gamma of shape (1, C, 1, 1)."""
    forward, backward = GROUP
    four = (lambda a: a[None, :, None, None]) if layout else (lambda a: a)
    checks = []
    plan = (("values", 1.0, (2, 6, 4, 3), 3, 1e-5, BASIC, ""),
            ("eps", 0.5, (3, 4, 2, 5), 2, rng.uniform(0.2, 0.6), 1e-6, "With a large eps"),
            ("H and W differ", 0.25, (1, 6, 2, 5), 2, 1e-5, BASIC, "With one image"))  # fmt: skip
    for category, points, shape, g, eps, tol, when in plan:
        x, (gamma, beta) = maps(rng, *shape), parameters(rng, shape[1])
        if category == "eps":
            flatten(x[0, : shape[1] // g])
        call = Call(forward, (x, four(gamma), four(beta), g, {"eps": eps}))
        expect = _group_out(0, x, gamma, beta, g, eps, tol)
        checks.append(Check(category, points, (call,), (expect,), when=when))
    shape, g, eps = (2, 6, 2, 3), 2, 0.3
    x, (gamma, beta) = maps(rng, *shape), parameters(rng, 6)
    dout = rng.normal(size=shape) + 0.3
    calls = (
        Call(forward, (x, four(gamma), four(beta), g, {"eps": eps})),
        Call(backward, (dout, Handle(0, 1)), take=(0, 1, 2)),
    )
    right = group_backward(dout, x, gamma, g, eps)
    others = {b: group_backward(dout, x, gamma, g, eps, b) for b in GROUP_BUGS}
    expects = _named(1, right, others, 1e-6, dout)
    expects = (expects[0], *(replace(e, loose=True) for e in expects[1:]))
    own = OwnForward(0, _group_out(0, x, gamma, beta, g, eps, 1e-7), dout)
    checks += [Check("gradients", 1.0, calls, expects, own)]
    kept = _kept(rng, forward, 4)
    args = kept.calls[0].args
    call = replace(
        kept.calls[0], args=(args[0], four(args[1]), four(args[2]), *args[3:])
    )
    arg1 = replace(kept.expects[1], value=four(args[1]))
    checks += [replace(kept, calls=(call,), expects=(kept.expects[0], arg1))]
    return Question("ps4.q3", "Group norm", 3.0, GROUP, tuple(checks), GROUP_SAYS)


# --- q4: a module for PyTorch ---------------------------------------------------------

MODULE_SAYS = {
    "not-unbiased": "running_var is too small by (N-1)/N: PyTorch stores the divide-by-(N-1) variance, and normalizes with the other.",
    "sample-variance": "Your output is too small by the root of (N-1)/N: a module normalizes with the divisor N; only what it stores is divided by N-1.",
    "momentum-swapped": "After one step with momentum 0.1 the running mean should be 0.1 times the batch mean; yours is 0.9 times. PyTorch's momentum is the weight of the new value.",
    "momentum-fixed": "Changing momentum does not change the running statistics as it should: use the argument.",
    "never-written": "The running statistics do not change in training mode.",
    "eps-outside-root": say.FORWARD["eps-outside-root"],
    "no-eps": say.FORWARD["no-eps"],
    "eps-fixed": say.FORWARD["eps-fixed"],
    "eval-batch-stats": "In evaluation mode a row's output changes with its neighbours. Look at self.training.",
    "no-affine": "weight and bias are not used.",
    "starts-at-zero": "running_var starts at zeros. In PyTorch it starts at ones.",
    "state-changed": "Evaluation mode changes the running statistics.",
    "one-pass-variance": say.FORWARD["one-pass-variance"],
    "input-overwritten": "forward changes its input tensor. Make a new one: no -= or /= on x itself, and no method whose name ends with an underscore.",
}
MODULE_BUGS = (*(b for b in MODULE_SAYS if b not in (
    "state-changed", "one-pass-variance", "input-overwritten")),
    "sample-variance#twice")  # fmt: skip
MODULE = ("BatchNorm1d",)


def module(rng: Rng) -> Question:
    """Question 4: a PyTorch module."""

    def probe(x: Array, momentum: float, eps: float, points: float, category: str,
              when: str = "", offset: float = 0.0) -> Check:  # fmt: skip
        d = x.shape[1]
        x = x + offset
        weight, bias = parameters(rng, d)
        other = batch(rng, 5, d)
        options = {"momentum": momentum, "eps": eps, "weight": weight, "bias": bias}
        call = Call("*module", (x, other, options), take=tuple(range(6)))
        right = _module(x, other, weight, bias, momentum, eps)
        others = {
            b: _module(x, other, weight, bias, momentum, eps, b) for b in MODULE_BUGS
        }
        labels = ("out", "running_mean", "running_var", "out in evaluation mode",
                  "running_var after evaluation", "num_batches_tracked")  # fmt: skip
        expects = tuple(
            Expect(0, i, right[i], label, BASIC if eps < 1e-4 else 1e-5,
                   wrong(right[i], {b: v[i] for b, v in others.items()})
                   | ({"state-changed": ANY} if i == 4 else {})
                   | ({"one-pass-variance": ANY} if offset else {}))
            for i, label in enumerate(labels[:1] if offset else labels)
        )  # fmt: skip
        return Check(category, points, (call,), expects, when=when)

    state = Call("*module_state", (4,), take=(0, 1, 2))
    names = {
        "weight": [4],
        "bias": [4],
        "running_mean": [4],
        "running_var": [4],
        "num_batches_tracked": [],
    }
    entries = [
        Expect(0, f"out.{k}", np.array(v, float), f"{k} in state_dict", 0.0,
               says=f"state_dict should hold {k} of shape {tuple(v)}, as torch.nn.BatchNorm1d does.")
        for k, v in names.items()
    ]  # fmt: skip
    entries += [
        Expect(0, 1, np.array(0.0), "the parameters", 0.0,
               says="weight and bias should be torch.nn.Parameter, and nothing else: only these are trained."),
        Expect(0, 2, np.array(0.0), "other entries", 0.0,
               says="state_dict should hold no other entries than torch.nn.BatchNorm1d's: weights saved here must load there."),
    ]  # fmt: skip
    x, other = batch(rng, 6, 3), batch(rng, 4, 3)
    options = {"momentum": 0.1, "eps": 1e-5, "weight": np.ones(3), "bias": np.ones(3)}
    call = Call("*module", (x, other, options), take=(), after=(0, 1))
    kept = tuple(
        unchanged(0, i, a, "x", "input-overwritten", "forward changes its input.")
        for i, a in enumerate((x, other))
    )
    small = batch(rng, 5, 3)
    flatten(small[:, 0])
    checks = (
        probe(batch(rng, 7, 4), 0.1, 1e-5, 0.75, "values"),
        probe(small, rng.uniform(0.3, 0.6), rng.uniform(0.2, 0.5), 1.0,
              "momentum and eps", "With another momentum and a large eps"),
        probe(batch(rng, 6, 3), 0.1, 1e-5, 0.25, "large mean", offset=LARGE_MEAN),
        Check("state_dict", 0.5, (state,), tuple(entries)),
        Check("no mutation", 0.25, (call,), kept),
        Check("gradients", 0.25, (Call("*module_gradients", (GRAD_INPUT,), take=(0,)),),
              (_grad_expect(),)),
    )  # fmt: skip
    return Question("ps4.q4", "A module for PyTorch", 3.0, MODULE, checks, MODULE_SAYS)


GRAD_INPUT = np.arange(15.0).reshape(5, 3) ** 1.5 % 7


def _grad_expect() -> Expect:
    """Expect autograd's gradient; that of a wrong forward is the same mistake."""
    x, one = GRAD_INPUT, np.ones(3)
    dout = np.cos(x)
    dx = ref.backward(dout, x, one, 1e-5)[0]

    def differentiate(bug: str) -> Array:
        forward = lambda x: _module(x, x, one, 0 * one, 0.1, 1e-5, bug)[0]  # noqa: E731
        return ref.numerical(forward, (x,), 0, dout)

    made = {b: differentiate(b) for b in MODULE_BUGS}
    others = {b: v for b, v in made.items() if not np.allclose(v, dx, atol=1e-5)}
    return Expect(0, 0, dx, "the gradient that autograd finds", 1e-4, others,
                  says="autograd finds another gradient: compute mean and variance with torch, without detach, item or .data.")  # fmt: skip


@np.errstate(all="ignore")
def _module(x: Array, other: Array, weight: Array, bias: Array, momentum: float,
            eps: float, bug: str = "") -> tuple:  # fmt: skip
    """Return what a module gives: see `bncheck.glue.module`."""
    m = {"momentum-swapped": 1 - momentum, "momentum-fixed": 0.1, "never-written": 0.0}
    m = m.get(bug, momentum)
    e = {"no-eps": 0.0, "eps-fixed": 1e-5}.get(bug, eps)
    if bug == "no-affine":
        weight, bias = np.ones_like(weight), np.zeros_like(bias)
    d = x.shape[1]
    mean, var = np.zeros(d), np.zeros(d) if bug == "starts-at-zero" else np.ones(d)
    mu, v = x.mean(0), x.var(0)
    unbiased, n = x.var(0, ddof=1), len(x)
    used = unbiased if bug.startswith("sample-variance") else v
    stored = {"not-unbiased": v, "sample-variance#twice": unbiased * n / (n - 1)}
    mean = (1 - m) * mean + m * mu
    var = (1 - m) * var + m * stored.get(bug, unbiased)

    def apply(a: Array, mu: Array, v: Array) -> Array:
        root = np.sqrt(v) + e if bug == "eps-outside-root" else np.sqrt(v + e)
        return weight * (a - mu) / root + bias

    out = apply(x, mu, used)
    stats = (other.mean(0), other.var(0)) if bug == "eval-batch-stats" else (mean, var)
    return out, mean, var, apply(other, *stats), var, np.array(1)


# --- q5: the term variant -------------------------------------------------------------


def _variant(
    rng: Rng, title: str, name: str, sentences: dict, make: Callable, draw: Callable
) -> Question:
    checks = []
    plan = (("values", 1.75, (2, 6, 3, 4), 1e-5, BASIC, ""),
            ("eps", 0.75, (3, 5, 2, 4), rng.uniform(0.2, 0.6), 1e-6, "With a large eps"),
            ("H and W differ", 0.25, (1, 6, 2, 5), 1e-5, BASIC, "With one image"))  # fmt: skip
    for category, points, shape, eps, tol, when in plan:
        x, (gamma, beta) = maps(rng, *shape), parameters(rng, shape[1])
        if category == "eps":
            flatten(x[:, 0])
        extra = draw(x)
        right, others = make(x, gamma, beta, extra, eps)
        expect = Expect(0, 0, right, "out", tol, wrong(right, others))
        call = Call(name, (x, gamma, beta, extra, eps))
        checks.append(Check(category, points, (call,), (expect,), when=when))
    x, (gamma, beta) = maps(rng, 2, 5, 2, 3), parameters(rng, 5)
    call = Call(name, (x, gamma, beta, draw(x), 1e-3), after=(0,))
    says = "Your function changes x."
    expect = unchanged(0, 0, x, "x", "input-overwritten", says)
    checks.append(Check("no mutation", 0.25, (call,), (expect,)))
    return Question("ps4.q5", title, 3.0, (name,), tuple(checks), sentences)


def unequal(rng: Rng) -> Question:
    """Question 5: groups of unequal size."""

    def make(x: Array, gamma: Array, beta: Array, sizes: list, eps: float) -> tuple:
        c = x.shape[1]
        right = ref.groups(x, gamma, beta, sizes, eps)
        others = by_recipes(x, gamma, beta, sizes, eps) | {
            "sizes-reversed": ref.groups(x, gamma, beta, sizes[::-1], eps),
            "sizes-ignored": normalized(x, (1, 2, 3), gamma, beta, eps),
            "per-channel": normalized(x, (2, 3), gamma, beta, eps),
            "over-batch": by_group(x, gamma, beta, sizes, eps, n=1),
            "no-affine": ref.groups(x, np.ones(c), np.zeros(c), sizes, eps),
        }
        return right, others

    def draw(x: Array) -> list[int]:
        return [1, 2, 3] if x.shape[1] == 6 else [1, 4]

    sentences = {
        "sizes-reversed": "Your groups begin at the last channel. sizes[0] belongs to the first channels.",
        "sizes-ignored": "Your output does not depend on sizes: all channels share their statistics.",
        "per-channel": "You normalize each channel by itself. Pool the channels of a group.",
        "over-batch": GROUP_SAYS["over-batch"],
        **{name: GROUP_SAYS[name] for name in ROW_SAYS},
        "no-affine": "gamma and beta are not used.",
    }
    return _variant(
        rng, "Groups of unequal size", "unequal_groupnorm", sentences, make, draw
    )


def masked(rng: Rng) -> Question:
    """Question 5: statistics over the pixels of a mask."""

    def make(x: Array, gamma: Array, beta: Array, mask: Array, eps: float) -> tuple:
        right = ref.masked(x, gamma, beta, mask, eps)
        rows, keep = ref.to_rows(x), mask.reshape(-1)[:, None]
        inside, hidden = rows[mask.reshape(-1) == 1], keep * rows
        mu, var = inside.mean(0), inside.var(0)
        all_mu = hidden.mean(0)

        def made(mu: Array, var: Array, bug: str = "") -> Array:
            """Normalize all pixels with the given statistics, as a recipe does."""
            recipe = ref.FORWARD_BUGS.get(bug, ref.RIGHT)
            out = ref.evaluate(rows, gamma, beta, mu, var, eps, recipe)
            return ref.to_maps(out, x.shape)

        others = {
            "mask-ignored": normalized(x, (0, 2, 3), gamma, beta, eps),
            "mask-turned": ref.masked(x, gamma, beta, 1 - mask, eps),
            "divided-by-all": made(all_mu, (keep * (rows - all_mu) ** 2).mean(0)),
            "zeroed-input": normalized(x * mask[:, None], (0, 2, 3), gamma, beta, eps),
            "zeroed-input#statistics": made(all_mu, hidden.var(0)),
            "output-masked": right * mask[:, None],
            "output-masked#x-hat": np.where(
                mask[:, None] == 1, right, beta[:, None, None]
            ),
            "plain-variance": made(mu, rows.var(0)),
            "plain-variance#around-mask": made(mu, ((rows - mu) ** 2).mean(0)),
            "sample-variance": made(mu, inside.var(0, ddof=1)),
            **{b: made(mu, var, b) for b in ref.EVAL_BUGS},
        }
        return right, others

    def draw(x: Array) -> Array:
        n, _, h, w = x.shape
        mask = np.zeros(n * h * w)
        mask[rng.permutation(len(mask))[: len(mask) * 3 // 5]] = 1.0
        return mask.reshape(n, h, w)

    sentences = {
        "mask-ignored": "The mask has no effect: statistics run over the pixels where it is 1.",
        "mask-turned": "Your statistics run over the pixels where the mask is 0. It is the other way round.",
        "divided-by-all": "You divide by the number of all pixels. Divide by the number of pixels where the mask is 1.",
        "zeroed-input": "You set the other pixels to 0 and count them. Leave them out of the statistics.",
        "plain-variance": "Your variance ignores the mask: it runs over all pixels. As the mean, it should run over those where the mask is 1.",
        "output-masked": "The output is multiplied by the mask. All pixels are normalized; the mask belongs in the statistics only.",
        "output-masked#x-hat": "x_hat is multiplied by the mask, so the other pixels come out as beta. All pixels are normalized; the mask belongs in the statistics only.",
        **{b: say.FORWARD[b] for b in (*ref.EVAL_BUGS, "input-overwritten")},
        "sample-variance": "Your variance divides by one less than the number of pixels where the mask is 1. It divides by their number.",
        "not-centred": "You never take off the mean.",
    }
    return _variant(
        rng, "Masked maps", "masked_spatial_batchnorm", sentences, make, draw
    )


VARIANTS = {"unequal": unequal, "masked": masked}
