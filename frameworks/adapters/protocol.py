"""What the adapters share: the cases come in, one JSON file goes out.

Runs in each framework's own Python (3.6 or newer) with NumPy alone. An adapter is a
file with these functions:

``versions()``
    Dict of package versions.
``facts()``
    What the framework says of itself, read from it and not typed: see ``FACTS``.
``train(case)``
    Run one case; return a dict with some of ``y``, ``dx``, ``dgamma``, ``dbeta``,
    ``running_mean``, ``running_var``, ``inference``. Raise `Unsupported`, with the
    reason, for a case that the framework cannot run.
``default_steps(x)``
    Train a fresh layer with default settings on the two batches of ``x``; return a list
    with (running mean, running variance) at first and after each step; None at first
    where the framework has no initial values of its own.

A case has ``kind`` ("train", "one" or "constant"), ``layout`` ("nd", "nchw", "nhwc"),
``dtype``, ``eps``, ``keep`` (the weight that the old running value keeps), ``x``
(three training batches), ``dy`` (upstream gradient at the first batch), ``gamma``,
``beta`` and ``x_new`` (for inference after the three batches).
"""

import json
import os
import platform
import sys
import traceback

import numpy as np

PACKAGES = ("cntk", "jax", "keras", "tensorflow", "theano", "torch")
ARRAYS = ("x", "dy", "gamma", "beta", "x_new")
FACTS = (
    "layer",  # what is called
    "momentum_name",  # the setting that weighs the running average
    "momentum",  # its default
    "eps",  # default
    "axis",  # default channel axis
    "names",  # role -> the framework's name for it
    "initial",  # role -> initial value
    "mode_switch",  # how training and evaluation are chosen
    "statistics_dtype",  # dtype of the input -> dtype of the statistics
    "frozen",  # from `frozen`: measured in training mode
    "checkpoint",  # names of what a checkpoint stores
    "synced",  # the name of the synced variant, or None
)


class Unsupported(Exception):  # noqa: N818 - the framework's limit, not our error
    """The framework cannot run this case; the message is the reason."""


class Case:
    """One case, its fields as attributes and its numbers as arrays."""

    def __init__(self, record):
        for key, value in record.items():
            if key in ARRAYS:
                value = np.array(value, record["dtype"])
            setattr(self, key, value)

    @property
    def axis(self):
        """Channel axis of the inputs."""
        return 1 if self.layout in ("nd", "nchw") else 3

    @property
    def channels(self):
        """Number of channels."""
        return len(self.gamma)


def frozen(switch, running_mean, y):
    """Say what the framework's own way to freeze a layer does in training mode.

    ``running_mean`` is a fresh layer's after one batch, which started at 0, and ``y``
    its output; the batch must have means other than 0.
    """
    return {
        "switch": switch,
        "statistics_move": bool(np.any(np.asarray(running_mean) != 0)),
        "batch_statistics": bool(np.allclose(np.asarray(y).mean(0), 0, atol=1e-5)),
    }


def listed(value):
    """Turn arrays and NumPy scalars into lists and numbers that JSON keeps exactly."""
    if isinstance(value, dict):
        return {key: listed(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [listed(v) for v in value]
    if isinstance(value, np.ndarray) and value.ndim:
        return [listed(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value)[()]
        if isinstance(value, np.floating) and not np.isfinite(value):
            return str(value)  # JSON has no word for it
        if isinstance(value, np.float32):
            return float(str(value))  # the shortest digits that give it back
        return value.item()
    return value


def run_one(adapter, case):
    """Run a case; an exception becomes part of the answer, never silence."""
    try:
        return {"outputs": listed(adapter.train(case))}
    except Unsupported as error:
        return {"unsupported": str(error)}
    except Exception as error:
        if case.kind != "one":
            traceback.print_exc()
        words = str(error).strip().splitlines() or [""]
        return {"raises": type(error).__name__ + ": " + words[0][:200]}


def main(adapter_name):
    """Run all cases of argv[1] and write the answers to argv[2]."""
    adapter = sys.modules[adapter_name]
    with open(sys.argv[1]) as file:
        given = json.load(file)
    answers = {}
    for name in sorted(given["cases"]):
        answers[name] = run_one(adapter, Case(given["cases"][name]))
    facts = adapter.facts()
    missing = set(FACTS) ^ set(facts)
    if missing:
        raise KeyError("facts() differ from the protocol in " + str(sorted(missing)))
    steps = adapter.default_steps(np.array(given["default_x"], np.float32))
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    versions.update(adapter.versions())
    answer = {
        "versions": versions,
        "loaded": [name for name in PACKAGES if name in sys.modules],
        "facts": listed(facts),
        "default_steps": listed(steps),
        "cases": answers,
    }
    extras = getattr(adapter, "extras", None)
    if extras:
        answer["extras"] = listed(extras())
    with open(sys.argv[2] + ".part", "w") as file:
        json.dump(answer, file)
    os.replace(sys.argv[2] + ".part", sys.argv[2])
    sys.stdout.flush()
    os._exit(0)  # some frameworks crash while Python takes itself apart
