"""What the files at the top say of the house is so."""

import pkgutil
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import bnlib

ROOT = Path(__file__).resolve().parents[2]


def test_one_version_everywhere():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    number, date = re.search(r"^## (\S+) \((\S+)\)", changes, re.M).groups()
    assert cited["version"] == number == bnlib.__version__
    assert str(cited["date-released"]) == date


def test_what_the_page_on_the_house_names_is_there():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = re.findall(r"`([\w./]+)`", text)
    paths = [n for n in named if "/" in n or n.endswith((".md", ".py"))]
    assert len(paths) > 15
    folders = [ROOT, *(ROOT / n for n in ("bncheck/chapters", "coursework/questions"))]
    missing = [p for p in paths if not any((f / p).exists() for f in folders)]
    assert missing == []


def test_each_folder_with_code_stands_on_the_page_on_the_house():
    if not (ROOT / ".git").exists():
        pytest.skip("this folder is no clone")
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    tracked = subprocess.run(
        ["git", "ls-files", "*.py", "*.ipynb"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    folders = {path.partition("/")[0] for path in tracked if "/" in path}
    assert [f for f in sorted(folders) if f"`{f}`" not in text] == []


def test_tests_stand_in_folders_of_the_names_of_what_they_test():
    tested = {"bnlib", "bncheck", "experiments", "explorables"}
    tested |= {"frameworks", "coursework"}
    here = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir()}
    assert here - {"__pycache__", "support", "book"} == tested
    assert list((ROOT / "tests").glob("test_*.py")) == []


def test_the_library_page_shows_each_public_module_once():
    modules = pkgutil.iter_modules(bnlib.__path__)
    public = {m.name for m in modules if not (m.ispkg or m.name.startswith("_"))}
    page = (ROOT / "appendix" / "library.md").read_text("utf-8")
    shown = re.findall(r"automodule:: bnlib\.(\w+)", page)
    assert sorted(shown) == sorted(public)
    assert len(public) == 10
    modules = pkgutil.iter_modules([str(ROOT / "bnlib" / "pytorch")])
    page = (ROOT / "appendix" / "pytorch.md").read_text("utf-8")
    shown = re.findall(r"automodule:: bnlib\.pytorch\.(\w+)", page)
    assert sorted(shown) == sorted(m.name for m in modules)
