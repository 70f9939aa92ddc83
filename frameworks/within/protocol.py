"""What the adapters share: a framework's layer comes in, its answers go out.

Runs in each framework's own Python (3.6 or newer) with NumPy alone. An adapter is a
file with a class and a function, and a second function where there is more to show:

``Layer(case)``
    Makes the framework's layer for a case, with the parameters and `Case.settings`.
    Raises `Unsupported`, with the reason, for a case that the framework cannot run.
    ``step(x, dy)`` trains on a batch: y, dx, dgamma, dbeta (None where there is none).
    ``statistics()`` returns the running mean and the running variance.
    ``infer(x)`` returns y in evaluation mode.
    ``fused``, where it has one, says whether the fused kernel runs.
``facts()``
    What the framework says of itself, read from it and not typed: see `FACTS`.
    ``state`` (name -> array, of a fresh layer) stands for initial and checkpoint.
``extras()``
    A dict of what else the record keeps.

A case has ``kind`` ("train", "one", "constant" or "default"), ``layout`` ("nd", "nchw",
"nhwc"), ``dtype``, ``eps``, ``keep`` (the weight that the old running value keeps),
``x`` (training batches), ``dy`` (upstream gradient), ``gamma``, ``beta`` and ``x_new``
(for inference after the batches).
"""

import inspect
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
    "initial",  # name -> initial value
    "mode_switch",  # how training and evaluation are chosen
    "statistics_dtype",  # dtype of the input -> dtype of the statistics
    "frozen",  # from `frozen`: measured in training mode
    "checkpoint",  # names of what a checkpoint stores
    "synced",  # the name of the synced variant, or None
)
BATCH = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)  # its means are not 0


class Unsupported(Exception):  # noqa: N818 - the framework's limit, not our error
    """The framework cannot run this case; the message is the reason."""


class Case:
    """One case, its fields as attributes and its numbers as arrays."""

    def __init__(self, **fields):
        for key, value in fields.items():
            if key in ARRAYS:
                value = np.array(value, fields["dtype"])
            setattr(self, key, value)
        self.channels = len(self.gamma)
        self.axis = -1 if self.layout == "nhwc" else 1

    def settings(self, **chosen):
        """Return the settings as they are given; none where the defaults are tried."""
        return {} if self.kind == "default" else chosen


def fresh(x=BATCH, dtype="float32"):
    """Make the case of a layer with default settings, which sees vectors like these."""
    x = np.asarray(x)
    ones = np.ones(x.shape[-1])
    none = float("nan")  # where a setting is used though it is not given, it shows
    return Case(kind="default", layout="nd", dtype=dtype, eps=none, keep=none,
                x=x.reshape(-1, *x.shape[-2:]), gamma=ones, beta=0 * ones)  # fmt: skip


def names(*arrays, **count):
    """Give roles to the names of the four arrays and, where there is one, the count."""
    roles = ("weight", "bias", "running_mean", "running_var")
    return dict(zip(roles, arrays), **count)  # noqa: B905 - Python 3.6


def defaults(function):
    """Return the defaults in a function's signature."""
    parameters = inspect.signature(function).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


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


def statistics(layer):
    """Copy the running statistics: the layer may change them in place."""
    return [np.array(value) for value in layer.statistics()]


def train(make_layer, case):
    """Train on the batches of a case, then infer; return the outputs by name."""
    layer = make_layer(case)
    first = layer.step(case.x[0], case.dy)
    outputs = dict(zip(("y", "dx", "dgamma", "dbeta"), first))  # noqa: B905 - Python 3.6
    outputs = {k: np.array(v) for k, v in outputs.items() if v is not None}
    for x in case.x[1:]:
        layer.step(x, case.dy)
    outputs["running_mean"], outputs["running_var"] = statistics(layer)
    outputs["inference"] = np.array(layer.infer(case.x_new))
    if hasattr(layer, "fused"):
        outputs["fused"] = layer.fused
    return outputs


def run_one(make_layer, case):
    """Run a case; an exception becomes part of the answer, never silence."""
    try:
        return {"outputs": listed(train(make_layer, case))}
    except Unsupported as error:
        return {"unsupported": str(error)}
    except Exception as error:
        if case.kind != "one":
            traceback.print_exc()
        words = str(error).strip().splitlines() or [""]
        return {"raises": type(error).__name__ + ": " + words[0][:200]}


def default_steps(make_layer, batches):
    """Return the statistics under default settings, at first and after each batch."""
    layer = make_layer(fresh(batches))
    steps = [statistics(layer)]
    for batch in batches:
        layer.step(batch, batch)
        steps.append(statistics(layer))
    return steps


def statistics_dtype(make_layer, dtype):
    """Return the dtype of a fresh layer's statistics, for inputs of this dtype."""
    try:
        case = fresh(dtype=dtype)
        layer = make_layer(case)
        layer.infer(case.x[0])
        return statistics(layer)[1].dtype.name
    except Exception as error:
        lines = [s.strip() for s in str(error).splitlines() if s.strip()]
        return "error: " + next((s for s in lines if "rror" in s), lines[0])[:120]


def complete(facts, make_layer):
    """Add to the facts what the layer and its state show."""
    if "state" in facts:
        state = facts.pop("state")
        roles = facts["names"].items()
        facts["names"] = {role: name for role, name in roles if name in state}
        facts["initial"] = {k: np.array(v).flat[0] for k, v in state.items()}
        facts.setdefault("checkpoint", list(state))
    found = facts.setdefault("statistics_dtype", {})
    for dtype in ("float32", "float64", "float16"):
        if dtype not in found:
            found[dtype] = statistics_dtype(make_layer, dtype)
    missing = set(FACTS) ^ set(facts)
    if missing:
        raise KeyError("facts() differ from the protocol in " + str(sorted(missing)))
    return facts


def answer(adapter, given):
    """Run all cases and ask for the facts."""
    cases = sorted(given["cases"].items())
    found = {name: run_one(adapter.Layer, Case(**case)) for name, case in cases}
    facts = complete(adapter.facts(), adapter.Layer)
    batches = np.array(given["default_x"], np.float32)
    steps = default_steps(adapter.Layer, batches)
    if not facts["initial"]:
        steps[0] = None  # the zeros and ones at first are ours
    more = {"extras": listed(adapter.extras())} if hasattr(adapter, "extras") else {}
    return {
        "loaded": [name for name in PACKAGES if name in sys.modules],
        "facts": listed(facts),
        "default_steps": listed(steps),
        "cases": found,
        **more,
    }
