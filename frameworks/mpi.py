"""Give CNTK the MPI library that it is linked with.

CNTK 2.7 needs ``libmpi.so.12`` and ``libmpi_cxx.so.1`` of Open MPI 1.10 to be loaded,
though a single process calls none of their functions. Today's systems do not have
them. Three ways are tried, and each leaves a folder with two links or libraries:

1. Open MPI 4 of this system, or of its Debian packages, unpacked and not installed;
   the functions that CNTK asks for have kept their names.
2. A stand-in built here by gcc from the names that CNTK leaves open. Each function of
   it says its name and aborts, so that a run that ends has called none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

SONAMES = {"libmpi.so.12": "libmpi.so.40", "libmpi_cxx.so.1": "libmpi_cxx.so.40"}
PACKAGE = "libopenmpi3"  # Debian's and Ubuntu's name of Open MPI 4
NONE_CALLED = """
#include <stdio.h>
#include <stdlib.h>
static void stop(const char *name) {
    fprintf(stderr, "CNTK called %s, which this stand-in for MPI lacks\\n", name);
    abort();
}
int MPI_Initialized(int *flag) { *flag = 0; return 0; }
"""


def folder_in(environment: Path) -> Path:
    """Return the place of the two libraries in an environment."""
    return environment / "mpi"


def output(*command: str, cwd: Path | None = None) -> str:
    """Run a command and return what it printed; nothing when it failed."""
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return "" if done.returncode else done.stdout


def of_this_system() -> dict[str, Path]:
    """Find the libraries of Open MPI 4 that the system's loader knows."""
    known = dict(re.findall(r"^\s*(\S+) .* => (\S+)$", output("ldconfig", "-p"), re.M))
    return {name: Path(known[name]) for name in SONAMES.values() if name in known}


def of_packages(folder: Path) -> dict[str, Path]:
    """Fetch Debian's packages of Open MPI and unpack them into a folder.

    Parameters
    ----------
    folder : Path
        Where the libraries go.

    Returns
    -------
    dict
        Name of each library -> its place; empty where that is not possible.
    """
    plan = output("apt-get", "install", "-s", "--no-install-recommends", PACKAGE)
    packages = re.findall(r"^Inst (\S+)", plan, re.M)
    if not packages or not shutil.which("dpkg"):
        return {}
    with tempfile.TemporaryDirectory() as place:
        output("apt-get", "download", "-q", *packages, cwd=Path(place))
        for package in sorted(Path(place).glob("*.deb")):
            output("dpkg", "-x", str(package), place)
        for library in Path(place).glob("usr/lib/**/*.so*"):
            if library.parent.name.endswith("-gnu") and library.is_file():
                shutil.copy(library, folder / library.name)
    found = {name: folder / name for name in SONAMES.values()}
    return found if all(path.exists() for path in found.values()) else {}


def open_names(environment: Path) -> tuple[set[str], set[str]]:
    """Return the functions and the data that CNTK expects from MPI.

    Parameters
    ----------
    environment : Path
        The virtual environment with CNTK.

    Returns
    -------
    functions, data : set of str
        Names of symbols.
    """
    functions, data = set(), set()
    for library in environment.glob("lib/python3.6/site-packages/cntk/libs/*.so*"):
        found = output("nm", "-D", "--undefined-only", str(library))
        for name in re.findall(r" U (\S+)", found):
            name = name.split("@")[0]
            if name.startswith("ompi_mpi_"):
                data.add(name)
            elif name.startswith(("MPI_", "ompi_", "_ZN3MPI", "_ZTVN3MPI")):
                (data if name.startswith("_ZTV") else functions).add(name)
    return functions, data


def stand_in(environment: Path, folder: Path) -> None:
    """Build the stand-in with gcc.

    Parameters
    ----------
    environment : Path
        The virtual environment with CNTK.
    folder : Path
        Where the two libraries go.

    Raises
    ------
    OSError
        No compiler, or it failed.
    """
    functions, data = open_names(environment)
    lines = [NONE_CALLED]
    lines += [f"char {name}[1024];" for name in sorted(data)]
    lines += [
        f'void {name}(void) {{ stop("{name}"); }}'
        for name in sorted(functions - {"MPI_Initialized"})
    ]
    (folder / "mpi.c").write_text("\n".join(lines) + "\n")
    (folder / "empty.c").write_text("int nothing_of_mpi_cxx;\n")
    sources = {"libmpi.so.12": "mpi.c", "libmpi_cxx.so.1": "empty.c"}
    for name, source in sources.items():
        flags = ["-shared", "-fPIC", "-w", f"-Wl,-soname,{name}"]
        command = ["gcc", *flags, "-o", str(folder / name), str(folder / source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"gcc could not build {name}: {done.stderr[:200]}")


def provide(environment: Path) -> str:
    """Make ``mpi/`` in the environment, once, and say what it holds.

    Parameters
    ----------
    environment : Path
        The virtual environment with CNTK.

    Returns
    -------
    str
        "Open MPI of this system", "Open MPI's packages" or "a stand-in".

    Raises
    ------
    OSError
        None of the ways works here.
    """
    folder = folder_in(environment)
    kind = folder / "kind"
    if kind.exists():
        return kind.read_text()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found, what = of_this_system(), "Open MPI of this system"
    if len(found) < len(SONAMES):
        found, what = of_packages(folder), "Open MPI's packages"
    if len(found) == len(SONAMES):
        for old, new in SONAMES.items():
            (folder / old).symlink_to(found[new])
    else:
        what = "a stand-in"
        stand_in(environment, folder)
    kind.write_text(what)
    return what
