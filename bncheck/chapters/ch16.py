"""Exercises of chapter 16: the frameworks."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch16")


def to_unknown(running_mean, running_var, momentum, eps, tiny):
    """Return centre, spread and keep: the two divisors and the two weights agree."""
    centre = running_mean.copy()
    spread = np.sqrt(running_var + eps) - tiny
    keep = 1 - momentum
    return centre, spread, keep


SPREAD = "np.sqrt(running_var + eps) - tiny"
UNKNOWN = Right(to_unknown, says=SAYS["16.2"], mistakes=[
    M("eps-forgotten", SPREAD, "np.sqrt(running_var)", near=True),
    M("tiny-forgotten", SPREAD, "np.sqrt(running_var + eps)", near=True),
    M("no-eps", SPREAD, "np.sqrt(running_var) - tiny", near=True),
    M("outside", SPREAD, "np.sqrt(running_var) + eps - tiny", near=True),
    M("added", SPREAD, "np.sqrt(running_var + eps) + tiny", near=True),
    M("variance", SPREAD, "running_var + eps - tiny"),
    M("squares", SPREAD, "np.sqrt(running_var + eps - tiny)"),
    M("weight", "1 - momentum", "momentum + 0", near=True),
])  # fmt: skip


def layers():
    """Draw the inputs of 16.2: a large eps, and a variance near it."""
    rng = np.random.default_rng(162)
    return [
        (rng.normal(3, 2, 4), rng.uniform(0.5, 3, 4), 0.1, 0.3, 0.2),
        (rng.normal(-5, 1, 3), rng.uniform(0.01, 0.1, 3), 0.4, 0.2, 0.01),
    ]


def same_memory(momentum, old_size, new_size):
    """Return the setting that forgets as fast, counted in examples."""
    return 1 - (1 - momentum) ** (new_size / old_size)


POWER = "1 - (1 - momentum) ** (new_size / old_size)"
MEMORY = Right(same_memory, says=SAYS["16.3"], mistakes=[
    M("unchanged", POWER, "momentum + 0"),
    M("turned", "new_size / old_size", "old_size / new_size"),
    M("old-value", POWER, "(1 - momentum) ** (new_size / old_size)"),
    M("new-value", POWER, "momentum ** (new_size / old_size)"),
    M("turned-small", POWER, "momentum * old_size / new_size"),
    M("small-steps", POWER, "momentum * new_size / old_size", near=True),
])  # fmt: skip


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "16.1": number(SAYS["16.1"], 0.1**3, rtol=1e-3, almost=0.1, known={
            "right-port": 0.9**3, "one": 0.1, "two": 0.01, "new": 1 - 0.1**3}),
        "16.2": function(UNKNOWN, ("centre", "spread", "keep"), layers()),
        "16.3": function(MEMORY, ("setting",), [
            (0.1, 60, 30), (0.3, 8, 32), (0.05, 100, 1)]),
        "16.4": choice(SAYS["16.4"], "c"),
    }  # fmt: skip
