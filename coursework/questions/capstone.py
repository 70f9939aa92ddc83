"""The capstone: what is reported must come out again, in time."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from bncheck.form import Question
from coursework.questions.shared import Rng, sentences

TIME_LIMIT = 600.0  # seconds for all seeds together
SAYS = {key: sentences("capstone", key) for key in ("q1", "q2")}


def questions(rng: Rng, variant: str) -> list[Question]:
    """Return the two questions; both look at the same run."""
    titles = [says["title"] for says in SAYS.values()]
    return [
        Question("capstone.q1", titles[0], 5.0, ("run",), (), {}, kind="run"),
        Question("capstone.q2", titles[1], 3.0, ("run",), (), {}, kind="time"),
    ]


def computes(chunks: Sequence[tuple[str, str]]) -> str:
    """Say so when SEEDS or REPORTED are not assigned once, as plain numbers."""
    computed = [name for name in ("SEEDS", "REPORTED") if not _literal(chunks, name)]
    return SAYS["q1"]["not-written-out"].format(name=computed[0]) if computed else ""


def _literal(chunks: Sequence[tuple[str, str]], name: str) -> bool:
    """Say whether a name is assigned once, and as plain numbers, not as a result."""
    values = []
    for _, source in chunks:
        try:
            (node, *_) = ast.parse(source).body
        except (SyntaxError, ValueError, RecursionError):
            continue
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        if name not in used or isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            return False
        values.append(node.value)
    try:
        return len(values) <= 1 and all(ast.literal_eval(v) is not ... for v in values)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return False
