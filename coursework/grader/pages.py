"""Pages for people, made with Jinja2: whatever a student wrote is escaped text.

A page holds no script, loads nothing, and names no time and no path.
"""

from __future__ import annotations

import base64
import hashlib
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bncheck.form import MARKS
from coursework.grader.report import (
    OTHER_NUMBERS,
    Entry,
    Marks,
    Report,
    lost,
    sentence,
    total,
)


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
        style=style,
        style_hash=digest,
        symbols=MARKS,
        lost=lost,
        other_numbers=OTHER_NUMBERS,
    )
    pages.filters["number"] = lambda value: "–" if value is None else f"{value:g}"
    pages.filters["count"] = _count
    pages.filters["sentence"] = sentence
    pages.filters["set_words"] = _set_words
    return pages


def _count(number: int, noun: str) -> str:
    """Write "1 point", "2 points", "0.5 points"."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def _set_words(name: str) -> str:
    """Write ps1 as "Problem set 1"."""
    number = name.removeprefix("ps")
    return f"Problem set {number}" if number != name else name.capitalize()


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
    given = marks.get(report["student"], {})
    hand = report["hand"]
    return (
        _pages()
        .get_template("feedback.html")
        .render(
            report=report,
            given=given,
            total=total(report, marks),
            most=(report["points"] or 0) + sum(h["points"] for h in hand),
            waiting=[h for h in hand if h["key"] not in given],
            empty=all(r["state"] == "nothing yet" for r in report["results"]),
        )
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
            question = questions.setdefault(
                item["key"], {**item, "answers": [], "none": [], "marked": 0}
            )
            mark = marks.get(report["student"], {}).get(item["key"])
            question["marked"] += mark is not None
            if item["answer"]:
                question["answers"].append((report["student"], item["answer"], mark))
            else:
                question["none"].append((report["student"], mark))
    return (
        _pages()
        .get_template("answers.html")
        .render(
            title=_title(entries),
            set_name=entries[0].report["set"] if entries else "",
            questions=list(questions.values()),
        )
    )


def _title(entries: Sequence[Entry]) -> str:
    """Name the set as in problem set 1; a set has one title."""
    return entries[0].report["title"] if entries else ""


def summary_page(
    entries: Sequence[Entry], marks: Marks, names: Mapping[str, str]
) -> str:
    """Write the page on the class: distribution, questions, bugs, files, likeness.

    Parameters
    ----------
    entries : sequence of Entry
        The class.
    marks : mapping
        Marks given by people.
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
        states = [(s, sum(r["state"] == s for r in some)) for s in MARKS]
        mean = round(sum(scores) / len(scores), 2)
        bars = histogram(scores, points)
        questions.append({**some[0], "mean": mean, "states": states, "bars": bars})
    scores = [r["score"] for r in graded]
    waiting = sum(
        h["key"] not in marks.get(r["student"], {}) for r in graded for h in r["hand"]
    )
    return (
        _pages()
        .get_template("summary.html")
        .render(
            title=_title(entries),
            set_name=reports[0]["set"] if reports else "",
            reports=reports,
            graded=graded,
            failed=[r for r in reports if r["score"] is None],
            noted=sorted((r for r in graded if r["notes"]), key=lambda r: r["score"]),
            points=graded[0]["points"] if graded else 0,
            mean=round(statistics.mean(scores), 2) if scores else None,
            middle=round(statistics.median(scores), 2) if scores else None,
            bars=histogram(scores, graded[0]["points"]) if graded else [],
            waiting=waiting,
            questions=questions,
            bugs=_bugs(graded),
            alike=_alike(entries),
            confinements=sorted({r["confinement"] for r in graded}),
            names=names,
        )
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
    """Count how many students have each mistake, the most frequent first.

    A known mistake counts once for a student, wherever it shows; what no known mistake
    explains is counted by question and category, under what one student was told.
    """
    bugs: dict[tuple[str, str], dict[str, Any]] = {}
    for report in reports:
        for result in report["results"]:
            for f in result["findings"]:
                if not f["points"] and not f["bug"]:
                    continue  # a remark
                name = f["bug"] or ""
                known = (name, "") if name else (result["key"], f["category"])
                bug = bugs.setdefault(
                    known,
                    {"name": name, "category": f["category"], "sentence": "",
                     "points": 0.0, "questions": {}, "students": {}},
                )  # fmt: skip
                if not bug["sentence"] or (f["points"] and not bug["points"]):
                    bug["sentence"], bug["points"] = f["sentence"], f["points"]
                bug["questions"][result["key"]] = bug["students"][report["student"]] = 0
    return sorted(
        bugs.values(),
        key=lambda b: (-len(b["students"]), min(b["questions"]), b["name"]),
    )


def _alike(entries: Sequence[Entry]) -> list[tuple[str, list[str]]]:
    """Group students whose functions are equal but for names."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for report, shapes, _ in entries:
        for function, digest in shapes.items():
            groups[function, digest].append(report["student"])
    return [(f, s) for (f, _), s in sorted(groups.items()) if len(s) > 1]
