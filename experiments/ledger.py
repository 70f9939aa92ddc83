"""The claims ledger: the verdicts of all experiments, as text for a page."""

from __future__ import annotations

from experiments.claims import Claim
from experiments.runner import module, names, record


def ledger() -> list[Claim]:
    """Return the claims of all experiments, judged by their stored tables."""
    return [claim for name in names() for claim in module(name).claims()]


def as_markdown() -> str:
    """Return the ledger as text for a page of the book.

    A list under each claim, because a wide table is hard to read on a phone.
    """
    parts = []
    for number, row in enumerate(ledger(), start=1):
        source = " and ".join(_source(s) for s in row.source.split("; "))
        parts.append(
            f"**{number}. {row.claim}: *{row.verdict}*.**\n\n"
            f"- Source: {source}\n"
            f"- Kind: {row.kind}\n"
            f"- Setting: {row.setting}\n"
            f"- Effect: {row.effect}\n"
            f"- Rule: {row.rule}\n"
            f"- Chapter: {{ref}}`{row.chapter}`\n"
        )
    return "\n".join(parts)


def provenance() -> str:
    """Return a line for each run that made tables: command, date, versions, time."""
    lines: dict[str, None] = {}  # one run may have made several tables
    for name in names():
        for made in record(name).values():
            seconds = made["seconds"]
            time = f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} s"
            line = (
                f"{made['made_by']}: {made['date']}, Python {made['python']}, NumPy "
                f"{made['numpy']}, {made['machine']}, {time}"
            )
            lines[line] = None
    return "\n".join(lines)


def _source(source: str) -> str:
    """Write a citation key as a citation; leave other words as they are."""
    words = source.split()
    return f"{{cite:t}}`{source}`" if len(words) == 1 else source
