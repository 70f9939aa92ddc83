"""What the checks need beside Python packages, and what is left out where it is not."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from browser import find_browser

ROOT = Path(__file__).resolve().parent.parent


class Part(NamedTuple):
    """Something that a machine has or has not."""

    name: str
    left_out: str
    how: str
    packages: tuple[str, ...]  # of Debian and Ubuntu
    is_here: Callable[[], bool]


def has_layer(layer: str) -> bool:
    """Say whether a means of confinement works here."""
    sys.path.insert(0, str(ROOT))
    from coursework.grader.client import find_confinement  # noqa: PLC0415
    from coursework.grader.confine import NoConfinementError  # noqa: PLC0415

    try:
        return bool(find_confinement((layer,)))
    except NoConfinementError:
        return False


PARTS = (
    Part(
        "torch",
        "the checks against torch",
        "see the README, Without make",
        (),
        lambda: importlib.util.find_spec("torch") is not None,
    ),
    Part(
        "a browser (Chromium or Chrome)",
        "the checks of the pages in a browser",
        "apt install chromium",
        ("chromium", "fonts-dejavu-core"),
        lambda: find_browser() is not None,
    ),
    Part(
        "bubblewrap",
        "the tests of the grader under bubblewrap",
        "apt install bubblewrap libseccomp2",
        ("bubblewrap", "libseccomp2"),
        lambda: has_layer("bubblewrap"),
    ),
    Part(
        "Landlock",
        "the tests of the grader under Landlock",
        "a Linux kernel from 5.13 on, and apt install libseccomp2",
        ("libseccomp2",),
        lambda: has_layer("landlock"),
    ),
)


def missing() -> list[Part]:
    """Return the parts that this machine does not have."""
    return [part for part in PARTS if not part.is_here()]
