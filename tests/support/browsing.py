"""A browser for tests, or one plain word on why there is none."""

from __future__ import annotations

import os

import pytest
from browser import find_browser


def require_browser() -> str:
    """Return the path of a browser; where there is none skip, and in CI fail."""
    path = find_browser()
    if path is None:
        text = "no Chromium or Chrome was found: apt install chromium"
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    return path
