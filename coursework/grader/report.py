"""Turn reports into what people read: pages, tables for a gradebook, Gradescope's file.

Whatever a student wrote is text: Jinja2 escapes it in pages, and pages allow no script;
in tables no cell can be taken for a formula.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

Report = dict[str, Any]
Marks = Mapping[str, Mapping[str, float]]
Row = list[Any]

SYMBOLS = {"correct": "✓", "almost": "◐", "not yet": "✗", "nothing yet": "○"}
FORMULA = tuple(
    "=+-@\t\r\n＝＋－＠"
)  # what spreadsheets take for a formula's beginning
LONGEST_NAME = 80
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.I)


class Entry(NamedTuple):
    """A student's report, and what else the class pages need.

    Attributes
    ----------
    report : dict
        What the grader said.
    shapes : dict of str to str
        Digest of the syntax tree of each longer function.
    ids : dict of str to str
        The student's numbers in Canvas or Moodle.
    """

    report: Report
    shapes: Mapping[str, str]
    ids: Mapping[str, str]


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
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def file_names(students: Iterable[str]) -> dict[str, str]:
    """Give each student a file name that every system takes.

    Parameters
    ----------
    students : iterable of str
        Names, each once.

    Returns
    -------
    names : dict of str to str
        ASCII letters, digits, dot, dash and underscore, at most 80 characters, no two
        alike in capital letters.
    """
    plain = {}
    for student in students:
        ascii_name = unicodedata.normalize("NFKD", student).encode("ascii", "ignore")
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", ascii_name.decode()).strip("._")
        plain[student] = name
    count = defaultdict(int)
    for name in plain.values():
        count[name.lower()] += 1
    names = {}
    for student, name in plain.items():
        long = len(name) > LONGEST_NAME
        if not name or long or count[name.lower()] > 1 or RESERVED.match(name):
            mark = hashlib.sha256(student.encode()).hexdigest()[:10]
            name = f"{name[: LONGEST_NAME - 11]}-{mark}"
        names[student] = name
    return names


# --- Gradescope -----------------------------------------------------------------------


def gradescope_results(report: Report) -> dict[str, Any]:
    """Shape a report as Gradescope's results.json.

    Parameters
    ----------
    report : dict
        What the grader said.

    Returns
    -------
    results : dict
        With a test for each question; with no score if the file was not graded.
    """
    lines = [f"{report['file']}: {note}" for note in report["notes"]]
    shared = {
        "output_format": "text",
        "stdout_visibility": "hidden",
        "extra_data": report,
    }
    if "error" in report:
        text = f"This file was not graded: {report['error']}. It has no score yet."
        return {"output": "\n".join([text, *lines]), **shared}
    lines += [
        f"{h['key']}: a person marks this answer (up to {h['points']:g} points)."
        for h in report["hand"]
    ]
    lines.append(f"Confinement of the code: {report['confinement']}")
    tests = [
        {
            "name": f"{r['key']}: {r['title']}",
            "score": r["score"],
            "max_score": r["points"],
            "status": "passed" if r["state"] == "correct" else "failed",
            "output": _result_text(r),
            "output_format": "text",
            "visibility": "visible",
        }
        for r in report["results"]
    ]
    return {
        "score": report["score"],
        "tests": tests,
        "output": "\n".join(lines),
        **shared,
    }


def _result_text(result: Mapping[str, Any]) -> str:
    lines = [f"{SYMBOLS.get(result['state'], '')} {result['state']}"]
    for f in result["findings"]:
        lines.append(f"{lost(f['points'])} ({f['category']}): {f['sentence']}")
    if result["passed"]:
        lines.append(f"Passed: {', '.join(result['passed'])}.")
    return "\n".join(lines)


def lost(points: float) -> str:
    """Say how many points a finding costs."""
    if not points:
        return "no points lost"
    return f"−{abs(points):g} {'point' if abs(points) == 1 else 'points'}"


# --- tables ---------------------------------------------------------------------------


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


def total(report: Report, marks: Marks) -> float | None:
    """Add a report's score and the marks that were given; None if not graded."""
    if report["score"] is None:
        return None
    return round(report["score"] + sum(marks.get(report["student"], {}).values()), 2)


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


# --- pages ----------------------------------------------------------------------------


@cache
def _pages() -> Environment:
    folder = Path(__file__).parent / "templates"
    pages = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = (folder / "style.html").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    pages.globals.update(
        style=style, style_hash=digest, symbols=SYMBOLS, lost=lost, total=total
    )
    pages.filters["number"] = lambda value: "–" if value is None else f"{value:g}"
    return pages


def feedback_page(report: Report, marks: Marks) -> str:
    """Write the page that one student gets.

    Parameters
    ----------
    report : dict
        What the grader said; nothing else is on the page.
    marks : mapping
        Marks given by people.

    Returns
    -------
    html : str
        A page of its own, without scripts.
    """
    page = _pages().get_template("feedback.html")
    return page.render(
        report=report, given=marks.get(report["student"], {}), marks=marks
    )


