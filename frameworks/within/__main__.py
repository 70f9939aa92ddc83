"""Run one script of a framework in the framework's own Python, 3.6 or newer.

The folder in which it runs holds ``job.json`` and the numbers that the script reads;
the answer is written there as ``answer.json``. This folder comes first on the path, and
never the script's: ``frameworks/theano`` must not stand in for theano.
"""

import contextlib
import importlib.util
import io
import json
import os
import platform
import runpy
import sys

import protocol
import timing


def load(job):
    """Import the script as a module."""
    spec = importlib.util.spec_from_file_location("script", job["script"])
    script = sys.modules["script"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def cases(job):
    """Run an adapter on all cases."""
    with open("cases.json") as file:
        given = json.load(file)
    return protocol.answer(load(job), given)


def listing(job):
    """Run a listing as its users would, and keep what it prints."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(job["script"], run_name="__main__")
    finally:
        print(printed.getvalue())
    return {"stdout": printed.getvalue()}


def speed(job):
    """Time the nets that a function of a speed script makes."""
    if hasattr(os, "sched_setaffinity"):  # before the framework counts the cores
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return timing.measure(getattr(load(job), job["function"]))


def version(name):
    """Return the version of a package that has been imported."""
    module = sys.modules[name]
    for holder in (module, getattr(module, "core", None)):
        if hasattr(holder, "__version__"):
            return holder.__version__
    import importlib.metadata  # noqa: PLC0415 - Python 3.6 has none

    return importlib.metadata.version(name)


def main():
    """Run the job and write the answer; without an answer the job has failed."""
    with open("job.json") as file:
        job = json.load(file)
    answer = {"cases": cases, "listing": listing, "speed": speed}[job["kind"]](job)
    versions = {name: version(name) for name in job["modules"]}
    found = dict(python=platform.python_version(), versions=versions, **answer)
    with open("answer.part", "w") as file:
        json.dump(found, file)
    os.replace("answer.part", "answer.json")
    sys.stdout.flush()
    os._exit(0)  # some frameworks crash while Python takes itself apart


if __name__ == "__main__":
    main()
