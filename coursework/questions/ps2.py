"""Problem set 2: the backward pass, three ways, and the gradient of a term variant."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bncheck.calls import Call, Handle, Remote
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
    floor_between,
    parameters,
    unchanged,
    wrong,
)
from coursework.questions.old import OwnForward, Question

FORWARD = "batchnorm_forward"
STAGED, CLOSED, CHECKER = (
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "check_gradient",
)
Rng = np.random.Generator


def questions(rng: Rng, variant: str) -> list[Question]:
    """Draw the questions of the set; see `ps1.questions`."""
    return [staged(rng), closed(rng), checker(rng), VARIANTS[variant](rng)]


# --- q1 and q2: the gradients of the layer --------------------------------------------


def staged(rng: Rng) -> Question:
    """Question 1: the staged backward pass."""
    points = dict(
        zip(CATEGORIES, (1.75, 0.5, 0.25, 0.5, 0.25, 0.25, 0.25, 0.25), strict=True)
    )
    return Question(
        "ps2.q1", "Backward through the graph", 4.0, (STAGED,),
        _checks(rng, STAGED, points), say.BACKWARD, "backward",
    )  # fmt: skip


def closed(rng: Rng) -> Question:
    """Question 2: one formula."""
    points = dict(
        zip(CATEGORIES, (1.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25), strict=True)
    )
    return Question(
        "ps2.q2", "Backward in one formula", 3.0, (CLOSED,),
        _checks(rng, CLOSED, points), say.BACKWARD, "backward",
    )  # fmt: skip


CATEGORIES = ("values", "eps", "N and D differ", "second call", "no mutation",
              "large mean", "constant feature", "float32")  # fmt: skip


def _checks(rng: Rng, name: str, points: dict[str, float]) -> tuple[Check, ...]:
    eps = rng.uniform(0.2, 0.6)
    return (
        _gradients(rng, name, points, "values", batch(rng, 7, 4), 1e-5, BASIC),
        _gradients(rng, name, points, "eps", batch(rng, 6, 3), eps, 1e-6,
                   "With a large eps"),
        _gradients(rng, name, points, "N and D differ", batch(rng, 3, 5), 1e-5, BASIC,
                   "With 3 rows of 5 features"),
        _second_call(rng, name, points["second call"]),
        _dout_kept(rng, name, points["no mutation"]),
        _gradients(rng, name, points, "large mean", batch(rng, 8, 3) + LARGE_MEAN, 1e-5,
                   LOOSE * 10, "With inputs near 100,000,000", h=0.0),
        _constant(rng, name, points),
        _float32(rng, name, points["float32"]),
    )  # fmt: skip


def _constant(rng: Rng, name: str, points: dict[str, float]) -> Check:
    """Look at a feature without spread, if the forward pass treats eps as it should."""
    x = batch(rng, 6, 4)
    x[:, 1] = -1.5
    when = "With a feature that is constant over the batch"
    check = _gradients(
        rng, name, points, "constant feature", x, 1e-3, BASIC, when, h=0.0
    )
    probe, (gamma, beta) = batch(rng, 6, 4), parameters(rng, 4)
    call = Call(FORWARD, (probe, gamma, beta, {"mode": "train", "eps": 0.3}))
    out = expect_out(2, probe, gamma, beta, 0.3, 1e-7)
    own = OwnForward(2, out, None, 0.0)
    return replace(check, calls=(*check.calls, call), own=own)


def _gradients(
    rng: Rng,
    name: str,
    points: dict[str, float],
    category: str,
    x: np.ndarray,
    eps: float,
    tol: float,
    when: str = "",
    h: float = 1e-5,
) -> Check:
    gamma, beta = parameters(rng, x.shape[1])
    dout = rng.normal(size=x.shape) + 0.3
    param = {"mode": "train", "eps": eps}
    calls = (
        Call(FORWARD, (x, gamma, beta, param)),
        Call(name, (dout, Handle(0, 1)), take=(0, 1, 2)),
    )
    own = OwnForward(0, expect_out(0, x, gamma, beta, eps, min(tol, 1e-7)), dout, h)
    expects = expect_gradients(1, dout, x, gamma, beta, eps, tol)
    return Check(category, points[category], calls, expects, own, when)


def _second_call(rng: Rng, name: str, points: float) -> Check:
    """Call backward, forward with another batch, and backward again with the old cache."""
    x, other = batch(rng, 6, 4), batch(rng, 6, 4)
    gamma, beta = parameters(rng, 4)
    dout, eps = rng.normal(size=x.shape), 1e-5
    calls = (
        Call(FORWARD, (x, gamma, beta, {"mode": "train", "eps": eps})),
        Call(name, (dout, Handle(0, 1)), take=(0, 1, 2)),
        Call(FORWARD, (other, gamma[::-1].copy(), beta, {"mode": "train", "eps": eps})),
        Call(name, (dout, Handle(0, 1)), take=(0, 1, 2)),
        Call(name, (2 * dout, Handle(2, 1)), take=(0, 1, 2)),
    )
    first = expect_gradients(1, dout, x, gamma, beta, eps, BASIC)
    again = expect_gradients(3, dout, x, gamma, beta, eps, BASIC)
    own = OwnForward(0, expect_out(0, x, gamma, beta, eps, 1e-7), dout)
    changed = tuple(
        Expect(e.call, e.item, e.value, e.label, e.tol, {"second-call": ANY, **e.wrong},
               floor=e.floor)
        for e in again
    )  # fmt: skip
    return Check("second call", points, calls, first + changed, own)


def _dout_kept(rng: Rng, name: str, points: float) -> Check:
    x, (gamma, beta) = batch(rng, 5, 3), parameters(rng, 3)
    dout = rng.normal(size=x.shape)
    calls = (
        Call(FORWARD, (x, gamma, beta, {"mode": "train"})),
        Call(name, (dout, Handle(0, 1)), after=(0,)),
    )
    expect = unchanged(1, 0, dout, "dout", "dout-overwritten", "dout changes.")
    return Check("no mutation", points, calls, (expect,))


def _float32(rng: Rng, name: str, points: float) -> Check:
    x, (gamma, beta) = batch(rng, 6, 3), parameters(rng, 3)
    dout = rng.normal(size=x.shape)
    x, gamma, beta, dout = (a.astype(np.float32) for a in (x, gamma, beta, dout))
    calls = (
        Call(FORWARD, (x, gamma, beta, {"mode": "train"})),
        Call(name, (dout, Handle(0, 1)), take=(0, 1, 2)),
    )
    own = OwnForward(0, expect_out(0, x, gamma, beta, 1e-5, 1e-5), dout, 0.0)
    expects = expect_gradients(1, dout, x, gamma, beta, 1e-5, BASIC * 5)
    return Check("float32", points, calls, expects, own, "With float32 arrays")


def delegates(chunks: Sequence[tuple[str, str]]) -> str:
    """Say so when the closed formula only calls the staged function.

    Parameters
    ----------
    chunks : sequence of tuple of (str, str)
        Label and source of the pieces of a submission.

    Returns
    -------
    sentence : str
        Why question 2 gives no points; empty when it does.
    """
    for _, source in chunks:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in tree.body:
            if _binds(node, CLOSED) and any(
                isinstance(n, ast.Name) and n.id == STAGED for n in ast.walk(node)
            ):
                return say.BACKWARD["same-function"]
    return ""


def _binds(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == name
    targets = getattr(node, "targets", [])
    return any(isinstance(t, ast.Name) and t.id == name for t in targets)


# --- q3: a gradient checker -----------------------------------------------------------

CHECKER_SAYS = {
    "tol-ignored": "Your checker does not use the tol that it is given: a difference of at most tol, relative to the largest entry, is right.",
    "h-ignored": "Your checker does not use the h that it is given: h is the step on either side of each entry.",
    "always-true": "Your checker accepts a gradient with a planted bug. Compare with the numerical gradient, entry by entry.",
    "always-false": "Your checker rejects a right gradient. Look at the difference quotient: (f(x + h) - f(x - h)) / (2 h), one entry at a time.",
    "absolute-tolerance": "Your checker accepts a wrong gradient when all gradients are small: measure the difference relative to the largest entry.",
    "too-strict": "Your checker rejects a right gradient of large size: measure the difference relative to the largest entry.",
    "first-entries-only": "Your checker accepts a gradient that is wrong in one entry only: look at every entry.",
    "one-sided": "Your checker rejects a right gradient where f is strongly curved: use central differences, on both sides of x.",
    "x-overwritten": "Your checker leaves x changed: put each entry back, or work on a copy.",
    "average-taken": "Your checker accepts a gradient that is wrong in one entry of many: take the largest difference, not a mean.",
    "verdict-turned": "Your verdict is the other way round: True is for a right gradient.",
}


def _gradient(f: str, x: np.ndarray) -> np.ndarray:
    if f == "cubes":
        return 3 * x * x
    weights = np.sin(np.arange(1, x.size + 1)).reshape(x.shape)
    if f == "rippled":  # for steps of whole periods
        return weights
    size = 1e-6 if f == "small" else 1.0
    return size * (2 * (weights * x).sum() * weights + x)


def _verdict(call: int, right: bool, *bugs: str) -> Expect:
    return Expect(call, 0, right, "the verdict", 0.0, dict.fromkeys(bugs, not right))


def checker(rng: Rng) -> Question:
    """Question 3: a checker, graded by the bugs that it finds."""

    def ask(f: str, x: np.ndarray, *args: object, **more: tuple) -> Call:
        return Call(CHECKER, (Remote(f), x, *args), **more)

    def check(category: str, points: float, cases: list, when: str = "") -> Check:
        basic = (1e-5, 2e-4) if category == "values" else ()  # a rough quotient passes
        calls = tuple(ask(f, x, g, *basic) for f, x, g, _, _ in cases)
        # Of a check whose mistakes differ the first verdict that fails gives the name.
        turned = range(len(cases) if category == "values" else 1)
        expects = []
        for i, (_, _, _, right, bug) in enumerate(cases):
            expect = _verdict(
                i, right, bug, *(["verdict-turned"] if i in turned else [])
            )
            if bug == "one-sided" and category != "central differences":
                # These may fail here or not: what fails elsewhere decides between them.
                weak = dict.fromkeys(
                    ("always-false", "one-sided", "x-overwritten"), ANY
                )
                expect = replace(expect, wrong=weak)
            expects.append(expect)
        return Check(category, points, calls, tuple(expects), when=when)

    x, y, z = rng.normal(size=(3, 4)), rng.normal(size=7), rng.normal(size=(4, 2)) * 2
    a, b, s = _gradient("coupled", x), _gradient("cubes", y), _gradient("small", z)
    spot = a.copy()
    spot[tuple(int(rng.integers(n)) for n in spot.shape)] += 0.3 * np.abs(a).max()
    last = b.copy()
    last[-1] += 0.02 * np.abs(b).max()
    diagonal = x * (1 + 2 * np.sin(np.arange(1, 13)).reshape(x.shape) ** 2)
    many = rng.normal(size=(10, 12))
    g = _gradient("coupled", many)
    hidden = g.copy()
    hidden[7, 5] += 3e-4 * np.abs(g).max()
    large = 50 + rng.normal(size=5)
    # What passes here may still be one of these elsewhere: hence the other names.
    u, size = rng.uniform(-0.9, 0.9, 6), np.abs(a).max()
    tolerant = Check("tol", 0.25, (
        ask("coupled", x, a - 1e-3 * size, 1e-5, 0.1),
        ask("coupled", x, a - 1e-7 * size, 1e-5, 1e-10),
    ), (
        _verdict(0, True, "tol-ignored", "always-false#tol", "verdict-turned"),
        _verdict(1, False, "tol-ignored", "absolute-tolerance#tol",
                 "always-true#tol", "verdict-turned"),
    ), when="With another tol")  # fmt: skip
    step = Check(
        "h", 0.25, (ask("rippled", u, _gradient("rippled", u), 0.01, 1e-6),),
        (_verdict(0, True, "h-ignored", "always-false#h", "verdict-turned"),),
        when="With another h",
    )  # fmt: skip
    checks = (
        check("values", 1.25, [
            ("coupled", x, a, True, "always-false"),
            ("coupled", x, -a, False, "always-true"),
            ("coupled", x, spot, False, "always-true"),
        ]),
        check("planted bugs", 0.5, [
            ("cubes", y, b, True, "one-sided"),
            ("cubes", y, last, False, "first-entries-only"),
            ("coupled", x, diagonal, False, "always-true"),
            ("coupled", x, a / len(x), False, "always-true"),
            ("coupled", many, hidden, False, "average-taken"),
        ]),
        check("relative difference", 0.25, [
            ("small", z, s, True, "one-sided"),
            ("small", z, 2 * s, False, "absolute-tolerance"),
            ("small", z, s + 0.01 * np.abs(s).max(), False, "absolute-tolerance"),
            ("cubes", large, 3 * large**2, True, "too-strict"),
        ]),
        check("central differences", 0.25, [
            ("cubes", np.array([0.02, 0.03]), _gradient("cubes", np.array([0.02, 0.03])),
             True, "one-sided"),
        ]),
        tolerant,
        step,
        Check("no mutation", 0.25, (ask("coupled", x, a, after=(1,)),), (
            unchanged(0, 1, x, "x", "x-overwritten", "Your checker leaves x changed."),
        )),
    )  # fmt: skip
    return Question(
        "ps2.q3", "A gradient checker", 3.0, (CHECKER,), checks, CHECKER_SAYS,
        fatal=("always-true", "always-false", "verdict-turned"),
    )  # fmt: skip


# --- q4: the gradient of the term variant ---------------------------------------------


def _variant_question(title: str, name: str, forward, backward, others, draw, rng: Rng,
                      sentences: dict[str, str]) -> Question:  # fmt: skip
    """Build the question from right gradients and a few wrong ones.

    ``backward(dout, x, gamma, eps, extra)`` returns the right gradients, ``others`` a
    dict of wrong ones; ``forward`` is differentiated numerically by the tests.
    """
    plan = (("values", 1.75, 12, 4, 1e-5, BASIC, ""),
            ("eps", 0.5, 12, 3, rng.uniform(0.2, 0.6), 1e-6, "With a large eps"),
            ("N and D differ", 0.25, 4, 5, 1e-5, BASIC, "With 4 rows of 5 features"))  # fmt: skip
    checks = []
    for category, points, n, d, eps, tol, when in plan:
        x, (gamma, _) = batch(rng, n, d), parameters(rng, d)
        dout, extra = rng.normal(size=x.shape) + 0.3, draw(x)
        right = backward(dout, x, gamma, eps, extra)
        bad = others(dout, x, gamma, eps, extra)
        expects = tuple(
            Expect(0, i, right[i], label, tol,
                   wrong(right[i], {b: v[i] for b, v in bad.items()}),
                   floor=float(np.abs(dout).max()) * 1e-3)
            for i, label in enumerate(("dx", "dgamma", "dbeta"))
        )  # fmt: skip
        call = Call(name, (dout, x, gamma, eps, extra), take=(0, 1, 2))
        checks.append(Check(category, points, (call,), expects, when=when))
    x, (gamma, _) = batch(rng, 12, 3), parameters(rng, 3)
    dout = rng.normal(size=x.shape)
    call = Call(name, (dout, x, gamma, 1e-3, draw(x)), after=(0, 1))
    expects = (
        unchanged(0, 0, dout, "dout", "dout-overwritten", "dout changes."),
        unchanged(0, 1, x, "x", "input-overwritten", "x changes."),
    )
    checks.append(Check("no mutation", 0.5, (call,), expects))
    return Question("ps2.q4", title, 3.0, (name,), tuple(checks), sentences)


SHARED = [
    "statistics-constant",
    "mean-path-missing",
    "variance-path-missing",
    "no-gamma-in-dx",
    "mean-sum-not-divided",
    "variance-sum-not-divided",
    "no-eps-in-dx",
    "no-eps-in-dx#dx",
    "no-eps-in-dx#all",
    "eps-fixed-in-dx",
    "eps-fixed-in-dx#dx",
    "eps-fixed-in-dx#std",
    "dgamma-mean",
    "dbeta-mean",
    "dgamma-uses-x",
    "dgamma-uses-centred",
    "dgamma-dbeta-swapped",
]
SHARED_SAYS = {
    b: say.BACKWARD[b] for b in (*SHARED, "dout-overwritten") if "#" not in b
} | {"input-overwritten": say.FORWARD["input-overwritten"]}
PARAMETERS = ("dgamma-mean", "dbeta-mean", "dgamma-uses-x", "dgamma-uses-centred",
              "dgamma-dbeta-swapped")  # fmt: skip
EPS = ("no-eps-in-dx", "no-eps-in-dx#dx", "eps-fixed-in-dx", "eps-fixed-in-dx#dx")


def ghost_backward(dout, x, gamma, eps, k, bug=""):
    """Return the gradients of ghost batch norm."""
    parts = [
        ref.backward(dout[i : i + k], x[i : i + k], gamma, eps, bug)
        for i in range(0, len(x), k)
    ]
    dx = np.concatenate([p[0] for p in parts])
    return dx, sum(p[1] for p in parts), sum(p[2] for p in parts)


def ghost(rng: Rng) -> Question:
    """Gradients through ghost batches."""

    def others(dout, x, gamma, eps, k):
        made = {b: ghost_backward(dout, x, gamma, eps, k, b) for b in SHARED}
        right = ghost_backward(dout, x, gamma, eps, k)
        fixed = ghost_backward(dout, x, gamma, eps, k, "statistics-constant")
        share = k / len(x)
        made["sums-by-N"] = (fixed[0] + (right[0] - fixed[0]) * share, *right[1:])
        made["whole-batch"] = ref.backward(dout, x, gamma, eps)
        last = ref.backward(dout[-k:], x[-k:], gamma, eps)
        made["last-ghost-only"] = (right[0], last[1], last[2])
        groups = len(x) // k
        made["ghosts-averaged"] = (right[0], right[1] / groups, right[2] / groups)
        return made

    sentences = SHARED_SAYS | {
        "sums-by-N": "The sums in dx are divided by N. Each runs over the k rows of a ghost batch: divide by k.",
        "whole-batch": "Your gradients are those of one large batch: each k consecutive rows have their own mean and variance.",
        "last-ghost-only": "dgamma and dbeta hold the last ghost batch only: sum over all rows.",
        "ghosts-averaged": "dgamma and dbeta are averaged over the ghost batches: sum over all rows.",
    }
    draw = lambda x: int(rng.choice([3, 4])) if len(x) == 12 else 2  # noqa: E731
    return _variant_question("Gradients through ghost batches",
                             "ghost_batchnorm_backward", ref.ghost, ghost_backward,
                             others, draw, rng, sentences)  # fmt: skip


def _normalized(away, var, eps, bug):
    """Return std, and x_hat as it stands in dx and in dgamma."""
    root, _, form = bug.partition("#")
    added = {"no-eps-in-dx": 0.0, "eps-fixed-in-dx": 1e-5}.get(root, eps)
    std = np.sqrt(var + added)
    return std, away / std, away / np.sqrt(var + eps) if form else away / std


def weighted_backward(dout, x, gamma, eps, w, bug=""):
    """Return the gradients of weighted batch norm; the weights are constants."""
    p = (w / w.sum())[:, None]
    mu = (p * x).sum(0)
    std, inner, x_hat = _normalized(x - mu, (p * (x - mu) ** 2).sum(0), eps, bug)
    g = gamma * dout
    share = 1 / len(x) if bug == "plain-paths" else p
    along_mean = 0 if bug == "statistics-constant" else share * g.sum(0)
    along_var = share * inner * (g * inner).sum(0)
    if bug in ("statistics-constant", "variance-path-missing"):
        along_var = 0
    if bug == "mean-path-missing":
        along_mean = 0
    if bug == "weights-in-sums":
        along_mean, along_var = (p * g).sum(0), x_hat * (p * g * x_hat).sum(0)
    dx = (g - along_mean - along_var) / std
    if bug == "no-gamma-in-dx":
        dx = dx / gamma
    if bug == "dgamma-weighted":
        w = w[:, None]
        return dx, (w * dout * x_hat).sum(0), (w * dout).sum(0)
    return dx, *ref.parameter_gradients(dout, x, x_hat, mu, gamma, 0.0, bug)


def weighted(rng: Rng) -> Question:
    """Gradients through weighted statistics."""
    bugs = ("statistics-constant", "mean-path-missing", "variance-path-missing",
            "no-gamma-in-dx", "plain-paths", "weights-in-sums", "dgamma-weighted",
            *PARAMETERS, *EPS)  # fmt: skip

    def others(dout, x, gamma, eps, w):
        made = {b: weighted_backward(dout, x, gamma, eps, w, b) for b in bugs}
        made["weights-ignored"] = ref.backward(dout, x, gamma, eps)
        return made

    def draw(x: np.ndarray) -> np.ndarray:
        return np.concatenate([[0.0], rng.uniform(0.2, 3, len(x) - 1)])

    sentences = SHARED_SAYS | {
        "weights-ignored": "Your gradients ignore the weights: they stand in the mean, in the variance, and in both paths of dx.",
        "plain-paths": "Both paths of dx carry 1/N. Row i moves the mean by w[i] / sum(w): use that share.",
        "weights-in-sums": "The weight of the row that receives belongs outside the sums; you put each row's weight inside.",
        "dgamma-weighted": "dgamma and dbeta are weighted. gamma and beta act on all rows alike: sum without weights.",
    }
    return _variant_question("Gradients through weighted statistics",
                             "weighted_batchnorm_backward", ref.weighted,
                             weighted_backward, others, draw, rng, sentences)  # fmt: skip


def clipped_backward(dout, x, gamma, eps, floor, bug=""):
    """Return the gradients of batch norm with a floor under the variance."""
    m = len(x)
    mu, var = x.mean(0), x.var(0)
    high = np.maximum(var, floor)
    if bug == "eps-before-clip":
        high = np.maximum(var + eps, floor) - eps
    std, inner, x_hat = _normalized(x - mu, high, eps, bug)
    g = gamma * dout
    free = np.ones_like(var) if bug == "floor-ignored-in-path" else (var > floor) * 1.0
    if bug == "floor-turned":
        free = 1 - free
    along_mean = g.sum(0) / m
    along_var = free * inner * (g * inner).sum(0) / m
    if bug in ("statistics-constant", "variance-path-missing"):
        along_var = 0
    if bug in ("statistics-constant", "mean-path-missing"):
        along_mean = 0
    if bug == "all-constant-at-floor":
        along_mean = free * along_mean
    dx = (g - along_mean - along_var) / std
    if bug == "no-gamma-in-dx":
        dx = dx / gamma
    return dx, *ref.parameter_gradients(dout, x, x_hat, mu, gamma, 0.0, bug)


def clipped(rng: Rng) -> Question:
    """Gradients with a floor under the variance."""
    bugs = ("statistics-constant", "mean-path-missing", "variance-path-missing",
            "no-gamma-in-dx", "floor-ignored-in-path", "floor-turned",
            "all-constant-at-floor", "eps-before-clip", *PARAMETERS, *EPS)  # fmt: skip

    def others(dout, x, gamma, eps, floor):
        made = {b: clipped_backward(dout, x, gamma, eps, floor, b) for b in bugs}
        made["floor-forgotten"] = ref.backward(dout, x, gamma, eps)
        return made

    sentences = SHARED_SAYS | {
        "eps-before-clip": "With a large eps your gradients differ where the floor holds: clip the variance first, then add eps.",
        "floor-forgotten": "Your gradients are those without the floor.",
        "floor-ignored-in-path": "Where the floor holds, the variance is a constant: no gradient goes through it there.",
        "floor-turned": "The variance path is open where the floor holds and closed where it does not. It is the other way round.",
        "all-constant-at-floor": "Where the floor holds you close the mean path, too. The mean still depends on x.",
    }
    return _variant_question("Gradients with a floor under the variance",
                             "clipped_batchnorm_backward", ref.clipped,
                             clipped_backward, others, floor_between, rng, sentences)  # fmt: skip


VARIANTS = {"ghost": ghost, "weighted": weighted, "clipped": clipped}
