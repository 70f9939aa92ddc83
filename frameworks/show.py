"""Run the listings, store what they print, and show both on a page.

    python -m frameworks.show                  all listings
    python -m frameworks.show pytorch theano   some of them

A listing is a short program for one framework, written as its users would write it. It
runs in a folder of its own, beside ``digits.npz``, in the environment that the registry
names. What this machine cannot have is skipped with the reason, and its stored record
stays as it is. The functions for a page read files only: they need no framework.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frameworks.environments import ROOT, NotHere, python_of, variables
from frameworks.registry import FRAMEWORKS

HERE = Path(__file__).resolve().parent
LISTINGS = HERE / "listings"
RECORDS = HERE / "records" / "listings"
TIMEOUT = 600  # seconds; the slowest listing needs about twenty on a quiet machine
NAMES = tuple(name for name in FRAMEWORKS if (LISTINGS / f"{name}.py").exists())
# The listing runs under another name than its own: theano.py may import theano.
RUN = """
import json, platform, runpy, sys
runpy.run_path("listing.py", run_name="__main__")
found = {"python": platform.python_version(), "versions": {}}
for name in sys.argv[1:]:
    module = sys.modules[name]
    module = module if hasattr(module, "__version__") else module.core
    found["versions"][name] = module.__version__
with open("versions.json", "w") as file:
    json.dump(found, file)
"""


def listing(name: str) -> str:
    """Return the text of a listing.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Returns
    -------
    str
        Python code, without the line break at the end.

    Raises
    ------
    ValueError
        There is no such listing.
    """
    if name not in NAMES:
        raise ValueError(f"no listing {name!r}; there are {', '.join(NAMES)}")
    return (LISTINGS / f"{name}.py").read_text("utf-8").rstrip()


def digest(name: str) -> str:
    """Return the digest of a listing, which its record repeats."""
    return hashlib.sha256(listing(name).encode()).hexdigest()[:16]


def stored(name: str) -> dict[str, Any]:
    """Return the record of a listing.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Returns
    -------
    dict
        See `fresh`.

    Raises
    ------
    ValueError
        There is no such listing.
    FileNotFoundError
        It was never run.
    """
    listing(name)
    path = RECORDS / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"{name} has no record: python -m frameworks.show")
    return json.loads(path.read_text("utf-8"))


def write_digits(folder: Path) -> None:
    """Write the digits as ``digits.npz``, for programs without bnlib.

    Parameters
    ----------
    folder : Path
        Where.
    """
    import numpy as np  # noqa: PLC0415 - a page needs no NumPy

    from bnlib.data import load_digits  # noqa: PLC0415

    train, test = load_digits()
    arrays = {"x_train": train.x, "y_train": train.y, "x_test": test.x}
    np.savez(folder / "digits.npz", **arrays, y_test=test.y)


def fresh(name: str) -> dict[str, Any]:
    """Run a listing in its own process.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Returns
    -------
    dict
        ``framework``, ``title``, ``versions``, ``python``, ``digest`` and ``stdout``.

    Raises
    ------
    NotHere
        This machine cannot have any of its environments.
    RuntimeError
        The listing failed; with the last lines that it printed.
    """
    framework, text, reasons = FRAMEWORKS[name], listing(name), []
    for environment in framework.environments:
        try:
            python = python_of(environment)
        except NotHere as reason:
            reasons.append(str(reason))
        else:
            break
    else:
        raise NotHere("; ".join(reasons))
    more = dict(framework.variables)
    if environment == "main":
        more["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_digits(folder)
        (folder / "listing.py").write_text(text + "\n", "utf-8")
        (folder / "run.py").write_text(RUN, "utf-8")
        done = subprocess.run(
            [python, "run.py", *framework.modules, "numpy"],
            env=variables(environment, more),
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
        versions = folder / "versions.json"
        if done.returncode or not versions.exists():
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise RuntimeError(f"exit code {done.returncode}\n{last}")
        found = json.loads(versions.read_text("utf-8"))
    head = {"framework": name, "title": framework.title, **found}
    return {**head, "digest": digest(name), "stdout": done.stdout}


def write(record: dict[str, Any]) -> None:
    """Store a record."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1) + "\n"
    path = RECORDS / f"{record['framework']}.json"
    path.write_text(text, "utf-8", newline="\n")


def with_versions(record: dict[str, Any]) -> str:
    """Say in which versions a listing ran."""
    found = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    return f"Ran with {found}, Python {record['python']}."


def tabs(*names: str) -> str:
    """Return a tab for each listing: its code, what it printed, its versions.

    Parameters
    ----------
    *names : str
        Some of `NAMES`.

    Returns
    -------
    str
        MyST Markdown, a tab-set of sphinx-design.

    Raises
    ------
    ValueError
        There is no such listing, or the code would end its own block.
    FileNotFoundError
        A listing was never run.
    """
    parts = ["::::{tab-set}"]
    for name in names:
        code, record = listing(name), stored(name)
        if "```" in code or ":::" in code:
            raise ValueError(f"listing {name} holds the fence of a block")
        parts += [f":::{{tab-item}} {record['title']}", "```python", code, "```"]
        parts += ["It printed:", "", "```text", record["stdout"].rstrip(), "```"]
        parts += [with_versions(record), ":::"]
    return "\n".join([*parts, "::::"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run listings and store their records.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process when left out.

    Returns
    -------
    int
        Exit code: 1 when a listing failed, or when none ran.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names = parser.parse_args(argv).names or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(NAMES)}")
    results = []
    for name in names:
        try:
            record = fresh(name)
        except NotHere as reason:
            status, text = "skip", str(reason)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            status, text = "fail", str(error)
        else:
            write(record)
            status, text = "ran", with_versions(record) + "\n" + record["stdout"]
        results.append(status)
        print(f"{status:4s} {name}: {text.rstrip()}", flush=True)
    counts = ", ".join(f"{results.count(s)} {s}" for s in ("ran", "skip", "fail"))
    print(f"Done: {counts}.")
    return int("fail" in results or "ran" not in results)


if __name__ == "__main__":
    sys.exit(main())
