"""Problem set 1: the forward pass, running statistics, evaluation, a term variant."""

from __future__ import annotations

import numpy as np

from bncheck.calls import Handle
from bncheck.form import Check, Own, Question
from bncheck.spec import Right, alone
from bncheck.spec import mistake as M
from coursework.questions import shared
from coursework.questions.shared import BASIC, Norm, Rng, batch, parameters, sentences

FORWARD = "batchnorm_forward"


def batchnorm_forward(x, gamma, beta, bn_param):
    """Normalize each column; in training mode keep running statistics."""
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    running_mean = bn_param.get("running_mean", np.zeros(x.shape[1]))
    running_var = bn_param.get("running_var", np.zeros(x.shape[1]))
    if bn_param["mode"] == "test":
        root = np.sqrt(running_var + eps)
        test_hat = (x - running_mean) / root
        return gamma * test_hat + beta, None
    mu = x.mean(0)
    away = x - mu
    var = (away**2).mean(0)
    std = np.sqrt(var + eps)
    bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mu
    bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    x_hat = away / std
    out = gamma * x_hat + beta
    return out, (x, mu, var, eps, std, x_hat, gamma, beta)


# --- q1: training mode ----------------------------------------------------------------

STATISTICS = "mu = x.mean(0)\naway = x - mu\nvar = (away**2).mean(0)"
CENTRED, VAR = "mu = x.mean(0)\naway = x - mu", "(away**2).mean(0)"
HAT, OUT, EPS = "away / std", "gamma * x_hat + beta", 'bn_param.get("eps", 1e-5)'
MOMENTUM = 'bn_param.get("momentum", 0.9)'
DEFAULTS = [
    M(shared.DEFAULT),
    *(M(f"default-eps-{k}", EPS, f'bn_param.get("eps", {v})', of="default-eps")
      for k, v in {"0": 0.0, "8": 1e-8, "4": 1e-4, "3": 1e-3}.items()),
    M("eps-required", EPS, 'bn_param["eps"]'),
    M("momentum-required", MOMENTUM, 'bn_param["momentum"]'),
]  # fmt: skip
TRAIN = Right(batchnorm_forward, says=sentences("ps1", "q1"), mistakes=[
    M("sample-variance", VAR, "x.var(0, ddof=1)"),
    *shared.spread_mistakes(),
    M("sum-not-variance", VAR, "(away**2).sum(0)"),
    M("variance-around-zero", VAR, "(x**2).mean(0)"),
    M("mean-distance", VAR, "np.abs(away).mean(0) ** 2"),
    M("stats-over-features", STATISTICS,
      "mu = x.mean(1, keepdims=True)\naway = x - mu\n"
      "var = (away**2).mean(1, keepdims=True)", breaks=True),
    M("stats-over-all", STATISTICS,
      "mu = x.mean()\naway = x - mu\nvar = (away**2).mean()", breaks=True),
    *shared.affine_mistakes(),
    M("one-pass-variance"),
    *shared.overwritten("gamma", "beta"),
    M("running-in-training", HAT,
      '(x - bn_param["running_mean"]) / np.sqrt(bn_param["running_var"] + eps)'),
    *DEFAULTS,
    M("single-precision", CENTRED, "x = x.astype(np.float32)\nmu = x.mean(0)\n"
      "away = (x - mu).astype(np.float64)"),
    M("single-precision-x", CENTRED, "x = x.astype(np.float32).astype(np.float64)\n"
      f"{CENTRED}", of="single-precision"),
    M("zero-filled", OUT, "np.where(var > 0, gamma * x_hat + beta, 0.0)"),
    M("zero-filled-all", OUT, "(gamma * x_hat + beta) * (var > 0).all()",
      of="zero-filled"),
])  # fmt: skip


def in_training(rng, x, gamma, beta, eps):
    """Return the arguments of a call in training mode."""
    given = {} if eps is None else {"eps": eps, "momentum": 0.9}
    return x, gamma, beta, {"mode": "train"} | given


