"""Problem set 3: tests that students write, and bugs that they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bncheck.calls import Call, unpack
from bncheck.form import ALMOST, CORRECT, NOT_YET, NOTHING_YET, NoAnswerError, Question
from coursework.grader import keys
from coursework.grader.client import Client as Worker
from coursework.grader.client import pack_reply
from coursework.questions import references as ref

Rng = np.random.Generator
MUTANTS, STRATA = 12, {"easy": 2, "middle": 6, "hard": 4}
ASKS = 20_000  # calls of one implementation by all tests
LARGEST, BUDGET = 20_000, 5_000_000  # numbers in one argument, and in all of them

LISTINGS = [
    "eps-outside-root",
    "eval-batch-stats",
    "frozen-but-updating",
    "input-overwritten",
    "last-batch-kept",
    "mean-not-sum",
    "mean-path-missing",
    "momentum-swapped",
    "one-pass-variance",
    "sample-variance",
    "stats-over-features",
    "stats-updated-in-test",
    "std-not-var-stored",
    "train-mode-at-test",
]

# Place, and how many simple tests miss it: see `tests/coursework/test_tests.py`.
POOL = {
    "easy": {
        "stats-over-features": "the training output",
        "stats-over-all": "the training output",
        "variance-not-root": "the training output",
        "not-centred": "the training output",
        "sum-not-variance": "the training output",
        "no-gamma": "the training output",
        "statistics-constant": "the gradients",
        "never-written": "the running statistics",
    },
    "middle": {
        "shift-before-scale": "the training output",
        "sample-variance": "the training output",
        "no-beta": "the training output",
        "momentum-swapped": "the running statistics",
        "last-batch-kept": "the running statistics",
        "std-not-var-stored": "the running statistics",
        "var-never-written": "the running statistics",
        "weights-not-one": "the running statistics",
        "eval-batch-stats": "test mode",
        "test:variance-not-root": "test mode",
        "test:no-beta": "test mode",
        "test:not-centred": "test mode",
        "mean-path-missing": "the gradients",
        "variance-path-missing": "the gradients",
        "variance-half": "the gradients",
        "dgamma-mean": "the gradients",
        "dbeta-mean": "the gradients",
        "dgamma-uses-x": "the gradients",
        "no-gamma-in-dx": "the gradients",
        "dgamma-no-dout": "the gradients",
        "start-ignored": "the running statistics",
    },
    "hard": {
        "eps-outside-root": "the training output",
        "eps-fixed": "the training output",
        "one-pass-variance": "the training output",
        "eps-stored": "the running statistics",
        "stored:sample-variance": "the running statistics",
        "momentum-fixed": "the running statistics",
        "test:eps-outside-root": "test mode",
        "test:no-eps": "test mode",
        "stats-updated-in-test": "side effects",
        "input-overwritten": "side effects",
        "dout-overwritten": "side effects",
        "cache-overwritten": "side effects",
        "cache-shared": "side effects",
        "no-eps-in-dx": "the gradients",
    },
}
Pair = tuple[Callable, Callable]
UNNAMED = "a test that was made while the tests ran"


def questions(rng: Rng, variant: str) -> list[Question]:
    """Return the two questions; they are judged by `judge_tests` and `judge_names`."""
    return [
        Question(
            "ps3.q1", "Tests that find bugs", 10.0, ("test_*",), (), {}, kind="tests"
        ),
        Question("ps3.q2", "Name the bug", 3.0, ("names",), (), {}, kind="names"),
    ]


def draw_listings(key: bytes) -> list[str]:
    """Draw the term's three listings, in the order a, b, c."""
    return [
        str(n) for n in keys.rng(key, "listings").choice(LISTINGS, 3, replace=False)
    ]


def draw_mutants(rng: Rng) -> list[tuple[str, str]]:
    """Draw a student's mutants: name and place, of each stratum its number."""
    drawn = []
    for stratum, count in STRATA.items():
        names = sorted(POOL[stratum])
        chosen = rng.choice(names, count, replace=False)
        drawn += [(str(n), POOL[stratum][str(n)]) for n in chosen]
    return [drawn[i] for i in rng.permutation(len(drawn))]


