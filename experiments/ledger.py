"""The claims ledger: the verdicts of all experiments, as text for a page."""

from __future__ import annotations

from experiments.claims import NOT_HERE, PARTLY, REPRODUCED, VERDICTS, Claim
from experiments.runner import module, names, record

CHAPTERS = (
    "ch-classic",
    "ch-smoothness",
    "ch-depth",
    "ch-scale-free",
    "ch-noise",
    "ch-batch-lies",
    "ch-family",
    "ch-adapt",
    "ch-without",
)
CLASSES = {REPRODUCED: "reproduced", PARTLY: "partly", NOT_HERE: "not-here"}


def ledger() -> list[tuple[str, Claim]]:
    """Return the claims of all experiments with the names of these.

    They are judged by their stored tables, and stand in the order of the chapters.
    """
    claims = [(name, claim) for name in names() for claim in module(name).claims()]
    return sorted(claims, key=lambda pair: CHAPTERS.index(pair[1].chapter))


def as_markdown() -> str:
    """Return the ledger as text for a page of the book.

    A list under each claim, because a wide table is hard to read on a phone. The page's
    script sorts and filters by the class of each claim.
    """
    parts = []
    for number, (name, row) in enumerate(ledger(), start=1):
        source = " and ".join(_source(s) for s in row.source.split("; "))
        parts.append(
            f"::::{{div}} claim claim-{CLASSES[row.verdict]}\n"
            f"**{number}. {row.claim}: *{row.verdict}*.**\n\n"
            f"- Source: {source}\n"
            f"- Kind: {row.kind}\n"
            f"- Setting: {row.setting}\n"
            f"- Effect: {row.effect}\n"
            f"- Rule: {row.rule}\n"
            f"- Chapter: {{ref}}`{row.chapter}`\n"
            f"- Tables: {_tables(name)}\n"
            "::::\n"
        )
    return "\n".join(parts)


def counts() -> str:
    """Return a line with the number of claims of each verdict."""
    verdicts = [claim.verdict for _, claim in ledger()]
    words = ", ".join(f"{verdicts.count(v)} {v}" for v in VERDICTS)
    return f"{len(verdicts)} claims: {words}"


def provenance() -> str:
    """Return a line for each table: command, date, versions, processor time.

    The reduced forms, which the tests run again, are left out.
    """
    lines, total = [], 0
    for name in names():
        for table, made in record(name).items():
            if table == "reduced":
                continue
            total += made["seconds"]
            torch = f", PyTorch {made['torch']}" if made["torch"] else ""
            lines.append(
                f"{made['made_by']}: {made['date']}, Python {made['python']}, NumPy "
                f"{made['numpy']}{torch}, {made['machine']}, {_time(made['seconds'])}"
            )
    return "\n".join([*lines, f"All tables: {_time(total)} of one core"])


def _time(seconds: int) -> str:
    return f"{round(seconds / 60)} minutes" if seconds >= 120 else f"{seconds} s"


def _tables(name: str) -> str:
    """Return links to an experiment's tables, without the reduced form."""
    tables = [s.table for s in module(name).STAGES if s.table != "reduced"]
    path = f"../experiments/results/{name}"
    return ", ".join(f"{{download}}`{name}/{t}.csv <{path}/{t}.csv>`" for t in tables)


def _source(source: str) -> str:
    """Write a citation key as a citation; leave other words as they are."""
    words = source.split()
    return f"{{cite:t}}`{source}`" if len(words) == 1 else source
