"""What a complaint of the doctor is, and the table into which the rules enter theirs.

A rule yields the name of a layer and the evidence, in words with numbers. Its
`Complaint` holds what is the same each time: severity, page, reason and fix. The page
is the file of a chapter and the anchor of a section there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from bnlib.pytorch.doctor.sight import Sight

ERROR, WARNING, NOTE = "error", "warning", "note"
Found = Iterator[tuple[str, str]]
Rule = Callable[[Sight], Found]


class Complaint(NamedTuple):
    """What a code means, the section of the clinic, and the rule that finds it."""

    severity: str
    page: str
    reason: str
    fix: str
    rule: Rule


RULES: dict[str, Complaint] = {}


def rules_of(page: str) -> Callable[[str, str, str, str, str], Callable[[Rule], Rule]]:
    """Return what enters a rule under its code, with a section of a page."""

    def rule(
        code: str, severity: str, section: str, reason: str, fix: str
    ) -> Callable[[Rule], Rule]:
        def enter(function: Rule) -> Rule:
            place = f"{page}#{section}"
            RULES[code] = Complaint(severity, place, reason, fix, function)
            return function

        return enter

    return rule


def tiny_channels(sight: Sight, name: str) -> Tensor | None:
    """Return which channels vary by less than eps, if they are more than half."""
    seen, eps = sight.seen[name], sight.norms[name].eps
    if seen.mean is None or seen.var is None or seen.count < 16:
        return None
    varies = seen.var > 1e-10 * seen.mean**2  # beyond what rounding does
    tiny = varies & (seen.var < eps)
    return tiny if float(tiny.double().mean()) > 0.5 else None
