"""Measure a training step with and without batch norm in each framework.

    python -m frameworks.speed                  all of them
    python -m frameworks.speed pytorch theano   some of them, nothing is stored

One after the other, each in its own process on one core: the plain net and the one with
batch norm train in turn, some steps each, so that a change of the machine's speed meets
both. The median is given. What this machine cannot have is skipped with the reason.
Nothing is asserted of the times; a net that does not learn is a failure.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frameworks.environments import ROOT, NotHere, python_of, variables
from frameworks.registry import FRAMEWORKS, NOTHING

HERE = Path(__file__).resolve().parent
RECORD = HERE / "speeds" / "record.json"
BATCHES, BATCH_SIZE = 100, 60
TIMEOUT = 600


class System(NamedTuple):
    """What is timed.

    Attributes
    ----------
    title : str
        Name for people.
    framework : str or None
        Key of `frameworks.registry.FRAMEWORKS`; None needs nothing but bnlib.
    variables : mapping
        Environment variables, beside those of the framework.
    note : str
        What one must know to read its times.
    """

    title: str
    framework: str | None
    variables: Mapping[str, str] = NOTHING
    note: str = ""


SYSTEMS = {
    "bnlib": System("bnlib, NumPy alone", None),
    "pytorch": System("PyTorch", "pytorch"),
    "tensorflow": System("TensorFlow 2, `tf.function`", "tensorflow"),
    "keras": System("Keras on TensorFlow, `train_on_batch`", "tensorflow"),
    "flax": System(
        "JAX with Flax, `jax.jit`",
        "flax",
        {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"},
    ),
    "mlx": System(
        "MLX",
        "mlx",
        note="MLX is made for the processors of Macs: "
        "on Linux its package brings the reference BLAS, which is slow.",
    ),
    "tf1": System("TensorFlow 1", "tf1"),
    "theano": System(
        "Theano, compiled",
        "theano",
        {"THEANO_FLAGS": "blas.ldflags=,base_compiledir=compiled"},
    ),
    "cntk": System("CNTK", "cntk"),
}


def write_batches(path: Path) -> None:
    """Write the batches that every net trains on.

    Parameters
    ----------
    path : Path
        An npz file: x (100, 60, 784) float32, y (100, 60) int64.
    """
    import numpy as np  # noqa: PLC0415 - the table of a page needs no NumPy

    from bnlib.data import load_mnist10k  # noqa: PLC0415

    x, y = load_mnist10k("train")
    order = np.random.default_rng(0).permutation(len(x))[: BATCHES * BATCH_SIZE]
    x, y = x[order].reshape(BATCHES, BATCH_SIZE, -1), y[order].reshape(BATCHES, -1)
    np.savez(path, x=x.astype(np.float32), y=y.astype(np.int64))


def measure(name: str, batches: Path, may_install: bool = True) -> dict[str, Any]:
    """Time one system in its own process.

    Parameters
    ----------
    name : str
        Key of `SYSTEMS`.
    batches : Path
        From `write_batches`.
    may_install : bool
        Whether a missing environment is made.

    Returns
    -------
    dict
        ``plain_ms``, ``batch_norm_ms``, ``versions``, ``python``.

    Raises
    ------
    NotHere
        This machine cannot have its environment.
    RuntimeError
        The script failed; with the last lines that it printed.
    """
    system, reasons = SYSTEMS[name], []
    framework = FRAMEWORKS[system.framework] if system.framework else None
    for environment in framework.environments if framework else ("main",):
        try:
            python = python_of(environment, may_install)
        except NotHere as reason:
            reasons.append(str(reason))
        else:
            break
    else:
        raise NotHere("; ".join(reasons))
    more = {**(framework.variables if framework else NOTHING), **system.variables}
    if environment == "main":
        more["PYTHONPATH"] = str(ROOT)
    modules = [*(framework.modules if framework else ()), "numpy"]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "speed.json")
        done = subprocess.run(
            [python, HERE / "speeds" / f"time_{name}.py", batches, target, *modules],
            env=variables(environment, more),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
        if not target.exists():
            last = "\n".join(done.stdout.strip().splitlines()[-15:])
            raise RuntimeError(f"exit code {done.returncode}\n{last}")
        return json.loads(target.read_text("utf-8"))


def cpu_model() -> str:
    """Return the name of the processor's model, as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.+)$", text, re.M)
    return found[1].strip() if found else platform.machine()


def ratio(result: Mapping[str, Any]) -> float:
    """Return how many times longer a step with batch norm takes."""
    return result["batch_norm_ms"] / result["plain_ms"]


def speed_table() -> str:
    """Return the stored measurement as a table.

    Returns
    -------
    str
        Markdown, with a sentence on the machine and the versions.

    Raises
    ------
    FileNotFoundError
        It was never measured.
    """
    if not RECORD.exists():
        raise FileNotFoundError("no times are stored: python -m frameworks.speed")
    record = json.loads(RECORD.read_text("utf-8"))
    lines = [
        "| Framework | Plain step, ms | With batch norm, ms | Ratio |",
        "| :-- | --: | --: | --: |",
    ]
    for name, result in record["systems"].items():
        packages = [k for k in result["versions"] if k != "numpy"] or ["numpy"]
        versions = ", ".join(f"{k} {result['versions'][k]}" for k in packages)
        cells = [f"{SYSTEMS[name].title} ({versions})"]
        cells += [f"{result[key]:.2f}" for key in ("plain_ms", "batch_norm_ms")]
        lines.append(f"| {' | '.join(cells)} | {ratio(result):.2f} |")
    where = f"Measured on {record['date']}, on one core of one machine"
    notes = [SYSTEMS[name].note for name in record["systems"] if SYSTEMS[name].note]
    return "\n".join([*lines, "", f"{where} ({record['machine']}).", *notes])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and store the times when all systems were asked for.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process when left out.

    Returns
    -------
    int
        Exit code: 1 when a script failed, or when none ran.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SYSTEMS))
    parser.add_argument(
        "--look", action="store_true", help="install nothing, store nothing"
    )
    arguments = parser.parse_args(argv)
    names, look = arguments.names, arguments.look
    unknown = sorted(set(names) - set(SYSTEMS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(SYSTEMS)}")
    if hasattr(os, "sched_setaffinity"):  # the processes below inherit the one core
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    systems, failed = {}, False
    with tempfile.TemporaryDirectory() as folder:
        batches = Path(folder, "batches.npz")
        write_batches(batches)
        for name in names or SYSTEMS:
            try:
                result = measure(name, batches, not look)
            except NotHere as reason:
                print(f"skip {name}: {reason}", flush=True)
                continue
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                failed = True
                print(f"fail {name}: {error}", flush=True)
                continue
            systems[name] = result
            print(
                f"ran  {name}: plain {result['plain_ms']:.3f} ms, batch norm "
                f"{result['batch_norm_ms']:.3f} ms, ratio {ratio(result):.2f}",
                flush=True,
            )
    if systems and not failed and not names and not look:
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        record = {"date": today, "machine": cpu_model(), "systems": systems}
        RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf-8", newline="\n")
    print(f"Done: {len(systems)} measured.")
    return int(failed or not systems)


if __name__ == "__main__":
    sys.exit(main())
