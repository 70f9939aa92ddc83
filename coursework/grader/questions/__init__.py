"""The problem sets: their titles, questions, and what their workers may import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bncheck.judge import Question

from coursework.grader.questions import ps1, ps2

MEMORY = 2048
TORCH_MEMORY = 6144


@dataclass(frozen=True)
class ProblemSet:
    """What the grader knows of a problem set.

    Attributes
    ----------
    title : str
        Its title.
    questions : callable
        Draws the questions from a generator, for a term variant.
    functions : tuple of str
        Names that are collected from a submission; ``"test_*"`` is a prefix.
    hand : tuple of tuple of (str, str, float)
        Key, title and points of what is marked by hand.
    imports : tuple of str
        What workers import before they are confined; if any, they may import all
        installed packages.
    blocked : tuple of str
        Functions of libraries that may not be used.
    memory : int
        MiB that a worker needs at least.
    special : mapping of str to callable
        Questions that are judged in their own way, by their observer's name.
    """

    title: str
    questions: Callable[[np.random.Generator, str], list[Question]]
    functions: tuple[str, ...]
    hand: tuple[tuple[str, str, float], ...]
    imports: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    memory: int = MEMORY
    special: Mapping[str, Callable[..., dict[str, Any]]] = field(default_factory=dict)

    @property
    def points(self) -> float:
        """Points that are given automatically and by hand, for the set."""
        rng = np.random.default_rng(0)
        return self.automatic(rng) + sum(p for _, _, p in self.hand)

    def automatic(self, rng: np.random.Generator) -> float:
        """Points that are given automatically."""
        from coursework.grader.keys import VARIANTS  # noqa: PLC0415

        names = {s: k for k, s in SETS.items()}
        variant = VARIANTS.get(names[self], ("",))[0]
        return sum(q.points for q in self.questions(rng, variant))

    @staticmethod
    def ignores(problem: str) -> bool:
        """Say whether a problem in loading is none: a plotting library is not there."""
        return "No module named" in problem


PRACTICE = ("batchnorm_forward", "batchnorm_backward", "batchnorm_backward_alt")
SETS = {
    "ps1": ProblemSet(
        "Forward, running statistics, evaluation",
        ps1.questions,
        ("batchnorm_forward", "ghost_batchnorm", "weighted_batchnorm",
         "clipped_batchnorm", "corrected_statistics"),
        (("ps1.w1", "Why evaluation must not depend on the other rows", 2.0),),
    ),
    "ps2": ProblemSet(
        "Backward, three ways",
        ps2.questions,
        (*PRACTICE, "check_gradient", "ghost_batchnorm_backward",
         "weighted_batchnorm_backward", "clipped_batchnorm_backward"),
        (("ps2.w1", "Derivation of dx", 5.0),),
    ),
}  # fmt: skip