def train(rng: Rng) -> Question:
    """Question 1: the output in training mode."""
    norm = Norm(TRAIN, in_training)

    def constant(x):
        x[:, 2] = 2.5

    def shrink(x):  # for another default of eps to show
        x *= 0.01

    return TRAIN.question("ps1.q1", [
        norm.output(rng, "values", 1.0, (7, 4)),
        norm.output(rng, "eps", 0.5, (6, 5), shared.large_eps(rng)),
        norm.output(rng, "default eps", 0.25, (6, 3), None, shrink),
        norm.output(rng, "N and D differ", 0.25, (3, 5), None),
        norm.output(rng, "constant feature", 0.25, (6, 4), change=constant),
        norm.output(rng, "large mean", 0.25, (8, 3), None),
        norm.kept(rng, 0.25, (5, 3), None, ("x", "gamma", "beta")),
        norm.output(rng, "float32", 0.25, (6, 3), None),
    ], observer="forward")  # fmt: skip


# --- q2: running statistics -----------------------------------------------------------

START = 'running_{0} = bn_param.get("running_{0}", np.zeros(x.shape[1]))'
START_MEAN, START_VAR = START.format("mean"), START.format("var")
KEEP = 'bn_param["running_{0}"] = momentum * running_{0} + (1 - momentum) * {1}'
KEEP_MEAN, KEEP_VAR = KEEP.format("mean", "mu"), KEEP.format("var", "var")
BOTH = f"{KEEP_MEAN}\n{KEEP_VAR}"
NEW = "(1 - momentum) * var"


def kept_as(mean: str, var: str) -> str:
    """Return lines that store two expressions."""
    return f'bn_param["running_mean"] = {mean}\nbn_param["running_var"] = {var}'


def blend(old: str, new: str) -> str:
    """Return lines that store the old and the new value with some weights."""
    return kept_as(
        f"{old} * running_mean + {new} * mu", f"{old} * running_var + {new} * var"
    )


