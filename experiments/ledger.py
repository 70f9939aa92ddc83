"""The claims ledger: the verdicts of all experiments as one table."""

from __future__ import annotations

import importlib

from experiments.__main__ import NAMES
from experiments.runner import Row, record

COLUMNS = ("claim", "source", "kind", "setting", "effect", "verdict", "chapter")


def ledger() -> list[Row]:
    """Return the claims of all experiments, judged by their stored tables.

    Returns
    -------
    rows : list of dict
        With the keys of `COLUMNS`.
    """
    modules = (importlib.import_module(f"experiments.{name}") for name in NAMES)
    return [row for module in modules for row in module.claims()]


def as_markdown() -> str:
    """Return the ledger as text for a page of the book: a heading for each claim.

    Returns
    -------
    text : str
        MyST Markdown; a list under each claim, because a wide table is hard to read
        on a phone.
    """
    parts = []
    for number, row in enumerate(ledger(), start=1):
        source = " and ".join(_source(s) for s in row["source"].split("; "))
        parts.append(
            f"**{number}. {row['claim']}: *{row['verdict']}*.**\n\n"
            f"- Source: {source}\n"
            f"- Kind: {row['kind']}\n"
            f"- Setting: {row['setting']}\n"
            f"- Effect: {row['effect']}\n"
            f"- Chapter: {{ref}}`{row['chapter']}`\n"
        )
    return "\n".join(parts)


def provenance() -> str:
    """Return one line for each experiment: command, versions, duration.

    Returns
    -------
    text : str
        Plain text.
    """
    lines = []
    for name in NAMES:
        made = record(name)
        lines.append(
            f"{made['made_by']}: {made['date']}, Python {made['python']}, NumPy "
            f"{made['numpy']}, {made['machine']}, {made['seconds'] // 60} minutes"
        )
    return "\n".join(lines)


def _source(source: str) -> str:
    """Write a citation key as a citation; leave other words as they are."""
    words = source.split()
    return f"{{cite:t}}`{source}`" if len(words) == 1 else source