def answers_page(entries: Sequence[Entry], marks: Marks) -> str:
    """Write the page with all answers to each written question together.

    Parameters
    ----------
    entries : sequence of Entry
        The class, in the order of the page.
    marks : mapping
        Marks given by people.

    Returns
    -------
    html : str
        A page of its own, without scripts.
    """
    questions: dict[str, dict[str, Any]] = {}
    for report, _, _ in entries:
        for item in report["hand"]:
            question = questions.setdefault(item["key"], {**item, "answers": []})
            mark = marks.get(report["student"], {}).get(item["key"])
            question["answers"].append((report["student"], item["answer"], mark))
    page = _pages().get_template("answers.html")
    return page.render(questions=list(questions.values()))


def summary_page(entries: Sequence[Entry], names: Mapping[str, str]) -> str:
    """Write the page on the class: distribution, questions, bugs, files, likeness.

    Parameters
    ----------
    entries : sequence of Entry
        The class.
    names : mapping of str to str
        File name of each student's page.

    Returns
    -------
    html : str
        A page of its own, without scripts.
    """
    reports = [e.report for e in entries]
    graded = [r for r in reports if r["score"] is not None]
    results: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for report in graded:
        for result in report["results"]:
            results[result["key"]].append(result)
    questions = []
    for some in results.values():
        scores, points = [r["score"] for r in some], some[0]["points"]
        states = [(s, sum(r["state"] == s for r in some)) for s in SYMBOLS]
        mean = round(sum(scores) / len(scores), 2)
        bars = histogram(scores, points)
        questions.append({**some[0], "mean": mean, "states": states, "bars": bars})
    scores = [r["score"] for r in graded]
    page = _pages().get_template("summary.html")
    return page.render(
        title=graded[0]["title"] if graded else reports[0]["title"],
        count=len(reports),
        failed=[r for r in reports if r["score"] is None],
        points=graded[0]["points"] if graded else 0,
        mean=round(sum(scores) / len(scores), 2) if scores else None,
        middle=sorted(scores)[len(scores) // 2] if scores else None,
        bars=histogram(scores, graded[0]["points"]) if graded else [],
        questions=questions,
        bugs=_bugs(graded),
        noted=[r for r in graded if r["notes"]],
        alike=_alike(entries),
        confinements=sorted({r["confinement"] for r in graded}),
        names=names,
    )


def histogram(scores: Sequence[float], points: float) -> list[tuple[str, int]]:
    """Count scores in steps from 0; the last bar holds the full marks only.

    Parameters
    ----------
    scores : sequence of float
        What to count.
    points : float
        Full marks.

    Returns
    -------
    bars : list of tuple of (str, int)
        Where each bar begins, and how many scores it holds.
    """
    step = 0.5 if points <= 5 else 1 if points <= 16 else 2
    edges = [k * step for k in range(math.ceil(points / step))] + [points]
    counts = [0] * len(edges)
    for score in scores:
        counts[sum(score >= edge - 1e-9 for edge in edges[1:])] += 1
    return [(f"{e:g}", c) for e, c in zip(edges, counts, strict=True)]


def _bugs(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Count how many students have each bug, the most frequent first."""
    bugs: dict[tuple, dict[str, Any]] = {}
    for report in reports:
        for result in report["results"]:
            for f in result["findings"]:
                if not f["points"] and not f["bug"]:
                    continue  # praise with a remark
                name = f["bug"] or f"other ({f['category']})"
                bug = bugs.setdefault(
                    (result["key"], name),
                    {"question": result["key"], "name": name, "students": {}, **f},
                )
                bug["students"][report["student"]] = 0
    return sorted(
        bugs.values(), key=lambda b: (-len(b["students"]), b["question"], b["name"])
    )


def _alike(entries: Sequence[Entry]) -> list[tuple[str, list[str]]]:
    """Group students whose functions are equal but for names."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for report, shapes, _ in entries:
        for function, digest in shapes.items():
            groups[function, digest].append(report["student"])
    return [(f, s) for (f, _), s in sorted(groups.items()) if len(s) > 1]


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
        write_whole(out / "feedback" / f"{name}.html", feedback_page(report, marks))
        results = as_json(gradescope_results(report))
        write_whole(out / "results" / f"{name}.json", results)
    write_whole(out / "summary.html", summary_page(entries, names))
    write_whole(out / "answers.html", answers_page(entries, marks))
    # The mark at the file's beginning tells spreadsheets that it is UTF-8.
    write_whole(out / "gradebook.csv", "\ufeff" + table(gradebook(entries, marks)))
    template = table(marks_template(entries, marks))
    write_whole(out / "marks-template.csv", "\ufeff" + template)
    for name, rows, head in (
        ("canvas", canvas_table(entries, marks), 2),
        ("moodle", moodle_table(entries, marks), 1),
    ):
        if len(rows) > head:
            write_whole(out / f"{name}.csv", table(rows))
