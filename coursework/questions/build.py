"""Parts that the questions of several sets are built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bncheck.form import Expect
from coursework.questions import references as ref
from coursework.questions.shared import (  # noqa: F401
    BASIC,
    LARGE_MEAN,
    LOOSE,
    Array,
    batch,
    floor_between,
    parameters,
)


def wrong(right: Any, others: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the mistakes that give something else here."""
    return {
        name: value
        for name, value in others.items()
        if np.shape(value) != np.shape(right)
        or not np.allclose(value, right, rtol=1e-9, atol=1e-12)
    }


def forward_wrong(right: Array, *args: Any) -> dict[str, Any]:
    """Return what the known mistakes of the forward pass give."""
    made = {}
    for name, recipe in ref.FORWARD_BUGS.items():
        made[name] = ref.forward(*args, recipe=recipe)
    x, gamma, beta, eps = (*args, 1e-5)[:4]
    mu, var = ref.statistics(np.asarray(x, np.float64))
    made["running-in-training"] = ref.evaluate(  # after one step from zeros
        x, gamma, beta, 0.1 * mu, 0.1 * var, eps
    )
    return wrong(right, made)


def default_eps(function: Any, *args: Any) -> dict[str, Any]:
    """Return what other defaults of eps give where eps is not given."""
    others = {"default-eps": 1e-3, "default-eps#4": 1e-4}
    return {name: function(*args, eps=eps) for name, eps in others.items()}


def expect_out(call: int, x: Array, gamma: Array, beta: Array, eps: float, tol: float,
               **more: Any) -> Expect:  # fmt: skip
    """Expect the right output of a training-mode call."""
    out = ref.forward(x, gamma, beta, eps)
    others = forward_wrong(out, x, gamma, beta, eps)
    return Expect(call, 0, out, "out", tol, others, **more)


def expect_gradients(
    call: int, dout: Array, x: Array, gamma: Array, beta: Array, eps: float, tol: float
) -> tuple[Expect, ...]:
    """Expect the right gradients of a batch-norm layer."""
    right = ref.backward(dout, x, gamma, eps)
    bugs = (*ref.GRADIENT_BUGS, *ref.FORWARD_DIVISORS)
    made = {b: ref.backward(dout, x, gamma, eps, b, beta) for b in bugs}
    labels = ("dx", "dgamma", "dbeta")
    return tuple(
        Expect(
            call, i, right[i], label, tol,
            wrong(right[i], {b: values[i] for b, values in made.items()}),
            floor=float(np.abs(dout).max()) * 1e-3,
        )
        for i, label in enumerate(labels)
    )  # fmt: skip


def unchanged(
    call: int, argument: int, value: Any, label: str, bug: str, says: str
) -> Expect:
    """Expect an argument to be afterwards what it was before."""
    return Expect(
        call, f"arg{argument}", value, label, 0.0, says=says, wrong={bug: ANY}
    )


ANY = "*"  # in place of a mistake's value: whatever differs is this mistake
