"""Hold a framework's answers against bnlib, by that framework's own convention.

bnlib runs in float64. An answer may differ by `TOLERANCE`, relative to the largest
number of the output when that is above 1. Where a framework computes a part in less
precision, the framework's head gives the looser number and the reason, and both go into
the record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bnlib import conventions
from bnlib import functional as F
from bnlib.conventions import CONVENTIONS, Convention
from bnlib.functional import Array
from frameworks.registry import Framework

TOLERANCE = {"float64": 1e-10, "float32": 2e-5}
STEP_TOLERANCE = 2e-3  # of a weight read from float32 statistics that hardly moved
STATISTICS = ("running_mean", "running_var")
OUTPUTS = ("y", "dx", "dgamma", "dbeta", *STATISTICS, "inference")
AXIS = {"nd": 1, "nchw": 1, "nhwc": -1}


def reference(
    case: Mapping[str, Any], convention: Convention, fused: bool = False
) -> dict[str, Array]:
    """Compute what bnlib says of a case.

    Parameters
    ----------
    case : mapping
        From `frameworks.cases`.
    convention : Convention
        Whose running average.
    fused : bool
        Whether the framework used its fused kernel.

    Returns
    -------
    dict
        Float64 arrays by the names of the outputs.
    """
    c, axis = replace(convention, axes=None), AXIS[case["layout"]]
    x, dy, x_new = (np.array(case[key], np.float64) for key in ("x", "dy", "x_new"))
    state = conventions.fresh_state(c, len(case["gamma"]))
    state[c.names["weight"]][:] = case["gamma"]
    state[c.names["bias"]][:] = case["beta"]
    settings = {
        c.momentum_name: c.setting(1 - case["keep"], len(x[0])),
        c.eps_name: case["eps"],
        "axis": axis,
    }
    outputs: dict[str, Any] = {}
    for i, batch in enumerate(x):
        y, cache = conventions.train_step(batch, state, settings, c, i, fused)
        if i == 0:
            dx, dgamma, dbeta = F.batch_norm_backward(np.moveaxis(dy, axis, 1), cache)
            assert dx is not None  # it was asked for
            outputs = {"y": y, "dx": np.moveaxis(dx, 1, axis)}
            outputs |= {"dgamma": dgamma, "dbeta": dbeta}
    for role in STATISTICS:
        outputs[role] = state[c.names[role]]
    outputs["inference"] = conventions.infer(x_new, state, settings, c)
    return outputs


def reference_of_one(
    case: Mapping[str, Any], convention: Convention
) -> dict[str, Array] | None:
    """Say what a batch of one example gives; None where it must be an error.

    Parameters
    ----------
    case : mapping
        A case of the kind "one".
    convention : Convention
        Whose rules.

    Returns
    -------
    dict or None
        The outputs that the convention fixes.
    """
    x = np.array(case["x"], np.float64)
    beta = np.broadcast_to(np.array(case["beta"]), x[0].shape)
    var = np.full(x.shape[-1], convention.initial_var)
    zero = np.zeros(x[0].shape)
    if convention.one_value == "raises":
        return None
    if convention.one_value == "input":
        return {"y": x[0], "running_mean": zero[0], "running_var": var}
    if convention.one_value == "nan":
        return {"y": beta, "dx": zero, "running_var": var * np.nan}
    return {"y": beta, "dx": zero, "running_var": var * case["keep"] ** len(x)}


def error(ours: Array, theirs: Sequence[float]) -> float:
    """Return the largest difference, relative where the numbers are large.

    Parameters
    ----------
    ours : ndarray
        Reference.
    theirs : sequence of float
        The framework's answer.

    Returns
    -------
    float
        Infinity where the shapes or the places of NaN differ.
    """
    found = np.array(theirs, np.float64)
    if ours.shape != found.shape or (np.isnan(ours) != np.isnan(found)).any():
        return math.inf
    scale = max(1.0, float(np.nanmax(np.abs(ours), initial=0.0)))
    return float(np.nanmax(np.abs(ours - found), initial=0.0)) / scale


class Verdict:
    """What bnlib says of one framework's answers; ``report()`` goes into the record.

    Parameters
    ----------
    framework : Framework
        Who answered.
    answer : mapping
        What its adapter wrote.
    given : mapping
        The cases, from `frameworks.cases.make_cases`.
    """

    def __init__(
        self, framework: Framework, answer: Mapping[str, Any], given: Mapping[str, Any]
    ) -> None:
        self.framework, self.answer = framework, answer
        self.convention = CONVENTIONS[framework.convention]
        self.errors: dict[str, dict[str, float]] = {}
        self.failures: list[str] = []
        self.gaps: dict[str, str] = {}
        self.measured: dict[str, Any] = {}
        missing = set(given["cases"]) ^ set(answer["cases"])
        self.failures += [f"{name}: not answered" for name in sorted(missing)]
        for name in sorted(set(given["cases"]) - missing):
            self.judge_case(name, given["cases"][name], answer["cases"][name])
        loaded = sorted(set(framework.without) & set(answer["loaded"]))
        self.failures += [f"{package} was loaded" for package in loaded]
        self.failures += self.wrong_facts()
        self.failures += self.wrong_steps(np.array(given["default_x"]))

    def judge_case(self, name: str, case: Mapping, answer: Mapping) -> None:
        """Compare one case, output by output."""
        one = case["kind"] == "one"
        if "unsupported" in answer:
            if any(part in name for part in self.framework.gaps):
                self.gaps[name] = answer["unsupported"]
            else:
                self.failures.append(f"{name}: left out: {answer['unsupported']}")
            return
        if one:
            expected = reference_of_one(case, self.convention)
        else:
            fused = answer.get("outputs", {}).get("fused", False)
            expected = reference(case, self.convention, fused)
        if "raises" in answer or expected is None:
            if "raises" in answer and expected is None:
                return
            what = answer.get("raises", "gave numbers where an error was expected")
            self.failures.append(f"{name}: {what}")
            return
        outputs = answer["outputs"]
        self.errors[name] = {}
        for output, value in expected.items():
            if output not in outputs:
                self.failures.append(f"{name}: {output} is missing")
                continue
            found = float(f"{error(value, outputs[output]):.3g}")
            self.errors[name][output] = found
            if not found <= self.tolerance(case["dtype"], output):
                self.failures.append(f"{name}: {output} differs by {found:.2g}")

    def tolerance(self, dtype: str, output: str) -> float:
        """Return the tolerance of one output."""
        looser = [
            rule.tolerance
            for rule in self.framework.looser
            if rule.dtype == dtype and output in rule.outputs
        ]
        return max([TOLERANCE[dtype], *looser])

    def wrong_facts(self) -> Iterator[str]:
        """Compare what the framework says of itself with the table of conventions."""
        facts, c = self.answer["facts"], self.convention
        wanted = {
            "momentum_name": c.momentum_name,
            "momentum": c.momentum,
            "eps": c.eps,
            "axis": c.axis,
            "names": dict(c.names),
        }
        for key, value in wanted.items():
            if facts[key] != value:
                yield f"facts: {key} is {facts[key]!r}, bnlib says {value!r}"
        initial = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0}
        initial["running_var"] = c.initial_var
        for role, value in initial.items():
            found = facts["initial"].get(c.names[role], value)
            if found != value:
                yield f"facts: {c.names[role]} starts at {found}, bnlib says {value}"

    def wrong_steps(self, x: Array) -> Iterator[str]:
        """Read weight and variance from two steps with default settings."""
        first, *after = self.answer["default_steps"]
        start = [0.0, self.convention.initial_var] if first is None else first
        before = [np.broadcast_to(np.array(v, float), x.shape[2:]) for v in start]
        samples, weights, stored = x.shape[1], [], set()
        for i, (mean, var) in enumerate(np.array(after, float)):
            weight = np.median((mean - before[0]) / (x[i].mean(0) - before[0]))
            new_var = (var - (1 - weight) * before[1]) / weight
            ratio = np.median(new_var / x[i].var(0))
            near = {"biased": 1.0, "unbiased": samples / (samples - 1)}
            stored |= {k for k, v in near.items() if abs(ratio - v) < 0.02}
            weights.append(float(weight))
            before = [mean, var]
        weights = [float(f"{weight:.5g}") for weight in weights]
        self.measured = {"weight_of_new": weights, "stored": sorted(stored)}
        momentum = self.answer["facts"]["momentum"]
        for i, weight in enumerate(weights):
            ours = self.convention.weight_of_new(momentum, samples, i)
            if not abs(weight / ours - 1) < STEP_TOLERANCE:
                yield f"default step {i}: weighs {weight:.4g}, bnlib says {ours:.4g}"
        if stored != {self.convention.stored}:
            yield f"default steps: store {sorted(stored)}, not {self.convention.stored}"

    def report(self) -> dict[str, Any]:
        """Return the part of the record that bnlib adds to the answers."""
        worst = {
            dtype: max(
                (
                    found
                    for name, errors in self.errors.items()
                    if name.endswith(dtype)
                    for found in errors.values()
                ),
                default=None,
            )
            for dtype in TOLERANCE
        }
        looser = [
            {
                **rule._asdict(),
                "measured": max(
                    self.errors[name].get(output, 0.0)
                    for name in self.errors
                    if name.endswith(rule.dtype)
                    for output in rule.outputs
                ),
            }
            for rule in self.framework.looser
        ]
        return {
            "status": "fail" if self.failures else "pass",
            "failures": self.failures,
            "worst": worst,
            "errors": self.errors,
            "looser": looser,
            "gaps": self.gaps,
            "measured": self.measured,
        }
