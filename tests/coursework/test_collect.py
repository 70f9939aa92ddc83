"""Folders of submissions as they come: exports of systems, zips, links, tricks."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from coursework.grader.collect import Found, choose_file, find_submissions, read_found


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1")
    return folder


def pack(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_files_and_folders_with_names(tmp_path):
    lay(tmp_path, "ada.ipynb", "bob.py", "eve/work/old.py", "eve/ps1.ipynb", "ada.py")
    lay(
        tmp_path,
        ".hidden.ipynb",
        "__MACOSX/a.ipynb",
        "eve/.ipynb_checkpoints/ps1.ipynb",
    )
    lay(tmp_path, "readme.txt")
    found = find_submissions(tmp_path, "ps1")
    assert [(f.student, f.path.name) for f in found] == [
        ("ada", "ada.ipynb"),
        ("bob", "bob.py"),
        ("eve", "ps1.ipynb"),
    ]
    assert found[2].notes == ("2 files were handed in: ps1.ipynb counts, not old.py",)


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["ps10.ipynb", "PS_1.py", "x.ipynb"], "PS_1.py"),
        (["a.py", "a.ipynb"], "a.ipynb"),
        (["ps1.ipynb", "ps1-2.ipynb", "ps1-10.ipynb"], "ps1-10.ipynb"),
    ],
)
def test_which_of_several_counts(tmp_path, names, best):
    assert choose_file([lay(tmp_path, *names)], "ps1").path.name == best


def test_moodle_canvas_and_gradescope(tmp_path):
    moodle = tmp_path / "m"
    lay(moodle, "Ada Lovelace_12_assignsubmission_file_/ps1.ipynb")
    lay(moodle, "Ada Lovelace_7_assignsubmission_file_/ps1.ipynb")
    lay(moodle, "Bo Li_9_assignsubmission_file_/essay.pdf")
    lay(moodle, "Bo Li_9_assignsubmission_onlinetext_/a.html")
    found = find_submissions(moodle)
    names = ["Ada Lovelace (12)", "Ada Lovelace (7)", "Bo Li"]
    assert [f.student for f in found] == names
    assert found[0].ids == {"moodle": "12"}
    assert (found[2].path, found[2].problem[:11]) == (None, "no notebook")

    canvas = lay(tmp_path / "c", "doejane_12_34_ps1.ipynb", "doejane_12_35_ps1-2.ipynb")
    lay(canvas, "roe_LATE_5_6_ps1.ipynb", "poe_8_9_ps1.pdf")
    found = find_submissions(canvas, "ps1")
    assert [(f.student, f.ids["canvas"]) for f in found] == [
        ("doejane", "12"),
        ("poe", "8"),
        ("roe", "5"),
    ]
    assert found[0].path.name == "doejane_12_35_ps1-2.ipynb"
    assert found[1].problem
    assert found[2].notes == ("handed in late, says Canvas",)

    scope = lay(
        tmp_path / "g" / "export", "submission_1/ps1.ipynb", "submission_2/a.py"
    )
    (scope / "submission_metadata.yml").write_text(
        "submission_1:\n  :submitters:\n  - :name: Ada\n    :sid: '007'\n"
        "  - :name: Bo\n    :sid: '8'\n  :created_at: !ruby/object:Time 2026-01-01\n"
        "submission_2:\n  :submitters:\n  - :name: Cy\n    :sid:\n"
    )
    found = find_submissions(tmp_path / "g")
    assert [(f.student, f.path.name) for f in found] == [
        ("Ada", "ps1.ipynb"),
        ("Bo", "ps1.ipynb"),
        ("Cy", "a.py"),
    ]
    assert found[0].ids == {"gradescope": "007"}


def test_links_are_not_followed(tmp_path):
    lay(tmp_path / "other", "secret.ipynb")
    folder = lay(tmp_path / "in", "ada/notes.txt")
    (folder / "ada" / "ps1.ipynb").symlink_to(tmp_path / "other" / "secret.ipynb")
    (folder / "bob").symlink_to(tmp_path / "other")
    (folder / "cy.ipynb").symlink_to(tmp_path / "other" / "secret.ipynb")
    found = find_submissions(folder)
    assert [(f.student, f.path) for f in found] == [
        (n, None) for n in ("ada", "bob", "cy")
    ]
    assert all("link" in f.problem for f in found)


def test_zips_are_read_in_memory_and_tricks_are_refused(tmp_path):
    good = {"a/ps1.ipynb": b"x = 1", "__MACOSX/a/._ps1.ipynb": b"", "b.txt": b""}
    pack(tmp_path / "ada.zip", **good)
    pack(tmp_path / "up.zip", **{"../../ps1.ipynb": b"x", "/etc/ps1.py": b"x"})
    pack(tmp_path / "win.zip", **{"..\\ps1.ipynb": b"x", "C:\\ps1.py": b"x"})
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        info = zipfile.ZipInfo("ps1.ipynb")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    pack(tmp_path / "many.zip", **{f"{i}.py": b"" for i in range(2001)})
    pack(tmp_path / "bomb.zip", **{"ps1.ipynb": b"0" * 30_000_000})
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 no zip")
    before = sorted(p for p in tmp_path.rglob("*"))
    found = {f.student: f for f in find_submissions(tmp_path)}
    assert read_found(found["ada"]) == b"x = 1"
    for name in ("up", "win", "link", "many", "no"):
        assert found[name].path is None, name
        assert found[name].problem
    with pytest.raises(ValueError, match="20 MB"):
        read_found(found["bomb"])
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_a_zip_with_a_wrong_size_or_sum_is_a_sentence(tmp_path):
    path = pack(tmp_path / "a.zip", **{"ps1.py": b"x = 1\n" * 1000})
    data = bytearray(path.read_bytes())
    data[60:64] = b"\xff" * 4
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="cannot be read"):
        read_found(Found("a", path, "ps1.py"))


def test_odd_names_are_made_printable(tmp_path):
    path = tmp_path / os.fsdecode(b"a\xffb\x07.py")
    path.write_text("x = 1")
    student = find_submissions(tmp_path)[0].student
    assert student.encode() == b"a?b"
