"""Problem set 2: the backward pass, three ways, and the gradient of a term variant."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bncheck.calls import Handle, Remote
from bncheck.form import Check, Question
from bncheck.spec import Right
from bncheck.spec import mistake as M
from coursework.questions import shared
from coursework.questions.ps1 import FORWARD, TRAIN, batchnorm_forward, in_training
from coursework.questions.shared import DBETA, DGAMMA, DX, G, Rng, batch, sentences

GRADIENTS = {"dx": 0, "dgamma": 1, "dbeta": 2}
SCALE = 1e-3  # of dout, below which a gradient counts as 0


def labelled(check: Check, *labels: str) -> Check:
    """Return a check with other names in its sentences, in turn and again."""
    names = (labels[i % len(labels)] for i in range(len(check.expects)))
    expects = (replace(e, label=k) for e, k in zip(check.expects, names, strict=True))
    return replace(check, expects=tuple(expects))


# --- q1 and q2: the gradients of the layer --------------------------------------------


def batchnorm_backward(dout, cache):
    """Send dout back through the layer: Ioffe and Szegedy 2015, section 3."""
    x, mu, var, eps, std, x_hat, gamma, beta = cache
    m = len(x)
    share = 1 / m
    g = gamma * dout
    along_mean = share * g.sum(0)
    along_var = share * x_hat * (g * x_hat).sum(0)
    dx = (g - along_mean - along_var) / std
    dgamma = (dout * x_hat).sum(0)
    dbeta = dout.sum(0)
    return dx, dgamma, dbeta


CACHE = "x, mu, var, eps, std, x_hat, gamma, beta = cache"
BACKWARD = [
    *shared.gradient_mistakes(),
    M("beta-for-gamma-in-dx", G, "beta * dout"),
    M("dgamma-uses-out", DGAMMA, "(dout * (gamma * x_hat + beta)).sum(0)"),
    M("dgamma-uses-out-cache", CACHE, f"{CACHE}\nx_hat = gamma * x_hat + beta",
      of="dgamma-uses-out"),
    M("dgamma-uses-out-cache-scaled", CACHE, f"{CACHE}\nx_hat = gamma * x_hat",
      of="dgamma-uses-out"),
    M("second-call"),
]  # fmt: skip


def layer(
    question: str, name: str, values: float, eps: float, uneven: float, again: float
):
    """Return the right functions and the question of a backward function of this name."""
    upstream = [m for m in TRAIN.mistakes if m.edits]
    right = Right(batchnorm_forward, batchnorm_backward, says=sentences("ps2", question),
                  mistakes=[*BACKWARD, *upstream], called={"batchnorm_backward": name})  # fmt: skip
    norm = shared.Norm(right, in_training)

    def calls(rng: Rng, *shape: int) -> list[tuple]:
        args = in_training(
            rng, batch(rng, *shape), *shared.parameters(rng, shape[1]), None
        )
        return [(FORWARD, *args), (name, rng.normal(size=shape), Handle(0, 1))]

    def second_call(rng: Rng, points: float) -> Check:
        """Call backward, forward with another batch, and backward with the old cache."""
        first, other = calls(rng, 6, 4), calls(rng, 6, 4)
        twice = (name, 2 * first[1][1], Handle(2, 1))
        later = {f"{label} again": (3, i) for label, i in GRADIENTS.items()}
        check = right.check(
            "second call", points, [*first, other[0], first[1], twice],
            {label: (1, i) for label, i in GRADIENTS.items()} | later, shared.BASIC,
            whatever=dict.fromkeys(later, ["second-call"]), forward=(0, 1e-5, 1e-7),
            floor=SCALE * float(np.abs(first[1][1]).max()),
        )  # fmt: skip
        return labelled(check, *GRADIENTS)

    def constant(x):
        x[:, 1] = -1.5

    def draw(rng: Rng) -> Question:
        return right.question(f"ps2.{question}", [
            norm.gradients(rng, "values", values, (7, 4)),
            norm.gradients(rng, "eps", eps, (6, 3), shared.large_eps(rng)),
            norm.gradients(rng, "N and D differ", uneven, (3, 5)),
            second_call(rng, again),
            right.check("no mutation", 0.25, calls(rng, 5, 3), {"dout": "arg0"}, 0.0,
                        whatever=["dout-overwritten"]),
            norm.gradients(rng, "large mean", 0.25, (8, 3), h=0.0),
            norm.gradients(rng, "constant feature", 0.25, (6, 4), 1e-3, constant, 0.0),
            norm.gradients(rng, "float32", 0.25, (6, 3), None, h=0.0),
        ], functions=(name,), observer="backward")  # fmt: skip

    return right, draw


STAGED, staged = layer("q1", "batchnorm_backward", 1.75, 0.5, 0.25, 0.5)
CLOSED, closed = layer("q2", "batchnorm_backward_alt", 1.25, 0.25, 0.25, 0.25)


def delegates(chunks: Sequence[tuple[str, str]]) -> str:
    """Say so when the closed formula only calls the staged function."""
    for _, source in chunks:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in tree.body:
            if _binds(node, "batchnorm_backward_alt") and any(
                isinstance(n, ast.Name) and n.id == "batchnorm_backward"
                for n in ast.walk(node)
            ):
                return CLOSED.says["same-function"]
    return ""


def _binds(node: ast.stmt, name: str) -> bool:
    """Say whether a statement gives this name a function or a value."""
    if isinstance(node, ast.FunctionDef):
        return node.name == name
    targets = getattr(node, "targets", [])
    return any(isinstance(t, ast.Name) and t.id == name for t in targets)


# --- q3: a gradient checker -----------------------------------------------------------


def check_gradient(f, x, gradient, h=1e-5, tol=1e-6):
    """Say whether a gradient is that of f at x, by central differences."""
    slopes = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + h
        above = f(x)
        x[i] = kept - h
        below = f(x)
        x[i] = kept
        slopes[i] = (above - below) / (2 * h)
    worst = np.abs(slopes - gradient).max()
    size = max(np.abs(slopes).max(), np.abs(gradient).max())
    return bool(worst <= tol * size)


VERDICT, WORST = "worst <= tol * size", "np.abs(slopes - gradient)"
BEGIN = "slopes = np.zeros(x.shape)"
CHECKER = Right(check_gradient, says=sentences("ps2", "q3"), mistakes=[
    M("tol-ignored", VERDICT, "worst <= 1e-6 * size"),
    M("tol-ignored-above", VERDICT, "worst <= min(tol, 1e-6) * size", of="tol-ignored"),
    M("tol-ignored-below", VERDICT, "worst <= max(tol, 1e-6) * size", of="tol-ignored"),
    M("h-ignored", BEGIN, f"h = 1e-5\n{BEGIN}"),
    M("always-true", VERDICT, "True"),
    M("always-false", VERDICT, "False"),
    M("absolute-tolerance", VERDICT, "worst <= tol"),
    M("absolute-tolerance-loose", VERDICT, "worst <= 1e-4 + tol * size", of="absolute-tolerance"),
    M("absolute-tolerance-from-1", VERDICT, "worst <= tol * max(size, 1.0)",
      of="absolute-tolerance"),
    M("too-strict", VERDICT, "worst <= tol * min(size, 1.0)"),
    M("first-entries-only", WORST, f"{WORST}[:3]"),
    M("first-entries-only-but-last", WORST, f"{WORST}.ravel()[:-1]", of="first-entries-only"),
    M("one-sided", "(above - below) / (2 * h)", "(above - f(x)) / h"),
    M("x-overwritten", "x[i] = kept", "pass"),
    M("average-taken", f"{WORST}.max()", f"{WORST}.mean() / 100"),
    M("verdict-turned", VERDICT, "worst > tol * size"),
])  # fmt: skip


def checker(rng: Rng) -> Question:
    """Question 3: a checker, graded by the bugs that it finds."""

    def slopes(f: str, x: np.ndarray) -> np.ndarray:
        weights = np.sin(np.arange(1, x.size + 1)).reshape(x.shape)
        if f == "rippled":  # for steps of whole periods
            return weights
        size = 1e-6 if f == "small" else 1.0
        return (
            3 * x**2 if f == "cubes" else size * (2 * (weights * x).sum() * weights + x)
        )

    def verdicts(
        category: str, points: float, *cases: tuple, weak: Sequence[str] = ()
    ) -> Check:
        calls = [("check_gradient", Remote(f), *args) for f, *args in cases]
        places = {str(i): (i, 0) for i in range(len(calls))}
        check = CHECKER.check(
            category, points, calls, places, 0.0, whatever={"0": weak}
        )
        return labelled(check, "the verdict")

    x, y, z = rng.normal(size=(3, 4)), rng.normal(size=7), 2 * rng.normal(size=(4, 2))
    many, large, u = (
        rng.normal(size=(10, 12)),
        50 + rng.normal(size=5),
        rng.uniform(-0.9, 0.9, 6),
    )
    a, b, s, g = (
        slopes("coupled", x),
        slopes("cubes", y),
        slopes("small", z),
        slopes("coupled", many),
    )
    spot, last, hidden, top = a.copy(), b.copy(), g.copy(), np.abs(a).max()
    spot[tuple(int(rng.integers(n)) for n in spot.shape)] += 0.3 * top
    last[-1] += 0.02 * np.abs(b).max()
    hidden[7, 5] += 3e-4 * np.abs(g).max()
    diagonal = x * (1 + 2 * np.sin(np.arange(1, 13)).reshape(x.shape) ** 2)
    curved = np.array([0.02, 0.03])
    rough = (1e-5, 2e-4)  # a rough quotient passes
    # What differs only a little from central differences may fail here, or not.
    near = ("always-false", "one-sided", "x-overwritten", "verdict-turned")
    return CHECKER.question("ps2.q3", [
        verdicts("values", 1.25, *(("coupled", x, d, *rough) for d in (a, -a, spot))),
        verdicts("planted bugs", 0.5, ("cubes", y, b), ("cubes", y, last),
                 ("coupled", x, diagonal), ("coupled", x, a / len(x)),
                 ("coupled", many, hidden), weak=near),
        verdicts("relative difference", 0.25, ("small", z, s), ("small", z, 2 * s),
                 ("small", z, s + 0.01 * np.abs(s).max()), ("cubes", large, 3 * large**2),
                 weak=near),
        verdicts("central differences", 0.25, ("cubes", curved, slopes("cubes", curved))),
        verdicts("tol", 0.25, ("coupled", x, a - 1e-3 * top, 1e-5, 0.1),
                 ("coupled", x, a - 1e-7 * top, 1e-5, 1e-10)),
        verdicts("h", 0.25, ("rippled", u, slopes("rippled", u), 0.01, 1e-6)),
        CHECKER.check("no mutation", 0.25, [("check_gradient", Remote("coupled"), x, a)],
                      {"x": "arg1"}, 0.0, whatever=["x-overwritten"]),
    ], fatal=("always-true", "always-false", "verdict-turned"))  # fmt: skip


# --- q4: the gradient of the term variant ---------------------------------------------


def gradient_plan(right: Right, extra):
    """Return the question of a function of (dout, x, gamma, eps, extra)."""

    def call(rng: Rng, n: int, d: int, eps: float) -> tuple:
        x, (gamma, _) = batch(rng, n, d), shared.parameters(rng, d)
        dout = rng.normal(size=x.shape) + 0.3
        return next(iter(right.trees)), dout, x, gamma, eps, extra(rng, x)

    def gradients(
        category: str, points: float, call: tuple, tol: float = shared.BASIC
    ) -> Check:
        floor = SCALE * float(np.abs(call[1]).max())
        return right.check(category, points, [call], GRADIENTS, tol, floor=floor)

    def question(rng: Rng) -> Question:
        weak = {"dout": ("dout-overwritten",), "x": ("input-overwritten",)}
        return right.question("ps2.q4", [
            gradients("values", 1.75, call(rng, 12, 4, 1e-5)),
            gradients("eps", 0.5, call(rng, 12, 3, shared.large_eps(rng)), 1e-6),
            gradients("N and D differ", 0.25, call(rng, 4, 5, 1e-5)),
            right.check("no mutation", 0.5, [call(rng, 12, 3, 1e-3)],
                        {"dout": "arg0", "x": "arg1"}, 0.0, whatever=weak),
        ], functions=(next(iter(right.trees)),))  # fmt: skip

    return question


def ghost_batchnorm_backward(dout, x, gamma, eps, k):
    """Return the gradients where every k consecutive rows are a batch of their own."""
    m = k
    share = 1 / m
    mu = total(x, k) / k
    var = total((x - mu) ** 2, k) / k
    std = np.sqrt(var + eps)
    x_hat = (x - mu) / std
    g = gamma * dout
    along_mean = share * total(g, k)
    along_var = share * x_hat * total(g * x_hat, k)
    dx = (g - along_mean - along_var) / std
    dgamma = (dout * x_hat).sum(0)
    dbeta = dout.sum(0)
    return dx, dgamma, dbeta


def total(a, k):
    """Return for each row the sum over its ghost batch."""
    return np.repeat(a.reshape(len(a) // k, k, -1).sum(1), k, axis=0)


GHOST = Right(ghost_batchnorm_backward, total, says=sentences("ps2", "ghost"), mistakes=[
    *shared.gradient_mistakes("total({}, k)"),
    M("input-overwritten"),
    M("sums-by-N", "1 / m", "1 / len(x)"),
    M("whole-batch", "m = k", "k = len(x)\nm = k"),
    M("last-ghost-only", DGAMMA, "(dout * x_hat)[-k:].sum(0)", DBETA, "dout[-k:].sum(0)"),
    M("ghosts-averaged", DGAMMA, f"{DGAMMA} * k / len(x)", DBETA, f"{DBETA} * k / len(x)"),
])  # fmt: skip


def weighted_batchnorm_backward(dout, x, gamma, eps, w):
    """Return the gradients of weighted batch norm; the weights are constants."""
    m = len(x)
    share = (w / w.sum())[:, None]
    mu = (share * x).sum(0)
    var = (share * (x - mu) ** 2).sum(0)
    std = np.sqrt(var + eps)
    x_hat = (x - mu) / std
    g = gamma * dout
    along_mean = share * g.sum(0)
    along_var = share * x_hat * (g * x_hat).sum(0)
    dx = (g - along_mean - along_var) / std
    dgamma = (dout * x_hat).sum(0)
    dbeta = dout.sum(0)
    return dx, dgamma, dbeta


MEAN_PATH, VAR_PATH = "share * g.sum(0)", "share * x_hat * (g * x_hat).sum(0)"
WEIGHTED = Right(weighted_batchnorm_backward, says=sentences("ps2", "weighted"), mistakes=[
    *shared.gradient_mistakes(),
    M("input-overwritten"),
    M("weights-ignored", "(w / w.sum())[:, None]", "np.full((m, 1), 1 / m)"),
    M("plain-paths", MEAN_PATH, "g.mean(0)", VAR_PATH, "x_hat * (g * x_hat).mean(0)"),
    M("weights-in-sums", MEAN_PATH, "(share * g).sum(0)",
      VAR_PATH, "x_hat * (share * g * x_hat).sum(0)"),
    M("dgamma-weighted", DGAMMA, "(w[:, None] * dout * x_hat).sum(0)",
      DBETA, "(w[:, None] * dout).sum(0)"),
])  # fmt: skip


def clipped_batchnorm_backward(dout, x, gamma, eps, floor):
    """Return the gradients of batch norm with a floor under the variance."""
    m = len(x)
    share = 1 / m
    mu = x.mean(0)
    var = np.maximum(x.var(0), floor)
    std = np.sqrt(var + eps)
    x_hat = (x - mu) / std
    g = gamma * dout
    along_mean = share * g.sum(0)
    along_var = share * x_hat * (g * x_hat).sum(0)
    along_var = np.where(x.var(0) > floor, along_var, 0)
    dx = (g - along_mean - along_var) / std
    dgamma = (dout * x_hat).sum(0)
    dbeta = dout.sum(0)
    return dx, dgamma, dbeta


CLIP, FREE = "np.maximum(x.var(0), floor)", "x.var(0) > floor"
CLIPPED = Right(clipped_batchnorm_backward, says=sentences("ps2", "clipped"), mistakes=[
    *shared.gradient_mistakes(),
    M("input-overwritten"),
    M("eps-before-clip", CLIP, "np.maximum(x.var(0) + eps, floor) - eps"),
    M("floor-forgotten", CLIP, "x.var(0)", FREE, "True"),
    M("floor-ignored-in-path", FREE, "True"),
    M("floor-turned", FREE, "x.var(0) <= floor"),
    M("all-constant-at-floor", DX, f"(g - ({FREE}) * along_mean - along_var) / std"),
])  # fmt: skip
VARIANTS = {
    "ghost": gradient_plan(GHOST, shared.ghost_size),
    "weighted": gradient_plan(WEIGHTED, shared.row_weights),
    "clipped": gradient_plan(CLIPPED, lambda rng, x: shared.floor_between(x)),
}


def questions(rng: Rng, variant: str) -> list[Question]:
    """Draw the questions of the set; see `ps1.questions`."""
    return [staged(rng), closed(rng), checker(rng), VARIANTS[variant](rng)]