# --- implementations ------------------------------------------------------------------


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


def implementation(bug: str = "") -> Pair:
    """Return forward and backward with a mistake in them, or right ones.

    Parameters
    ----------
    bug : str
        A name of `POOL`, or nothing.

    Returns
    -------
    forward, backward : callable
        With the signatures of problem sets 1 and 2.
    """
    shared: list[Any] = []

    def forward(x: Any, gamma: Any, beta: Any, bn_param: dict) -> tuple[Any, Any]:
        eps = bn_param.get("eps", 1e-5)
        mean = bn_param.get("running_mean", np.zeros(x.shape[1]))
        var = bn_param.get("running_var", np.zeros(x.shape[1]))
        testing = bn_param["mode"] == "test"
        if not testing or bug == "stats-updated-in-test":
            momentum = bn_param.get("momentum", 0.9)
            name = bug.removeprefix("stored:")
            stored = running_statistics([x], momentum, eps, (mean, var), name)
            bn_param["running_mean"], bn_param["running_var"] = stored
        if testing and bug != "eval-batch-stats":
            recipe = ref.FORWARD_BUGS.get(bug.removeprefix("test:"), ref.RIGHT)
            recipe = recipe if bug.startswith("test:") else ref.RIGHT
            return ref.evaluate(x, gamma, beta, mean, var, eps, recipe), None
        recipe = ref.FORWARD_BUGS.get(bug, ref.RIGHT)
        out = ref.forward(x, gamma, beta, eps, recipe)
        if bug == "one-pass-variance":
            spread = np.abs((x * x).mean(0) - x.mean(0) ** 2)
            out = gamma * (x - x.mean(0)) / np.sqrt(spread + eps) + beta
        cache = [x.copy(), np.array(gamma), np.array(beta), eps]
        if bug == "input-overwritten":
            x -= x.mean(0)
        shared[:] = cache
        return out, cache

    def backward(dout: Any, cache: Any) -> tuple[Any, Any, Any]:
        x, gamma, beta, eps = shared if bug == "cache-shared" else cache
        result = ref.backward(dout, x, gamma, eps, bug, beta)
        if bug == "dout-overwritten":
            dout *= gamma
        if bug == "cache-overwritten":
            cache[1] = gamma * gamma
        return result

    return forward, backward


def by_loops() -> Pair:
    """Return a right implementation written with a loop over the features."""

    def forward(x: Any, gamma: Any, beta: Any, bn_param: dict) -> tuple[Any, Any]:
        eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
        n, d = x.shape
        mean = np.array(bn_param.get("running_mean", np.zeros(d)), float)
        var = np.array(bn_param.get("running_var", np.zeros(d)), float)
        out, x_hat, roots = np.empty((n, d)), np.empty((n, d)), np.empty(d)
        for j in range(d):
            m, v = mean[j], var[j]
            if bn_param["mode"] == "train":
                m = sum(x[:, j]) / n
                v = sum((x[i, j] - m) ** 2 for i in range(n)) / n
                mean[j] += (1 - momentum) * (m - mean[j])
                var[j] += (1 - momentum) * (v - var[j])
            roots[j] = (v + eps) ** 0.5
            x_hat[:, j] = (x[:, j] - m) / roots[j]
            out[:, j] = gamma[j] * x_hat[:, j] + beta[j]
        if bn_param["mode"] == "train":
            bn_param["running_mean"], bn_param["running_var"] = mean, var
        return out, (x_hat, roots, gamma)

    def backward(dout: Any, cache: Any) -> tuple[Any, Any, Any]:
        x_hat, roots, gamma = cache
        n, d = dout.shape
        dx = np.empty((n, d))
        for j in range(d):
            a, b = dout[:, j].mean(), (dout[:, j] * x_hat[:, j]).mean()
            dx[:, j] = gamma[j] / roots[j] * (dout[:, j] - a - x_hat[:, j] * b)
        return dx, (dout * x_hat).sum(0), dout.sum(0)

    return forward, backward


