"""Grade one submission: draw the questions, run the worker, gather the report."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

from bncheck.form import NOT_YET, Finding, Paid, Result
from bncheck.kinds import KINDS
from coursework import keys
from coursework.grader.client import Client, WorkerError, find_confinement
from coursework.grader.confine import Confinement
from coursework.grader.reading import Submission
from coursework.grader.runner import Runner
from coursework.questions import SETS

GRADER_VERSION = "1"
SECONDS = 6  # for a whole file, in time limits of one group of calls
UNSAFE = Confinement("none", "NONE: the teacher chose to grade without confinement")


class Options(NamedTuple):
    """How submissions are graded.

    Attributes
    ----------
    time_limit : float
        Seconds for one group of calls.
    memory : int
        MiB of address space of a worker.
    unsafe : bool
        Grade without confinement where there is none.
    """

    time_limit: float = 10.0
    memory: int = 2048
    unsafe: bool = False


def confinement(options: Options) -> Confinement:
    """Say how workers are confined.

    Parameters
    ----------
    options : Options
        Whether the teacher allows none.

    Returns
    -------
    confinement : Confinement
        The first means that works here; none only if the teacher said so.

    Raises
    ------
    NoConfinementError
        There is none, and the teacher did not say that this is all right.
    """
    return UNSAFE if options.unsafe else find_confinement()


def grade_one(
    submission: Submission, set_name: str, key: bytes, options: Options
) -> dict[str, Any]:
    """Grade one submission.

    Parameters
    ----------
    submission : Submission
        What `reading.read_submission` made of a file.
    set_name : str
        ``"ps1"`` to ``"ps5"``, or ``"capstone"``.
    key : bytes
        The teacher's secret key.
    options : Options
        Limits.

    Returns
    -------
    report : dict
        What the pages and tables are made from. The same key gives the same report.

    Raises
    ------
    SetUpError
        This machine cannot grade; nobody's score is touched.
    """
    chosen = SETS[set_name]
    student = submission.student
    rng = keys.rng(key, "inputs", set_name, student)
    variant = keys.variant(key, set_name)
    means = confinement(options)
    results: list[dict[str, Any]] = []
    paid = Paid()
    with Client(
        means,
        submission.chunks,
        max(options.time_limit, chosen.time_limit),
        max(options.memory, chosen.memory),
        chosen.imports,
        chosen.blocked,
        chosen.threads,
        max(SECONDS * options.time_limit, 2 * chosen.time_limit),
    ) as client:
        try:
            client.start()
        except WorkerError as error:
            results_note = [str(error)]
        else:
            results_note = [
                f"{label} stopped with {text} and was left out."
                for label, text in client.problems
                if not chosen.ignores(text)
            ]
        run = Runner(client, key, student)
        for question in chosen.questions(rng, variant):
            judge = KINDS[question.kind]
            before = deepcopy(paid)
            result = judge(question, run, paid)
            if question.key in chosen.alternatives and not result.score:
                other_rng = keys.rng(key, "inputs", set_name, student, question.key)
                other = chosen.alternatives[question.key](other_rng)
                second = judge(other, run, before)
                result = second if second.score else result
            if question.key in chosen.vetoes:
                veto(result, chosen.vetoes[question.key](submission.chunks))
            results.append(result.as_dict())
    return {
        "set": set_name,
        "title": chosen.title,
        "student": student,
        "file": submission.file,
        "confinement": means.text,
        "notes": [*submission.notes, *results_note],
        "results": results,
        "hand": [
            {"key": k, "title": t, "points": p, "answer": submission.answers.get(k, "")}
            for k, t, p in chosen.hand
        ],
        "score": round(sum(r["score"] for r in results), 2),
        "points": round(sum(r["points"] for r in results), 2),
        "seed": keys.fingerprint(key, set_name, student),
        "version": GRADER_VERSION,
    }


def veto(result: Result, sentence: str) -> None:
    """Take a question's points, and say why."""
    if sentence and result.score:
        result.findings.append(Finding("own work", -result.score, sentence))
        result.score, result.state = 0.0, NOT_YET
