"""Say what a command needs that is not installed, before it begins.

Imports nothing but Python itself, so that it can speak in any environment.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable

OF_ALL = ("numpy", "jinja2", "joblib", "yaml")


def absent(names: Iterable[str]) -> list[str]:
    """Return the packages, of modules such as ``"sklearn.datasets"``, not installed."""
    packages = dict.fromkeys(name.partition(".")[0] for name in names)
    return [name for name in packages if importlib.util.find_spec(name) is None]


def sentence(packages: Iterable[str], what: str) -> str:
    """Say what is missing, in which Python, and the command that helps."""
    return (
        f"{what} needs {', '.join(packages)}, which {sys.executable} does not have. "
        "Run `make coursework` once in the book's folder, and then use its Python: "
        ".venv/bin/python -m coursework.grade ..."
    )


def stop_without() -> None:
    """End the program with one sentence and exit code 2 where a package is missing."""
    if missing := absent(OF_ALL):
        print(f"Stopped: {sentence(missing, 'this command')}", file=sys.stderr)
        raise SystemExit(2)
