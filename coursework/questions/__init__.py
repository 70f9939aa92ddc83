"""The problem sets: their titles, questions, and what their workers may import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bncheck.form import Question
from bncheck.kinds import RUNS
from coursework.keys import VARIANTS
from coursework.questions import capstone, ps1, ps2, ps3, ps4, ps5

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
    importing : tuple of str
        The questions for which they do; the workers of the others have NumPy alone.
    blocked : tuple of str
        Functions of libraries that may not be used.
    memory : int
        MiB that a worker needs at least.
    time_limit : float
        Seconds for one group of calls that a set needs at least.
    alone : tuple of str
        Questions whose worker holds no function that theirs do not name.
    threads : int
        Threads of a worker.
    runs : int
        How often a file has the time that it may take.
    vetoes : mapping of str to callable
        Looks at the source for a question: returns why it gives no points, or nothing.
    alternatives : mapping of str to callable
        Another form of a question, tried when the first gives no points.
    """

    title: str
    questions: Callable[[np.random.Generator, str], list[Question]]
    functions: tuple[str, ...]
    hand: tuple[tuple[str, str, float], ...]
    imports: tuple[str, ...] = ()
    importing: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    memory: int = MEMORY
    time_limit: float = 0.0
    alone: tuple[str, ...] = ()
    threads: int = 1
    runs: int = 1
    vetoes: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    alternatives: Mapping[str, Callable[[np.random.Generator], Question]] = field(
        default_factory=dict
    )

    @property
    def points(self) -> float:
        """Points that are given automatically and by hand, for the set."""
        rng = np.random.default_rng(0)
        return self.automatic(rng) + sum(p for _, _, p in self.hand)

    def automatic(self, rng: np.random.Generator) -> float:
        """Points that are given automatically."""
        names = {s: k for k, s in SETS.items()}
        variant = VARIANTS.get(names[self], ("",))[0]
        return sum(q.points for q in self.questions(rng, variant))

    @staticmethod
    def ignores(problem: str) -> bool:
        """Say whether a problem in loading is none: a plotting library is not there."""
        return "No module named" in problem


# PyTorch's own normalization, which a module of problem set 4 is not to call.
BLOCKED = tuple(
    f"torch.{name}"
    for name in (
        "nn.BatchNorm1d", "nn.BatchNorm2d", "nn.BatchNorm3d", "nn.SyncBatchNorm",
        "nn.LazyBatchNorm1d", "nn.LayerNorm", "nn.GroupNorm", "nn.InstanceNorm1d",
        "nn.InstanceNorm2d", "nn.RMSNorm", "nn.modules.batchnorm.BatchNorm1d",
        "nn.modules.batchnorm._BatchNorm", "nn.functional.batch_norm",
        "nn.functional.layer_norm", "nn.functional.group_norm",
        "nn.functional.instance_norm", "nn.functional.rms_norm", "batch_norm",
        "native_batch_norm", "layer_norm", "group_norm", "instance_norm",
        "native_layer_norm", "native_group_norm", "_refs.native_layer_norm",
        "_decomp.decompositions.native_batch_norm",
    )
)  # fmt: skip
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
        alone=("ps2.q2",),
        vetoes={"ps2.q2": ps2.delegates},
    ),
    "ps3": ProblemSet(
        "Find the bug",
        ps3.questions,
        ("test_*", "names"),
        (("ps3.w1", "A diagnosis of each listing", 2.0),),
        runs=RUNS,
    ),
    "ps4": ProblemSet(
        "The family and PyTorch",
        ps4.questions,
        (*ps4.SPATIAL, "layernorm_forward", "layernorm_backward",
         "spatial_groupnorm_forward", "spatial_groupnorm_backward", "BatchNorm1d",
         "unequal_groupnorm", "masked_spatial_batchnorm"),
        (("ps4.w1", "Who normalizes over which axes", 2.0),),
        imports=("torch",),
        importing=("ps4.q4",),
        blocked=BLOCKED,
        memory=TORCH_MEMORY,
        alternatives={"ps4.q3": lambda rng: ps4.group(rng, layout=True)},
    ),
    "ps5": ProblemSet(
        "Fold and deploy",
        ps5.questions,
        ("fold_linear", "fold_conv", "freeze_batch_norm", "population_statistics"),
        (("ps5.w1", "A small-batch failure, and one remedy", 2.0),),
        imports=("torch",),
        importing=("ps5.q3",),
        memory=TORCH_MEMORY,
    ),
    "capstone": ProblemSet(
        "Capstone: one claim, tested",
        capstone.questions,
        ("run", "SEEDS", "REPORTED"),
        (
            ("capstone.w1", "Question and prediction", 3.0),
            ("capstone.w2", "Design", 4.0),
            ("capstone.w3", "Evidence", 4.0),
            ("capstone.w4", "Interpretation", 4.0),
            ("capstone.w5", "Clarity", 2.0),
        ),
        imports=("torch", "sklearn.datasets"),
        importing=("capstone.q1", "capstone.q2"),
        memory=TORCH_MEMORY,
        time_limit=capstone.TIME_LIMIT,
        threads=2,
        vetoes=dict.fromkeys(("capstone.q1", "capstone.q2"), capstone.computes),
    ),
}  # fmt: skip
