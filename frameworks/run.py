"""Run the frameworks' scripts, judge what they answer, and store one record for each.

    python -m frameworks                        the cases, in all frameworks
    python -m frameworks --group modern         one group: modern, legacy, optional
    python -m frameworks pytorch theano         some frameworks
    python -m frameworks --kind listing flax    what a listing prints
    python -m frameworks --kind speed           the times of all, on one core each
    python -m frameworks --kind speed --look    the same; nothing is installed or stored

Each script runs in its own process, in its framework's environment. What this machine
cannot have is skipped with the reason, and its stored record stays as it is. The exit
code is 1 when something is wrong, or when nothing ran: a skip is never a pass, and a
failure is never a skip.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import platform
import re
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnlib.data import load_digits, load_mnist10k
from frameworks.cases import make_cases
from frameworks.compare import Verdict
from frameworks.environments import NotHere, place_of
from frameworks.registry import FRAMEWORKS, GROUPS, HERE, NOTHING, Framework

TIMEOUT = 900  # seconds; the slowest script needs about thirty on a quiet machine
BATCHES, BATCH_SIZE = 100, 60
MUST_SAY = ("test accuracy above 90 %", "one image alone gives its row")
Record = dict[str, Any]


class Job(NamedTuple):
    """One script to run, and what it needs beside the framework's own variables."""

    name: str
    framework: Framework
    function: str = ""
    variables: Mapping[str, str] = NOTHING


class Kind(ABC):
    """One kind of script: what it is given, how its answer is judged and stored."""

    name: str
    script: str
    record: str

    def jobs(self, framework: Framework) -> list[Job]:
        """Return what is run of a framework."""
        return [Job(framework.name, framework)]

    @abstractmethod
    def give(self, folder: Path) -> None:
        """Write what the script reads."""

    def digest(self, framework: Framework) -> str:
        """Return the digest of what the answer depends on, here of the script."""
        text = framework.file(self.script).read_text("utf-8").rstrip()
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @abstractmethod
    def judge(self, framework: Framework, answer: Record) -> Record:
        """Return the verdict: its status, its failures, and what was measured."""

    @abstractmethod
    def say(self, record: Record) -> str:
        """Sum an answer up, for the command line."""

    def store(self, job: Job, record: Record) -> None:
        """Store a record in the framework's folder."""
        write(job.framework.file(self.record), record)


class Cases(Kind):
    """The cases of `frameworks.cases`: an adapter's answers are held against bnlib."""

    name, script, record = "cases", "adapter.py", "record.json"

    def __init__(self) -> None:
        self.given = make_cases()

    def give(self, folder: Path) -> None:
        (folder / "cases.json").write_text(json.dumps(self.given), "utf-8")

    def digest(self, framework: Framework) -> str:
        return self.given["digest"]

    def judge(self, framework: Framework, answer: Record) -> Record:
        return Verdict(framework, answer, self.given).report()

    def say(self, record: Record) -> str:
        worst, gaps = (record["verdict"][key] for key in ("worst", "gaps"))
        errors = ", ".join(f"{worst[d] or 0:.1e} {d}" for d in ("float64", "float32"))
        more = f"; {len(gaps)} cases not possible" if gaps else ""
        return f"largest difference {errors}{more}"


class Listing(Kind):
    """A listing, as its users would write it: what it prints of itself must be true."""

    name, script, record = "listing", "listing.py", "listing.json"

    def __init__(self) -> None:
        train, test = load_digits()
        self.digits: dict[str, Any] = {"x_train": train.x, "y_train": train.y}
        self.digits |= {"x_test": test.x, "y_test": test.y}

    def give(self, folder: Path) -> None:
        np.savez(folder / "digits.npz", **self.digits)

    def judge(self, framework: Framework, answer: Record) -> Record:
        lines = answer["stdout"].splitlines()
        true = [line for line in lines if line.endswith(": True")]
        false = [line for line in lines if line.endswith(": False")]
        failures = [
            f"it does not say: {start}: True"
            for start in MUST_SAY
            if not any(line.startswith(start) for line in true)
        ]
        if false != list(framework.false):
            failures.append(f"it says: {false}")
        return verdict(failures)

    def say(self, record: Record) -> str:
        return record["answer"]["stdout"].rstrip()


class Speed(Kind):
    """A training step with and without batch norm, all in one measurement.

    The plain net and the one with batch norm train in turn, some steps each, so that a
    change of the machine's speed meets both. Nothing is asserted of the times; a net
    that does not learn is a failure. The rows are one record, which is stored when all
    of them have been measured in one go.
    """

    name, script = "speed", "speed.py"

    def __init__(self) -> None:
        self.rows: dict[str, Record] = {}
        x, y = load_mnist10k("train")
        order = np.random.default_rng(0).permutation(len(x))[: BATCHES * BATCH_SIZE]
        self.x = x[order].reshape(BATCHES, BATCH_SIZE, -1).astype(np.float32)
        self.y = y[order].reshape(BATCHES, -1).astype(np.int64)

    def jobs(self, framework: Framework) -> list[Job]:
        rows = framework.speed
        return [Job(row.name, framework, row.function, row.variables) for row in rows]

    def give(self, folder: Path) -> None:
        np.savez(folder / "batches.npz", x=self.x, y=self.y)

    def judge(self, framework: Framework, answer: Record) -> Record:
        ratio = answer["batch_norm_ms"] / answer["plain_ms"]
        return {**verdict([]), "ratio": round(ratio, 4)}

    def say(self, record: Record) -> str:
        answer, ratio = record["answer"], record["verdict"]["ratio"]
        plain, norm = answer["plain_ms"], answer["batch_norm_ms"]
        return f"plain {plain:.3f} ms, batch norm {norm:.3f} ms, ratio {ratio:.2f}"

    def store(self, job: Job, record: Record) -> None:
        self.rows[job.name] = record
        if len(self.rows) < sum(len(f.speed) for f in FRAMEWORKS.values()):
            return
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        whole: Record = {"head": {"date": today, "machine": cpu_model()}}
        for part in ("verdict", "answer"):
            whole[part] = {name: row[part] for name, row in self.rows.items()}
        write(HERE / "speed.json", whole)


KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Cases, Listing, Speed)}


def verdict(failures: list[str]) -> Record:
    """Return what every verdict has."""
    return {"status": "fail" if failures else "pass", "failures": failures}


def cpu_model() -> str:
    """Return the name of the processor's model, as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.+)$", text, re.M)
    return found[1].strip() if found else platform.machine()


def write(path: Path, record: Record) -> None:
    """Store a record, with one line for each key of head, verdict and answer."""
    parts = []
    for name, part in record.items():
        lines = [
            f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}"
            for key, value in part.items()
        ]
        parts.append(f'"{name}": {{\n' + ",\n".join(lines) + "\n}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8", newline="\n")


def answer_of(kind: Kind, job: Job, may_install: bool = True) -> Record:
    """Run one script in its own process and return what it answers.

    Parameters
    ----------
    kind : Kind
        Of `KINDS`.
    job : Job
        One of its jobs.
    may_install : bool
        Whether a missing environment is made.

    Returns
    -------
    dict
        ``python``, ``versions`` and what the kind's script finds.

    Raises
    ------
    NotHere
        This machine cannot have the framework.
    RuntimeError
        No answer; with the last lines that were printed.
    """
    python, variables = place_of(job.framework, may_install)
    order = {
        "kind": kind.name,
        "script": str(job.framework.file(kind.script)),
        "function": job.function,
        "modules": [*job.framework.modules, "numpy"],
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kind.give(folder)
        (folder / "job.json").write_text(json.dumps(order), "utf-8")
        try:
            done = subprocess.run(
                [python, HERE / "within"],
                env={**variables, **job.variables},
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no answer in {TIMEOUT} seconds") from None
        answer = folder / "answer.json"
        if not answer.exists():
            last = "\n".join(done.stdout.strip().splitlines()[-25:])
            raise RuntimeError(f"exit code {done.returncode}, no answer\n{last}")
        return json.loads(answer.read_text("utf-8"))


def run(kind: Kind, job: Job, look: bool = False) -> tuple[str, str]:
    """Run one job; return "pass", "fail" or "skip", and what to say of it.

    Parameters
    ----------
    kind : Kind
        Of `KINDS`.
    job : Job
        One of its jobs.
    look : bool
        Install nothing, store nothing.

    Returns
    -------
    status, text : str
        For the command line.
    """
    try:
        answer = answer_of(kind, job, not look)
    except NotHere as reason:
        return "skip", str(reason)
    except RuntimeError as error:
        return "fail", str(error)
    framework = job.framework
    head = {"framework": framework.name, "title": framework.title}
    head |= {"convention": framework.convention, "digest": kind.digest(framework)}
    record = {
        "head": head,
        "verdict": kind.judge(framework, answer),
        "answer": answer,
    }
    if not look:
        kind.store(job, record)
    if record["verdict"]["failures"]:
        return "fail", "\n".join(record["verdict"]["failures"])
    return "pass", kind.say(record)


def chosen(kind: type[Kind], names: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return the frameworks that have such a script, or those of them asked for."""
    known = [f for f in FRAMEWORKS.values() if f.file(kind.script).exists()]
    titles = [f.name for f in known]
    unknown = sorted(set(names) - set(titles))
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(titles)}")
    groups = groups or (() if names else GROUPS)
    return [f.name for f in known if f.name in names or f.group in groups]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process when left out.

    Returns
    -------
    int
        Exit code: 1 when something failed, or when nothing ran.
    """
    parser = argparse.ArgumentParser(prog="python -m frameworks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FRAMEWORKS))
    parser.add_argument("--group", action="append", default=[], choices=GROUPS)
    parser.add_argument("--kind", action="append", default=[], choices=KINDS)
    parser.add_argument("--look", action="store_true", help="install and store nothing")
    options = parser.parse_args(argv)
    wanted = [KINDS[name] for name in options.kind or ["cases"]]
    plan = [(kind, chosen(kind, options.names, options.group)) for kind in wanted]
    count = {"pass": 0, "fail": 0, "skip": 0}
    for make_kind, names in plan:
        kind = make_kind()
        for job in (job for name in names for job in kind.jobs(FRAMEWORKS[name])):
            start = time.perf_counter()
            status, text = run(kind, job, options.look)
            count[status] += 1
            seconds = time.perf_counter() - start
            text = text.replace("\n", "\n" + " " * 6)
            print(f"{status:5} {job.name} ({seconds:.0f} s): {text}", flush=True)
    print(f"{count['pass']} passed, {count['fail']} failed, {count['skip']} skipped")
    return int(count["fail"] > 0 or not count["pass"])
