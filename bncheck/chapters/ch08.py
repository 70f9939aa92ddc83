"""Exercises of chapter 8: covariate shift or smoothness."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch08")


def path_smoothness(points, gradients):
    """Return the largest change of the gradient per distance between neighbours."""
    moved = np.linalg.norm(np.diff(points, axis=0), axis=1)
    changed = np.linalg.norm(np.diff(gradients, axis=0), axis=1)
    known = moved > 0
    slopes = changed[known] / moved[known]
    return float(slopes.max())


MOVED = "np.linalg.norm(np.diff(points, axis=0), axis=1)"
CHANGED = "np.linalg.norm(np.diff(gradients, axis=0), axis=1)"
SLOPES, LARGEST, KNOWN = "changed[known] / moved[known]", "slopes.max()", "moved > 0"
PATH = Right(path_smoothness, says=SAYS["8.2"], mistakes=[
    M("from-start", MOVED, "np.linalg.norm(points[1:] - points[0], axis=1)",
      CHANGED, "np.linalg.norm(gradients[1:] - gradients[0], axis=1)"),
    M("all-pairs", MOVED, "np.linalg.norm(points[:, None] - points, axis=2).ravel()",
      CHANGED, "np.linalg.norm(gradients[:, None] - gradients, axis=2).ravel()"),
    M("pause-as-one", SLOPES, "(changed / np.where(known, moved, 1))", near=True),
    M("lengths", CHANGED, "np.abs(np.diff(np.linalg.norm(gradients, axis=1)))"),
    M("no-distance", SLOPES, "changed[known]"),
    M("inverse", SLOPES, "moved[known] / changed[known]"),
    M("squared", SLOPES, "(changed[known] / moved[known]) ** 2"),
    M("ratio-of-largest", LARGEST, "(changed.max() / moved.max())"),
    M("mean", LARGEST, "slopes.mean()", near=True),
    M("divided-by-zero", SLOPES, "np.divide(changed, moved)", near=True),
    M("largest-entry", MOVED, "np.abs(np.diff(points, axis=0)).max(1)",
      CHANGED, "np.abs(np.diff(gradients, axis=0)).max(1)", near=True),
])  # fmt: skip


def paths():
    """Return the inputs of 8.2: bent, with a pause, one parameter, a way back."""
    rng = np.random.default_rng(82)
    bent = np.cumsum(rng.normal(0, 1, (6, 3)), axis=0)
    paused = np.repeat(np.cumsum(rng.normal(0, 10, (4, 2)), axis=0), 2, axis=0)
    again = np.tanh(3 * paused) + 4 * rng.normal(0, 1, paused.shape)  # other batches
    line = np.array([[2.0], [1.0], [0.75], [-0.25]])
    back = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.1]])  # near its start
    turned = np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
    return [
        (bent, bent**2),
        (paused, again),
        (line, 3 * line + line**3),
        (back, turned),
    ]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    return {
        "8.1": number(SAYS["8.1"], 8.0, rtol=0.01, known={
            "whole": 28.0, "mean-only": 24.0, "x-hat-only": 12.0, "taken": 20.0,
            "no-m": -52.0, "length": 8**0.5}),
        "8.2": function(PATH, ("smoothness",), paths()),
        "8.3": choice(SAYS["8.3"], "b", near=("a",)),
    }  # fmt: skip
