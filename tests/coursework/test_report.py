"""Pages, tables, the command: escaping, sameness, resuming, bad files, exit codes."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bnlib.plotting import PALETTE, luminance
from coursework import grade
from coursework.grader import engine, pages, report, tables
from coursework.grader.confine import Confinement, NoConfinementError

ROOT = Path(__file__).resolve().parents[2]

EVIL = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("http://x","y")'


def finding(points=-1.0, bug="eps-outside-root", category="eps") -> dict:
    sentence = f"With eps = 0.1 your output differs. {EVIL}"
    return {"category": category, "points": points, "sentence": sentence, "bug": bug}


def make_report(student="Ada", score=2.0, answer="Because.", **rest) -> dict:
    findings = [finding()] if score < 3 else []
    state = "almost" if findings else "correct"
    result = {
        "key": "ps1.q1", "title": "Forward", "points": 3.0, "score": score,
        "state": state, "findings": findings, "passed": ["shape", "values"],
    }  # fmt: skip
    hand = {"key": "ps1.w1", "title": "Why", "points": 2.0, "answer": answer}
    return {
        "set": "ps1", "title": "Problem set 1", "student": student, "file": "ps1.ipynb",
        "confinement": "bubblewrap 0.8.0", "notes": [], "results": [result],
        "hand": [hand], "score": score, "points": 3.0, "seed": "0123456789abcdef",
        "version": "1", **rest,
    }  # fmt: skip


def entry(*args, ids=None, shapes=None, **rest) -> report.Entry:
    return report.Entry(make_report(*args, **rest), shapes or {}, ids or {})


class Page(HTMLParser):
    """Collect tags and text; complain of scripts and open tags."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.open, self.text, self.found = [], [], "", {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found.setdefault(tag, []).append(dict(attrs))
        assert tag not in ("script", "iframe", "object", "img", "link", "form")
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def all_pages(entries) -> dict[str, str]:
    names = report.file_names(e.report["student"] for e in entries)
    return {
        "summary": pages.summary_page(entries, {}, names),
        "answers": pages.answers_page(entries, {}),
        **{
            e.report["student"]: pages.feedback_page(e.report, {"Ada": {"ps1.w1": 1.5}})
            for e in entries
        },
    }


# --- pages ----------------------------------------------------------------------------


def test_what_a_student_wrote_is_text_on_every_page():
    bad = f'{EVIL}"><img src=x onerror=alert(1)>{{{{ 7*7 }}}}'
    shapes = {"batchnorm_forward": "00"}
    entries = [
        entry(bad, answer=bad, notes=[bad], file=bad, shapes=shapes),
        entry("Ada", 3.0, shapes=shapes),
        report.Entry(
            {**make_report(bad + "2"), "error": bad, "results": [], "hand": [],
             "score": None, "points": None}, {}, {},
        ),
    ]  # fmt: skip
    for name, text in all_pages(entries).items():
        page = Page(text)  # complains of a tag that got through
        assert page.tags.count("h1") == 1, name
        assert page.found["html"] == [{"lang": "en"}]
        assert "7*7" in text or name == "Ada"
        assert "49" not in text
        policy = next(m["content"] for m in page.found["meta"] if "http-equiv" in m)
        assert "default-src 'none'" in policy
        assert "script" not in policy
        assert not re.search(r"(?:src|href)=\"?https?:", text)


def test_a_feedback_page_tells_states_in_words_and_each_lost_point():
    text = Page(pages.feedback_page(make_report(), {})).text
    text = " ".join(text.split())
    words = (
        "2 of 5 points",
        "so far",
        "almost",
        "−1",
        "Category: eps",
        "up to 2 points",
    )
    for word in (*words, "Passed: shape, values.", "other numbers than the checks"):
        assert word in text
    marked = Page(pages.feedback_page(make_report(), {"Ada": {"ps1.w1": 1.5}})).text
    marked = " ".join(marked.split())
    assert "total3.5 of 5 points" in marked
    assert "1.5 of 2 points" in marked
    assert "−0.5" in marked


