"""Run experiments: each finished seed is kept, each table is written whole.

An experiment is a module of this package with ``STAGES`` and ``claims``. Its stages
run one after the other; each is a list of tasks, which run in parallel, and gives one
table.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import os
import pkgutil
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

import experiments
from bnlib import data
from experiments.claims import Table
from experiments.fingerprint import fingerprint, libraries

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
KEPT = HERE.parent / "_build" / "experiments"  # finished tasks of unfinished stages
Row = dict[str, Any]
Task = dict[str, Any]


class Stage(NamedTuple):
    """What gives one table.

    Attributes
    ----------
    table : str
        Its name.
    function : callable
        Takes a task's items as keyword arguments, returns rows.
    tasks : callable
        Takes a function that loads an earlier table of the experiment by its name;
        returns the tasks: as a rule one for each setting and seed.
    alone : bool
        Whether tasks must run one at a time, because they measure time.
    choosing : bool
        Whether settings are chosen by its rows: then its tasks cannot load test images.
    """

    table: str
    function: Callable[..., list[Row]]
    tasks: Callable[[Callable[[str], Table]], list[Task]]
    alone: bool = False
    choosing: bool = False


def names() -> list[str]:
    """Return the names of all experiments: the modules that have stages."""
    found = sorted(m.name for m in pkgutil.iter_modules(experiments.__path__))
    found = [name for name in found if not name.startswith("_")]
    return [name for name in found if hasattr(module(name), "STAGES")]


def module(name: str) -> ModuleType:
    """Return the module of an experiment."""
    return importlib.import_module(f"experiments.{name}")


def run(
    name: str,
    tables: Sequence[str] = (),
    jobs: int = 1,
    dask: str | None = None,
    results: Path = RESULTS,
) -> dict[str, int]:
    """Run an experiment, or some of its tables, and store them.

    Parameters
    ----------
    name : str
        The experiment.
    tables : sequence of str
        Which of its tables; all if there are none.
    jobs : int
        Processes on this machine.
    dask : str, optional
        Address of a Dask scheduler; then the tasks run there.
    results : Path
        Where results are stored.

    Returns
    -------
    counts : dict of str to int
        Number of rows of each table that was stored.
    """
    counts = {}
    for stage in module(name).STAGES:
        if tables and stage.table not in tables:
            continue
        tasks = stage.tasks(lambda table: load(name, table, results))
        print(f"{name}, {stage.table}: {len(tasks)} runs", flush=True)
        code = code_of(name, stage.table)
        kept = KEPT / name / f"{stage.table}-{code}-{np.__version__}"
        rows, seconds = run_tasks(
            stage.function,
            tasks,
            1 if stage.alone else jobs,
            dask,
            kept,
            stage.choosing,
        )
        store(name, stage.table, rows, seconds, code, results)
        shutil.rmtree(kept, ignore_errors=True)
        counts[stage.table] = len(rows)
    return counts


def status(name: str, table: str, results: Path = RESULTS) -> str:
    """Say in words whether a table is stored and fits the code, and what it holds."""
    path = results / name / "record.json"
    made = json.loads(path.read_text("utf-8")).get(table) if path.exists() else None
    kept = list((KEPT / name).glob(f"{table}-*/*.json"))
    begun = f"; {len(kept)} runs finished of a new one" if kept else ""
    if made is None:
        return f"not stored{begun}"
    fits = (
        "current"
        if made.get("code") == code_of(name, table)
        else "THE CODE HAS CHANGED"
    )
    words = f"{made['rows']} rows, {made['date']}, {made['seconds']} s of one core"
    return f"{fits}: {words}{begun}"


def code_of(name: str, table: str) -> str:
    """Return the hash of the code that a table's rows come from."""
    return fingerprint(f"experiments.{name}", table)


# --- tasks ----------------------------------------------------------------------------


