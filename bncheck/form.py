"""What a question is, and what comes of it: plain data, as JSON can hold it.

A question holds checks; a check holds calls and what must come out of them, together
with what known mistakes give. The grader draws it from a secret key, the student's copy
holds public numbers. No right function is needed to judge an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bncheck.calls import Call, Outcome, pack, unpack
from bncheck.says import say

NOTHING_YET, ALMOST = "nothing yet", "almost"
NOT_YET, CORRECT = "not yet", "correct"
MARKS = {CORRECT: "✓", ALMOST: "◐", NOT_YET: "✗", NOTHING_YET: "○"}
Run = Callable[[Sequence[Call]], list[Outcome]]
GAPS = "gaps"
MOST_FINDINGS = 30  # of a question: those without points give way


class NoAnswerError(Exception):
    """A worker gave no answer: a time limit, an exit, or too much memory."""


@dataclass(frozen=True)
class Expect:
    """What must come out of a call, and what known mistakes would give.

    Attributes
    ----------
    call : int
        Which call of the check.
    item : int or str
        Position in the result; ``"arg3.running_mean"`` for an argument afterwards,
        ``"arg0.gaps"`` for an array that holds nan,
        ``"out.weight"`` for an entry of a dict that is returned.
    value : object
        Array, number, True or False.
    label : str
        Name in sentences: ``"out"``, ``"dx"``.
    tol : float
        Largest difference, relative to the largest size in ``value``.
    wrong : dict of str to object
        For each known mistake, by its name, what it gives.
    whatever : tuple of str
        Mistakes that any difference may be: they tell no value.
    upstream : tuple of str
        Mistakes of ``wrong`` that are made in another function than the one called.
    floor : float
        Size below which differences are measured against this, not ``value``.
    loose : bool
        Whether more or fewer axes of length 1 are all right.
    share : float
        Which part of its check it is worth; where all are 0, each is worth the whole.
    """

    call: int
    item: int | str
    value: Any
    label: str
    tol: float = 1e-6
    wrong: dict[str, Any] = field(default_factory=dict)
    whatever: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    floor: float = 0.0
    loose: bool = False
    share: float = 0.0


@dataclass(frozen=True)
class Own:
    """Judge an answer against the student's own upstream function, too.

    Attributes
    ----------
    out : Expect or None
        What a right forward function gives; a gradient is then compared with the
        numerical one of the student's forward function. None for running statistics,
        which are compared with what the student's own outputs imply.
    h : float
        Step of the central differences; 0 if a wrong forward function excuses all.
    """

    out: Expect | None = None
    h: float = 1e-5


@dataclass(frozen=True)
class Proof:
    """What must be seen elsewhere before a mistake that shows no value is named.

    Attributes
    ----------
    name : str
        The mistake.
    check : Check
        Other calls, and what right functions give there.
    passes : bool
        Whether that must come out right, or must not.
    """

    name: str
    check: Check
    passes: bool


@dataclass(frozen=True)
class Check:
    """Calls, what must come out of them, and what that is worth.

    Attributes
    ----------
    category : str
        What is looked at, as students are told: ``"eps"``.
    points : float
        What it costs when it fails.
    calls : tuple of Call
        What is called, in order.
    expects : tuple of Expect
        What must come out.
    own : Own, optional
        For a backward function, and for running statistics.
    when : str
        The circumstances, for the sentence: ``"With a large eps"``.
    instead : Check, optional
        Another form of the check; it is enough to pass one of the two.
    stops : dict of str to str
        The known mistakes that stop here, and with which error.
    proofs : tuple of Proof
        For mistakes of ``whatever`` that claim more than a difference.
    """

    category: str
    points: float
    calls: tuple[Call, ...]
    expects: tuple[Expect, ...]
    own: Own | None = None
    when: str = ""
    instead: Check | None = None
    stops: dict[str, str] = field(default_factory=dict)
    proofs: tuple[Proof, ...] = ()

    def worth(self, expects: Sequence[Expect]) -> float:
        """Return what some of its outputs are worth: the whole at most."""
        if len(expects) == len(self.expects) or not any(e.share for e in self.expects):
            return self.points
        return self.points * min(1.0, sum(e.share for e in expects))


@dataclass(frozen=True)
class Question:
    """A question of a problem set, or an exercise of a chapter.

    Attributes
    ----------
    key, title : str
        ``"ps1.q1"`` and its title.
    points : float
        What it is worth.
    functions : tuple of str
        Names that a student writes for it.
    checks : tuple of Check
        The first is the basic one: where all its outputs are wrong for no known reason,
        all is lost.
    sentences : dict of str to str
        For each known mistake, what to say; of two that fit, the first is told.
    of : dict of str to str
        For a mistake that is another form of one: which one.
    kind : str
        How it is judged; a name in `bncheck.kinds.KINDS`.
    observer : str
        Looks at a wrong answer for what is odd about it; a name in `OBSERVERS`.
    fatal : tuple of str
        Mistakes that leave nothing of the outputs they spoil, in each question.
    parts : tuple of str
        Mistakes that leave out a part of what is asked: they cost in each question.
    near : tuple of str
        Mistakes that cost half of the question at most.
    breaks : tuple of str
        Mistakes that give other shapes: what breaks later follows from them.
    results : tuple of str
        In a chapter, what the function returns, by name: no more and no less.
    right : str
        In a chapter, what to say of a right answer.
    """

    key: str
    title: str
    points: float
    functions: tuple[str, ...]
    checks: tuple[Check, ...]
    sentences: dict[str, str]
    of: dict[str, str] = field(default_factory=dict)
    kind: str = "calls"
    observer: str = ""
    fatal: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    breaks: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    right: str = ""

    @property
    def open(self) -> bool:
        """Whether it is a chapter's exercise: the right numbers may be told."""
        return bool(self.right)


