"""Hold a framework's answers against bnlib, by that framework's own convention.

bnlib runs in float64. An answer may differ by `TOLERANCE`; where a framework computes
a part in less precision, `LOOSER` gives the number and the reason, and both go into
the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bnlib import conventions
from bnlib import functional as F
from bnlib.conventions import CONVENTIONS, Convention
from bnlib.validate import Array
from frameworks.registry import LOOSER

TOLERANCE = {"float64": 1e-10, "float32": 2e-5}
OUTPUTS = ("y", "dx", "dgamma", "dbeta", "running_mean", "running_var", "inference")
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
    c, axis = convention, AXIS[case["layout"]]
    x, dy, x_new = (np.array(case[key], np.float64) for key in ("x", "dy", "x_new"))
    state = conventions.fresh_state(c, len(case["gamma"]))
    state[c.names["weight"]][:] = case["gamma"]
    state[c.names["bias"]][:] = case["beta"]
    settings = {
        c.momentum_name: c.setting(1 - case["keep"], len(x[0])),
        c.eps_name: case["eps"],
        "axis": axis,
    }
    outputs = {}
    # The layout is the case's: let every framework have it here.
    free = replace_axes(c)
    for i, batch in enumerate(x):
        y, cache = conventions.train_step(batch, state, settings, free, i, fused)
        if i == 0:
            grads = F.batch_norm_backward(np.moveaxis(dy, axis, 1), cache)
            outputs = {"y": y, "dx": np.moveaxis(grads[0], 1, axis)}
            outputs |= {"dgamma": grads[1], "dbeta": grads[2]}
    for role in ("running_mean", "running_var"):
        outputs[role] = state[c.names[role]]
    outputs["inference"] = conventions.infer(x_new, state, settings, free)
    return outputs


def replace_axes(convention: Convention) -> Convention:
    """Return the convention with every channel axis allowed."""
    from dataclasses import replace  # noqa: PLC0415 - used once

    return replace(convention, axes=None)
