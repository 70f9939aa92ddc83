"""Run experiments and store their tables: ``python -m experiments [NAME ...]``."""

from __future__ import annotations

import argparse
import os

# One thread for each process, set before NumPy loads its libraries.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from experiments import runner  # noqa: E402


def show_list() -> None:
    """Print each table: whether it fits today's code, rows, seeds, date, seconds."""
    for name in runner.names():
        for stage in runner.module(name).STAGES:
            print(f"{name:16s} {stage.table:12s} {runner.status(name, stage.table)}")


def main() -> None:
    """Run the experiments that were named, or all."""
    known = runner.names()
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--list", action="store_true", help="say what is stored")
    parser.add_argument(
        "--table", action="append", default=[], help="only this table; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--dask", help="address of a Dask scheduler")
    given = parser.parse_args()
    if given.list:
        show_list()
        return
    unknown = set(given.names) - set(known)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = given.names or known
    tables = {s.table for name in chosen for s in runner.module(name).STAGES}
    if set(given.table) - tables:
        parser.error(f"expected --table to be one of {', '.join(sorted(tables))}")
    for name in chosen:
        counts = runner.run(name, given.table, given.jobs, given.dask)
        for table, rows in counts.items():
            print(f"{name}: {rows} rows stored in {table}")


if __name__ == "__main__":
    main()
