"""The capstone: what is reported must come out again, in time."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from bncheck.calls import Call
from bncheck.form import ALMOST, CORRECT, NOT_YET, NOTHING_YET, NoAnswerError, Question
from coursework.grader.client import Client as Worker

TIME_LIMIT = 600.0  # seconds for all seeds together
TOLERANCE, SMALLEST = 0.05, 1e-3
SEEDS, MOST = 3, 20


def questions(rng: np.random.Generator, variant: str) -> list[Question]:
    """Return the two questions; both are judged by `judge_run`, in one run."""
    return [
        Question(
            "capstone.q1",
            "The numbers come out again",
            5.0,
            ("run",),
            (),
            {},
            kind="run",
        ),
        Question(
            "capstone.q2", "It runs in ten minutes", 3.0, ("run",), (), {}, kind="run"
        ),
    ]


def read_report(worker: Worker) -> tuple[list[int], dict[int, dict[str, float]], str]:
    """Read SEEDS and REPORTED of a submission; the third is what is wrong with them."""
    seeds, reported = worker.run([Call("=SEEDS", ()), Call("=REPORTED", ())])
    seeds, reported = seeds.outputs.get(0), reported.outputs.get(0)
    if isinstance(seeds, np.ndarray):
        seeds = seeds.tolist()
    if (
        not isinstance(seeds, list)
        or not seeds
        or not isinstance(reported, dict)
        or not reported
    ):
        return [], {}, "Fill in SEEDS and REPORTED."
    if not all(isinstance(s, int) for s in seeds) or len(set(seeds)) < SEEDS:
        return [], {}, f"SEEDS needs at least {SEEDS} different whole numbers."
    numbers: dict[int, dict[str, float]] = {}
    for seed in seeds[:MOST]:
        entry = reported.get(str(seed))
        if not isinstance(entry, dict) or not entry:
            return (
                [],
                {},
                "REPORTED needs an entry for each of SEEDS: a dict of numbers.",
            )
        try:
            numbers[seed] = {k: float(v) for k, v in entry.items()}
        except (TypeError, ValueError):
            return [], {}, "REPORTED holds something that is no number."
    return list(numbers), numbers, ""


def judge_run(
    question: Question, worker: Worker, submission: Any, key: bytes, paid: dict
) -> dict[str, Any]:
    """Run a capstone again; see `ps3.judge_tests` for the parameters.

    The run is made once, for the first question; ``paid`` carries its outcome to the
    second.
    """
    if "capstone" not in paid:
        computed = [n for n in ("SEEDS", "REPORTED") if not _literal(submission, n)]
        problem = f"{computed[0]} must be written out as numbers." if computed else ""
        paid["capstone"] = (NOTHING_YET, [], problem) if problem else _run(worker)
    state, shares, problem = paid["capstone"]
    if state == NOTHING_YET:
        return _result(question, 0.0, NOTHING_YET, problem, [])
    if question.key == "capstone.q2":
        good = state == "finished"
        text = "" if good else problem
        score = question.points if good else 0.0
        return _result(
            question,
            score,
            CORRECT if good else NOT_YET,
            text,
            ["time"] if good else [],
        )
    share = sum(shares) / len(shares) if shares and state == "finished" else 0.0
    score = question.points * share
    text = "" if share == 1 else problem or (
        f"{sum(shares)} of {len(shares)} reported numbers come out again within 5 %. "
        "Look for a random draw that run(seed) does not seed."
    )  # fmt: skip
    state = CORRECT if share == 1 else ALMOST if share >= 0.5 else NOT_YET
    return _result(question, score, state, text, ["numbers"] if share == 1 else [])


def _literal(submission: Any, name: str) -> bool:
    """Say whether a name is assigned once, and as plain numbers, not as a result."""
    values = []
    for _, source in submission.chunks:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            continue
        if isinstance(tree.body[0], ast.Assign | ast.AnnAssign | ast.AugAssign):
            used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
            values += [tree.body[0].value] if name in used else []
        elif not isinstance(tree.body[0], ast.FunctionDef | ast.ClassDef) and any(
            isinstance(n, ast.Name) and n.id == name for n in ast.walk(tree)
        ):
            return False
    try:
        return len(values) <= 1 and all(ast.literal_eval(v) is not ... for v in values)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return False


def _run(worker: Worker) -> tuple[str, list[bool], str]:
    try:
        seeds, numbers, problem = read_report(worker)
        if problem:
            return NOTHING_YET, [], problem
        outcomes = worker.run([Call("run", (seed,)) for seed in seeds])
    except NoAnswerError as error:
        return "stopped", [], str(error)
    hits = []
    for seed, outcome in zip(seeds, outcomes, strict=True):
        if outcome.status in ("missing", "stub"):
            return NOTHING_YET, [], "run(seed) returns nothing yet."
        if outcome.status == "raised":
            return "stopped", [], f"run stopped with {outcome.error}."
        got = outcome.outputs.get(0)
        got = got if isinstance(got, dict) else {}
        for name, value in numbers[seed].items():
            hits.append(agree(got.get(name), value))
    return "finished", hits, ""


def agree(got: Any, value: float) -> bool:
    """Say whether a number came out again: within 5 %, or within 0.001 near 0."""
    try:
        number = float(got)
    except (TypeError, ValueError):
        return False
    return bool(abs(number - value) <= max(TOLERANCE * abs(value), SMALLEST))


def _result(
    question: Question, score: float, state: str, text: str, passed: list[str]
) -> dict[str, Any]:
    finding = {"category": question.title, "points": round(score - question.points, 2),
               "sentence": text, "bug": None}  # fmt: skip
    return {
        "key": question.key,
        "title": question.title,
        "points": question.points,
        "score": round(score, 2),
        "state": state,
        "findings": [finding] if text else [],
        "passed": passed,
    }
