"""The frameworks: each has a folder, and its head is the folder's ``about.toml``.

A framework may leave out a case, or differ by more than the usual tolerance, when that
is written in its head with the reason. Anything else is a failure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
GROUPS = ("modern", "legacy", "optional")
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Looser(NamedTuple):
    """A tolerance that is looser than the usual one, and why."""

    dtype: str
    outputs: Sequence[str]
    tolerance: float
    reason: str


class Timed(NamedTuple):
    """One row of the speed table.

    Attributes
    ----------
    name, title : str
        Key in the record, and name for people.
    function : str
        The function of ``speed.py`` that makes its nets.
    variables : mapping
        Environment variables, beside those of the framework.
    note : str
        What one must know to read its times.
    """

    name: str
    title: str
    function: str = "make"
    variables: Mapping[str, str] = NOTHING
    note: str = ""


class Framework(NamedTuple):
    """One framework and how it is run.

    Attributes
    ----------
    name : str
        Name of its folder.
    place : int
        Place in the tables.
    title : str
        Name for people.
    convention : str
        Key of `bnlib.conventions.CONVENTIONS`.
    group : {"modern", "legacy", "optional"}
        What ``--group`` asks for.
    environments : sequence of str
        Where it runs: the first of these that can be made.
    adapter : str
        The framework whose folder holds the adapter.
    like : str
        The framework whose head says what this one leaves out, but for the times.
    modules : sequence of str
        What it must import, the first one for the tables.
    variables : mapping
        Environment variables.
    gaps : mapping
        Part of a case's name -> why the framework cannot run it.
    looser : sequence of Looser
        Tolerances that are looser than the usual ones.
    without : sequence of str
        Packages that must not be loaded in its process.
    false : sequence of str
        What its listing shows to be false on purpose.
    environment : mapping
        Fields of a `frameworks.environments.Environment` that it alone has.
    prepare : str
        A module of its folder whose ``prepare(environment)`` returns more variables.
    speed : sequence of Timed
        What is timed.
    """

    name: str
    place: int
    title: str
    convention: str
    group: str
    environments: Sequence[str]
    adapter: str
    like: str = ""
    modules: Sequence[str] = ()
    variables: Mapping[str, str] = NOTHING
    gaps: Mapping[str, str] = NOTHING
    looser: Sequence[Looser] = ()
    without: Sequence[str] = ()
    false: Sequence[str] = ()
    environment: Mapping[str, Sequence[str]] = NOTHING
    prepare: str = ""
    speed: Sequence[Timed] = ()

    def file(self, name: str) -> Path:
        """Return the place of a file of this framework, which need not exist.

        Parameters
        ----------
        name : str
            As in "listing.py".

        Returns
        -------
        Path
            In its folder, or for the adapter in the folder that has it.
        """
        return HERE / (self.adapter if name == "adapter.py" else self.name) / name


def head(name: str) -> dict[str, Any]:
    """Read the head of a framework, with what it takes from another."""
    own = tomllib.loads((HERE / name / "about.toml").read_text("utf-8"))
    other = head(own["like"]) if "like" in own else {"adapter": name}
    return {**other, "speed": [], **own}


def read(name: str) -> Framework:
    """Make a framework from its head."""
    fields = head(name)
    fields["looser"] = tuple(Looser(**rule) for rule in fields.get("looser", []))
    fields["speed"] = tuple(Timed(**row) for row in fields["speed"])
    return Framework(name, **fields)


FRAMEWORKS: Mapping[str, Framework] = {
    framework.name: framework
    for framework in sorted(
        (read(path.parent.name) for path in HERE.glob("*/about.toml")),
        key=lambda framework: framework.place,
    )
}
