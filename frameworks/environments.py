"""Make the frameworks' virtual environments, where this machine can.

Each stands in ``.venv-frameworks/NAME`` and is made once; a change of its requirements
file makes it anew. Old Pythons are searched for and never assumed: what cannot be made
is skipped with the reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from frameworks.registry import FRAMEWORKS, Framework

HERE = Path(__file__).resolve().parent
HOME = HERE.parent / ".venv-frameworks"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


class NotHere(Exception):  # noqa: N818 - a machine's limit, not an error
    """Raised when a machine cannot have an environment; the message is the reason."""


class Environment(NamedTuple):
    """One virtual environment.

    Attributes
    ----------
    pythons : tuple of str
        Versions that it can have, the best first.
    pip : tuple of str
        What is installed before the requirements.
    """

    pythons: tuple[str, ...]
    pip: tuple[str, ...] = ()


ENVIRONMENTS = {
    "modern": Environment(("3.11", "3.12", "3.13")),
    "optional": Environment(("3.11", "3.12", "3.13")),
    "legacy": Environment(("3.6",), ("pip==21.3.1",)),
} | {
    f.name: Environment(**{k: tuple(v) for k, v in f.environment.items()})
    for f in FRAMEWORKS.values()
    if f.environment
}


def requirements(name: str) -> Path:
    """Return the file that names every package of an environment."""
    own = HERE / name / "requirements.txt"
    return own if own.exists() else HERE / "requirements" / f"{name}.txt"


def pythons(version: str) -> Iterator[Path]:
    """Find Pythons of one version: this one, on the PATH, and those of pyenv.

    Parameters
    ----------
    version : str
        As in "3.6".

    Yields
    ------
    Path
        Candidates; they have not been tried.
    """
    if version == "{}.{}".format(*sys.version_info):
        yield Path(sys.executable)
    found = shutil.which(f"python{version}")
    if found:
        yield Path(found)
    roots = [os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")]
    if shutil.which("pyenv"):
        roots.insert(0, run(["pyenv", "root"]).stdout.strip())
    for root in filter(None, roots):
        for folder in sorted(Path(root, "versions").glob(f"{version}.*"), reverse=True):
            yield folder / "bin" / "python"


def run(command: list, **more) -> subprocess.CompletedProcess:
    """Run a command and keep what it prints."""
    return subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **more,
    )


def find_python(versions: tuple[str, ...]) -> Path:
    """Return the first Python that runs, has one of the versions and can make a venv.

    Parameters
    ----------
    versions : tuple of str
        As in ("3.11", "3.12").

    Returns
    -------
    Path
        The executable.

    Raises
    ------
    NotHere
        None was found on the PATH or with pyenv.
    """
    for version in versions:
        code = "import sys, venv, ensurepip; print('{}.{}'.format(*sys.version_info))"
        for path in pythons(version):
            try:
                done = run([path, "-c", code])
            except OSError:
                continue
            if not done.returncode and done.stdout.strip() == version:
                return path
    raise NotHere(f"no Python {' or '.join(versions)} on the PATH or with pyenv")


def install(name: str, folder: Path) -> None:
    """Make one environment in a folder.

    Parameters
    ----------
    name : str
        Key of `ENVIRONMENTS`.
    folder : Path
        Where; it does not exist yet.

    Raises
    ------
    NotHere
        No Python, or pip could not install.
    """
    environment = ENVIRONMENTS[name]
    python = find_python(environment.pythons)
    packages = requirements(name)
    print(f"Making the environment {name} with {python} (some minutes) ...", flush=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "-q"]
    pip += ["--disable-pip-version-check"]
    steps = [[python, "-m", "venv", folder]]
    if environment.pip:
        steps.append([*pip, *environment.pip])
    lines = packages.read_text("utf-8").splitlines()
    torch = [line for line in lines if line.startswith("torch=")]
    if torch:
        steps.append([*pip, *torch])
    if torch and sys.platform == "linux":  # a build without GPU libraries, if reached
        quick = ["--retries", "0", "--timeout", "20", "--index-url", CPU_INDEX]
        run(steps[0])
        if not run([*pip, "--no-deps", *quick, *torch]).returncode:
            steps.remove([*pip, *torch])
    # The files name every package. Old source packages need the old setuptools above.
    isolation = ["--no-build-isolation"] if "wheel" in environment.pip else []
    steps.append([*pip, "--no-deps", *isolation, "-r", packages])
    for command in steps:
        done = run(command)
        if done.returncode:
            lines = [s for s in done.stdout.splitlines() if s.strip()]
            errors = [s for s in lines if "ERROR" in s or "rror:" in s] or lines or [""]
            raise NotHere(f"{name} could not be installed: {errors[0].strip()}")


def python_of(name: str, may_install: bool = True) -> Path:
    """Return the Python of an environment, and make the environment when needed.

    Parameters
    ----------
    name : str
        "main" is the running Python; else a key of `ENVIRONMENTS`.
    may_install : bool
        Whether a missing environment is made.

    Returns
    -------
    Path
        The executable.

    Raises
    ------
    NotHere
        This machine cannot have it.
    """
    if name == "main":
        return Path(sys.executable)
    if sys.platform == "win32":
        raise NotHere("the environments are made on Linux and macOS")
    folder, ready = HOME / name, HOME / name / ".ready"
    text = requirements(name).read_text("utf-8")
    digest = hashlib.sha256((text + repr(ENVIRONMENTS[name])).encode()).hexdigest()
    with locked(name):
        if not ready.exists() or ready.read_text() != digest:
            if not may_install:
                raise NotHere(f"the environment {name!r} has not been made")
            shutil.rmtree(folder, ignore_errors=True)
            try:
                install(name, folder)
            except NotHere:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            ready.write_text(digest)
    return folder / "bin" / "python"


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time make an environment."""
    import fcntl  # noqa: PLC0415 - Windows has none

    HOME.mkdir(exist_ok=True)
    with open(HOME / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def place_of(
    framework: Framework, may_install: bool = True
) -> tuple[Path, dict[str, str]]:
    """Find where a framework runs.

    Parameters
    ----------
    framework : Framework
        Which.
    may_install : bool
        Whether a missing environment is made.

    Returns
    -------
    python : Path
        Of the first of its environments that this machine has.
    variables : dict
        All environment variables; without those of the running virtual environment.

    Raises
    ------
    NotHere
        This machine can have none of them; with the reasons.
    """
    reasons = []
    for name in framework.environments:
        try:
            python = python_of(name, may_install)
            more = dict(framework.variables)
            if name == "main":
                more["PYTHONPATH"] = str(HERE.parent)
            if framework.prepare:
                module = f"frameworks.{framework.name}.{framework.prepare}"
                more |= importlib.import_module(module).prepare(HOME / name)
            return python, {**plain_variables(), **more}
        except (NotHere, OSError) as reason:
            reasons.append(str(reason))
    raise NotHere("; ".join(reasons))


def plain_variables() -> dict[str, str]:
    """Return the environment variables of a process on one core, without a GPU."""
    kept = dict(os.environ)
    for key in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        kept.pop(key, None)
    kept.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    kept.update(PYTHONDONTWRITEBYTECODE="1", TF_CPP_MIN_LOG_LEVEL="3")
    kept.update(CUDA_VISIBLE_DEVICES="")
    return kept
