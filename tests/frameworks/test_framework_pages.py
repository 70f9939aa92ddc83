"""What the pages show: listings as tabs, the tables, the times."""

import subprocess
import sys

import pytest
from framework_records import having, stored

from bnlib.conventions import CONVENTIONS
from frameworks import pages
from frameworks.registry import FRAMEWORKS, HERE

LISTED = having("listing.py")


def test_tabs():
    text = pages.tabs(*LISTED)
    lines = text.splitlines()
    titles = [s.split("} ")[1] for s in lines if s.startswith(":::{tab-item}")]
    assert titles == [FRAMEWORKS[name].title for name in LISTED]
    assert lines[0] == "::::{tab-set}"
    assert lines[-1] == "::::"
    assert lines.count(":::") == lines.count("```python") == len(LISTED)
    assert lines.count("```") == 2 * len(LISTED)
    for name in LISTED:
        code = FRAMEWORKS[name].file("listing.py").read_text("utf-8").rstrip()
        assert f"```python\n{code}\n```" in text
        printed = stored(name, "listing.json")["answer"]["stdout"]
        assert f"```text\n{printed}```" in text
    assert "torch 2." in pages.tabs("pytorch")
    assert pages.tabs("theano").count("{tab-item}") == 1


def test_a_listing_must_be_known_have_run_and_not_end_its_block(folders):
    with pytest.raises(ValueError, match="no listing 'caffe'; there are pytorch"):
        pages.tabs("pytorch", "caffe")
    (folders / "theano" / "listing.json").unlink()
    with pytest.raises(FileNotFoundError, match="--kind listing theano"):
        pages.tabs("theano")
    (folders / "pytorch" / "listing.py").write_text('"""\n```\n"""\n', "utf-8")
    with pytest.raises(ValueError, match="fence"):
        pages.tabs("pytorch")


def test_every_row_of_the_times_is_in_the_table():
    record, table = pages.speed(), pages.speed_table()
    timed = [row.name for f in FRAMEWORKS.values() for row in f.speed]
    assert sorted(record["answer"]) == sorted(record["verdict"]) == sorted(timed)
    assert record["head"]["machine"] in table
    assert record["head"]["date"] in table
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(timed)
    for row, (name, answer) in zip(rows, record["answer"].items(), strict=True):
        assert answer["plain_ms"] > 0
        ratio = answer["batch_norm_ms"] / answer["plain_ms"]
        assert record["verdict"][name]["ratio"] == pytest.approx(ratio, abs=1e-4)
        assert row.endswith(f"| {ratio:.2f} |")
        assert all(answer["versions"].values())


def test_times_that_were_never_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "HERE", tmp_path)
    with pytest.raises(FileNotFoundError, match="--kind speed"):
        pages.speed_table()


def test_tables_have_a_row_for_each_record():
    names = having("record.json")
    rows = pages.agreement().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [
        f"| {FRAMEWORKS[name].title}" for name in names
    ]
    assert all(row.endswith("| pass |") for row in rows)
    assert "| torch 2." in pages.agreement(["pytorch"])
    assert len(pages.agreement(["pytorch"]).splitlines()) == 3
    assert pages.looser(["pytorch"]) == ""
    assert pages.looser(["tf1"]).count("float32 constant") == 1
    parts = pages.questions().split(":::{dropdown} ")[1:]
    assert len(parts) == len(pages.QUESTIONS)
    for part in parts:
        assert part.count("\n| ") == len(names) + 2


def test_every_convention_is_shown_with_its_versions():
    rows = pages.versions().splitlines()[2:]
    assert rows == [f"| {c.title} | {c.versions} |" for c in CONVENTIONS.values()]
    assert "| MLX to 0.32.0 | 0.2.0 to 0.32.0 |" in rows


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "not run"), (0, "0"), (9.3e-7, "1e-6"), (1e-6, "1e-6"), (2e-16, "1e-15")],
)
def test_an_error_is_shown_as_the_power_of_ten_above_it(value, text):
    assert pages._power(value) == text


def test_pages_load_no_runner():
    code = (
        "import sys; from frameworks import pages; pages.questions(); print(sorted("
        "{'frameworks.run', 'frameworks.environments', 'torch'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.check_output(command, text=True, cwd=HERE.parent)
    assert found.strip() == "[]"
