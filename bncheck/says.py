"""The sentences that learners read stand in TOML files, whole, with named gaps."""

from __future__ import annotations

import functools
import pkgutil
import tomllib
from typing import Any


@functools.cache
def read(package: str, name: str) -> dict[str, Any]:
    """Read a file of sentences that stands in a package, also in a zip."""
    data = pkgutil.get_data(package, name)
    if data is None:
        raise FileNotFoundError(f"there is no {name} in {package}")
    return tomllib.loads(data.decode("utf-8"))


def say(name: str, when: str = "", *, of: str = "told", **gaps: Any) -> str:
    """Return a general sentence with its gaps filled.

    Parameters
    ----------
    name : str
        The sentence, as ``"shape"``.
    when : str
        The circumstances; with some, the form that begins with them is taken.
    of : str
        The table: ``"told"``, or ``"open"`` where the right numbers may be told.
    **gaps : object
        What fills the gaps.
    """
    sentences = read("bncheck", "says.toml")
    found = sentences[of].get(name) or sentences["told"][name]
    if isinstance(found, dict):
        found = found["when" if when else "bare"]
    return found.format(when=when, **gaps)
