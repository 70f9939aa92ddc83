"""What a report is, and its form for Gradescope.

A report is what the grader says of one student: plain data, as JSON holds it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bncheck.form import MARKS

Report = dict[str, Any]
Marks = Mapping[str, Mapping[str, float]]

OTHER_NUMBERS = (
    "This graded run uses other numbers than the checks in your notebook, and looks at "
    "the same categories. Its numbers stay secret."
)
LONGEST_NAME = 80
# First words that are no names of a student's, and so may have a capital letter.
WORDS = frozenset(
    ("a", "an", "and", "autograd", "cell", "file", "handed", "line", "listing", "more",
     "no", "none", "reading", "set-up", "the", "there", "this")
)  # fmt: skip
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


def total(report: Report, marks: Marks) -> float | None:
    """Add a report's score and the marks that were given; None if not graded."""
    if report["score"] is None:
        return None
    return round(report["score"] + sum(marks.get(report["student"], {}).values()), 2)


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
    lines.append(OTHER_NUMBERS)
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
    lines = [f"{MARKS.get(result['state'], '')} {result['state']}"]
    for f in result["findings"]:
        cost = "" if result["state"] == "nothing yet" else f"{lost(f['points'])} "
        category = f"({f['category']}) " if f["category"] else ""
        lines.append(f"{cost}{category}{sentence(f['sentence'])}")
    if result["passed"]:
        lines.append(f"Passed: {', '.join(result['passed'])}.")
    return "\n".join(lines)


def sentence(text: str) -> str:
    """Begin with a capital and end with a full stop: "dx differs" is "Your dx ..."."""
    first = text.partition(" ")[0].rstrip(":,")
    if first in WORDS:
        text = text[0].upper() + text[1:]
    elif text[:1].islower():
        text = f"Your {text}"
    return text if text.endswith((".", "!", "?")) else text + "."


def lost(points: float) -> str:
    """Say how many points a finding costs."""
    return f"−{abs(points):g}" if points else "no points lost"
