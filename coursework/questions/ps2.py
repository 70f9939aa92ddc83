"""Problem set 2: the backward pass, three ways, and the gradient of a term variant."""

from __future__ import annotations

import ast
import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bncheck.calls import Handle, Remote
from bncheck.form import Check, Question
from bncheck.spec import Mistake, Right
from bncheck.spec import mistake as M
from coursework.questions import shared
from coursework.questions.ps1 import FORWARD, TRAIN, batchnorm_forward, in_training
from coursework.questions.shared import BASIC, DGAMMA, DX, G, Rng, batch, sentences

GRADIENTS = {"dx": 0, "dgamma": 1, "dbeta": 2}
SMALL = 1e-3  # what a gradient that should be 0 may be, times the tolerance


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
    *(M(f"cache-order-{k}", CACHE, f"{v} = cache", of="cache-order") for k, v in {
        "std-var": "x, mu, std, eps, var, x_hat, gamma, beta",
        "std-gamma": "x, mu, var, eps, gamma, x_hat, std, beta",
        "x-hat-x": "x_hat, mu, var, eps, std, x, gamma, beta",
    }.items()),
    M("cache-order-centred", CACHE, f"{CACHE}\nx_hat = x - mu", of="cache-order"),
    M("second-call"),
]  # fmt: skip


def layer(question: str, name: str) -> Right:
    """Return the functions of a question, with all mistakes that a gradient shows."""
    upstream = [
        m for m in TRAIN.mistakes if m.edits and not m.name.startswith("zero-filled")
    ]
    return Right(
        batchnorm_forward, batchnorm_backward, says=sentences("ps2", question),
        mistakes=[*BACKWARD, *upstream], called={"batchnorm_backward": name},
    )  # fmt: skip


STAGED = layer("q1", "batchnorm_backward")
CLOSED = layer("q2", "batchnorm_backward_alt")


def gradients(rng: Rng, key: str, right: Right, *points: float) -> Question:
    """Draw question 1, the staged backward pass, or question 2, one formula."""
    norm, (_, name) = shared.Norm(right, in_training), right.trees

    def calls(n: int, d: int) -> list[tuple]:
        x, (gamma, beta) = batch(rng, n, d), shared.parameters(rng, d)
        forward = (FORWARD, x, gamma, beta, {"mode": "train"})
        return [forward, (name, rng.normal(size=x.shape), Handle(0, 1))]

    def constant(x):
        x[:, 1] = -1.5

    (forward, backward), (other, _) = calls(6, 4), calls(6, 4)
    first = {label: (1, i) for label, i in GRADIENTS.items()}
    later = {f"{label} again": (3, i) for label, i in GRADIENTS.items()}
    second_call = right.check(  # backward again, after forward with another batch
        "second call", points[3],
        [forward, backward, other, backward, (name, 2 * backward[1], Handle(2, 1))],
        first | later, BASIC, whatever=dict.fromkeys(later, ("second-call",)),
        forward=(0, 1e-5, 1e-7), floor=SMALL,
        shares={f"{k} again": v for k, v in shared.GRADIENT_SHARES.items()},
    )  # fmt: skip
    return right.question(key, [
        norm.gradients(rng, "values", points[0], (7, 4)),
        norm.gradients(rng, "eps", points[1], (6, 3), shared.large_eps(rng)),
        norm.gradients(rng, "N and D differ", points[2], (3, 5)),
        labelled(second_call, *GRADIENTS),
        right.check("no mutation", 0.25, calls(5, 3), {"dout": "arg0"}, 0.0,
                    whatever=["dout-overwritten"]),
        norm.gradients(rng, "large mean", 0.25, (8, 3), h=0.0),
        norm.gradients(rng, "constant feature", 0.25, (6, 4), 1e-3, constant, 0.0),
        norm.gradients(rng, "float32", 0.25, (6, 3), None, h=0.0),
    ], functions=(name,), observer="backward")  # fmt: skip


STAGED_NAME, CLOSED_NAME = "batchnorm_backward", "batchnorm_backward_alt"
LONG = 8  # statements: a copy of so many is no closed formula


