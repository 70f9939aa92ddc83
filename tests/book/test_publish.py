"""What is published beside the book: problem sets with links, without solutions."""

from __future__ import annotations

import json
import zipfile

import publish
import pytest
from needs_torch import torch  # noqa: F401

NAMES = ("ps3", "capstone")
PAGE = '<body><div class="downloads docutils"><p>The sets.</p></div></body>'


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a site of one page that got its sets."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "appendix").mkdir()
    (folder / publish.PAGE).write_text(PAGE)
    assert publish.offer_sets(folder, NAMES) == []
    return folder


def test_each_set_can_be_fetched_and_its_notebook_opened(site):
    text = (site / publish.PAGE).read_text()
    for name in NAMES:
        assert f'<a href="../coursework/{name}.zip">{name}</a>' in text
        with zipfile.ZipFile(site / "coursework" / f"{name}.zip") as archive:
            files = set(archive.namelist())
            assert {
                "README.txt",
                f"{name}/{name}.ipynb",
                f"{name}/bncheck.zip",
            } <= files
            notebook = json.loads(archive.read(f"{name}/{name}.ipynb"))
        assert len(notebook["cells"]) > 5


def test_a_solution_is_seen_also_in_a_zip_inside(site):
    from coursework.build import zip_bytes  # noqa: PLC0415

    inner = zip_bytes({"a.py": "### BEGIN SOLUTION\n", "b.py": "x = 1"})
    assert publish.secrets_in({"in.zip": inner, "c.txt": "fine"}) == ["in.zip/a.py"]


def test_a_page_without_a_place_is_told(tmp_path):
    (tmp_path / "appendix").mkdir()
    (tmp_path / publish.PAGE).write_text("<body></body>")
    assert "expected one place" in publish.offer_sets(tmp_path, NAMES)[-1]
