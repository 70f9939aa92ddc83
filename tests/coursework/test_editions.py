"""The editions made from the single sources, and what students can do with them."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from book import leaked_solutions

from coursework import build, keys, sources
from coursework.grader.engine import Options, grade_one
from coursework.grader.reading import read_submission
from coursework.keys import VARIANTS
from coursework.questions import SETS
from coursework.questions.ps3 import LISTINGS, draw_listings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
KEY = b"a key for the tests of the editions"
RUN = """
import json, sys
import matplotlib
matplotlib.use("Agg")
book = json.load(open(sys.argv[1], encoding="utf-8"))
names = {"__name__": "__main__"}
for number, cell in enumerate(book["cells"], 1):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
import bncheck
assert "bncheck.zip" in bncheck.__file__, bncheck.__file__
"""


def cases() -> list[tuple[str, bytes]]:
    """Return each set with keys under which each of its variants is drawn once."""
    found = []
    for name in sources.NAMES:
        wanted = set(VARIANTS.get(name, ("",)))
        for number in range(200):
            key = KEY + str(number).encode()
            if keys.variant(key, name) in wanted:
                wanted.remove(keys.variant(key, name))
                found.append((name, key))
        assert not wanted
    return found


CASES = cases()
IDS = [f"{name}-{keys.variant(key, name)}".strip("-") for name, key in CASES]


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def edition(request, tmp_path_factory):
    """Unpack a set of a student edition."""
    name, key = request.param
    if SETS[name].imports:
        pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("student")
    data = build.zip_bytes(build.set_files(name, key))
    zipfile.ZipFile(io.BytesIO(data)).extractall(folder)
    return name, key, folder


def test_a_student_notebook_runs_to_its_end_with_nothing_yet(edition):
    name, _, folder = edition
    command = [sys.executable, "-c", RUN, f"{name}.ipynb"]
    done = subprocess.run(command, cwd=folder / name, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    notebook = json.loads((folder / name / f"{name}.ipynb").read_text("utf-8"))
    checks = [c for c in notebook["cells"] if "check" in c["metadata"].get("tags", [])]
    lines = [
        line for line in done.stdout.splitlines() if line.startswith(tuple("○◐✗✓"))
    ]
    assert len(checks) == len(lines) == len({q.split(":")[0] for q in lines})
    assert all("nothing yet" in line for line in lines), lines
    keys_asked = {line.split(",")[0].split()[1] for line in lines}
    rng, variant = keys.rng(b"x" * 16), VARIANTS.get(name, ("",))[0]
    assert keys_asked == {q.key for q in SETS[name].questions(rng, variant)}


def test_a_student_notebook_earns_nothing(edition):
    name, key, folder = edition
    data = (folder / name / f"{name}.ipynb").read_bytes()
    submission = read_submission(data, f"{name}.ipynb", SETS[name].functions)
    report = grade_one(submission._replace(student="A"), name, key, Options())
    assert report["score"] == 0
    assert {r["state"] for r in report["results"]} == {"nothing yet"}, report["results"]
    for hand in report["hand"]:  # one answer is a table that students fill in
        assert not hand["answer"] or hand["answer"].startswith("|")


@pytest.mark.parametrize(("name", "key"), CASES, ids=IDS)
def test_a_solution_notebook_gets_full_marks(name, key):
    if SETS[name].imports:
        pytest.importorskip("torch")
    shipped = build.instructor_files(key)[f"solutions/{name}.ipynb"]
    data = shipped.encode() if isinstance(shipped, str) else shipped
    submission = read_submission(data, f"{name}.ipynb", SETS[name].functions)
    report = grade_one(submission._replace(student="B"), name, key, Options())
    assert report["score"] == report["points"], report["results"]
    assert report["notes"] == []
    assert all(hand["answer"] for hand in report["hand"])


def test_the_points_are_a_hundred():
    key = CASES[0][1]
    automatic = hand = 0.0
    for name, chosen in SETS.items():
        rng, variant = keys.rng(key, "x"), keys.variant(key, name)
        automatic += sum(q.points for q in chosen.questions(rng, variant))
        hand += sum(points for _, _, points in chosen.hand)
    assert (automatic, hand) == (70, 30)


def test_checks_of_a_question_add_up_to_its_points():
    for name, chosen in SETS.items():
        for variant in VARIANTS.get(name, ("",)):
            for question in chosen.questions(keys.rng(KEY, name), variant):
                if question.checks:
                    total = sum(check.points for check in question.checks)
                    assert total == pytest.approx(question.points), question.key


def test_the_student_edition_holds_no_solution(edition):
    _, _, folder = edition
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                texts = [archive.read(n).decode("utf-8") for n in names]
            assert not any("references" in n or "questions" in n for n in names)
        elif path.is_file():
            texts = [path.read_text("utf-8")]
        else:
            continue
        for text in texts:
            assert not sources.has_solution(text), path
            assert "coursework.questions.references" not in text, path


def test_the_student_library_defines_nothing_that_is_asked():
    asked = {f for chosen in SETS.values() for f in chosen.functions}
    for path in (build.ROOT / "bncheck").glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        named = {n.name for n in ast.walk(tree) if hasattr(n, "name") and n.name}
        assert not named & asked, path


def test_no_listing_gives_its_answer_away():
    key = CASES[0][1]
    text = build.set_files("ps3", key)["ps3/ps3.ipynb"]
    notebook = json.loads(text)
    assert not any("listing" in c["metadata"] for c in notebook["cells"])
    heads = [f"### Listing {letter}" for letter in "abc"]
    texts = ["".join(c["source"]) for c in notebook["cells"]]
    shown = [s.split("\n")[0] for s in texts if s.startswith("### Listing")]
    assert shown == heads
    full = sources.read("ps3")
    drawn = draw_listings(key)
    by_name = {
        c["metadata"].get("listing"): "".join(c["source"]) for c in full["cells"]
    }
    for letter, name in zip("abc", drawn, strict=True):
        body = by_name[name].split("\n", 1)[1]
        assert f"### Listing {letter}\n{body}" in texts


def test_the_listings_of_the_notebook_are_those_of_the_grader():
    cells = sources.read("ps3")["cells"]
    found = [c["metadata"]["listing"] for c in cells if "listing" in c["metadata"]]
    assert sorted(found) == sorted(LISTINGS)
    table = next(
        "".join(c["source"]) for c in cells if "| Id | Name |" in "".join(c["source"])
    )
    assert all(f"`{name}`" in table for name in LISTINGS)


def test_a_stub_stands_in_its_solution():
    """Every line of a stub cell, but for the stub itself, is a line of the solution."""
    for name in sources.NAMES:
        for cell in sources.read(name)["cells"]:
            if cell["cell_type"] != "code":
                continue
            source = "".join(cell["source"])
            stub = sources.VARIANT.sub("", sources.strip_solution(source))
            full = sources.VARIANT.sub("", source)
            stubs = {m["stub"] or sources.STUB for m in map(
                sources.BEGIN.match, source.split("\n")) if m}  # fmt: skip
            for line in stub.split("\n"):
                assert line in full.split("\n") or line.strip() in stubs, (name, line)


def test_broken_markers_are_named():
    for source in (
        "### BEGIN SOLUTION\nx",
        "### END SOLUTION",
        "### BEGIN SOLUTION\n" * 2,
    ):
        with pytest.raises(sources.SourceError, match="no partner"):
            sources.strip_solution(source)


def test_a_missing_variant_is_named():
    with pytest.raises(sources.SourceError, match="nonsense"):
        sources.student_notebook(sources.read("ps1"), "nonsense")


def test_building_twice_gives_the_same_bytes(tmp_path):
    key = tmp_path / "term.key"
    key.write_bytes(KEY)
    first = {p.name: p.read_bytes() for p in build.build(key, tmp_path / "a")}
    second = {p.name: p.read_bytes() for p in build.build(key, tmp_path / "b")}
    assert first == second
    assert set(first) >= {"student.zip", "instructor.zip", "autograder-ps1.zip"}


def test_a_key_is_made_once_and_kept_private(tmp_path, capsys):
    key = tmp_path / "term.key"
    assert build.main(["--key", str(key), "--out", str(tmp_path / "dist")]) == 0
    assert "Made a new key" in capsys.readouterr().out
    assert key.stat().st_mode & 0o077 == 0
    before = key.read_text()
    assert build.main(["--key", str(key), "--out", str(tmp_path / "dist")]) == 0
    assert key.read_text() == before


def test_a_short_key_is_refused(tmp_path, capsys):
    key = tmp_path / "term.key"
    key.write_text("short")
    assert build.main(["--key", str(key), "--out", str(tmp_path / "dist")]) == 2
    assert "at least 16 bytes" in capsys.readouterr().out
    assert not (tmp_path / "dist").exists()


def test_the_autograder_runs_from_its_own_zip(tmp_path):
    """Unpack the Gradescope zip alone and grade with it, as its script does."""
    autograder = tmp_path / "autograder"
    source, given = autograder / "source", autograder / "submission"
    given.mkdir(parents=True)
    data = build.zip_bytes(build.autograder_files("ps1", KEY))
    zipfile.ZipFile(io.BytesIO(data)).extractall(source)
    (given / "ps1.ipynb").write_bytes((sources.SETS / "ps1.ipynb").read_bytes())
    command = [sys.executable, "-m", "coursework.grade", "--set", "ps1"]
    command += ["--key", "term.key", "--gradescope", str(autograder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads((autograder / "results" / "results.json").read_text("utf-8"))
    assert results["score"] == 10
    assert {"name", "score", "max_score", "output"} <= set(results["tests"][0])


def test_a_solution_in_the_site_is_found(tmp_path):
    (tmp_path / "page.html").write_text("<p>all is well</p>")
    assert leaked_solutions(tmp_path) == []
    (tmp_path / "page.html").write_text("<pre>### BEGIN SOLUTION</pre>")
    assert leaked_solutions(tmp_path) == ["page.html"]


def test_no_problem_set_is_a_page_of_the_site():
    assert "coursework" not in (ROOT / "_toc.yml").read_text("utf-8")