SWAP = "(1 - momentum) * running_{0} + momentum * {1}"
OUTPUT = "(gamma * away / std + beta)"
RUNNING = Right(batchnorm_forward, says=sentences("ps1", "q2"), mistakes=[
    M("momentum-swapped", BOTH, blend("(1 - momentum)", "momentum")),
    *(M(f"momentum-swapped-{k}", KEEP.format(k, v).partition(" = ")[2],
        SWAP.format(k, v), of="momentum-swapped")
      for k, v in (("mean", "mu"), ("var", "var"))),
    M("last-batch-kept", BOTH, kept_as("mu", "var")),
    M("never-written", BOTH, kept_as("running_mean", "running_var"), grave=True),
    M("never-written-absent", BOTH, "pass", of="never-written"),
    M("mean-never-written", KEEP_MEAN, 'bn_param["running_mean"] = running_mean'),
    M("mean-never-written-absent", KEEP_MEAN, "pass", of="mean-never-written"),
    M("var-never-written", KEEP_VAR, 'bn_param["running_var"] = running_var'),
    M("var-never-written-absent", KEEP_VAR, "pass", of="var-never-written"),
    M("std-not-var-stored", NEW, "(1 - momentum) * np.sqrt(var)"),
    M("std-not-var-stored-eps", NEW, "(1 - momentum) * std", of="std-not-var-stored"),
    M("eps-stored", NEW, "(1 - momentum) * (var + eps)"),
    M("inverse-std-stored", NEW, "(1 - momentum) / std"),
    M("sample-variance", NEW, "(1 - momentum) * x.var(0, ddof=1)"),
    *alone(M("output-statistics", "(1 - momentum) * mu",
             f"(1 - momentum) * {OUTPUT}.mean(0)",
             NEW, f"(1 - momentum) * {OUTPUT}.var(0)"), "mean", "var"),
    M("variance-around-running-mean", NEW,
      '(1 - momentum) * ((x - bn_param["running_mean"]) ** 2).mean(0)'),
    M("variance-around-running-mean-old", NEW,
      "(1 - momentum) * ((x - running_mean) ** 2).mean(0)",
      of="variance-around-running-mean"),
    M("variance-around-running-mean-used", VAR, "((x - running_mean) ** 2).mean(0)",
      of="variance-around-running-mean"),
    M("momentum-fixed", MOMENTUM, "0.9"),
    M("weights-not-one", BOTH, blend("momentum", "1")),
    M("starts-at-batch", f"{START_MEAN}\n{START_VAR}",
      'running_mean = bn_param.get("running_mean", x.mean(0))\n'
      'running_var = bn_param.get("running_var", x.var(0))'),
    *(M(f"default-momentum-{i}", MOMENTUM, f'bn_param.get("momentum", {m})',
        of="default-momentum") for i, m in enumerate((0.1, 0.5, 0.99))),
    M("plain-average", f"momentum = {MOMENTUM}",
      'bn_param["seen"] = bn_param.get("seen", 0) + 1\n'
      'momentum = 1 - 1 / bn_param["seen"]'),
    M("mean-var-swapped", BOTH,
      BOTH + '\nbn_param["running_mean"], bn_param["running_var"]'
      ' = bn_param["running_var"], bn_param["running_mean"]'),
    M("starts-at-one", START_VAR, START_VAR.replace("zeros", "ones")),
    M("stats-over-features", STATISTICS,
      "mu = x.mean(1)\nvar = x.var(1)\naway, running_mean, running_var = x, 0.0, 0.0",
      breaks=True),
    M("stats-over-features-column", STATISTICS, "mu = x.mean(1, keepdims=True)\n"
      "away = x - mu\nvar = x.var(1, keepdims=True)", of="stats-over-features"),
    M("stats-over-all", STATISTICS,
      "mu = x.mean()\nvar = x.var()\naway, running_mean, running_var = x, 0.0, 0.0",
      breaks=True),
    M("stats-over-all-one", STATISTICS, "mu = x.mean()\naway = x - mu\nvar = x.var()",
      of="stats-over-all"),
    M("stats-over-all-mean", "(1 - momentum) * mu", "(1 - momentum) * mu.mean()",
      of="stats-over-all"),
    M("sum-not-variance", VAR, "(away**2).sum(0)"),
    M("variance-around-zero", VAR, "(x**2).mean(0)"),
    M("mean-distance", VAR, "np.abs(away).mean(0) ** 2"),
    M("parameters-changed"),
    M("start-ignored", f"{START_MEAN}\n{START_VAR}",
      "running_mean, running_var = np.zeros(x.shape[1]), np.zeros(x.shape[1])"),
    *DEFAULTS[-2:],
])  # fmt: skip
SHARES = {"running_mean": 0.5, "running_var": 0.5}
STORED = {f"running_{k}": f"arg3.running_{k}" for k in ("mean", "var")}


def running(rng: Rng) -> Question:
    """Question 2: what training mode leaves in bn_param."""
    x, (gamma, beta) = batch(rng, 6, 4), parameters(rng, 4)
    first = [(FORWARD, x, gamma, beta, {"mode": "train"})]
    batches = [batch(rng, 5, 3) for _ in range(3)]
    told = {
        "mode": "train",
        "momentum": rng.uniform(0.55, 0.8),
        "eps": rng.uniform(0.2, 0.5),
    }
    start = {"running_mean": rng.normal(size=3), "running_var": rng.uniform(0.5, 2, 3)}
    gamma, beta = parameters(rng, 3)
    states = [told | start, *({"**": Handle(k, "arg3"), **told} for k in (0, 1))]
    calls = [(FORWARD, x, gamma, beta, s) for x, s in zip(batches, states, strict=True)]
    x, (gamma, beta) = batch(rng, 5, 3), parameters(rng, 3)
    given = {"mode": "train", "momentum": 0.7, "eps": 0.25}
    entries = {name: f"arg3.{name}" for name in given}
    return RUNNING.question("ps1.q2", [
        RUNNING.check("values", 1.0, first, STORED, own=Own(), shares=SHARES),
        RUNNING.check("momentum", 0.75, calls, STORED, own=Own(), shares=SHARES),
        RUNNING.check("state unchanged", 0.25, [(FORWARD, x, gamma, beta, given)],
                      entries, 0.0, whatever=["parameters-changed"]),
    ])  # fmt: skip


