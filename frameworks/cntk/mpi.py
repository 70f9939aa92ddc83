"""Give CNTK a stand-in for the MPI library that it is linked with.

CNTK 2.7 needs ``libmpi.so.12`` and ``libmpi_cxx.so.1`` of Open MPI 1.10 to be loaded,
though a single process calls none of their functions. Today's systems do not have them.
gcc builds them here from the names that CNTK leaves open. Each function says its name
and aborts, so that a run that ends has called none, but for ``MPI_Initialized``.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

NONE_CALLED = """
#include <stdio.h>
#include <stdlib.h>
static void stop(const char *name) {
    fprintf(stderr, "CNTK called %s, which this stand-in for MPI lacks\\n", name);
    abort();
}
int MPI_Initialized(int *flag) { *flag = 0; return 0; }
"""


def output(*command: str | Path) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()[:200]}")
    return done.stdout


def open_names(environment: Path) -> tuple[set[str], set[str]]:
    """Return the functions and the data that CNTK expects from MPI."""
    functions, data = set(), set()
    for library in environment.glob("lib/python3.6/site-packages/cntk/libs/*.so*"):
        found = output("nm", "-D", "--undefined-only", library)
        for name in re.findall(r" U ([^\s@]+)", found):
            if name.startswith(("ompi_mpi_", "_ZTVN3MPI")):
                data.add(name)
            elif name.startswith(("MPI_", "ompi_", "_ZN3MPI")):
                functions.add(name)
    return functions, data


def prepare(environment: Path) -> dict[str, str]:
    """Build the two libraries, once, and say where they are.

    Parameters
    ----------
    environment : Path
        The virtual environment with CNTK.

    Returns
    -------
    dict
        Environment variables.

    Raises
    ------
    OSError
        No compiler, or it failed.
    """
    folder = environment / "mpi"
    if not (folder / "libmpi_cxx.so.1").exists():
        functions, data = open_names(environment)
        lines = [NONE_CALLED, *(f"char {name}[1024];" for name in sorted(data))]
        for name in sorted(functions - {"MPI_Initialized"}):
            lines.append(f'void {name}(void) {{ stop("{name}"); }}')
        folder.mkdir(exist_ok=True)
        sources = {
            "libmpi.so.12": "\n".join(lines),
            "libmpi_cxx.so.1": "int nothing_of_mpi_cxx;",
        }
        for name, text in sources.items():
            source = folder / f"{name}.c"
            source.write_text(text + "\n")
            flags = ["-shared", "-fPIC", "-w", f"-Wl,-soname,{name}"]
            output("gcc", *flags, "-o", folder / name, source)
    return {"LD_LIBRARY_PATH": str(folder)}
