"""Problem set 1: the forward pass, running statistics, evaluation, a term variant."""

from __future__ import annotations

import numpy as np

from bncheck.calls import Call, Handle
from bncheck.judge import Check, Expect, OwnStatistics, Question
from coursework.grader import references as ref
from coursework.grader.questions import sentences as say
from coursework.grader.questions.build import (
    ANY,
    BASIC,
    LARGE_MEAN,
    LOOSE,
    batch,
    default_eps,
    expect_out,
    floor_between,
    forward_wrong,
    parameters,
    unchanged,
    wrong,
)

FORWARD = "batchnorm_forward"
Rng = np.random.Generator


def questions(rng: Rng, variant: str) -> list[Question]:
    """Draw the questions of the set.

    Parameters
    ----------
    rng : Generator
        Where the numbers come from.
    variant : str
        The term's variant.

    Returns
    -------
    questions : list of Question
        In order.
    """
    return [train(rng), running(rng), evaluation(rng), VARIANTS[variant](rng)]


# --- q1: training mode ----------------------------------------------------------------


def train(rng: Rng) -> Question:
    """Question 1: the output in training mode."""
    checks = (
        _one(rng, "values", 1.25, 7, 4, 1e-5, BASIC),
        _one(rng, "eps", 0.5, 6, 5, rng.uniform(0.2, 0.6), 1e-6, "With a large eps"),
        _one(
            rng, "N and D differ", 0.25, 3, 5, None, BASIC, "With 3 rows of 5 features"
        ),
        _constant(rng),
        _large_mean(rng),
        _untouched(rng),
        _float32(rng),
    )
    return Question(
        "ps1.q1", "Forward pass in training mode", 3.0, (FORWARD,), checks,
        say.FORWARD, "forward",
    )  # fmt: skip


def _one(
    rng: Rng,
    category: str,
    points: float,
    n: int,
    d: int,
    eps: float | None,
    tol: float,
    when: str = "",
) -> Check:
    spread = 0.6 if eps is None else 2.0  # small: another default of eps is to show
    x, (gamma, beta) = batch(rng, n, d, spread), parameters(rng, d)
    param = {"mode": "train"} if eps is None else {"mode": "train", "eps": eps}
    expect = expect_out(0, x, gamma, beta, eps or 1e-5, tol)
    if eps is None:
        expect.wrong.update(default_eps(ref.forward, x, gamma, beta))
    return Check(
        category,
        points,
        (Call(FORWARD, (x, gamma, beta, param)),),
        (expect,),
        when=when,
    )


def _constant(rng: Rng) -> Check:
    x, (gamma, beta) = batch(rng, 6, 4), parameters(rng, 4)
    x[:, 2] = 2.5
    call = Call(FORWARD, (x, gamma, beta, {"mode": "train", "eps": 1e-5}))
    expect = expect_out(0, x, gamma, beta, 1e-5, BASIC)
    filled = expect.value.copy()
    filled[:, 2] = 0.0
    others = {"zero-filled": filled, "zero-filled#all": np.zeros_like(x)}
    expect.wrong.update(others)
    return Check("constant feature", 0.25, (call,), (expect,),
                 when="With a feature that is constant over the batch")  # fmt: skip


def _large_mean(rng: Rng) -> Check:
    x, (gamma, beta) = batch(rng, 8, 3) + LARGE_MEAN, parameters(rng, 3)
    call = Call(FORWARD, (x, gamma, beta, {"mode": "train"}))
    out = ref.forward(x, gamma, beta)
    others = forward_wrong(out, x, gamma, beta) | default_eps(
        ref.forward, x, gamma, beta
    )
    single = x.astype(np.float32)
    moved = np.asarray(single - single.mean(0), np.float64)
    root = np.sqrt((moved * moved).mean(0) + 1e-5)
    others |= {
        "single-precision": gamma * moved / root + beta,
        "single-precision#x": ref.forward(single, gamma, beta),
        "one-pass-variance": ANY,
    }
    expect = Expect(0, 0, out, "out", LOOSE * 10, wrong=others)
    return Check("large mean", 0.25, (call,), (expect,))


