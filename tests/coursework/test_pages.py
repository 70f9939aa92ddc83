"""The pages of a class in a browser: light and dark, on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import require_browser
from check_browser import ALL, ARGUMENTS, AXE, DESKTOP, PHONE, WIDE, axe_source, size

from coursework import grade
from coursework.grader import engine
from coursework.grader.confine import Confinement
from coursework.grader.report import OTHER_NUMBERS

pytestmark = pytest.mark.slow

LONG = "the_name_of_a_variable_that_does_not_end_" * 4
SENTENCE = "Your output differs: it is sqrt(var + eps), not sqrt(var) + eps."
STUDENTS = ("Ada", "Bartholomew Featherstonehaugh-Cholmondeley", "Cy", "Di", "Eve")
PAGES = (
    "summary",
    "answers",
    "feedback/Ada",
    "feedback/Bartholomew_Featherstonehaugh-Cholmondeley",
    "feedback/Di",
    "feedback/Eve",
)


def finding(points: float, sentence: str = SENTENCE, bug: str | None = None) -> dict:
    return {"category": "eps", "points": points, "sentence": sentence, "bug": bug}


def result(number: int, score: float, state: str, *findings: dict) -> dict:
    title = "Forward pass in training mode with a title that is long"
    return {
        "key": f"ps1.q{number}", "title": title, "points": 3.0, "score": score,
        "state": state, "findings": list(findings), "passed": ["shape", "values"],
    }  # fmt: skip


def stand_in(submission, set_name, key, options) -> dict:
    """Give each student a page of another kind."""
    who = submission.student[0]
    if who == "E":
        raise OSError("a disk")
    results = [result(n, 3.0, "correct") for n in (1, 2, 3, 4)]
    answer, notes = "A row\n\n- has " + LONG, []
    if who in "BC":
        results = [
            result(1, 2.75, "almost", finding(-0.25, bug="eps-outside-root")),
            result(2, 3.0, "almost", finding(-0.0, bug="eps-outside-root")),
            result(3, 0.0, "not yet", finding(-3.0), finding(-1.0, LONG)),
            result(4, 0.0, "nothing yet", finding(0.0, "There is no f yet.")),
        ]
        notes = [f"cell 5 does not parse ({LONG})"]
    if who == "D":
        none = finding(0.0, "There is no batchnorm_forward yet.")
        results = [result(n, 0.0, "nothing yet", none) for n in (1, 2, 3, 4)]
        answer, notes = "", ["the file is not a notebook (JSON, line 1: nested)"]
    hand = {"key": "ps1.w1", "title": "Why the rows", "points": 2.0, "answer": answer}
    return {
        "set": "ps1", "title": "Forward, running statistics, evaluation",
        "student": submission.student, "file": submission.file, "notes": notes,
        "confinement": "a test", "results": results, "hand": [hand],
        "score": sum(r["score"] for r in results), "points": 12.0,
        "seed": "0123456789abcdef", "version": "1",
    }  # fmt: skip


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Path:
    """Grade a small class with a stand-in for the engine."""
    room = tmp_path_factory.mktemp("class")
    (room / "in").mkdir()
    for name in STUDENTS:
        (room / "in" / f"{name}.py").write_text("def batchnorm_forward(x):\n    1\n")
    (room / "key").write_text("0123456789abcdef\n")
    (room / "marks.csv").write_text("student,ps1.w1\nAda,1.5\n")
    given = [str(room / "in"), "--set", "ps1", "--key", str(room / "key")]
    given += ["--out", str(room / "out"), "--jobs", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "grade_one", stand_in)
        patch.setattr(engine, "confinement", lambda _: Confinement("none", "a test"))
        assert grade.main([*given, "--marks", str(room / "marks.csv")]) == 1
    return room / "out"


@pytest.fixture(scope="module")
def browser():
    path = require_browser()
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


def words(graded: Path, name: str) -> str:
    """Return what stands on a page, tags left in, spaces made one."""
    return " ".join((graded / f"{name}.html").read_text("utf-8").split())


def test_a_student_sees_total_losses_reasons_and_what_is_open(graded):
    text = words(graded, f"feedback/{PAGES[3].rpartition('/')[2]}")
    for part in (
        "<strong>5.75</strong> of 14 points", "so far", "up to 2 points",
        "2.75 of 3", "−0.25", "no points lost", "−3", SENTENCE.partition(":")[0],
        "No question has fewer than 0 points", "Cell 5 does not parse",
        "not marked yet",
        OTHER_NUMBERS,
    ):  # fmt: skip
        assert part in text, part
    nothing = text[text.rindex("nothing yet") :]
    assert "no points lost" not in nothing
    full = words(graded, "feedback/Ada")
    assert "<strong>13.5</strong> of 14 points" in full
    assert "no points lost" not in full
    empty = words(graded, "feedback/Di")
    assert "The grader found nothing to grade" in empty
    error = words(graded, "feedback/Eve")
    assert "Not graded yet" in error
    assert "0</strong> of" not in error


def test_a_teacher_sees_how_many_the_spread_the_mistakes_and_the_files(graded):
    text = words(graded, "summary")
    for part in (
        "<strong>5</strong>", "Not graded: 1", "Histogram of scores", SENTENCE,
        "eps-outside-root", "Files that need a look", "other numbers than the checks",
    ):  # fmt: skip
        assert part in text, part
    assert text.count("eps-outside-root") == 1  # one mistake in two questions
    assert "ps1.q1, ps1.q2; eps-outside-root" in text
    answers = words(graded, "answers")
    assert "Marked: 1.5 of 2" in answers
    assert "No answer was found (1)" in answers


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_a_phone_scrolls_in_one_direction(
    graded, browser, name, mode
):
    context = browser.new_context(color_scheme=mode, bypass_csp=True)
    page = context.new_page()
    page.goto((graded / f"{name}.html").as_uri())
    page.evaluate(axe_source())
    for viewport in (DESKTOP, PHONE):
        page.set_viewport_size(size(viewport))
        assert page.evaluate(AXE, ALL) == [], viewport
        assert page.evaluate(WIDE) == [], viewport
    context.close()


def test_the_policy_of_a_page_lets_its_style_in_and_nothing_else(graded, browser):
    complaints: list[str] = []
    page = browser.new_page(color_scheme="dark")
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: complaints.append(request.url))
    url = (graded / "summary.html").as_uri()
    page.goto(url)
    assert complaints == [url]
    style = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(style) == "rgb(20, 24, 29)"
    page.close()