def delegates(chunks: Sequence[tuple[str, str]]) -> str:
    """Say so when the closed formula only calls the staged function, or copies it."""
    nodes: dict[str, list[ast.stmt]] = {}
    for _, source in chunks:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            for node in ast.parse(source).body:
                for name in _bound(node):
                    nodes.setdefault(name, []).append(node)
    todo, reached = [CLOSED_NAME, FORWARD], {CLOSED_NAME, FORWARD}
    while todo:
        used = {n for node in nodes.get(todo.pop(), ()) for n in _used(node)}
        todo += used - reached
        reached |= used
    if STAGED_NAME in reached:
        return CLOSED.says["same-function"]
    both = [nodes.get(name, [None])[-1] for name in (STAGED_NAME, CLOSED_NAME)]
    if all(isinstance(node, ast.FunctionDef) for node in both):
        staged, closed = (_steps(node) for node in both)
        calls = len(closed) == 1 and any(n in nodes for n in _used(both[1]))
        if staged == closed and (calls or len(closed) >= LONG):
            return CLOSED.says["copied"]
    return ""


def _bound(node: ast.stmt) -> set[str]:
    """Name what a statement defines, assigns or changes, as np.a = 1 or a.add(1)."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    changed = node if isinstance(node, ast.Expr) else ast.Tuple(
        [n for n in ast.walk(node) if isinstance(n, ast.Attribute | ast.Subscript)
         and isinstance(n.ctx, ast.Store)])  # fmt: skip
    return _own(node) | {n.id for n in ast.walk(changed) if isinstance(n, ast.Name)}


def _own(node: ast.stmt) -> set[str]:
    """Name the arguments and variables that stand in a statement."""
    inner = list(ast.walk(node))
    stored = [n for n in inner if isinstance(getattr(n, "ctx", None), ast.Store)]
    names = {n.id for n in stored if isinstance(n, ast.Name)}
    return names | {n.arg for n in inner if isinstance(n, ast.arg)}


def _used(node: ast.stmt) -> set[str]:
    """Name what a statement uses and does not assign itself."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - _own(node)


def _steps(node: ast.FunctionDef) -> list[str]:
    """Write down a function's statements, with its variables numbered."""
    tree, own = copy.deepcopy(node), sorted(_own(node))
    numbers: dict[str, int] = {}
    for n in ast.walk(tree):
        for field in ("id", "arg"):
            name = getattr(n, field, None)
            if name in own:
                setattr(n, field, f"v{numbers.setdefault(name, len(numbers))}")
    steps = [ast.dump(step) for step in tree.body]
    return steps[ast.get_docstring(node) is not None :]


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
    M("always-true", grave=True),
    M("always-false", grave=True),
    M("absolute-tolerance", VERDICT, "worst <= tol"),
    M("absolute-tolerance-loose", VERDICT, "worst <= 1e-4 + tol * size",
      of="absolute-tolerance"),
    M("absolute-tolerance-from-1", VERDICT, "worst <= tol * max(size, 1.0)",
      of="absolute-tolerance"),
    M("too-strict", VERDICT, "worst <= tol * min(size, 1.0)"),
    M("first-entries-only", WORST, f"{WORST}[:3]"),
    M("first-entries-only-but-last", WORST, f"{WORST}.ravel()[:-1]",
      of="first-entries-only"),
    M("one-sided", "(above - below) / (2 * h)", "(above - f(x)) / h"),
    M("x-overwritten", "x[i] = kept", "pass"),
    M("average-taken", f"{WORST}.max()", f"{WORST}.mean() / 100"),
    M("verdict-turned", VERDICT, "worst > tol * size", grave=True),
])  # fmt: skip


def weights(x: np.ndarray) -> np.ndarray:
    """Return what stands before each entry of x in `bncheck.toys`."""
    return np.sin(np.arange(1, x.size + 1)).reshape(x.shape)


def coupled(x: np.ndarray) -> np.ndarray:
    """Return the gradient of `bncheck.toys.coupled`."""
    return 2 * (weights(x) * x).sum() * weights(x) + x


def verdicts(
    category: str, points: float, *cases: tuple, weak: Sequence[str] = ()
) -> Check:
    """Look at verdicts on gradients; ``weak`` may explain the first."""
    calls = [("check_gradient", Remote(f), *args) for f, *args in cases]
    places = {str(i): (i, 0) for i in range(len(calls))}
    check = CHECKER.check(category, points, calls, places, 0.0)
    symptoms = {True: ("always-false",), False: ("always-true",)}
    expects = [replace(e, whatever=symptoms[e.value]) for e in check.expects]
    expects[0] = replace(expects[0], whatever=(*expects[0].whatever, *weak))
    return labelled(replace(check, expects=tuple(expects)), "the verdict")