def _untouched(rng: Rng) -> Check:
    x, (gamma, beta) = batch(rng, 5, 3), parameters(rng, 3)
    call = Call(FORWARD, (x, gamma, beta, {"mode": "train"}), after=(0, 1, 2))
    bug, says = "input-overwritten", "Your function changes one of its inputs."
    expects = (
        unchanged(0, 0, x, "x", bug, says),
        unchanged(0, 1, gamma, "gamma", bug, says),
        unchanged(0, 2, beta, "beta", bug, says),
    )
    return Check("no mutation", 0.25, (call,), expects)


def _float32(rng: Rng) -> Check:
    x, (gamma, beta) = batch(rng, 6, 3), parameters(rng, 3)
    x, gamma, beta = (a.astype(np.float32) for a in (x, gamma, beta))
    call = Call(FORWARD, (x, gamma, beta, {"mode": "train"}))
    expect = expect_out(0, x, gamma, beta, 1e-5, BASIC)
    expect.wrong.update(default_eps(ref.forward, x, gamma, beta))
    return Check("float32", 0.25, (call,), (expect,), when="With float32 arrays")


# --- q2: running statistics -----------------------------------------------------------


def running(rng: Rng) -> Question:
    """Question 2: what training mode leaves in bn_param."""
    checks = (_first_step(rng), _several_steps(rng), _other_entries(rng))
    return Question(
        "ps1.q2", "Running statistics", 2.0, (FORWARD,), checks, say.RUNNING,
        fatal=("never-written",),
    )  # fmt: skip


def running_statistics(
    batches: list[np.ndarray],
    momentum: float,
    eps: float,
    start: tuple[np.ndarray, np.ndarray],
    bug: str = "",
) -> tuple[np.ndarray, np.ndarray]:
    """Return the running statistics after some batches, as a mistake leaves them.

    Parameters
    ----------
    batches : list of ndarray of shape (N, D)
        One after the other.
    momentum, eps : float
        As in ``bn_param``.
    start : tuple of ndarray of shape (D,)
        Mean and variance before.
    bug : str
        A key of ``sentences.RUNNING`` or of `references.FORWARD_BUGS`, or nothing.

    Returns
    -------
    mean, var : ndarray of shape (D,)
        Afterwards.
    """
    mean, var = start
    root, _, form = bug.partition("#")
    recipe = ref.FORWARD_BUGS.get(root, ref.RIGHT)
    momentum = {"momentum-fixed": 0.9}.get(bug, momentum)
    if root == "default-momentum":
        momentum = float(form)
    starts = bug == "starts-at-batch" and not mean.any()
    old, new = momentum, 1 - momentum
    if bug == "momentum-swapped":
        old, new = new, old
    if bug == "weights-not-one":
        new = 1.0
    if bug == "last-batch-kept":
        old, new = 0.0, 1.0
    if bug == "starts-at-one":
        var = np.ones_like(var) if not var.any() else var
    for k, x in enumerate(batches):
        if bug == "plain-average":
            old, new = k / (k + 1), 1 / (k + 1)
        a, b = (1.0, 0.0) if starts and not k else (new, old)
        if bug == "start-ignored":
            mean, var = np.zeros_like(mean), np.zeros_like(var)
        mu, v = ref.statistics(x, recipe)
        v = np.sqrt(v) if bug == "std-not-var-stored" else v
        v = np.sqrt(v + eps) if bug == "std-not-var-stored#eps" else v
        v = v + eps if bug == "eps-stored" else v
        if form == "column":
            mu, v = mu[:, None], v[:, None]
        blends = mean.shape == mu.shape or form in ("column", "one")
        if bug != "mean-never-written":
            mean = b * mean + a * mu if blends else a * mu
        if bug != "var-never-written":
            var = b * var + a * v if blends else a * v
        if bug == "mean-var-swapped#each-step":
            mean, var = var, mean
        if bug == "mean-var-swapped":
            mean, var = var, mean
    return start if bug == "never-written" else (mean, var)