# --- q3: test mode --------------------------------------------------------------------

ROOT, MOVED = "np.sqrt(running_var + eps)", "x - running_mean"
TEST = f"root = {ROOT}"
EVALUATION = Right(batchnorm_forward, says=sentences("ps1", "q3"), mistakes=[
    M("stats-updated-in-test"),
    *shared.spread_mistakes("running_var", "(x - running_mean) / root"),
    *shared.affine_mistakes("test_hat"),
    M("input-overwritten"),
    *DEFAULTS,
    M("start-ignored", f"{START_MEAN}\n{START_VAR}",
      "running_mean, running_var = np.zeros(x.shape[1]), np.zeros(x.shape[1])"),
    M("eval-batch-stats", MOVED, "x - x.mean(0)", ROOT, "np.sqrt(x.var(0) + eps)"),
    M("batch-mean", MOVED, "x - x.mean(0)"),
    M("batch-variance", ROOT, "np.sqrt(x.var(0) + eps)"),
    M("updated-before-use", TEST,
      "running_mean = momentum * running_mean + (1 - momentum) * x.mean(0)\n"
      f"running_var = momentum * running_var + (1 - momentum) * x.var(0)\n{TEST}"),
    M("unbiased-in-test", ROOT,
      "np.sqrt(running_var * len(x) / max(len(x) - 1, 1) + eps)"),
    M("unbiased-in-test-one-row", ROOT,
      "np.sqrt(running_var * (np.float64(len(x)) / (len(x) - 1)) + eps)",
      of="unbiased-in-test"),
    M("std-not-var-stored", ROOT, "running_var"),
])  # fmt: skip


def evaluation(rng: Rng) -> Question:
    """Question 3: the output in test mode."""

    def call(n: int, d: int, eps: float | None, rows: int = 6, **more: float) -> tuple:
        x, (gamma, beta) = batch(rng, rows, d)[:n], parameters(rng, d)
        param = {"mode": "test", **more, **({} if eps is None else {"eps": eps})}
        param["running_mean"] = rng.normal(size=d) * 2
        param["running_var"] = rng.uniform(0.3, 5, d)
        return FORWARD, x, gamma, beta, param

    def test(category: str, points: float, n: int, d: int, eps: float | None,
             tol: float = BASIC) -> Check:  # fmt: skip
        made = call(n, d, eps, momentum=0.8)
        proofs = shared.with_eps(EVALUATION, made, tol) if eps is None else ()
        return EVALUATION.check(category, points, [made], {"out": 0}, tol,
                                whatever=[proof.name for proof in proofs],
                                proofs=proofs)  # fmt: skip

    # Code that updates, or takes the training branch, in test mode is one mistake.
    updated = ("stats-updated-in-test", "updated-before-use", "eval-batch-stats")
    weak = dict.fromkeys(STORED, updated) | {"x": ("input-overwritten",)}
    return EVALUATION.question("ps1.q3", [
        test("values", 0.75, 6, 4, 1e-5),
        test("eps", 0.5, 5, 3, shared.large_eps(rng), 1e-6),
        test("evaluation independence", 0.25, 1, 3, None),
        EVALUATION.check("state unchanged", 0.5, [call(5, 3, None, 5)],
                         {**STORED, "x": "arg0"}, 0.0, whatever=weak),
    ])  # fmt: skip


# --- q4: the term variant -------------------------------------------------------------


def affine_plan(right: Right, draw):
    """Return the question of a function of (x, gamma, beta, eps, extra)."""

    def question(rng: Rng) -> Question:
        norm = Norm(right, lambda rng, x, g, b, eps: (x, g, b, eps, draw(rng, x)))
        return right.question("ps1.q4", [
            norm.output(rng, "values", 1.75, (12, 4)),
            norm.output(rng, "eps", 0.5, (12, 3), shared.large_eps(rng)),
            norm.output(rng, "N and D differ", 0.25, (4, 5)),
            norm.output(rng, "large mean", 0.25, (12, 3)),
            norm.kept(rng, 0.25, (12, 3), 1e-3),
        ])  # fmt: skip

    return question


