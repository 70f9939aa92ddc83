"""The claims ledger, counted: one disc for each claim.

``python -m explorables.ledger_picture.numbers`` writes the claims for the script.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from experiments.claims import VERDICTS
from experiments.ledger import CHAPTERS, ledger

PATH = Path(__file__).with_name("ledger_picture.data.js")
START = "window.Explorables.data.ledger_picture = "
KINDS = ("all", "papers", "controls")
FIRST = 7  # the number of the first chapter with claims


@cache
def claims() -> list[tuple[int, int, int]]:
    """Return chapter, verdict, kind of each claim; controls say "of this book"."""
    return [
        (
            CHAPTERS.index(claim.chapter),
            VERDICTS.index(claim.verdict),
            int("book" in claim.source),
        )
        for _, claim in ledger()
    ]


def make_data() -> None:
    """Write the claims for the script."""
    chapters = [FIRST + k for k in range(len(CHAPTERS))]
    data = {"chapters": chapters, "verdicts": VERDICTS, "claims": claims()}
    text = json.dumps(data, separators=(",", ":"))
    PATH.write_text(f"{START}{text};\n", "utf-8")


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure: sixty of all that there are."""
    every = [
        {"chapter": chapter, "kind": kind, "verdict": verdict}
        for chapter in (-1, *range(len(CHAPTERS)))
        for kind in KINDS
        for verdict in (-1, *range(len(VERDICTS)))
    ]
    return [every[int(i)] for i in rng.choice(len(every), 60, replace=False)]


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    kept = [c for c in claims() if KINDS[1 + c[2]] == state["kind"]]
    kept = claims() if state["kind"] == "all" else kept
    grid = np.zeros((len(CHAPTERS), len(VERDICTS)), int)
    for chapter, verdict, _ in kept:
        grid[chapter, verdict] += 1
    rows = grid if state["chapter"] < 0 else grid[[state["chapter"]]]
    chosen = rows if state["verdict"] < 0 else rows[:, [state["verdict"]]]
    return {"grid": grid, "counts": rows.sum(axis=0), "chosen": chosen.sum()}


if __name__ == "__main__":
    make_data()