def test_the_summary_counts_and_puts_failures_first():
    error = {**make_report("Zoe"), "error": "the grader failed, no score (OSError)"}
    error |= {"results": [], "hand": [], "score": None, "points": None}
    shapes = {"f": "aa"}
    entries = [
        entry("Ada", 2.0, shapes=shapes),
        entry("Bo", 3.0, notes=["cell 5 does not parse"]),
        entry("Cy", 2.0, shapes=shapes),
        report.Entry(error, {}, {}),
    ]
    names = report.file_names(e.report["student"] for e in entries)
    text = " ".join(Page(pages.summary_page(entries, {}, names)).text.split())
    assert "students4" in text
    assert text.index("Not graded: 1") < text.index("Scores")
    assert "Zoe (ps1.ipynb): the grader failed, no score (OSError)" in text
    assert "mean, from the grader2.33 of 3" in text
    assert "median2" in text
    assert "2 students With eps = 0.1 your output differs." in text
    assert "ps1.q1; eps-outside-root" in text
    assert "f: Ada, Cy" in text
    assert "Cell 5 does not parse." in text
    assert pages.histogram([0, 0.4, 2, 3], 3.0) == [
        ("0", 2), ("0.5", 0), ("1", 0), ("1.5", 0), ("2", 1), ("2.5", 0), ("3", 1),
    ]  # fmt: skip


def test_colours_are_the_books_and_have_contrast():
    folder = Path(report.__file__).parent / "templates"
    style = (folder / "style.html").read_text()
    light, dark = [
        dict(re.findall(r"--(\w+): (#\w+)", part)) for part in style.split("@")[:2]
    ]
    assert light["bar"].upper() == PALETTE["batch norm"]
    assert light["lost"].upper() == PALETTE["none"]
    assert light["good"].upper() == PALETTE["layer norm"]
    for colours in (light, dark):
        for name, colour in colours.items():
            needed = 3.0 if name in ("bar", "lost") else 4.5
            grounds = {"ground", "panel"} if needed > 3 else {"ground"}
            if name in ("ground", "panel", "line"):
                continue
            for ground in grounds:
                pair = sorted([shine(colour), shine(colours[ground])])
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= needed, (name, ground)


def shine(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * d for d in colour[1:])
    return luminance([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def test_file_names_are_plain_and_apart():
    students = [
        "Ada",
        "ADA",
        "../../etc/passwd",
        "Zoë Łu",
        "李",
        "",
        "con",
        "a" * 200,
        "a/b",
        "a_b",
    ]
    names = list(report.file_names(students).values())
    assert len({n.lower() for n in names}) == len(students)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}", name)
        assert name.lower() != "con"


# --- tables and Gradescope ------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "＝"])
def test_no_cell_is_a_formula(start):
    bad = f"{start}1+cmd|' /C calc'!A0"
    entries = [entry(bad, file=bad, notes=[bad], ids={"canvas": "7", "moodle": "8"})]
    for rows in (
        tables.gradebook(entries, {}),
        tables.marks_template(entries, {}),
        tables.canvas_table(entries, {}),
        tables.moodle_table(entries, {}),
    ):
        text = tables.table(rows)
        for row in csv.reader(io.StringIO(text, newline="")):
            for cell in row:
                assert not cell.lstrip(" ").startswith(tables.FORMULA) or cell == "-"


def test_numbers_stay_numbers():
    assert tables.table([[-1.5, 2, None, "-1"]]) == "-1.5,2,,'-1\r\n"


def test_gradebook_and_the_tables_of_other_systems():
    marks = {"Ada": {"ps1.w1": 1.5}}
    entries = [entry("Ada", ids={"canvas": "7"}), entry("Bo", ids={"moodle": "8"})]
    assert tables.gradebook(entries, marks) == [
        ["student", "file", "ps1.q1", "automatic", "ps1.w1", "total", "notes"],
        ["Ada", "ps1.ipynb", 2.0, 2.0, 1.5, 3.5, ""],
        ["Bo", "ps1.ipynb", 2.0, 2.0, None, 2.0, "not marked yet: ps1.w1"],
    ]
    assert tables.canvas_table(entries, marks)[:3] == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Problem set 1"],
        ["    Points Possible", "", "", "", "", 5.0],
        ["Ada", "7", "", "", "", 3.5],
    ]
    row = tables.moodle_table(entries, marks)[1]
    assert row[:4] == ["Participant 8", "Bo", 2.0, "-"]