def ghost_batchnorm(x, gamma, beta, eps, k):
    """Normalize every k consecutive rows as a batch of their own."""
    parts = x.reshape(len(x) // k, k, -1)
    away = parts - parts.mean(1, keepdims=True)
    var = (away**2).mean(1, keepdims=True)
    std = np.sqrt(var + eps)
    x_hat = (away / std).reshape(x.shape)
    return gamma * x_hat + beta


PARTS, WHOLE = (
    "parts = x.reshape(len(x) // k, k, -1)",
    "x_hat = (away / std).reshape(x.shape)",
)
ghost = affine_plan(
    Right(ghost_batchnorm, says=sentences("ps1", "ghost"), mistakes=shared.one_norm(
        M("sample-variance", "(away**2).mean(1, keepdims=True)",
          "parts.var(1, ddof=1, keepdims=True)"),
        M("not-centred", "away / std", "parts / std"),
        M("k-is-number", PARTS, f"k = len(x) // k\n{PARTS}"),
        M("whole-batch", PARTS, f"k = len(x)\n{PARTS}"),
        M("strided-ghosts", PARTS,
          "parts = x.reshape(k, len(x) // k, -1).swapaxes(0, 1)",
          WHOLE, "x_hat = (away / std).swapaxes(0, 1).reshape(x.shape)"),
    )),
    shared.ghost_size,
)  # fmt: skip


def weighted_batchnorm(x, gamma, beta, eps, w):
    """Normalize all rows with weighted statistics."""
    w = w[:, None]
    mu = (w * x).sum(0) / w.sum()
    away = x - mu
    var = (w * away**2).sum(0) / w.sum()
    std = np.sqrt(var + eps)
    x_hat = away / std
    return gamma * x_hat + beta


W_MU, W_VAR = "(w * x).sum(0) / w.sum()", "(w * away**2).sum(0) / w.sum()"
weighted = affine_plan(
    Right(weighted_batchnorm, says=sentences("ps1", "weighted"),
          mistakes=shared.one_norm(
        M("weights-ignored", "w = w[:, None]", "w = np.ones((len(x), 1))"),
        M("not-normalized", W_MU, "(w * x).mean(0)", W_VAR, "(w * away**2).mean(0)"),
        M("plain-variance", W_VAR, "x.var(0)"),
        M("around-plain-mean", W_VAR, "(w * (x - x.mean(0)) ** 2).sum(0) / w.sum()"),
        M("plain-mean", W_MU, "x.mean(0)"),
        M("weights-squared", W_VAR, "(w**2 * away**2).sum(0) / (w**2).sum()"),
        M("weights-squared-by-sum", W_VAR, "((w * away) ** 2).sum(0) / w.sum()",
          of="weights-squared"),
        M("output-weighted", "gamma * x_hat + beta", "w * (gamma * x_hat + beta)"),
    )),
    shared.row_weights,
)  # fmt: skip


def clipped_batchnorm(x, gamma, beta, eps, floor):
    """Normalize with a variance of at least floor."""
    away = x - x.mean(0)
    var = np.maximum(x.var(0), floor)
    std = np.sqrt(var + eps)
    x_hat = away / std
    return gamma * x_hat + beta


CLIP = "np.maximum(x.var(0), floor)"
clipped = affine_plan(
    Right(clipped_batchnorm, says=sentences("ps1", "clipped"), mistakes=shared.one_norm(
        M("sample-variance", CLIP, "np.maximum(x.var(0, ddof=1), floor)"),
        M("not-clipped", CLIP, "x.var(0)"),
        M("clipped-from-above", CLIP, "np.minimum(x.var(0), floor)"),
        M("eps-before-clip", CLIP, "np.maximum(x.var(0) + eps, floor) - eps"),
        M("floor-added", CLIP, "x.var(0) + floor"),
        M("std-clipped", CLIP, "np.maximum(x.std(0), floor) ** 2"),
    )),
    lambda rng, x: shared.floor_between(x),
)  # fmt: skip


def corrected_statistics(batches, momentum):
    """Average batch statistics from zero, and correct for the start."""
    mean, var = np.zeros(batches.shape[2]), np.zeros(batches.shape[2])
    for x in batches:
        mean = momentum * mean + (1 - momentum) * x.mean(0)
        var = momentum * var + (1 - momentum) * x.var(0)
    share = 1 - momentum ** len(batches)
    return mean / share, var / share


SHARE, RETURN = "momentum ** len(batches)", "return mean / share, var / share"
HALVES = {"mean": 0.5, "var": 0.5}
SWAPPED = "mean = (1 - momentum) * mean + momentum * x.mean(0)\n"
SWAPPED += "var = (1 - momentum) * var + momentum * x.var(0)"
BLEND = "mean = momentum * mean + (1 - momentum) * x.mean(0)\n"
BLEND += "var = momentum * var + (1 - momentum) * x.var(0)"
BEGIN = "mean, var = np.zeros(batches.shape[2]), np.zeros(batches.shape[2])"
STARTUP = Right(corrected_statistics, says=sentences("ps1", "startup"), mistakes=[
    M("sample-variance", "x.var(0)", "x.var(0, ddof=1)"),
    M("one-pass-variance"),
    M("input-overwritten"),
    *alone(M("not-corrected", "mean / share", "mean", "var / share", "var"),
           "mean", "var"),
    M("last-only", RETURN, "return x.mean(0), x.var(0)"),
    M("mean-of-means", RETURN, "return batches.mean((0, 1)), batches.var(1).mean(0)"),
    M("power-off", SHARE, "momentum ** (len(batches) + 1)"),
    M("power-off-N", SHARE, "momentum ** batches.shape[1]", of="power-off"),
    M("swapped-weights", BEGIN, f"momentum = 1 - momentum\n{BEGIN}"),
    M("swapped-weights-half", BLEND, SWAPPED, of="swapped-weights"),
    M("momentum-fixed", BEGIN, f"momentum = 0.9\n{BEGIN}"),
])  # fmt: skip


def startup(rng: Rng) -> Question:
    """Question 4: running statistics with the start corrected."""

    def call(t: int, n: int, d: int, momentum: float, offset: float = 0.0) -> tuple:
        batches = np.stack([batch(rng, n, d) for _ in range(t)]) + offset
        return "corrected_statistics", batches, momentum

    def averages(category: str, points: float, call: tuple, tol: float = 1e-6,
                 weak: tuple[str, ...] = ()) -> Check:  # fmt: skip
        places = {"mean": 0, "var": 1}
        proofs = shared.one_pass(STARTUP, call, 1, {"var": 1}) if weak else ()
        return STARTUP.check(category, points, [call], places, tol, shares=HALVES,
                             whatever={"var": weak}, proofs=proofs)  # fmt: skip

    weak = ("one-pass-variance",)
    return STARTUP.question("ps1.q4", [
        averages("values", 1.75, call(4, 5, 3, 0.9)),
        averages("momentum", 0.75, call(3, 4, 5, rng.uniform(0.5, 0.8))),
        averages("large mean", 0.25, call(3, 6, 3, 0.9, shared.LARGE_MEAN), BASIC,
                 weak),
        STARTUP.check("no mutation", 0.25, [call(3, 4, 3, 0.8)], {"batches": "arg0"},
                      0.0, whatever=["input-overwritten"]),
    ])  # fmt: skip


VARIANTS = {
    "ghost": ghost,
    "weighted": weighted,
    "clipped": clipped,
    "startup": startup,
}


def questions(rng: Rng, variant: str) -> list[Question]:
    """Draw the questions of the set, with the term's variant."""
    return [train(rng), running(rng), evaluation(rng), VARIANTS[variant](rng)]
