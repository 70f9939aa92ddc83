"""Run the frameworks, compare them with bnlib, and store one record for each.

    python -m frameworks                      all of them
    python -m frameworks --group modern       one group: modern, legacy, optional
    python -m frameworks pytorch theano       some of them

Each adapter runs in its own process, in its own environment. What this machine cannot
have is skipped with the reason, and its stored record stays as it is. The exit code is
1 when a framework disagrees with bnlib or its adapter fails: a skip is never a pass,
and a failure is never a skip.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frameworks.cases import make_cases
from frameworks.compare import Verdict
from frameworks.environments import NotHere, python_of, variables
from frameworks.registry import FRAMEWORKS, Framework

HERE = Path(__file__).resolve().parent
RECORDS = HERE / "records"
TIMEOUT = 900  # seconds; the slowest adapter needs about thirty on a quiet machine
GROUPS = ("modern", "legacy", "optional")


def answer_of(
    framework: Framework, python: Path, environment: str, given: dict
) -> dict[str, Any]:
    """Run one adapter and return what it wrote.

    Parameters
    ----------
    framework : Framework
        Whose adapter.
    python : Path
        The Python that runs it.
    environment : str
        Name of the environment.
    given : dict
        The cases.

    Returns
    -------
    dict
        The adapter's answer.

    Raises
    ------
    RuntimeError
        The adapter wrote nothing; with the last lines that it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        cases, written = Path(folder, "cases.json"), Path(folder, "answer.json")
        cases.write_text(json.dumps(given), "utf-8")
        adapter = HERE / "adapters" / f"{framework.adapter}.py"
        try:
            done = subprocess.run(
                [python, adapter, cases, written],
                env=variables(environment, dict(framework.variables)),
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
        if not written.exists():
            last = "\n".join(done.stdout.strip().splitlines()[-15:])
            raise RuntimeError(f"exit code {done.returncode}, no answer\n{last}")
        return json.loads(written.read_text("utf-8"))


def record_of(framework: Framework, answer: dict, given: dict) -> dict[str, Any]:
    """Join an answer and bnlib's verdict to a record.

    Parameters
    ----------
    framework : Framework
        Who answered.
    answer : dict
        What the adapter wrote.
    given : dict
        The cases.

    Returns
    -------
    dict
        What is stored.
    """
    head = {
        "framework": framework.name,
        "title": framework.title,
        "convention": framework.convention,
        "digest": given["digest"],
    }
    verdict = Verdict(framework, answer, given).report()
    return {**head, **verdict, **answer, **verdict}  # the verdict first, and for good


def write(record: dict[str, Any]) -> None:
    """Store a record, one key a line where that reads well."""
    RECORDS.mkdir(exist_ok=True)
    lines = [
        f"{json.dumps(key)}: {json.dumps(value, sort_keys=True, allow_nan=False)}"
        for key, value in record.items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (RECORDS / f"{record['framework']}.json").write_text(text, "utf-8", newline="\n")


def run(framework: Framework, given: dict) -> tuple[str, str]:
    """Run one framework; return "pass", "fail" or "skip", and what to say of it.

    Parameters
    ----------
    framework : Framework
        Which.
    given : dict
        The cases.

    Returns
    -------
    status, text : str
        For the summary.
    """
    reasons = []
    for environment in framework.environments:
        try:
            python = python_of(environment)
        except NotHere as reason:
            reasons.append(str(reason))
            continue
        try:
            record = record_of(
                framework, answer_of(framework, python, environment, given), given
            )
        except RuntimeError as error:
            return "fail", str(error)
        write(record)
        if record["failures"]:
            return "fail", "\n".join(record["failures"])
        worst = [f"{record['worst'][d] or 0:.1e} {d}" for d in ("float64", "float32")]
        gaps = f"; {len(record['gaps'])} cases not possible" if record["gaps"] else ""
        return "pass", f"largest difference {', '.join(worst)}{gaps}"
    return "skip", "; ".join(reasons)


def chosen(names: Sequence[str], groups: Sequence[str]) -> list[Framework]:
    """Return the frameworks that the command line asks for."""
    unknown = sorted(set(names) - set(FRAMEWORKS))
    if unknown:
        raise SystemExit(
            f"unknown: {', '.join(unknown)}; known: {', '.join(FRAMEWORKS)}"
        )
    groups = groups or (() if names else GROUPS)
    return [f for f in FRAMEWORKS.values() if f.name in names or f.group in groups]


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
    options = parser.parse_args(argv)
    given, count = make_cases(), {"pass": 0, "fail": 0, "skip": 0}
    for framework in chosen(options.names, options.group):
        start = time.perf_counter()
        status, text = run(framework, given)
        count[status] += 1
        seconds = time.perf_counter() - start
        text = text.replace("\n", "\n" + " " * 6)
        print(f"{status:5} {framework.name} ({seconds:.0f} s): {text}", flush=True)
    print(f"{count['pass']} passed, {count['fail']} failed, {count['skip']} skipped")
    return int(count["fail"] > 0 or not count["pass"])


if __name__ == "__main__":
    sys.exit(main())
