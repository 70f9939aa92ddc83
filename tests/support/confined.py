"""The means of confinement that this machine has, tried once for all tests."""

from __future__ import annotations

import os

import pytest

from coursework.grader import confine
from coursework.grader.client import find_confinement
from coursework.grader.confine import Confinement, NoConfinementError

CI = os.environ.get("CI") == "true"
MEANS: dict[str, Confinement] = {}
MISSING: dict[str, str] = {}
for _layer in confine.LAYERS:
    try:
        MEANS[_layer] = find_confinement((_layer,))
    except NoConfinementError as _error:
        MISSING[_layer] = str(_error)
needs_means = pytest.mark.skipif(
    not MEANS, reason="no means of confinement is usable on this machine"
)


def require(layer: str) -> Confinement:
    """Return a means; where there is none say so, and in CI fail."""
    if layer in MISSING:
        text = f"{layer} is not usable here, its tests are left out: {MISSING[layer]}"
        pytest.fail(text) if CI else pytest.skip(text)
    return MEANS[layer]