@dataclass(frozen=True)
class Finding:
    """What is wrong in an answer, its points (at most 0), and which mistake it is."""

    category: str
    points: float
    sentence: str
    bug: str | None = None


@dataclass
class Result:
    """How an answer stands.

    Attributes
    ----------
    key, title : str
        The question.
    points, score : float
        What it is worth, and what is earned.
    state : str
        One of the four states.
    findings : list of Finding
        What is wrong.
    passed : list of str
        The categories that are right.
    mutants : dict of str to list, optional
        Of tests: the mutants that were killed, and those that were missed.
    right : str
        In a chapter, what to say of a right answer.
    """

    key: str
    title: str
    points: float
    score: float
    state: str
    findings: list[Finding]
    passed: list[str]
    mutants: dict[str, list[str]] | None = None
    right: str = ""

    @classmethod
    def of(
        cls,
        question: Question,
        score: float,
        state: str,
        findings: Sequence[Finding] = (),
        passed: Sequence[str] = (),
    ) -> Result:
        """Make the result of a question."""
        kept = list(dict.fromkeys(passed))
        head = (question.key, question.title, question.points, round(score, 2))
        return cls(*head, state, _bounded(findings), kept, right=question.right)

    @property
    def sentence(self) -> str:
        """The first thing to say."""
        return self.findings[0].sentence if self.findings else self.right

    def as_dict(self) -> dict[str, Any]:
        """Return it as the grader's reports hold it."""
        fields = asdict(self)
        del fields["right"]
        return {k: v for k, v in fields.items() if v is not None}


def _bounded(findings: Sequence[Finding]) -> list[Finding]:
    """Return at most `MOST_FINDINGS`; what is left out costs nothing."""
    more = len(findings) - MOST_FINDINGS
    if more <= 0:
        return list(findings)
    free = [f for f in findings if not f.points]
    gone = free[-(more + 1) :]
    kept = [f for f in findings if not any(f is g for g in gone)]
    return [*kept, Finding("", 0.0, say("more", count=len(gone)))]


@dataclass
class Paid:
    """What has cost its points already: mistakes, and functions that these break.

    Attributes
    ----------
    mistakes : dict of str to str
        In which question each mistake has cost its points.
    functions : set of str
        Functions whose results have other shapes by a mistake that is paid.
    """

    mistakes: dict[str, str] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)


# --- results of calls -----------------------------------------------------------------


def fetch(outcome: Outcome, item: int | str) -> Any:
    """Return the item of a result, or the part of an argument after the call."""
    if isinstance(item, int):
        return outcome.outputs.get(item)
    argument, _, key = item.partition(".")
    if argument == "out":
        value = outcome.outputs.get(0)
        return value.get(key) if isinstance(value, dict) else None
    value = outcome.after.get(int(argument.removeprefix("arg")))
    if key == GAPS and isinstance(value, np.ndarray):  # nan is not nan, inf is inf
        return np.where(np.isnan(value), np.inf, value)
    return value.get(key) if key and isinstance(value, dict) else value


def squeezed(got: Any, value: Any) -> Any:
    """Return an answer in the promised shape if only axes of length 1 differ."""
    if isinstance(got, np.ndarray) and isinstance(value, np.ndarray):
        short = [n for n in value.shape if n != 1]
        if got.shape != value.shape and [n for n in got.shape if n != 1] == short:
            return got.reshape(value.shape)
    return got


def broken_shape(got: Any, value: Any) -> bool:
    """Say whether an answer is an array of another shape than the promised one."""
    return isinstance(got, np.ndarray) and got.shape != np.shape(value)


# --- JSON -----------------------------------------------------------------------------

CLASSES = {c.__name__: c for c in (Call, Expect, Own, Proof, Check, Question)}


def to_json(thing: Any) -> Any:
    """Turn a question, a check or a part of one into what JSON can hold."""
    name = type(thing).__name__
    if name in CLASSES:
        fields = {k: to_json(getattr(thing, k)) for k in thing.__dataclass_fields__}
        return {"is": name, **fields}
    if type(thing) is tuple:  # and no named one, as Handle
        return {"tuple": [to_json(t) for t in thing]}
    return {"value": pack(thing)}


def from_json(thing: Any) -> Any:
    """Turn what `to_json` made back."""
    if "is" in thing:
        fields = {k: from_json(v) for k, v in thing.items() if k != "is"}
        return CLASSES[thing["is"]](**fields)
    if "tuple" in thing:
        return tuple(from_json(t) for t in thing["tuple"])
    return unpack(thing["value"])