DEFAULTS = [f"default-momentum#{value}" for value in (0.1, 0.5, 0.99)]


def _expect_statistics(
    call: int,
    batches: list[np.ndarray],
    momentum: float,
    eps: float,
    start: tuple[np.ndarray, np.ndarray],
) -> tuple[Expect, Expect]:
    right = running_statistics(batches, momentum, eps, start)
    names = [
        b for b in say.RUNNING if b not in ("parameters-changed", "default-momentum")
    ]
    names += [
        "stats-over-features#column",
        "stats-over-all#one",
        "mean-var-swapped#each-step",
    ]
    names += [] if start[0].any() else DEFAULTS
    made = {b: running_statistics(batches, momentum, eps, start, b) for b in names}
    if not start[0].any():
        made |= {
            "never-written#absent": (None, None),
            "mean-never-written#absent": (None, right[1]),
            "var-never-written#absent": (right[0], None),
        }
    return tuple(
        Expect(
            call, f"arg3.{label}", right[i], label, 1e-6,
            wrong(right[i], {b: values[i] for b, values in made.items()}),
        )
        for i, label in enumerate(("running_mean", "running_var"))
    )  # fmt: skip


def _first_step(rng: Rng) -> Check:
    x, (gamma, beta) = batch(rng, 6, 4), parameters(rng, 4)
    call = Call(FORWARD, (x, gamma, beta, {"mode": "train"}), after=(3,))
    zeros = (np.zeros(4), np.zeros(4))
    expects = _expect_statistics(0, [x], 0.9, 1e-5, zeros)
    own = OwnStatistics(0.9, 1e-5, *zeros)
    return Check("values", 1.0, (call,), expects, own)


def _several_steps(rng: Rng) -> Check:
    batches = [batch(rng, 5, 3) for _ in range(3)]
    momentum, eps = rng.uniform(0.55, 0.8), rng.uniform(0.2, 0.5)
    start = (rng.normal(size=3), rng.uniform(0.5, 2, 3))
    gamma, beta = parameters(rng, 3)
    param = {"mode": "train", "momentum": momentum, "eps": eps}
    param |= {"running_mean": start[0], "running_var": start[1]}
    calls = [Call(FORWARD, (batches[0], gamma, beta, param), after=(3,))]
    for k in (1, 2):
        told = {"mode": "train", "momentum": momentum, "eps": eps}
        args = (batches[k], gamma, beta, {"**": Handle(k - 1, "arg3"), **told})
        calls.append(Call(FORWARD, args, after=(3,)))
    expects = _expect_statistics(2, batches, momentum, eps, start)
    return Check("momentum", 0.75, tuple(calls), expects,
                 OwnStatistics(momentum, eps, *start),
                 when="After three batches with another momentum")  # fmt: skip


def _other_entries(rng: Rng) -> Check:
    x, (gamma, beta) = batch(rng, 5, 3), parameters(rng, 3)
    param = {"mode": "train", "momentum": 0.7, "eps": 0.25}
    call = Call(FORWARD, (x, gamma, beta, param), after=(3,))
    expects = tuple(
        Expect(0, f"arg3.{name}", value, name, 0.0, {"parameters-changed": ANY})
        for name, value in param.items()
    )
    return Check("state unchanged", 0.25, (call,), expects)


# --- q3: test mode --------------------------------------------------------------------


def evaluation(rng: Rng) -> Question:
    """Question 3: the output in test mode."""
    checks = (
        _test(rng, "values", 0.75, 6, 4, 1e-5, BASIC),
        _test(rng, "eps", 0.5, 5, 3, rng.uniform(0.2, 0.6), 1e-6,
              "In test mode, with a large eps"),
        _test(rng, "evaluation independence", 0.25, 1, 3, None, BASIC,
              "In test mode, for a batch of one row"),
        _state(rng),
    )  # fmt: skip
    return Question(
        "ps1.q3", "Evaluation mode", 2.0, (FORWARD,), checks, say.EVALUATION
    )


