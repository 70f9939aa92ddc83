"""A copy of the frameworks' folders, in which a test may change and store files."""

import shutil

import pytest

from frameworks import registry, run


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Return the copy; the modules read and write there."""
    place = tmp_path / "frameworks"
    shutil.copytree(registry.HERE, place, ignore=shutil.ignore_patterns("__pycache__"))
    for module in (registry, run):
        monkeypatch.setattr(module, "HERE", place)
    return place
