"""Runs what the kinds of questions ask of a submission, in its confined worker."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from bncheck.calls import Call, Outcome, unpack
from bncheck.form import NoAnswerError
from bncheck.kinds import MOST_TESTS, Notebook, Pair, Verdicts
from coursework import keys
from coursework.grader.client import Client, pack_reply
from coursework.questions import ps3

ASKS = 20_000  # calls of one implementation by all tests
LARGEST, BUDGET = 20_000, 5_000_000  # numbers in one argument, and in all of them
LARGEST_COUNT = 10**6  # of tests, in a sentence
UNNAMED = "a test that was made while the tests ran"


class Runner(Notebook):
    """Runs calls and tests of a submission, as a `Notebook` does, in its worker.

    Tests meet each implementation in a fresh worker, so that no run knows of another.

    Parameters
    ----------
    client : Client
        Holds the submission.
    key : bytes
        The secret key, for the term's listings and the student's mutants.
    student : str
        Whose submission it is.
    """

    table, seeds = "told", 20

    def __init__(self, client: Client, key: bytes, student: str) -> None:
        self.client, self.key, self.student = client, key, student
        self.names = dict(zip("abc", ps3.draw_listings(key), strict=True))
        self._kept: list[Outcome] | NoAnswerError | None = None

    def __call__(self, calls: Sequence[Call]) -> list[Outcome]:
        """Run calls."""
        return self.client.run(calls)

    def once(self, calls: Sequence[Call]) -> list[Outcome]:
        """Run calls that take long; what one question asks for serves the next."""
        if self._kept is None:
            try:
                self._kept = self(calls)
            except NoAnswerError as error:
                self._kept = error
        if isinstance(self._kept, NoAnswerError):
            raise self._kept
        return self._kept

    def pairs(self) -> tuple[list[Pair], list[tuple[str, str, Pair]]]:
        """Return the right implementations, and the student's mutants."""
        rng = keys.rng(self.key, "mutants", "ps3", self.student)
        drawn = ps3.draw_mutants(rng)
        return ps3.RIGHT, [
            (bug, place, ps3.implementation(bug)) for bug, place in drawn
        ]

    def order(self, count: int) -> Sequence[int]:
        """Draw the order of the runs from the key."""
        rng = keys.rng(self.key, "order", "ps3", self.student)
        return rng.permutation(count).tolist()

    def verdicts(self, pair: Pair) -> Verdicts:
        """Run all tests on a pair, of which the worker sees the results only."""
        message = {"tests": "test_", "remotes": ["forward", "backward"]}
        self.client.renew()
        reply: Any = self.client.ask({**message, "most": MOST_TESTS}, Server(pair))
        found = {}
        try:
            self.left_out = max(
                0, min(operator.index(reply["left out"]), LARGEST_COUNT)
            )
            verdicts = list(dict(reply["verdicts"]).items())[:MOST_TESTS]
            for name, (verdict, facts) in verdicts:
                known = name if name in self.client.words else UNNAMED
                error = self.client.told(facts) if facts else ""
                found[known] = (str(verdict), error)
        except (KeyError, TypeError, ValueError):
            raise NoAnswerError(
                "the worker's answer was not of the agreed form"
            ) from None
        return found


class Server:
    """Answers the calls that tests in a worker make of a pair; caches stay here."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.caches: list[Any] = []
        self.asks = self.numbers = 0

    def __call__(self, message: dict) -> dict:
        """Answer one question of a worker: run forward or backward."""
        self.asks += 1
        packed = message.get("args")
        if not isinstance(packed, list):
            raise ValueError("expected a list of arguments")
        args = [unpack(a) for a in packed]
        self.numbers += sum(np.size(a) for a in args)
        if self.asks > ASKS or self.numbers > BUDGET:
            return pack_reply([], args, "Too many or too large calls of the function")
        backward = message["ask"] == "backward"
        given = list(args)
        try:
            _refuse_odd(backward, args)
            if backward:
                given[1], shape = self.caches[given[1]["token"]]
                if args[0].shape != shape:  # together they could fill the memory
                    raise ValueError(f"expected dout of shape {shape}")
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                result = list(self.pair[backward](*given))
        except Exception as error:  # what a student's test asks for may be anything
            return pack_reply([], args, f"{type(error).__name__} in the function")
        if not backward:
            self.caches.append((result[1], args[0].shape))
            result[1] = {"token": len(self.caches) - 1}
        return pack_reply(result, args)


def _refuse_odd(backward: bool, args: list) -> None:
    """Refuse what cannot be right arguments, before anything is computed from them."""
    first = args[0]
    if not isinstance(first, np.ndarray) or first.ndim != 2 or first.size > LARGEST:
        raise TypeError(f"expected an array (N, D) of at most {LARGEST} numbers")
    if backward:
        return
    others = [*args[1:3], *(v for v in args[3].values() if isinstance(v, np.ndarray))]
    if any(np.size(a) not in (1, first.shape[1]) or np.ndim(a) > 2 for a in others):
        raise ValueError("expected arrays of shape (D,)")