def _population(rng: Rng, d: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=d) * 2, rng.uniform(0.3, 5, d)


def _test_wrong(right: np.ndarray, args: tuple, momentum: float) -> dict:
    x, gamma, beta, mean, var, eps = args
    made = {b: ref.evaluate(*args, recipe=r) for b, r in ref.EVAL_BUGS.items()}
    mu, v = x.mean(0), x.var(0)
    old, new = momentum, 1 - momentum
    n = len(x)
    large = n / (n - 1) if n > 1 else np.inf
    made |= {
        "no-affine": ref.evaluate(x, 1.0, 0.0, mean, var, eps),
        "eval-batch-stats": ref.forward(x, gamma, beta, eps),
        "batch-mean": ref.evaluate(x, gamma, beta, mu, var, eps),
        "batch-variance": ref.evaluate(x, gamma, beta, mean, v, eps),
        "unbiased-in-test": ref.evaluate(
            x, gamma, beta, mean, var * n / max(n - 1, 1), eps
        ),
        "unbiased-in-test#one-row": ref.evaluate(
            x, gamma, beta, mean, var * large, eps
        ),
        "std-not-var-stored": ref.evaluate(x, gamma, beta, mean, var**2, eps=0.0),
        "updated-before-use": ref.evaluate(
            x, gamma, beta, old * mean + new * mu, old * var + new * v, eps
        ),
    }
    return wrong(right, made)


def _test(
    rng: Rng,
    category: str,
    points: float,
    n: int,
    d: int,
    eps: float | None,
    tol: float,
    when: str = "In test mode",
) -> Check:
    x, (gamma, beta), (mean, var) = (
        batch(rng, 6, d),
        parameters(rng, d),
        _population(rng, d),
    )
    x = x[:n]
    param = {"mode": "test", "momentum": 0.8, "running_mean": mean, "running_var": var}
    if eps is not None:
        param["eps"] = eps
    args = (x, gamma, beta, mean, var, eps or 1e-5)
    out = ref.evaluate(*args)
    expect = Expect(0, 0, out, "out", tol, _test_wrong(out, args, 0.8))
    if eps is None:
        expect.wrong.update(default_eps(ref.evaluate, *args[:-1]))
    return Check(
        category,
        points,
        (Call(FORWARD, (x, gamma, beta, param)),),
        (expect,),
        when=when,
    )


def _state(rng: Rng) -> Check:
    x, (gamma, beta), (mean, var) = (
        batch(rng, 5, 3),
        parameters(rng, 3),
        _population(rng, 3),
    )
    param = {"mode": "test", "running_mean": mean, "running_var": var}
    call = Call(FORWARD, (x, gamma, beta, param), after=(0, 3))
    # Code that updates, or takes the training branch, in test mode is one mistake.
    names = ("stats-updated-in-test", "updated-before-use", "eval-batch-stats")
    updated = dict.fromkeys(names, ANY)
    expects = (
        Expect(0, "arg3.running_mean", mean, "running_mean", 0.0, updated),
        Expect(0, "arg3.running_var", var, "running_var", 0.0, updated),
        unchanged(0, 0, x, "x", "input-overwritten", "Test mode changes x."),
    )
    return Check("state unchanged", 0.5, (call,), expects)


# --- q4: the term variant -------------------------------------------------------------


def _variant(
    title: str, name: str, checks: list[Check], sentences: dict[str, str]
) -> Question:
    return Question("ps1.q4", title, 3.0, (name,), tuple(checks), sentences, "")