def test_marks_are_read_back_and_wrong_ones_named(tmp_path):
    reports = [make_report("=Ada"), make_report("Bo")]
    path = tmp_path / "marks.csv"
    entries = [report.Entry(r, {}, {}) for r in reports]
    marks = {"=Ada": {"ps1.w1": 1.5}}
    path.write_text("\ufeff" + tables.table(tables.marks_template(entries, marks)))
    assert tables.read_marks(path, reports) == marks
    for line, words in [
        ("Eve,1", "row 2: expected the name of a student"),
        ("Bo,3", "expected 0 to 2 points for ps1.w1, got '3'"),
        ("Bo,-1", "got '-1'"),
        ("Bo,nan", "got 'nan'"),
        ("Bo,two", "got 'two'"),
    ]:
        path.write_text("student,ps1.w1\n" + line)
        with pytest.raises(ValueError, match=re.escape(words)):
            tables.read_marks(path, reports)


def test_gradescope_has_its_shape():
    got = report.gradescope_results(make_report())
    assert set(got) == {
        "score", "tests", "output", "output_format", "stdout_visibility", "extra_data",
    }  # fmt: skip
    test = got["tests"][0]
    assert (test["score"], test["max_score"], test["status"]) == (2.0, 3.0, "failed")
    assert "−1 (eps) With eps" in test["output"]
    assert got["extra_data"] == make_report()
    failed = {**make_report(), "error": "x", "score": None}
    assert {"score", "tests"}.isdisjoint(report.gradescope_results(failed))


# --- the command ----------------------------------------------------------------------