def run_tasks(
    function: Callable[..., list[Row]],
    tasks: list[Task],
    jobs: int = 1,
    dask: str | None = None,
    kept: Path | None = None,
    choosing: bool = False,
) -> tuple[list[Row], float]:
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
    kept : Path, optional
        Folder for the rows of each finished task; what is there is not run again.
    choosing : bool
        Whether the tasks are refused the test images.

    Returns
    -------
    rows : list of dict
        All rows.
    seconds : float
        Processor time of all tasks, on one core.

    Raises
    ------
    ValueError
        Two tasks are the same, or two seeds gave the same rows in every setting.
    """
    if len({json.dumps(task, sort_keys=True) for task in tasks}) < len(tasks):
        raise ValueError(f"expected {len(tasks)} different tasks, got some twice")
    results: dict[int, list[Any]] = {}  # rows and seconds of each task
    paths = {i: _kept_path(kept, task) for i, task in enumerate(tasks)}
    for i, path in paths.items():
        if path and path.exists():
            results[i] = json.loads(path.read_text("utf-8"))
    if results:
        print(f"  {len(results)} of {len(tasks)} runs were finished before", flush=True)
    todo = {i: task for i, task in enumerate(tasks) if i not in results}
    started = time.perf_counter()
    arguments = (function, choosing)
    for done, made in enumerate(_in_parallel(arguments, todo, jobs, dask), 1):
        i, *results[i] = made
        if path := paths[i]:
            _write_whole(path, _as_json(results[i]))
        seconds = time.perf_counter() - started
        left = seconds / done * (len(todo) - done)
        print(
            f"  {done}/{len(todo)} runs, {seconds:.0f} s gone, about {left:.0f} s left",
            flush=True,
        )
    rows = [row for i in range(len(tasks)) for row in results[i][0]]
    _check_seeds(rows)
    return rows, sum(seconds for _, seconds in results.values())


def _check_seeds(rows: list[Row]) -> None:
    """Raise a ValueError if all rows of one seed equal those of another."""
    of_seed: dict[Any, list[str]] = {}
    for row in rows:
        rest = {k: v for k, v in row.items() if k != "seed"}
        of_seed.setdefault(row.get("seed"), []).append(_as_json(rest))
    seen: dict[tuple[str, ...], Any] = {}
    for seed, of_one in of_seed.items():
        if (other := seen.setdefault(tuple(of_one), seed)) != seed:
            raise ValueError(
                f"expected seeds to give rows of their own, got the same rows for "
                f"seeds {other} and {seed}: is the seed used?"
            )


def _as_json(value: Any) -> str:
    return json.dumps(value, default=lambda v: v.item())


def _kept_path(kept: Path | None, task: Task) -> Path | None:
    if kept is None:
        return None
    name = hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()
    return kept / f"{name[:16]}.json"


def _in_parallel(
    arguments: tuple[Callable[..., list[Row]], bool],
    todo: dict[int, Task],
    jobs: int,
    dask: str | None,
) -> Iterator[tuple[int, list[Row], float]]:
    """Yield number, rows and seconds of each task, in the order in which they end."""
    import joblib  # noqa: PLC0415  only needed to run, not to read

    client: Any = nullcontext()
    backend: Any = nullcontext()
    if dask is not None:
        from distributed import Client  # noqa: PLC0415

        client = Client(dask)
        backend = joblib.parallel_config("dask", client=client)
    with client, backend:
        parallel = joblib.Parallel(jobs, return_as="generator_unordered")
        yield from parallel(
            joblib.delayed(_numbered)(i, *arguments, task) for i, task in todo.items()
        )


def _numbered(
    i: int, function: Callable[..., list[Row]], choosing: bool, task: Task
) -> tuple[int, list[Row], float]:
    started = time.process_time()
    with _no_test_images() if choosing else nullcontext():
        rows = function(**task)
    return i, rows, time.process_time() - started


@contextmanager
def _no_test_images() -> Iterator[None]:
    """Refuse the test images to what chooses settings."""
    load_mnist10k = data.load_mnist10k

    def refusing(split: str = "train", **more: Any) -> Any:
        if split == "test":
            raise ValueError(
                "settings are chosen on validation images, got a call for the test "
                "images in a stage with choosing=True"
            )
        return load_mnist10k(split, **more)

    with patch.object(data, "load_mnist10k", refusing):
        yield


# --- tables ---------------------------------------------------------------------------


def store(
    name: str,
    table: str,
    rows: list[Row],
    seconds: float,
    code: str,
    results: Path = RESULTS,
) -> None:
    """Write a table as CSV, and into the record how it was made; whole or not at all.

    Parameters
    ----------
    name, table : str
        Experiment and table.
    rows : list of dict
        All with the same keys.
    seconds : float
        Processor time that it took, on one core.
    code : str
        Hash of the code that made the rows.
    results : Path
        Where results are stored.
    """
    if not rows:
        raise ValueError(f"expected rows for the table {table} of {name}, got none")
    path = results / name / f"{table}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)
    made = record(name, results) if (results / name / "record.json").exists() else {}
    made[table] = {
        "made_by": f"python -m experiments {name} --table {table}",
        "date": date.today().isoformat(),
        "seconds": round(seconds),
        "rows": len(rows),
        "seeds": sorted({row["seed"] for row in rows if "seed" in row}),
        "code": code,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": (
            metadata.version("torch")
            if "torch" in libraries(f"experiments.{name}", table)
            else None
        ),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", "not set"),
    }
    text = json.dumps(dict(sorted(made.items())), indent=2)
    _write_whole(results / name / "record.json", text + "\n")


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text, "utf-8")
    os.replace(part, path)


def load(name: str, table: str, results: Path = RESULTS) -> Table:
    """Read a stored table as columns.

    Parameters
    ----------
    name, table : str
        Experiment and table: ``load("classic", "curves")``.
    results : Path
        Where results are stored.

    Returns
    -------
    columns : dict of str to ndarray
        Numbers where all values are numbers (an empty field is nan), else strings.

    Raises
    ------
    FileNotFoundError
        There is no such table; the message names the command that makes it.
    """
    path = results / name / f"{table}.csv"
    if not path.exists():
        raise FileNotFoundError(
            f"no stored table {name}/{path.name}: run python -m experiments {name}"
        )
    return dict(_read(path, path.stat().st_mtime_ns))


@lru_cache(maxsize=256)
def _read(path: Path, _changed: int) -> Table:
    """Read a table once for each time that it was written; claims ask often."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = {key: _column(row[key] for row in rows) for key in rows[0]}
    for values in table.values():
        values.flags.writeable = False
    return table


def record(name: str, results: Path = RESULTS) -> dict[str, Row]:
    """Read how the tables of an experiment were made: versions, date, duration."""
    return json.loads((results / name / "record.json").read_text("utf-8"))


def _column(values: Iterable[str]) -> np.ndarray:
    values = list(values)
    try:
        return np.array([float(v) if v else np.nan for v in values])
    except ValueError:
        return np.array(values)