def _affine_checks(rng: Rng, name: str, make, draw) -> list[Check]:
    """Build the checks of a variant with the arguments (x, gamma, beta, eps, extra).

    ``make`` returns the right output and what mistakes give; ``draw`` an extra argument
    for a number of rows.
    """
    plan = (("values", 1.75, 12, 4, 1e-5, BASIC, ""),
            ("eps", 0.5, 12, 3, rng.uniform(0.2, 0.6), 1e-6, "With a large eps"),
            ("N and D differ", 0.25, 4, 5, 1e-5, BASIC, "With 4 rows of 5 features"),
            ("large mean", 0.25, 12, 3, 1e-5, LOOSE * 10, "With inputs near 100,000,000"),
            )  # fmt: skip
    checks = []
    for category, points, n, d, eps, tol, when in plan:
        x, (gamma, beta) = batch(rng, n, d), parameters(rng, d)
        x = x + LARGE_MEAN if category == "large mean" else x
        extra = draw(x)
        right, others = make(x, gamma, beta, eps, extra)
        if category == "large mean":
            others = others | {"one-pass-variance": ANY}
        expect = Expect(0, 0, right, "out", tol, wrong(right, others))
        call = Call(name, (x, gamma, beta, eps, extra))
        checks.append(Check(category, points, (call,), (expect,), when=when))
    x, (gamma, beta) = batch(rng, 12, 3), parameters(rng, 3)
    call = Call(name, (x, gamma, beta, 1e-3, draw(x)), after=(0,))
    expect = unchanged(0, 0, x, "x", "input-overwritten", "Your function changes x.")
    return [*checks, Check("no mutation", 0.25, (call,), (expect,))]


COMMON = {
    k: say.FORWARD[k]
    for k in ("eps-outside-root", "no-eps", "sample-variance", "variance-not-root",
              "eps-fixed", "eps-fixed#8", "no-affine", "one-pass-variance",
              "input-overwritten")
}  # fmt: skip


