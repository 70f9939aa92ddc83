"""The small form on the conventions page that translates settings without a server."""

from __future__ import annotations

import json
import math
from typing import Any

from bnlib.conventions import CONVENTIONS

FIELDS = (
    "title",
    "momentum_name",
    "weighs",
    "momentum",
    "eps_name",
    "eps",
    "stored",
    "axis",
)


def data() -> dict[str, dict[str, Any]]:
    """Return what the form needs of each convention, ready for JSON.

    Returns
    -------
    dict
        Key of the convention -> its fields and the names of the four arrays.
    """
    table = {}
    for key, convention in CONVENTIONS.items():
        entry = {name: getattr(convention, name) for name in FIELDS}
        entry["names"] = dict(convention.names)
        table[key] = {
            k: None if isinstance(v, float) and math.isnan(v) else v
            for k, v in entry.items()
        }
    return table


def form(source: str = "keras", target: str = "pytorch") -> str:
    """Return the form as HTML; ``_static/convert.js`` brings it to life.

    Parameters
    ----------
    source, target : str
        Conventions that are chosen at first.

    Returns
    -------
    str
        HTML without any address outside the site.
    """
    text = json.dumps(data()).replace("<", "\\u003c")
    return f"""<form class="bn-convert" data-source="{source}" data-target="{target}">
<p><label>From <select name="source"></select></label>
<label>to <select name="target"></select></label></p>
<p><label><span data-name="momentum">momentum</span>
<input name="momentum" inputmode="decimal" size="8"></label>
<label><span data-name="eps">epsilon</span>
<input name="eps" inputmode="decimal" size="8"></label></p>
<p><label>examples in a batch
<input name="samples" inputmode="numeric" size="5" value="60"></label>
<label>positions of a map
<input name="positions" inputmode="numeric" size="5" value="1"></label></p>
<output aria-live="polite">The form needs JavaScript.</output>
<script type="application/json">{text}</script>
</form>"""