def stand_in(submission, set_name, key, options) -> dict:
    """Grade by the file's length; note that it was asked; stop where the file says."""
    if log := os.environ.get("STAND_IN_LOG"):
        with open(log, "a") as file:
            file.write(submission.student + "\n")
    text = "".join(source for _, source in submission.chunks)
    if "RAISE" in text:
        raise OSError("/secret/path")
    if "STOP" in text:
        raise KeyboardInterrupt
    if "DIE" in text:
        os._exit(3)
    score = 1.0 + len(key + text.encode()) % 3
    return make_report(submission.student, score, notes=submission.notes)


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Lay out a class of four, a key, and a stand-in for the engine."""
    monkeypatch.setattr(engine, "grade_one", stand_in)
    monkeypatch.setattr(engine, "confinement", lambda _: Confinement("none", "a test"))
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "log"))
    folder = tmp_path / "in"
    folder.mkdir()
    for i, name in enumerate(["Ada", "Bo", "Cy", "Di Fu"]):
        lines = "x = 1\n" * i
        (folder / f"{name}.py").write_text(
            f"def batchnorm_forward(x):\n    y = {lines}"
        )
    (tmp_path / "key").write_text("0123456789abcdef\n")
    return tmp_path


def run(room: Path, *more: str, out="out") -> int:
    given = [str(room / "in"), "--set", "ps1", "--key", str(room / "key")]
    return grade.main([*given, "--out", str(room / out), *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def asked(room: Path) -> list[str]:
    log = room / "log"
    names = sorted(log.read_text().split("\n")[:-1]) if log.exists() else []
    log.unlink(missing_ok=True)
    return names


def test_everything_is_written_and_is_the_same_for_every_number_of_jobs(room):
    assert run(room, "--jobs", "1") == grade.ALL_GRADED
    assert run(room, "--jobs", "2", out="two") == grade.ALL_GRADED
    one, two = contents(room / "out"), contents(room / "two")
    assert one == two
    kinds = ("reports/%s.json", "results/%s.json", "feedback/%s.html")
    names = {kind % name for kind in kinds for name in ("Ada", "Bo", "Cy", "Di_Fu")}
    tables = {"summary.html", "answers.html", "gradebook.csv", "marks-template.csv"}
    assert set(one) == names | tables
    assert not any(str(room).encode() in data for data in one.values())


def test_a_second_run_grades_only_what_changed(room):
    run(room, "--jobs", "1")
    assert len(asked(room)) == 4
    before = contents(room / "out")
    run(room, "--jobs", "1")
    assert asked(room) == []
    assert contents(room / "out") == before
    (room / "in" / "Bo.py").write_text("def batchnorm_forward(x):\n    return x")
    run(room, "--jobs", "1")
    assert asked(room) == ["Bo"]
    (room / "out" / "reports" / "Ada.json").write_text('{"half')
    run(room, "--jobs", "1")
    assert asked(room) == ["Ada"]
    (room / "key").write_text("another key of enough bytes")
    run(room, "--jobs", "1")
    assert len(asked(room)) == 4
    run(room, "--jobs", "1", "--force")
    assert len(asked(room)) == 4


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_one_bad_file_does_not_stop_the_others(room, jobs, capsys):
    (room / "in" / "Bo.py").write_text("def batchnorm_forward(x):\n    RAISE")
    (room / "in" / "Eve").mkdir()
    (room / "in" / "Fay.zip").write_bytes(b"no zip")
    assert run(room, "--jobs", jobs) == grade.SOME_NOT
    stored = json.loads((room / "out" / "reports" / "Bo.json").read_text())["report"]
    assert stored["error"] == "the grader failed, no score (OSError)"
    assert stored["score"] is None
    rows = list(csv.reader((room / "out" / "gradebook.csv").open(encoding="utf-8-sig")))
    assert [r[0] for r in rows[1:]] == ["Ada", "Bo", "Cy", "Di Fu", "Eve", "Fay"]
    assert [bool(r[-2]) for r in rows[1:]] == [True, False, True, True, False, False]
    assert "/secret/path" in (room / "out" / "errors" / "Bo.txt").read_text()
    pages = {k: v for k, v in contents(room / "out").items() if "errors" not in k}
    assert not any(b"/secret/path" in page for page in pages.values())
    assert "Not graded: Bo" in capsys.readouterr().err
    (room / "in" / "Bo.py").write_text("def batchnorm_forward(x):\n    return x")
    asked(room)
    assert run(room, "--jobs", jobs) == grade.SOME_NOT
    assert jobs == "2" or asked(room) == ["Bo"]
    assert b'"error"' not in contents(room / "out" / "reports")["Bo.json"]
    assert not (room / "out" / "errors" / "Bo.txt").exists()


def test_a_process_that_ends_costs_only_its_own_file(room):
    (room / "in" / "Bo.py").write_text("def batchnorm_forward(x):\n    DIE")
    assert run(room, "--jobs", "2") == grade.SOME_NOT
    stored = {k: json.loads(v) for k, v in contents(room / "out" / "reports").items()}
    errors = {k: "error" in v["report"] for k, v in stored.items()}
    assert errors == {
        "Ada.json": False,
        "Bo.json": True,
        "Cy.json": False,
        "Di_Fu.json": False,
    }


def test_ctrl_c_keeps_what_is_done(room, capsys):
    (room / "in" / "Cy.py").write_text("def batchnorm_forward(x):\n    STOP")
    assert run(room, "--jobs", "1") == grade.STOPPED
    assert asked(room) == ["Ada", "Bo", "Cy"]
    assert "the same command goes on" in capsys.readouterr().err
    (room / "in" / "Cy.py").write_text("def batchnorm_forward(x):\n    return x")
    assert run(room, "--jobs", "1") == grade.ALL_GRADED
    assert asked(room) == ["Cy", "Di Fu"]


def test_marks_enter_pages_and_tables(room):
    (room / "marks.csv").write_text("student,ps1.w1\nAda,2\nDi Fu,\n")
    assert run(room, "--jobs", "1", "--marks", str(room / "marks.csv")) == 0
    text = (room / "out" / "gradebook.csv").read_text(encoding="utf-8-sig")
    ada = next(csv.DictReader(io.StringIO(text)))
    assert float(ada["total"]) == float(ada["automatic"]) + 2
    assert "Marked: 2 of 2" in (room / "out" / "answers.html").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--set", "ps9"], "expected --set to be one of ps1, "),
        (["--key", "nowhere"], "expected a key file, found none"),
        (["--key", "short"], "expected a key of at least 16 bytes"),
        (["--marks", "nowhere"], "expected a table of marks, found none"),
        (["--marks", "marks"], "row 2: expected the name of a student"),
        (["--out", "in/out"], "expected --out outside of the submissions"),
        (["--jobs", "0"], "above 0"),
        (["--dask", "tcp://127.0.0.1:1"], "--dask expects"),
        (["empty"], "expected notebooks or Python files"),
        (["nowhere"], "expected a folder of submissions, found none"),
    ],
)  # fmt: skip
def test_set_up_errors_are_one_sentence(room, change, words, capsys, monkeypatch):
    monkeypatch.chdir(room)
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    (room / "short").write_text("0123456789abcde \n")
    (room / "marks").write_text("student,ps1.w1\nEve,1\n")
    (room / "empty").mkdir()
    given = {"--set": "ps1", "--key": "key", "--out": "out", "--jobs": "1"}
    folder = change[0] if len(change) == 1 else "in"
    given |= dict([change]) if len(change) == 2 else {}
    flat = [word for pair in given.items() for word in pair]
    assert grade.main([folder, *flat]) == grade.SET_UP
    last = capsys.readouterr().err.strip().split("\n")[-1]
    assert last.startswith("Stopped: ")
    assert words in last


def test_without_the_packages_one_sentence_says_which_python_to_use(tmp_path):
    command = [sys.executable, "-S", "-m", "coursework.grade", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == grade.SET_UP
    assert done.stderr.count("\n") == 1
    assert "needs numpy, jinja2, joblib, yaml" in done.stderr
    assert ".venv/bin/python -m coursework.grade" in done.stderr


@pytest.mark.parametrize("name", ["ps4", "ps5", "capstone"])
def test_without_torch_nobody_is_begun(room, name, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "torch" else find(n)
    )
    assert run(room, "--set", name) == grade.SET_UP
    assert not (room / "out").exists()
    assert f"grading {name} needs torch, which" in capsys.readouterr().err
    assert run(room, "--set", "ps1") == grade.ALL_GRADED


def test_no_confinement_is_no_score(room, monkeypatch, capsys):
    def none(_):
        raise NoConfinementError("expected a way to confine, found none")

    monkeypatch.setattr(engine, "confinement", none)
    assert run(room) == grade.SET_UP
    assert not (room / "out").exists()
    assert "found none" in capsys.readouterr().err


def test_gradescope_grades_one_and_never_leaves_an_old_result(room):
    folder = room / "autograder"
    (folder / "submission").mkdir(parents=True)
    (folder / "results").mkdir()
    (folder / "submission" / "ps1.py").write_text("def batchnorm_forward(x): return x")
    (folder / "submission_metadata.json").write_text(
        json.dumps({"users": [{"name": "Di Fu"}, {"name": "Cy"}]})
    )
    given = ["--gradescope", str(folder), "--set", "ps1", "--key", str(room / "key")]
    results = folder / "results" / "results.json"
    assert grade.main(given) == grade.ALL_GRADED
    assert json.loads(results.read_text())["extra_data"]["student"] == "Cy"
    (folder / "submission" / "ps1.py").write_text("def batchnorm_forward(x): RAISE")
    assert grade.main(given) == grade.SOME_NOT
    assert not results.exists()


# --- sentences ------------------------------------------------------------------------

NAMES = re.compile(
    r"Your ([\w.]+_\w*|d?x|dgamma|dbeta|gamma|beta|weight|forward|run\(seed\)|out|"
    r"mean|var)[ ,']"
)


def all_sentences() -> list[str]:
    """Return what learners are told, with a name in each gap at the beginning."""
    folders = [*(ROOT / "coursework/questions/says").glob("*.toml")]
    found = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for part in value.values():
                walk(part)
        elif isinstance(value, str):
            found.append(value)

    for path in folders:
        for table in tomllib.loads(path.read_text("utf-8")).values():
            walk(table.get("mistakes", {}))
    walk(tomllib.loads((ROOT / "bncheck/says.toml").read_text("utf-8"))["told"])
    gaps = {"{label}": "out", "{function}": "a_function", "{test}": "test_a"}
    kept = []
    for text in found:
        for gap, name in gaps.items():
            text = text.replace(gap, name)
        kept.append(text)
    return [t for t in kept if " " in t and not t.startswith("{")]


def test_all_sentences_begin_with_a_capital_or_a_number_on_pages():
    for text in all_sentences():
        shown = report.sentence(text)
        assert not shown[0].islower(), shown
        if shown.startswith("Your ") and not text.startswith("Your "):
            assert NAMES.match(shown), shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dx differs", "Your dx differs."),
        ("the columns differ.", "The columns differ."),
        ("cell 4: line 2 is odd", "Cell 4: line 2 is odd."),
        ("test_a stops!", "Your test_a stops!"),
        ("With eps it differs.", "With eps it differs."),
        ("2 files were handed in", "2 files were handed in."),
        ("", "."),
    ],
)
def test_a_sentence_on_a_page(text, shown):
    assert report.sentence(text) == shown


def test_findings_are_sentences_on_pages_and_for_gradescope():
    told = make_report()
    told["results"][0]["findings"][0]["sentence"] = "dx differs"
    assert "Your dx differs." in pages.feedback_page(told, {})
    (test,) = report.gradescope_results(told)["tests"]
    assert "Your dx differs." in test["output"]
    assert "Your dx differs." in pages.summary_page(
        [report.Entry(told, {}, {})], {}, {"Ada": "Ada"}
    )
