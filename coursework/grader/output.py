"""Write what a class gets: pages, tables for gradebooks, Gradescope's files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coursework.grader import pages, tables
from coursework.grader.report import Entry, Marks, file_names, gradescope_results


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Parameters
    ----------
    path : Path
        Where to; folders are made.
    text : str
        What; line ends are kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", newline="")
    os.replace(part, path)


def as_json(value: Any) -> str:
    """Write JSON that is the same for equal values, with lines for people."""
    options = {"indent": 1, "ensure_ascii": False, "sort_keys": True}
    return json.dumps(value, allow_nan=False, **options) + "\n"


def write_class(out: Path, entries: Sequence[Entry], marks: Marks) -> None:
    """Write all pages and tables of a class.

    Parameters
    ----------
    out : Path
        The folder.
    entries : sequence of Entry
        The class.
    marks : mapping
        Marks given by people.
    """
    entries = sorted(entries, key=lambda e: e.report["student"].casefold())
    names = file_names(e.report["student"] for e in entries)
    for report, _, _ in entries:
        name = names[report["student"]]
        write_whole(
            out / "feedback" / f"{name}.html", pages.feedback_page(report, marks)
        )
        results = as_json(gradescope_results(report))
        write_whole(out / "results" / f"{name}.json", results)
    write_whole(out / "summary.html", pages.summary_page(entries, marks, names))
    write_whole(out / "answers.html", pages.answers_page(entries, marks))
    # The mark at the file's beginning tells spreadsheets that it is UTF-8.
    for name, rows in (
        ("gradebook", tables.gradebook(entries, marks)),
        ("marks-template", tables.marks_template(entries, marks)),
    ):
        write_whole(out / f"{name}.csv", "\ufeff" + tables.table(rows))
    for name, rows, head in (
        ("canvas", tables.canvas_table(entries, marks), 2),
        ("moodle", tables.moodle_table(entries, marks), 1),
    ):
        if len(rows) > head:
            write_whole(out / f"{name}.csv", tables.table(rows))
