"""Run tasks in parallel; store and load tables with a record of how they were made."""

from __future__ import annotations

import csv
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


def run_tasks(
    function: Callable[..., list[Row]],
    tasks: list[dict[str, Any]],
    jobs: int = 1,
    dask: str | None = None,
) -> list[Row]:
    """Call a function once for each task and join the rows, in the tasks' order.

    Parameters
    ----------
    function : callable
        Takes a task's items as keyword arguments, returns rows.
    tasks : list of dict
        Keyword arguments.
    jobs : int
        Processes on this machine.
    dask : str, optional
        Address of a Dask scheduler; then the tasks run there.

    Returns
    -------
    rows : list of dict
        All rows.
    """
    import joblib  # noqa: PLC0415  only needed to run, not to read

    client, backend = nullcontext(), nullcontext()
    if dask is not None:
        from distributed import Client  # noqa: PLC0415

        client = Client(dask)
        backend = joblib.parallel_config("dask", client=client)
    started, done, results = time.perf_counter(), 0, {}
    with client, backend:
        parallel = joblib.Parallel(jobs, return_as="generator_unordered")
        calls = (joblib.delayed(_numbered)(i, function, t) for i, t in enumerate(tasks))
        for i, rows in parallel(calls):
            results[i] = rows
            done += 1
            seconds = time.perf_counter() - started
            left = seconds / done * (len(tasks) - done)
            print(
                f"  {done}/{len(tasks)} runs, {seconds:.0f} s gone, "
                f"about {left:.0f} s left",
                flush=True,
            )
    return [row for i in range(len(tasks)) for row in results[i]]


def _numbered(
    i: int, function: Callable[..., list[Row]], task: dict[str, Any]
) -> tuple[int, list[Row]]:
    return i, function(**task)


def save(
    name: str, tables: dict[str, list[Row]], seconds: float, folder: Path = RESULTS
) -> None:
    """Write tables as CSV and a JSON record of how they were made.

    Parameters
    ----------
    name : str
        Name of the experiment.
    tables : dict of str to list of dict
        Rows of each table; all rows of a table have the same keys.
    seconds : float
        How long it took.
    folder : Path
        Where to write. Each file is written whole or not at all.
    """
    folder.mkdir(exist_ok=True)
    for table, rows in tables.items():
        path = folder / f"{name}_{table}.csv"
        part = path.with_suffix(".part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(part, path)
    record = {
        "made_by": f"python -m experiments {name}",
        "date": date.today().isoformat(),
        "seconds": round(seconds),
        "tables": sorted(tables),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", "not set"),
    }
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")


def load(table: str, folder: Path = RESULTS) -> dict[str, np.ndarray]:
    """Read a stored table as columns.

    Parameters
    ----------
    table : str
        File name without ending, ``"classic_curves"``.
    folder : Path
        Where to look.

    Returns
    -------
    columns : dict of str to ndarray
        Numbers where all values are numbers (an empty field is nan), else strings.

    Raises
    ------
    FileNotFoundError
        There is no such table; the message names the command that makes it.
    """
    path = folder / f"{table}.csv"
    if not path.exists():
        name = table.split("_", maxsplit=1)[0]
        raise FileNotFoundError(
            f"no stored table {path.name}: run python -m experiments {name}"
        )
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: _column(row[key] for row in rows) for key in rows[0]}


def record(name: str, folder: Path = RESULTS) -> Row:
    """Read how the tables of an experiment were made.

    Parameters
    ----------
    name : str
        Name of the experiment.
    folder : Path
        Where to look.

    Returns
    -------
    record : dict
        Versions, date, duration, command.
    """
    return json.loads((folder / f"{name}.json").read_text())


def _column(values: Iterable[str]) -> np.ndarray:
    values = list(values)
    try:
        return np.array([float(v) if v else np.nan for v in values])
    except ValueError:
        return np.array(values)
