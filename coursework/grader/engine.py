"""Grade one submission: draw the questions, run the worker, gather the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from typing import Any, NamedTuple

from bncheck.form import NOT_YET, Finding, Paid, Question, Result
from bncheck.kinds import KINDS
from coursework import keys
from coursework.grader.client import Budget, Client, WorkerError, find_confinement
from coursework.grader.confine import Confinement
from coursework.grader.reading import Submission
from coursework.grader.runner import Runner
from coursework.grader.statements import Item, alone, as_they_stood
from coursework.questions import SETS, ProblemSet

GRADER_VERSION = "1"
SECONDS = 6  # for a whole file, in time limits of one group of calls
AGAIN = ("calls", "tests")  # kinds that are graded a second time
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
    desk = Desk(submission, chosen, key, options)
    rng = keys.rng(key, "inputs", set_name, student)
    with desk.workers:
        desk.begin()
        questions = chosen.questions(rng, keys.variant(key, set_name))
        results = [desk.grade(question).as_dict() for question in questions]
    return {
        "set": set_name,
        "title": chosen.title,
        "student": student,
        "file": submission.file,
        "confinement": desk.means.text,
        "notes": [*desk.notes, *desk.told_of_names(), *submission.notes],
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


class Desk:
    """What grading one submission needs: its workers, its time, what is paid, notes."""

    def __init__(
        self, submission: Submission, chosen: ProblemSet, key: bytes, options: Options
    ) -> None:
        self.submission, self.chosen = submission, chosen
        self.key, self.options = key, options
        self.means = confinement(options)
        limit = max(SECONDS * options.time_limit, 2 * chosen.time_limit)
        self.budget = Budget(limit * chosen.runs)
        self.workers = ExitStack()
        self.runners: dict[bool, Runner] = {}
        self.paid = Paid()
        self.notes: list[str] = []
        self.as_stood: list[str] = []  # questions that were better so

    def apart(
        self, imports: bool, chunks: Sequence, parts: Mapping[str, Sequence] = {}
    ) -> Runner:
        """Return what runs some pieces, with or without the set's libraries."""
        chosen, options = self.chosen, self.options
        client = Client(
            self.means,
            chunks,
            max(options.time_limit, chosen.time_limit),
            max(options.memory, chosen.memory if imports else 0),
            chosen.imports if imports else (),
            chosen.blocked if imports else (),
            chosen.threads,
            self.budget,
            parts,
        )
        self.workers.enter_context(client)
        return Runner(client, self.key, self.submission.student)

    def runner(self, imports: bool) -> Runner:
        """Return what runs the submission."""
        if imports not in self.runners:
            self.runners[imports] = self.apart(imports, self.submission.chunks)
        return self.runners[imports]

    def begin(self) -> None:
        """Load the submission where all libraries are, and note what stopped."""
        client = self.runner(bool(self.chosen.imports)).client
        try:
            client.start()
        except WorkerError as error:
            self.notes.append(str(error))
        self.notes += [
            f"{label} stopped with {text} and was left out."
            for label, text in client.problems
            if not self.chosen.ignores(text)
        ]

    def grade(self, question: Question) -> Result:
        """Grade a question; again with its helpers as they stood, if that is better."""
        imports = question.key in self.chosen.importing
        called = (call.function for check in question.checks for call in check.calls)
        names = list(dict.fromkeys([*question.functions, *called]))
        before = deepcopy(self.paid)
        run = self.runner(imports)
        if question.key in self.chosen.alone:
            run = self.apart(imports, pieces(alone(self.submission.items, names)))
        result = self.judged(question, run, self.paid)
        if result.score == result.points or question.kind not in AGAIN:
            return result
        stood = as_they_stood(self.submission.items, names)
        if not stood:
            return result
        parts = {name: pieces(part) for name, part in stood.items()}
        run = self.apart(imports, (), parts)
        above = [piece for part in parts.values() for piece in part]
        again = self.judged(question, run, before, above)
        if again.score <= result.score:
            return result
        self.paid = before
        self.as_stood.append(question.key)
        return again

    def told_of_names(self) -> list[str]:
        """Say which questions were graded with what stood above their functions."""
        if not self.as_stood:
            return []
        return [
            f"a name that is needed in {', '.join(self.as_stood)} is defined again "
            "further down: what stood above the functions gives more points and counts"
        ]

    def judged(
        self, question: Question, run: Runner, paid: Paid, above: Sequence = ()
    ) -> Result:
        """Judge a question, or its other form; then see whether it is own work.

        ``above`` holds pieces that do not count in the whole file, but do here.
        """
        chosen, judge, before = self.chosen, KINDS[question.kind], deepcopy(paid)
        result = judge(question, run, paid)
        if question.key in chosen.alternatives and not result.score:
            names = ("inputs", question.key.partition(".")[0], self.submission.student)
            rng = keys.rng(self.key, *names, question.key)
            second = judge(chosen.alternatives[question.key](rng), run, before)
            result = second if second.score else result
        if question.key in chosen.vetoes:
            veto(result, chosen.vetoes[question.key]([*self.submission.chunks, *above]))
        return result


def pieces(items: Sequence[Item]) -> list[tuple[str, str]]:
    """Return label and source of statements, as a worker takes them."""
    return [(item.place, item.source) for item in items]


def veto(result: Result, sentence: str) -> None:
    """Take a question's points, and say why."""
    if sentence and result.score:
        result.findings.append(Finding("own work", -result.score, sentence))
        result.score, result.state = 0.0, NOT_YET