def checker(rng: Rng) -> Question:
    """Question 3: a checker, graded by the bugs that it finds."""
    x, y, z = rng.normal(size=(3, 4)), rng.normal(size=7), 2 * rng.normal(size=(4, 2))
    many, large = rng.normal(size=(10, 12)), 50 + rng.normal(size=5)
    u, curved = rng.uniform(-0.9, 0.9, 6), np.array([0.02, 0.03])
    a, b, s, g = coupled(x), 3 * y**2, 1e-6 * coupled(z), coupled(many)
    spot, last, hidden, top = a.copy(), b.copy(), g.copy(), np.abs(a).max()
    spot[tuple(int(rng.integers(n)) for n in spot.shape)] += 0.3 * top
    last[-1] += 0.02 * np.abs(b).max()
    hidden[7, 5] += 3e-4 * np.abs(g).max()
    diagonal = x * (1 + 2 * weights(x) ** 2)
    rough = (1e-5, 2e-4)  # a rough quotient passes
    # What differs only a little from central differences may fail here, or not.
    near = ("one-sided", "x-overwritten", "verdict-turned")
    return CHECKER.question("ps2.q3", [
        verdicts("values", 1.25, *(("coupled", x, d, *rough) for d in (a, -a, spot))),
        verdicts("planted bugs", 0.5, ("cubes", y, b), ("cubes", y, last),
                 ("coupled", x, diagonal), ("coupled", x, a / len(x)),
                 ("coupled", many, hidden), weak=near),
        verdicts("relative difference", 0.25, ("small", z, s), ("small", z, 2 * s),
                 ("small", z, s + 0.01 * np.abs(s).max()),
                 ("cubes", large, 3 * large**2),
                 weak=near),
        verdicts("central differences", 0.25, ("cubes", curved, 3 * curved**2)),
        verdicts("tol", 0.25, ("coupled", x, a - 1e-3 * top, 1e-5, 0.1),
                 ("coupled", x, a - 1e-7 * top, 1e-5, 1e-10)),
        verdicts("h", 0.25, ("rippled", u, weights(u), 0.01, 1e-6)),
        CHECKER.check("no mutation", 0.25,
                      [("check_gradient", Remote("coupled"), x, a)],
                      {"x": "arg1"}, 0.0, whatever=["x-overwritten"]),
    ])  # fmt: skip


# --- q4: the gradient of the term variant ---------------------------------------------


def variant(function, extra, mistakes: list[Mistake]) -> Callable[[Rng], Question]:
    """Return the question of a function of (dout, x, gamma, eps, extra)."""
    name = function.__name__
    right = Right(function, through, says=sentences("ps2", name.partition("_")[0]),
                  mistakes=[
        *shared.gradient_mistakes(), M("input-overwritten"), *mistakes])  # fmt: skip

    def call(rng: Rng, n: int, d: int, eps: float = 1e-5) -> tuple:
        x, (gamma, _) = batch(rng, n, d), shared.parameters(rng, d)
        return name, rng.normal(size=x.shape) + 0.3, x, gamma, eps, extra(rng, x)

    def check(category: str, points: float, call: tuple, tol: float = BASIC) -> Check:
        return right.check(category, points, [call], GRADIENTS, tol, floor=SMALL,
                           shares=shared.GRADIENT_SHARES)  # fmt: skip

    def draw(rng: Rng) -> Question:
        places = {"dout": "arg0", "x": "arg1"}
        weak = {"dout": ("dout-overwritten",), "x": ("input-overwritten",)}
        return right.question("ps2.q4", [
            check("values", 1.75, call(rng, 12, 4)),
            check("eps", 0.5, call(rng, 12, 3, shared.large_eps(rng)), 1e-6),
            check("N and D differ", 0.25, call(rng, 4, 5)),
            right.check("no mutation", 0.5, [call(rng, 12, 3)], places, 0.0,
                        whatever=weak),
        ], functions=(name,))  # fmt: skip

    return draw


