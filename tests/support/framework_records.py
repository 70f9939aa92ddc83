"""The stored records, and whether a framework can run in this environment."""

import importlib.util
import json
import os

import pytest

from frameworks.registry import FRAMEWORKS


def stored(name, file="record.json"):
    """Return a stored record."""
    return json.loads(FRAMEWORKS[name].file(file).read_text("utf-8"))


def having(file):
    """Return the frameworks whose folder has such a file, or whose adapter has."""
    return [f.name for f in FRAMEWORKS.values() if f.file(file).exists()]


def need(name):
    """Skip the test where a framework of the main environment is missing; not in CI."""
    missing = [m for m in FRAMEWORKS[name].modules if not importlib.util.find_spec(m)]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"CI needs {missing}")
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")
