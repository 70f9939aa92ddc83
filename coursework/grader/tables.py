"""Tables of a class, for gradebooks: no cell can be taken for a formula."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from coursework.grader.report import Entry, Marks, Report, total

FORMULA = tuple(
    "=+-@\t\r\n＝＋－＠"
)  # what spreadsheets take for a formula's beginning
Row = list[Any]


def guard(cell: Any) -> Any:
    """Keep a text from being taken for a formula; numbers stay as they are."""
    if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA):
        return "'" + cell
    return cell


def table(rows: Iterable[Row]) -> str:
    """Write rows as CSV.

    Parameters
    ----------
    rows : iterable of list
        Texts and numbers; None becomes an empty cell.

    Returns
    -------
    text : str
        Lines that end as spreadsheets expect.
    """
    file = io.StringIO()
    csv.writer(file).writerows([[guard(cell) for cell in row] for row in rows])
    return file.getvalue()


def read_marks(path: Path, reports: Sequence[Report]) -> dict[str, dict[str, float]]:
    """Read marks that people gave: a column for each written answer.

    Parameters
    ----------
    path : Path
        A table as in marks-template.csv; an empty cell is a mark not given yet.
    reports : sequence of dict
        What the students and the questions are.

    Returns
    -------
    marks : dict of str to dict of str to float
        For each student the points of each written answer.

    Raises
    ------
    ValueError
        A row names nobody, or a mark is no number in range; the message says where.
    """
    most = {h["key"]: h["points"] for r in reports for h in r["hand"]}
    students = {guard(r["student"]): r["student"] for r in reports}
    students |= {r["student"]: r["student"] for r in reports}
    marks: dict[str, dict[str, float]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            name = (row.get("student") or "").strip()
            if name not in students:
                raise ValueError(
                    f"{path.name}, row {number}: expected the name of a student in the "
                    f"column student, got {name!r}"
                )
            for key, points in most.items():
                text = (row.get(key) or "").strip().replace(",", ".")
                try:
                    value = float(text or 0)
                except ValueError:
                    value = math.nan
                if not 0 <= value <= points:
                    raise ValueError(
                        f"{path.name}, row {number}: expected 0 to {points:g} points "
                        f"for {key}, got {text!r}"
                    )
                if text:
                    marks[students[name]][key] = value
    return dict(marks)


def gradebook(entries: Sequence[Entry], marks: Marks) -> list[Row]:
    """Make the gradebook's rows, one for each student.

    Parameters
    ----------
    entries : sequence of Entry
        The class.
    marks : mapping
        Marks given by people.

    Returns
    -------
    rows : list of list
        The first one holds the names of the columns.
    """
    questions, hand = _columns(entries)
    head = ["student", "file", *questions, "automatic", *hand, "total", "notes"]
    rows = [head]
    for report, _, _ in entries:
        scores = {r["key"]: r["score"] for r in report["results"]}
        given = marks.get(report["student"], {})
        pending = [k for k in hand if k not in given and "error" not in report]
        notes = [f"NOT GRADED: {report['error']}"] if "error" in report else []
        notes += report["notes"]
        notes += [f"not marked yet: {', '.join(pending)}"] if pending else []
        rows.append(
            [
                report["student"],
                report["file"],
                *(scores.get(k) for k in questions),
                report["score"],
                *(given.get(k) for k in hand),
                total(report, marks),
                "; ".join(notes),
            ]
        )
    return rows


def marks_template(entries: Sequence[Entry], marks: Marks) -> list[Row]:
    """Make the table that people fill with marks; marks given before stand in it."""
    _, hand = _columns(entries)
    rows: list[Row] = [["student", *hand]]
    for report, _, _ in entries:
        given = marks.get(report["student"], {})
        rows.append([report["student"], *(given.get(k) for k in hand)])
    return rows


def canvas_table(entries: Sequence[Entry], marks: Marks) -> list[Row]:
    """Make the rows that Canvas imports, for students with a Canvas number."""
    first = next((e.report for e in entries if e.report["score"] is not None), None)
    if first is None:
        return []
    most = first["points"] + sum(h["points"] for h in first["hand"])
    rows: list[Row] = [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", first["title"]],
        ["    Points Possible", "", "", "", "", most],
    ]
    return rows + [
        [e.report["student"], e.ids["canvas"], "", "", "", total(e.report, marks)]
        for e in entries
        if "canvas" in e.ids
    ]


def moodle_table(entries: Sequence[Entry], marks: Marks) -> list[Row]:
    """Make the rows of Moodle's grading worksheet, for students with a number there."""
    head = ["Identifier", "Full name", "Grade", "Last modified (grade)"]
    rows: list[Row] = [[*head, "Feedback comments"]]
    for report, _, ids in entries:
        if "moodle" in ids:
            text = " ".join(
                f"{r['key']}: {r['score']:g} of {r['points']:g}, {r['state']}."
                for r in report["results"]
            )
            name, grade = report["student"], total(report, marks)
            rows.append([f"Participant {ids['moodle']}", name, grade, "-", text])
    return rows


def _columns(entries: Sequence[Entry]) -> tuple[list[str], list[str]]:
    """Name the questions and the written answers of a class."""
    questions = {r["key"]: 0 for e in entries for r in e.report["results"]}
    hand = {h["key"]: 0 for e in entries for h in e.report["hand"]}
    return list(questions), list(hand)
