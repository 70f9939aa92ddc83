"""Exercises of chapter 17: ten patients, whose cause is told before the repair."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Mistake, Right
from bncheck.spec import mistake as M

SAYS = sentences("ch17")


def causes(right: str, letters: str = "abcd") -> list[Mistake]:
    """Return the other letters as mistakes that cost half: the repair may be right."""
    return [
        M(f"cause-{letter}", f'cause = "{right}"', f'cause = "{letter}"', near=True)
        for letter in letters
        if letter != right
    ]


def mended_1(rows, size):
    """Normalize the rows alone."""
    cause = "b"
    mean = rows.mean(axis=0)
    var = rows.var(axis=0)
    return cause, (rows - mean) / np.sqrt(var + 1e-5)


ROWS = Right(mended_1, says=SAYS["17.1"], mistakes=[
    *causes("b"),
    M("zeros-stay", "rows.mean(axis=0)", "rows.sum(axis=0) / size",
      "rows.var(axis=0)", "(rows**2).sum(axis=0) / size - mean**2"),
    M("zeros-in-variance",
      "rows.var(axis=0)",
      "(rows**2).sum(axis=0) / size - (rows.sum(axis=0) / size)**2"),
    M("evaluation", "(rows - mean) / np.sqrt(var + 1e-5)", "rows / np.sqrt(1 + 1e-5)"),
])  # fmt: skip


def mended_2(weight, bias, gamma, beta, mean, var):
    """Fold a norm into the layer behind it."""
    cause = "d"
    scale = gamma / np.sqrt(var + 1e-5)
    shift = beta - scale * mean
    return cause, weight * scale, bias + weight @ shift


FOLD = Right(mended_2, says=SAYS["17.2"], mistakes=[
    *causes("d"),
    M("scaled-twice", "bias + weight @ shift", "bias + (weight * scale) @ shift"),
    M("mean-not-scaled", "beta - scale * mean", "beta - mean"),
    M("no-bias", "bias + weight @ shift", "weight @ shift"),
])  # fmt: skip


def mended_3(x, mean, var):
    """Return what a norm in evaluation mode gives, and its mean."""
    cause = "a"
    stored = mean.copy()
    targets = (x - mean) / np.sqrt(var + 1e-5)
    return cause, targets, stored


TEACHER = Right(mended_3, says=SAYS["17.3"], mistakes=[
    *causes("a"),
    M("still-training",
      "(x - mean) / np.sqrt(var + 1e-5)",
      "(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)",
      "mean.copy()", "0.729 * mean + 0.271 * x.mean(axis=0)"),
    M("batch-targets", "(x - mean) / np.sqrt(var + 1e-5)",
      "(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)"),
    M("mean-moves", "mean.copy()", "0.729 * mean + 0.271 * x.mean(axis=0)"),
])  # fmt: skip


def mended_4(x):
    """Normalize each step over its channels."""
    cause = "c"
    mean = x.mean(axis=1, keepdims=True)
    var = x.var(axis=1, keepdims=True)
    return cause, (x - mean) / np.sqrt(var + 1e-5)


MEAN_4, VAR_4 = "x.mean(axis=1, keepdims=True)", "x.var(axis=1, keepdims=True)"


def over(name: str, axis: str, **more: bool) -> Mistake:
    """Return a mistake of 17.4: statistics over other axes."""
    edits = (MEAN_4, MEAN_4.replace("1", axis), VAR_4, VAR_4.replace("1", axis))
    return M(name, *edits, **more)


STEPS = Right(mended_4, says=SAYS["17.4"], mistakes=[
    *causes("c"),
    over("steps-stay", "(1, 2)"),
    over("over-steps", "2"),
    over("over-examples", "0"),
    over("batch-norm", "(0, 2)"),
    over("examples-too", "(0, 1)"),
])  # fmt: skip


def mended_5(folds):
    """Average the means of batches of ten, anew in each fold."""
    cause = "d"
    found = []
    for fold in folds:
        mean = np.zeros(folds.shape[2])
        for start in range(0, len(fold), 10):
            mean = 0.9 * mean + 0.1 * fold[start : start + 10].mean(axis=0)
        found.append(mean)
    return cause, np.stack(found)


FOLDS = Right(mended_5, says=SAYS["17.5"], mistakes=[
    *causes("d"),
    M("carried", "mean = np.zeros(folds.shape[2])",
      "mean = found[-1] if found else np.zeros(folds.shape[2])"),
    M("whole-fold", "0.9 * mean + 0.1 * fold[start : start + 10].mean(axis=0)",
      "fold.mean(axis=0)"),
])  # fmt: skip


def mended_6(x):
    """Take the mean off before squaring."""
    cause = "a"
    rest = x - x.mean(axis=0)
    return cause, rest / np.sqrt((rest**2).mean(axis=0) + 1e-5)


STAMPS = Right(mended_6, says=SAYS["17.6"], mistakes=[
    *causes("a"),
    M("large-eps", "(rest**2).mean(axis=0) + 1e-5", "(rest**2).mean(axis=0) + 1.0"),
    M("mean-only", "rest / np.sqrt((rest**2).mean(axis=0) + 1e-5)", "rest"),
])  # fmt: skip


def mended_8(x_hat, gamma, beta, weight, bias):
    """Keep what removed channels gave, as a constant."""
    cause = "c"
    kept = gamma != 0
    h = np.maximum(gamma * x_hat + beta, 0)[:, kept]
    constant = np.maximum(beta[~kept], 0) @ weight[:, ~kept].T
    return cause, h @ weight[:, kept].T + bias + constant


THIN = Right(mended_8, says=SAYS["17.8"], mistakes=[
    *causes("c"),
    M("nothing-kept", "np.maximum(beta[~kept], 0) @ weight[:, ~kept].T", "0.0"),
    M("no-relu", "np.maximum(beta[~kept], 0)", "beta[~kept]"),
    M("scaled-up", "h @ weight[:, kept].T + bias + constant",
      "h @ weight[:, kept].T / kept.mean() + bias"),
])  # fmt: skip


def inputs() -> dict[str, list[tuple]]:
    """Return the arguments of the patients."""
    rng = np.random.default_rng(0)

    def draw(*shape, middle=0.0):
        return rng.normal(middle, 1.0, shape)

    def arrays(rows, columns):
        return draw(rows, columns), draw(rows), *draw(3, columns), rng.random(columns)

    gamma = np.array([1.1, 0, -0.6, 0, 0.8])
    return {
        "17.1": [(draw(3, 2, middle=3), 8), (draw(5, 3, middle=-1), 6),
                 (draw(4, 2), 4)],
        "17.2": [arrays(4, 4), arrays(3, 5)],
        "17.3": [(draw(16, 3, middle=6), draw(3, middle=2), rng.random(3) + 0.5)],
        "17.4": [(draw(3, 5, 4, middle=1),), (draw(2, 6, 6),)],
        "17.5": [(draw(3, 30, 2, middle=4),), (draw(2, 20, 3, middle=-2),)],
        "17.6": [(rng.normal(20_000, 0.5, (100, 3)).astype(np.float32),)],
        "17.8": [(draw(9, 5), gamma, draw(5), draw(3, 5), draw(3)),
                 (draw(7, 5), 2 * gamma, draw(5, middle=1), draw(2, 5), draw(2))],
    }  # fmt: skip


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    x = inputs()
    eight = 1 - 0.9 ** (1 / 8)
    known = {
        "linear": 0.1 / 8,
        "parts": 1 - 0.9**0.25,
        "twice": 1 - 0.9**0.5,
        "compound": 1 - 0.9**8,
    }
    return {
        "17.1": function(ROWS, ("cause", "output"), x["17.1"]),
        "17.2": function(FOLD, ("cause", "weight", "bias"), x["17.2"]),
        "17.3": function(TEACHER, ("cause", "targets", "stored mean"), x["17.3"]),
        "17.4": function(STEPS, ("cause", "output"), x["17.4"]),
        "17.5": function(FOLDS, ("cause", "means"), x["17.5"]),
        "17.6": function(STAMPS, ("cause", "output"), x["17.6"], tol=0.02),
        "17.7": number(SAYS["17.7"], eight, known, rtol=0.01, almost=0.02),
        "17.8": function(THIN, ("cause", "scores"), x["17.8"]),
        "17.9": choice(SAYS["17.9"], "b"),
        "17.10": choice(SAYS["17.10"], "a"),
    }
