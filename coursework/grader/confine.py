"""Confine a worker with what the machine offers, and say with what.

Two means, each enough by itself; the first that works is taken:

- bubblewrap: namespaces with no network and no other process, a file system that holds
  the interpreter and NumPy only, and a system-call filter;
- Landlock with the same system-call filter: no packages of the system are needed, but a
  kernel from 5.13 on and libseccomp.

The filter leaves a worker no socket and no second process, so that nothing outlives it.

Under each of them a worker can write to one small folder, which is gone afterwards: a
library that asks for a temporary folder must find one, or right code fails.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PLAIN = ("numpy",)  # what the first three sets may import
LAYERS = ("bubblewrap", "landlock")
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
FOREIGN = ("/usr/lib/python3/dist-packages", "/usr/local/lib")
SCRATCH = 1 << 24  # bytes that a worker may write


class Confinement(NamedTuple):
    """How workers are confined on this machine.

    Attributes
    ----------
    layer : str
        ``"bubblewrap"``, ``"landlock"`` or ``"none"``.
    text : str
        What a report says of it.
    """

    layer: str
    text: str


class SetUpError(RuntimeError):
    """Not the students' doing: nothing can be graded, and no score is touched.

    The message says what was expected and what came.
    """


class NoConfinementError(SetUpError):
    """The machine offers no way to confine a student's code."""


def describe_layer(layer: str) -> str:
    """Say what a means is, with its version.

    Parameters
    ----------
    layer : str
        ``"bubblewrap"`` or ``"landlock"``.

    Returns
    -------
    text : str
        ``"bubblewrap 0.8.0 with seccomp: no network, ..."``.

    Raises
    ------
    RuntimeError, ImportError
        It is not there.
    """
    promise = "no network, no files, no new processes"
    if importlib.util.find_spec("pyseccomp") is None:
        raise ImportError("the package pyseccomp is not installed")
    if layer == "bubblewrap":
        program = shutil.which("bwrap")
        if not program:
            raise RuntimeError("bwrap is not installed")
        version = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
        return f"{version} with seccomp: {promise}"
    import landlockpy  # noqa: PLC0415

    if not landlockpy.supported():
        raise RuntimeError("this kernel has no Landlock, or it is switched off")
    return f"Landlock ABI {landlockpy.abi_version()} with seccomp: {promise}"


def packages(names: Sequence[str]) -> dict[str, Path]:
    """Find what a worker may import: its name in the site folder, and where it is.

    Parameters
    ----------
    names : sequence of str
        Top-level packages; ``"*"`` stands for the whole folder of installed packages.

    Returns
    -------
    found : dict of str to Path
        Folders and files. A package's shared libraries (``numpy.libs``) come with it.
    """
    found = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"the package {name} is not installed")
        place = Path(spec.origin)
        place = place.parent if place.name == "__init__.py" else place
        found[place.name] = place
        libraries = place.parent / f"{name}.libs"
        if libraries.is_dir():
            found[libraries.name] = libraries
    return found


def own_files() -> dict[str, Path]:
    """Find the worker's own code, under the names that it has in the site folder.

    The answers to the chapters' exercises are no part of it.
    """
    files = [p for p in packages(["bncheck"])["bncheck"].iterdir() if p.is_file()]
    names = ("worker.py", "confine_rules.py")
    found = {f"bncheck/{p.name}": p for p in files if p.suffix in (".py", ".toml")}
    return {**found, **{name: HERE / name for name in names}}


def prefix() -> Path:
    """Return the folder of the interpreter, not of its virtual environment."""
    return Path(sys.base_prefix).resolve()


def interpreter() -> str:
    """Return the interpreter's own path, past the links of a virtual environment."""
    return os.path.realpath(sys.executable)


def stdlib_paths() -> list[str]:
    """List the parts of the standard library, without installed packages."""
    folder = Path(sysconfig.get_path("stdlib")).resolve()
    skipped = {"site-packages", "dist-packages", "test", "idlelib"}
    return [str(p) for p in sorted(folder.iterdir()) if p.name not in skipped]


@functools.cache
def _site(extra: tuple[str, ...]) -> tempfile.TemporaryDirectory:
    """Make a folder of links to what a worker may import."""
    folder = tempfile.TemporaryDirectory(prefix="worker-")
    found = own_files() | packages((*PLAIN, "landlockpy", "pyseccomp"))
    for name, place in found.items():
        link = Path(folder.name) / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(place)
    return folder


