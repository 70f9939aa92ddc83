"""Exercises of chapter 10: the length and the direction of weights."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch10")


def rates_without_decay(lr, decay):
    """Return the rates that replace decay: lr_t / (C_t C_{t+1})."""
    after = np.cumprod(1 - lr * decay)
    before = np.concatenate([[1.0], after[:-1]])
    return lr / (before * after)


AFTER, BEFORE = "np.cumprod(1 - lr * decay)", "np.concatenate([[1.0], after[:-1]])"
PRODUCT = "before * after"
RATES = Right(rates_without_decay, says=SAYS["10.2"], mistakes=[
    M("constant", AFTER, "(1 - lr[0] * decay[0]) ** np.arange(1, len(lr) + 1)"),
    M("no-product", AFTER, "1 - lr * decay"),
    M("not-squared", PRODUCT, "after + 0", near=True),
    M("not-squared-before", PRODUCT, "before + 0", near=True),
    M("both-after", PRODUCT, "after * after", near=True),
    M("both-before", PRODUCT, "before * before", near=True),
    M("multiplied", "lr / (before * after)", "lr * (before * after)"),
    M("decay-alone", "1 - lr * decay", "1 - decay"),
    M("plus", "1 - lr * decay", "1 + lr * decay"),
])  # fmt: skip


def schedules():
    """Draw the inputs of 10.2: a falling rate, and a decay that changes, too."""
    lr = 0.1 * (1 + np.cos(np.pi * np.arange(6) / 6)) / 2
    rng = np.random.default_rng(102)
    return [
        (lr, np.full(6, 0.5)),
        (rng.uniform(0.1, 0.5, 5), rng.uniform(0.0, 0.8, 5)),
    ]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "10.1": number(SAYS["10.1"], 4e-4, rtol=0.01, known={
            "no-two": 8e-4, "no-rate": 2e-4, "no-square": 0.02, "root": 0.04}),
        "10.2": function(RATES, ("rates",), schedules()),
        "10.3": choice(SAYS["10.3"], "c", near=("a",)),
    }  # fmt: skip