def by_matrices() -> Pair:
    """Return a right implementation written with centring matrices and einsum."""

    def forward(x: Any, gamma: Any, beta: Any, bn_param: dict) -> tuple[Any, Any]:
        eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
        n, d = x.shape
        zeros = np.zeros(d, x.dtype)
        old = [bn_param.get(k, zeros) for k in ("running_mean", "running_var")]
        if bn_param["mode"] == "test":
            scale = gamma / np.sqrt(old[1] + eps)
            return x * scale + (beta - old[0] * scale), None
        mean = np.einsum("nd->d", x) / n
        away = x - mean[None]
        var = np.einsum("nd,nd->d", away, away) / n
        for name, before, now in zip(
            ("running_mean", "running_var"), old, (mean, var), strict=True
        ):
            bn_param[name] = before * momentum + now * (1 - momentum)
        inverse = 1 / np.sqrt(var + eps)
        x_hat = away * inverse
        return x_hat * gamma + beta, {"x_hat": x_hat, "scale": gamma * inverse}

    def backward(dout: Any, cache: Any) -> tuple[Any, Any, Any]:
        x_hat, n = cache["x_hat"], len(dout)
        dgamma, dbeta = np.einsum("nd,nd->d", dout, x_hat), dout.sum(axis=0)
        return cache["scale"] / n * (n * dout - dbeta - x_hat * dgamma), dgamma, dbeta

    return forward, backward


def right_ones() -> list[Pair]:
    """Return the three right implementations."""
    return [implementation(), by_loops(), by_matrices()]


# --- the tests of a student -----------------------------------------------------------


class Server:
    """Runs one implementation for the tests in a worker; caches stay here."""

    def __init__(self, pair: Pair) -> None:
        self.pair, self.caches, self.asks, self.numbers = pair, [], 0, 0

    def __call__(self, message: dict) -> dict:
        """Answer one question of a worker: run forward or backward."""
        self.asks += 1
        packed = message.get("args")
        if not isinstance(packed, list):
            raise ValueError("expected a list of arguments")
        args = [unpack(a) for a in packed]
        self.numbers += sum(np.size(a) for a in args)
        if self.asks > ASKS or self.numbers > BUDGET:
            return pack_reply([], args, "Too many or too large calls of the function")
        backward = message["ask"] == "backward"
        given = list(args)
        try:
            _refuse_odd(backward, args)
            if backward:
                given[1] = self.caches[given[1]["token"]]
            with np.errstate(all="ignore"):
                result = list(self.pair[backward](*given))
        except Exception as error:  # what a student's test asks for may be anything
            return pack_reply([], args, f"{type(error).__name__} in the function")
        if not backward:
            self.caches.append(result[1])
            result[1] = {"token": len(self.caches) - 1}
            args[3:4] = [given[3]]
        return pack_reply(result, args)


def _refuse_odd(backward: bool, args: list) -> None:
    """Refuse what cannot be right arguments, before anything is computed from them."""
    first = args[0]
    if not isinstance(first, np.ndarray) or first.ndim != 2 or first.size > LARGEST:
        raise TypeError(f"expected an array (N, D) of at most {LARGEST} numbers")
    if backward:
        return
    others = [*args[1:3], *(v for v in args[3].values() if isinstance(v, np.ndarray))]
    if any(np.size(a) not in (1, first.shape[1]) or np.ndim(a) > 2 for a in others):
        raise ValueError("expected arrays of shape (D,)")


def _ask(worker: Worker, pair: Pair) -> dict[str, tuple[str, str]]:
    """Run a student's tests on a pair; return each test's verdict."""
    message = {"tests": "test_", "remotes": ["forward", "backward"]}
    reply = worker.ask(message, Server(pair))
    verdicts = reply.get("verdicts")
    if not isinstance(verdicts, dict):
        raise NoAnswerError("the worker's answer was not of the agreed form")
    found = {}
    for name, verdict in verdicts.items():
        if not (isinstance(verdict, list) and len(verdict) == 2):
            raise NoAnswerError("the worker's answer was not of the agreed form")
        known = name if name in worker.words else UNNAMED
        found[known] = (str(verdict[0]), worker.told(verdict[1]) if verdict[1] else "")
    return found


