"""Turn a single-source notebook into a student's or a teacher's.

The source is the solution notebook. In code, lines between ``### BEGIN SOLUTION`` and
``### END SOLUTION`` give way to one stub line; in an answer cell, all after
``<!-- BEGIN SOLUTION -->``; a cell tagged ``solution`` is left out.
"""

from __future__ import annotations

import copy
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

SETS = Path(__file__).resolve().parent / "sets"
NAMES = ("ps1", "ps2", "ps3", "ps4", "ps5", "capstone")
STUB = "return None  # your code here"
BEGIN = re.compile(r"^(?P<indent>[ \t]*)### BEGIN SOLUTION(?::[ ]?(?P<stub>.*))?$")
END = re.compile(r"^[ \t]*### END SOLUTION$")
ANSWER = "<!-- BEGIN SOLUTION -->"
EMPTY_NAMES = 'names = {"a": None, "b": None, "c": None}'
PROMPT = "*Write your answer here.*"
VARIANT = re.compile(r',\s*variant="\w+"')
MARKERS = ("BEGIN SOLUTION", "END SOLUTION")
Notebook = dict[str, Any]


class SourceError(ValueError):
    """A single-source notebook breaks a promise; the message names the cell."""


def read(name: str, folder: Path = SETS) -> Notebook:
    """Read a single-source notebook by the name of its set."""
    return json.loads((folder / f"{name}.ipynb").read_text("utf-8"))


def strip_solution(source: str) -> str:
    """Put a stub in place of each marked solution.

    Parameters
    ----------
    source : str
        A code cell.

    Returns
    -------
    stub : str
        The cell that a student gets.

    Raises
    ------
    SourceError
        A marker has no partner.
    """
    lines, inside = [], False
    for line in source.split("\n"):
        begin, end = BEGIN.match(line), END.match(line)
        if (begin and inside) or (end and not inside):
            raise SourceError(f"a solution marker has no partner: {line!r}")
        if begin:
            stub = STUB if begin["stub"] is None else begin["stub"]
            lines.append(begin["indent"] + stub if stub else "")
        elif not inside and not end:
            lines.append(line)
        inside = bool(begin) or (inside and not end)
    if inside:
        raise SourceError("a solution marker has no partner at the cell's end")
    return "\n".join(lines)


def student_notebook(
    notebook: Notebook, variant: str = "", listings: tuple[str, ...] = ()
) -> Notebook:
    """Make the notebook that students get.

    Parameters
    ----------
    notebook : dict
        The single source.
    variant : str
        The term's variant of this set.
    listings : tuple of str
        The term's listings, in the order a, b, c.

    Returns
    -------
    notebook : dict
        Without solutions and outputs, with one variant and the drawn listings.

    Raises
    ------
    SourceError
        A marker has no partner, or a variant or listing is not in the source.
    """
    made = {k: copy.deepcopy(v) for k, v in notebook.items() if k != "cells"}
    made["cells"] = []
    letters = dict(zip(listings, "abcdefgh", strict=False))
    drawn: dict[str, Any] = {}
    seen_variants = set()
    for number, cell in enumerate(notebook["cells"], 1):
        data = cell.get("metadata", {})
        tags = data.get("tags", [])
        seen_variants.add(data.get("variant"))
        if "solution" in tags or data.get("variant", variant) != variant:
            continue
        try:
            new = _student_cell(cell)
        except SourceError as error:
            raise SourceError(f"cell {number}: {error}") from error
        if "listing" in data:
            if data["listing"] in letters:
                letter = letters[data["listing"]]
                new["source"] = new["source"].replace(
                    "Listing @", f"Listing {letter}", 1
                )
                drawn[letter] = new
                if len(drawn) == len(
                    letters
                ):  # all together, where the last one stands
                    made["cells"] += [drawn[k] for k in sorted(drawn)]
            continue
        made["cells"].append(new)
    if variant and variant not in seen_variants:
        raise SourceError(f"expected cells of the variant {variant!r}, found none")
    if len(drawn) != len(letters):
        missing = sorted(set(letters.values()) - set(drawn))
        raise SourceError(f"expected a cell for each listing, none for {missing}")
    return made


def solved_listings(notebook: Notebook, listings: tuple[str, ...]) -> Notebook:
    """Fill the names of the term's listings into the solution of problem set 3.

    Raises `SourceError` if the cell with the empty names is not there.
    """
    made = copy.deepcopy(notebook)
    names = dict(zip("abc", listings, strict=True))
    for cell, check in pairwise(made["cells"]):
        if "".join(cell["source"]).strip() == EMPTY_NAMES:
            cell["source"] = f"names = {json.dumps(names)}"
            check["outputs"] = []  # it was executed with the empty names
            return made
    raise SourceError(f"expected a cell {EMPTY_NAMES!r}, found none")


def _student_cell(cell: dict[str, Any]) -> dict[str, Any]:
    source = "".join(cell["source"])
    kept = {k: v for k, v in cell.get("metadata", {}).items() if k == "answer"}
    tags = [
        t for t in cell.get("metadata", {}).get("tags", []) if t in ("answer", "check")
    ]
    new = {k: v for k, v in cell.items() if k in ("cell_type", "id")}
    new["metadata"] = kept | ({"tags": tags} if tags else {})
    if cell["cell_type"] == "code":
        source = VARIANT.sub("", strip_solution(source))
        new |= {"execution_count": None, "outputs": []}
    elif "answer" in kept:
        source = source.split(ANSWER)[0].rstrip() + f"\n\n{PROMPT}"
    new["source"] = source
    return new


def has_solution(text: str) -> bool:
    """Say whether a text holds a solution marker."""
    return any(marker in text for marker in MARKERS)


def as_text(notebook: Notebook) -> str:
    """Write a notebook as it is stored."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
