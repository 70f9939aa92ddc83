"""Regenerate stored results: ``python -m experiments [NAME ...] [--jobs N]``."""

from __future__ import annotations

import argparse
import importlib
import os
import time

# One thread for each process, set before NumPy loads its libraries.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from experiments.runner import save  # noqa: E402

NAMES = ("classic",)


def main() -> None:
    """Run the experiments that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--dask", help="address of a Dask scheduler")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        started = time.perf_counter()
        module = importlib.import_module(f"experiments.{name}")
        tables = module.run(arguments.jobs, arguments.dask)
        seconds = time.perf_counter() - started
        save(name, tables, seconds)
        rows = sum(len(rows) for rows in tables.values())
        print(f"{name}: {rows} rows stored in {seconds:.0f} s")


if __name__ == "__main__":
    main()