def judge_tests(
    question: Question, worker: Worker, submission: Any, key: bytes, paid: dict
) -> dict[str, Any]:
    """Grade tests by the share of mutants that they kill without a false alarm.

    Parameters
    ----------
    question : Question
        Question 1.
    worker : Worker
        Holds the student's tests.
    submission : Submission
        For the student's name, which seeds the draw.
    key : bytes
        The secret key.
    paid : dict
        Not used here.

    Returns
    -------
    result : dict
        As `bncheck.judge.judge` returns it.
    """
    rng = keys.rng(key, "mutants", "ps3", submission.student)
    mutants = draw_mutants(rng)
    findings: list[tuple[str, float, str]] = []
    dropped: set[str] = set()
    names: set[str] = set()
    try:
        for pair in right_ones():
            for name, (verdict, text) in _ask(worker, pair).items():
                names.add(name)
                if verdict != "ok" and name not in dropped:
                    dropped.add(name)
                    findings.append(("false alarm", 0.0, _alarm(name, verdict, text)))
        if not names:
            said = "There is no function test_... yet."
            return _result(question, 0.0, NOTHING_YET, [("", 0.0, said)], [])
        killed, missed = [], []
        for bug, place in mutants:
            verdicts = _ask(worker, implementation(bug))
            kills = [n for n, (v, _) in verdicts.items() if v != "ok"]
            hit = any(n not in dropped for n in kills)
            (killed if hit else missed).append((bug, place))
    except NoAnswerError as error:
        return _result(question, 0.0, NOT_YET, [("tests", -10.0, str(error))], [])
    share = len(killed) / len(mutants)
    for _, place in missed:
        text = f"A mutant with a mistake in {place} survived all your tests."
        findings.append(("kill share", -question.points / len(mutants), text))
    kept = len(names - dropped)
    score = question.points * share if kept else 0.0
    state = CORRECT if not findings else ALMOST if share >= 0.5 else NOT_YET
    passed = [f"{len(killed)} of {len(mutants)} mutants killed", f"{kept} tests count"]
    result = _result(question, score, state, findings, passed)
    result["mutants"] = {"killed": sorted(b for b, _ in killed),
                         "missed": sorted(b for b, _ in missed)}  # fmt: skip
    return result


def _alarm(name: str, verdict: str, text: str) -> str:
    if verdict == "raised":
        return f"{name} stops on a right implementation, with {text}: it was dropped."
    return (
        f"{name} fails on a right implementation: it was dropped. Look at its tolerance, "
        "and at whether it asks for more than is promised."
    )


def judge_names(
    question: Question, worker: Worker, submission: Any, key: bytes, paid: dict
) -> dict[str, Any]:
    """Grade the names of the bugs in the term's three listings; as `judge_tests`."""
    try:
        (outcome,) = worker.run([Call("=names", ())])
    except NoAnswerError as error:
        return _result(question, 0.0, NOT_YET, [("names", -3.0, str(error))], [])
    given = outcome.outputs.get(0)
    if not isinstance(given, dict) or all(v is None for v in given.values()):
        said = 'Fill in names = {"a": ..., "b": ..., "c": ...}.'
        return _result(question, 0.0, NOTHING_YET, [("", 0.0, said)], [])
    findings, passed = [], []
    for letter, right in zip("abc", draw_listings(key), strict=True):
        answer = given.get(letter)
        if isinstance(answer, str) and answer.strip().strip("`").lower() == right:
            passed.append(f"listing {letter}")
        else:
            text = f"Listing {letter} has another bug. Run it by hand on three numbers."
            findings.append((f"listing {letter}", -1.0, text))
    score = float(len(passed))
    state = CORRECT if not findings else ALMOST if score >= 2 else NOT_YET
    return _result(question, score, state, findings, passed)


def _result(
    question: Question, score: float, state: str, findings: list, passed: list[str]
) -> dict[str, Any]:
    names = ("category", "points", "sentence")
    return {
        "key": question.key,
        "title": question.title,
        "points": question.points,
        "score": round(score, 2),
        "state": state,
        "findings": [
            {**dict(zip(names, f, strict=True)), "bug": None} for f in findings
        ],
        "passed": passed,
    }