def ghost(rng: Rng) -> Question:
    """Question 4: ghost batches of k rows."""

    def make(x, gamma, beta, eps, k):
        def each(recipe: ref.Recipe) -> np.ndarray:
            parts = np.split(x, len(x) // k)
            return np.concatenate(
                [ref.forward(p, gamma, beta, eps, recipe) for p in parts]
            )

        others = {b: each(ref.FORWARD_BUGS[b]) for b in COMMON if b in ref.FORWARD_BUGS}
        others["k-is-number"] = ref.ghost(x, gamma, beta, eps, len(x) // k)
        others["whole-batch"] = ref.forward(x, gamma, beta, eps)
        order = np.argsort(np.arange(len(x)) % (len(x) // k), kind="stable")
        mixed = np.empty_like(x)
        mixed[order] = ref.ghost(x[order], gamma, beta, eps, k)
        others["strided-ghosts"] = mixed
        return each(ref.RIGHT), others

    sentences = COMMON | {
        "k-is-number": "You take k as the number of ghost batches. It is the number of rows in each.",
        "whole-batch": "You normalize the whole batch at once: each k consecutive rows have their own mean and variance here.",
        "strided-ghosts": "Your ghost batches take every (N/k)-th row. Take k consecutive rows.",
    }
    draw = lambda x: int(rng.choice([3, 4])) if len(x) == 12 else 2  # noqa: E731
    checks = _affine_checks(rng, "ghost_batchnorm", make, draw)
    return _variant("Ghost batches", "ghost_batchnorm", checks, sentences)


def weighted(rng: Rng) -> Question:
    """Question 4: weights of the rows."""

    def make(x, gamma, beta, eps, w):
        column = w[:, None]
        mu = (column * x).sum(0) / w.sum()
        var = (column * (x - mu) ** 2).sum(0) / w.sum()

        def affine(m: np.ndarray, root: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):
                return gamma * (x - m) / root + beta

        others = {
            "weights-ignored": ref.forward(x, gamma, beta, eps),
            "not-normalized": affine((column * x).mean(0), np.sqrt(
                (column * (x - (column * x).mean(0)) ** 2).mean(0) + eps)),
            "plain-variance": affine(mu, np.sqrt(x.var(0) + eps)),
            "around-plain-mean": affine(mu, np.sqrt(
                (column * (x - x.mean(0)) ** 2).sum(0) / w.sum() + eps)),
            "plain-mean": affine(x.mean(0), np.sqrt(
                (column * (x - x.mean(0)) ** 2).sum(0) / w.sum() + eps)),
            "weights-squared": ref.weighted(x, gamma, beta, eps, w, 2),
            "weights-squared#by-sum": affine(mu, np.sqrt(
                ((column * (x - mu)) ** 2).sum(0) / w.sum() + eps)),
            "output-weighted": column * ref.weighted(x, gamma, beta, eps, w),
            "eps-outside-root": affine(mu, np.sqrt(var) + eps),
            "no-eps": affine(mu, np.sqrt(var)),
            "eps-fixed": affine(mu, np.sqrt(var + 1e-5)),
            "eps-fixed#8": affine(mu, np.sqrt(var + 1e-8)),
            "no-affine": (x - mu) / np.sqrt(var + eps),
            "variance-not-root": affine(mu, var + eps),
        }  # fmt: skip
        return affine(mu, np.sqrt(var + eps)), others

    def draw(x: np.ndarray) -> np.ndarray:
        w = rng.uniform(0.2, 3, len(x))
        w[0] = 0.0
        return w

    sentences = COMMON | {
        "weights-ignored": "The weights have no effect: they belong in the mean and in the variance.",
        "not-normalized": "You divide the weighted sums by N. Divide by the sum of the weights.",
        "plain-variance": "Your variance ignores the weights: weight each squared distance as the mean weights each value.",
        "around-plain-mean": "Your variance is taken around the plain mean. Take it around the weighted mean.",
        "plain-mean": "Your mean ignores the weights: it should be sum(w x) / sum(w).",
        "weights-squared": "The weights go squared into your variance. Use them once.",
        "output-weighted": "The output is multiplied by the weights. They belong in the statistics only; all rows are normalized.",
    }
    checks = _affine_checks(rng, "weighted_batchnorm", make, draw)
    return _variant("Weighted rows", "weighted_batchnorm", checks, sentences)


def clipped(rng: Rng) -> Question:
    """Question 4: a floor under the variance."""

    def make(x, gamma, beta, eps, floor):
        mu, var = x.mean(0), x.var(0)

        def affine(root: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):
                return gamma * (x - mu) / root + beta

        others = {
            "not-clipped": affine(np.sqrt(var + eps)),
            "clipped-from-above": affine(np.sqrt(np.minimum(var, floor) + eps)),
            "eps-before-clip": affine(np.sqrt(np.maximum(var + eps, floor))),
            "floor-added": affine(np.sqrt(var + floor + eps)),
            "std-clipped": affine(np.sqrt(np.maximum(np.sqrt(var), floor) ** 2 + eps)),
            "eps-outside-root": affine(np.sqrt(np.maximum(var, floor)) + eps),
            "no-eps": affine(np.sqrt(np.maximum(var, floor))),
            "eps-fixed": affine(np.sqrt(np.maximum(var, floor) + 1e-5)),
            "eps-fixed#8": affine(np.sqrt(np.maximum(var, floor) + 1e-8)),
            "no-affine": (x - mu) / np.sqrt(np.maximum(var, floor) + eps),
            "sample-variance": affine(np.sqrt(
                np.maximum(x.var(0, ddof=1), floor) + eps)),
            "variance-not-root": affine(np.maximum(var, floor) + eps),
        }  # fmt: skip
        return affine(np.sqrt(np.maximum(var, floor) + eps)), others

    sentences = COMMON | {
        "not-clipped": "Features with a small variance come out too large: the variance is never raised to floor.",
        "clipped-from-above": "You take the smaller of variance and floor. The variance must be at least floor: take the larger.",
        "eps-before-clip": "With a large eps your output differs where the floor holds: clip the variance first, then add eps.",
        "floor-added": "You add floor to the variance. Take the larger of the two.",
        "std-clipped": "You clip the standard deviation. Clip the variance.",
    }
    checks = _affine_checks(rng, "clipped_batchnorm", make, floor_between)
    return _variant(
        "A floor under the variance", "clipped_batchnorm", checks, sentences
    )


def startup(rng: Rng) -> Question:
    """Question 4: running statistics with the start corrected."""
    name = "corrected_statistics"
    checks = []
    plan = (
        ("values", 1.75, 4, 5, 3, 0.0, ""),
        ("momentum", 0.75, 3, 4, 5, 0.0, "With another momentum"),
        ("large mean", 0.25, 3, 6, 3, LARGE_MEAN, "With inputs near 100,000,000"),
    )
    for category, points, t, n, d, offset, when in plan:
        batches = np.stack([batch(rng, n, d) for _ in range(t)]) + offset
        momentum = rng.uniform(0.5, 0.8) if category == "momentum" else 0.9
        right = plain = ref.corrected_statistics(batches, momentum)
        fixed = ref.corrected_statistics(batches, 0.9)
        swapped = ref.corrected_statistics(batches, 1 - momentum)
        share = 1 - momentum**t
        half = (1 - (1 - momentum) ** t) / share  # swapped, with the right correction
        sample = n / (n - 1)
        others = (
            {"not-corrected": plain[0] * share,
             "last-only": batches[-1].mean(0), "mean-of-means": batches.mean((0, 1)),
             "power-off": plain[0] * share / (1 - momentum ** (t + 1)),
             "power-off#N": plain[0] * share / (1 - momentum**n),
             "swapped-weights": swapped[0], "swapped-weights#half": swapped[0] * half,
             "momentum-fixed": fixed[0]},
            {"not-corrected": plain[1] * share, "sample-variance": plain[1] * sample,
             "last-only": batches[-1].var(0), "mean-of-means": batches.var(1).mean(0),
             "power-off": plain[1] * share / (1 - momentum ** (t + 1)),
             "power-off#N": plain[1] * share / (1 - momentum**n),
             "swapped-weights": swapped[1], "swapped-weights#half": swapped[1] * half,
             "momentum-fixed": fixed[1]},
        )  # fmt: skip
        expects = [
            Expect(0, i, right[i], label, BASIC if offset else 1e-6,
                   wrong(right[i], others[i]) | ({"one-pass-variance": ANY} if offset and i else {}))
            for i, label in enumerate(("mean", "var"))
        ]  # fmt: skip
        call = Call(name, (batches, momentum), take=(0, 1))
        checks.append(Check(category, points, (call,), tuple(expects), when=when))
    batches = np.stack([batch(rng, 4, 3) for _ in range(3)])
    call = Call(name, (batches, 0.8), take=(0, 1), after=(0,))
    expect = unchanged(0, 0, batches, "batches", "input-overwritten", "It changes.")
    checks.append(Check("no mutation", 0.25, (call,), (expect,)))
    sentences = COMMON | {
        "not-corrected": "Your averages are too small by the factor 1 - momentum**T: they still lean towards the zeros that they start from. Divide by it.",
        "last-only": "You return the statistics of the last batch.",
        "mean-of-means": "You average the batches with equal weights. The last ones weigh more: each step multiplies the old average by momentum.",
        "power-off": "Your correction uses the wrong power of momentum: after T batches it is momentum**T.",
        "swapped-weights": "Your weights are the other way round: the old average keeps the weight momentum.",
        "momentum-fixed": "Changing momentum does not change your averages as it should: you use 0.9 in place of the momentum you are given.",
        "sample-variance": "Your variance is N/(N-1) times the expected one: divide by N.",
    }
    return _variant("Averages without a slow start", name, checks, sentences)


VARIANTS = {
    "ghost": ghost,
    "weighted": weighted,
    "clipped": clipped,
    "startup": startup,
}