def through(dout, x, gamma, mu, var, eps, m, share, free=1):
    """Send dout back, where each row has a share of the sums, and free variances."""
    std = np.sqrt(var + eps)
    x_hat = (x - mu) / std
    g = gamma * dout
    along_mean = share * g.sum(0)
    along_var = share * x_hat * (g * x_hat).sum(0)
    along_var = free * along_var
    dx = (g - along_mean - along_var) / std
    dgamma = (dout * x_hat).sum(0)
    dbeta = dout.sum(0)
    return dx, dgamma, dbeta


def ghost_batchnorm_backward(dout, x, gamma, eps, k):
    """Return the gradients where every k consecutive rows are a batch of their own."""
    n = len(x) // k
    parts = [
        through(d, r, gamma, r.mean(0), r.var(0), eps, len(r), 1 / len(r))
        for d, r in zip(np.split(dout, n), np.split(x, n), strict=True)
    ]
    dx, dgamma, dbeta = zip(*parts, strict=True)
    return np.concatenate(dx), sum(dgamma), sum(dbeta)


ghost = variant(ghost_batchnorm_backward, shared.ghost_size, [
    M("sums-by-N", "1 / len(r)", "1 / len(x)"),
    M("whole-batch", "len(x) // k", "1"),
    M("last-ghost-only", "sum(dgamma)", "dgamma[-1]", "sum(dbeta)", "dbeta[-1]"),
    M("ghosts-averaged", "sum(dgamma)", "sum(dgamma) / n", "sum(dbeta)",
      "sum(dbeta) / n"),
])  # fmt: skip


def weighted_batchnorm_backward(dout, x, gamma, eps, w):
    """Return the gradients of weighted batch norm; the weights are constants."""
    share = (w / w.sum())[:, None]
    mu = (share * x).sum(0)
    var = (share * (x - mu) ** 2).sum(0)
    return through(dout, x, gamma, mu, var, eps, len(x), share)


CALL = "through(dout, x, gamma, mu, var, eps, len(x), share)"
MEAN_PATH, VAR_PATH = "share * g.sum(0)", "share * x_hat * (g * x_hat).sum(0)"
weighted = variant(weighted_batchnorm_backward, shared.row_weights, [
    M("weights-ignored", "(w / w.sum())[:, None]", "np.full((len(x), 1), 1 / len(x))"),
    M("plain-paths", MEAN_PATH, "g.mean(0)", VAR_PATH, "x_hat * (g * x_hat).mean(0)"),
    M("weights-in-sums", MEAN_PATH, "(share * g).sum(0)",
      VAR_PATH, "x_hat * (share * g * x_hat).sum(0)"),
    *(M(f"dgamma-weighted{k}", CALL, f"(lambda a, b: {v})({CALL}, "
        f"{CALL.replace('dout', 'w[:, None] * dout')})",
        of="dgamma-weighted" if k else "")
      for k, v in {"": "(a[0], *b[1:])", "-dgamma": "(a[0], b[1], a[2])",
                   "-dbeta": "(*a[:2], b[2])"}.items()),
])  # fmt: skip


def clipped_batchnorm_backward(dout, x, gamma, eps, floor):
    """Return the gradients of batch norm with a floor under the variance."""
    var, free = np.maximum(x.var(0), floor), x.var(0) > floor
    return through(dout, x, gamma, x.mean(0), var, eps, len(x), 1 / len(x), free)


CLIP, FREE = "np.maximum(x.var(0), floor)", "x.var(0) > floor"
clipped = variant(clipped_batchnorm_backward, lambda rng, x: shared.floor_between(x), [
    M("eps-before-clip", CLIP, "np.maximum(x.var(0) + eps, floor) - eps"),
    M("floor-forgotten", CLIP, "x.var(0)", FREE, "1"),
    M("floor-ignored-in-path", FREE, "1"),
    M("floor-turned", FREE, "x.var(0) <= floor"),
    M("all-constant-at-floor", DX, "(g - free * along_mean - along_var) / std"),
])  # fmt: skip
VARIANTS = {"ghost": ghost, "weighted": weighted, "clipped": clipped}


def questions(rng: Rng, variant: str) -> list[Question]:
    """Draw the questions of the set; see `ps1.questions`."""
    staged = gradients(rng, "ps2.q1", STAGED, 1.75, 0.5, 0.25, 0.5)
    closed = gradients(rng, "ps2.q2", CLOSED, 1.25, 0.25, 0.25, 0.25)
    return [staged, closed, checker(rng), VARIANTS[variant](rng)]