@functools.cache
def _filter_file() -> tempfile.SpooledTemporaryFile:
    """Return an open file that holds the system-call filter."""
    from coursework.grader.confine_rules import write_filter  # noqa: PLC0415

    file = tempfile.TemporaryFile()  # noqa: SIM115  kept open as long as we run
    write_filter(file)
    file.flush()
    return file


class Start(NamedTuple):
    """How to start a worker: its command, the rules it is sent, its scratch folder."""

    command: list[str]
    rules: dict[str, list[str]]
    files: list[int]
    scratch: str


def prepare(confinement: Confinement, whole_site: bool, scratch: str) -> Start:
    """Say how a worker is started under a confinement.

    Parameters
    ----------
    confinement : Confinement
        The means.
    whole_site : bool
        Whether all installed packages may be imported (torch), or NumPy only.
    scratch : str
        An empty folder that the worker may write to; bubblewrap makes its own.

    Returns
    -------
    start : Start
        The command up to the worker's own arguments.
    """
    python = [interpreter(), "-S", "-s", "-P"]
    if confinement.layer == "bubblewrap":
        return _prepare_bubblewrap(python, whole_site)
    folder = _site(PLAIN).name
    rules: dict[str, list[str]] = {"read": [], "list": [], "write": []}
    sites = [sysconfig.get_path("purelib")] if whole_site else []
    if confinement.layer == "landlock":
        places = own_files() | packages((*PLAIN, "landlockpy", "pyseccomp"))
        read = [str(p) for p in places.values()] + stdlib_paths() + sites
        read += (
            [
                str(prefix() / "lib" / n)
                for n in os.listdir(prefix() / "lib")
                if n.startswith("libpython")
            ]
            if prefix() != Path("/usr")
            else []
        )
        read += [folder, "/usr/lib", "/lib", "/lib64", "/etc/ld.so.cache"]
        read += ["/dev/urandom", "/dev/zero"]
        rules["read"] = [p for p in dict.fromkeys(read) if os.path.exists(p)]
        rules["list"] = [str(Path(stdlib_paths()[0]).parent)]
        rules["write"] = [scratch]
    command = [*python, f"{folder}/worker.py", os.pathsep.join([folder, *sites])]
    return Start(command, rules, [], scratch)


def _prepare_bubblewrap(python: list[str], whole_site: bool) -> Start:
    arguments = [shutil.which("bwrap") or "bwrap"]
    arguments += ["--unshare-all", "--unshare-user", "--die-with-parent"]
    arguments += ["--new-session", "--cap-drop", "ALL", "--hostname", "worker"]
    arguments += ["--ro-bind", "/usr", "/usr"]
    for path in SYSTEM[1:]:
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            arguments += ["--ro-bind", path, path]
    if not prefix().is_relative_to("/usr"):
        arguments += ["--ro-bind", str(prefix()), str(prefix())]
    stdlib = Path(stdlib_paths()[0]).parent
    for name in ("site-packages", "dist-packages"):
        if (stdlib / name).is_dir():
            arguments += ["--tmpfs", str(stdlib / name)]
    for path in FOREIGN:
        if os.path.isdir(path) and not prefix().is_relative_to(path):
            arguments += ["--tmpfs", path]
    small = ["--size", str(SCRATCH), "--tmpfs"]
    arguments += ["--dev", "/dev", "--remount-ro", "/dev"]
    arguments += [*small, "/tmp", "--chdir", "/tmp"]
    for name, place in (own_files() | packages(PLAIN)).items():
        arguments += ["--ro-bind", str(place), f"/site/{name}"]
    sites = ["/site"]
    if whole_site:
        arguments += ["--ro-bind", sysconfig.get_path("purelib"), "/packages"]
        sites.append("/packages")
    arguments += ["--remount-ro", "/"]
    number = os.dup(_filter_file().fileno())
    os.lseek(number, 0, os.SEEK_SET)
    arguments += ["--seccomp", str(number), "--"]
    command = [*arguments, *python, "/site/worker.py", os.pathsep.join(sites)]
    return Start(command, {"read": [], "list": [], "write": []}, [number], "/tmp")
