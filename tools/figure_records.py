"""Compare what a figure holds with the record that is stored in its notebook.

`compare_figures` teaches nbval to do it; the drawings themselves are not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from figures import MIME, SVG, holds_of
from nbformat import from_dict

MOVED = 0.01  # of the axis: nearer than this, two positions are the same
# The same for a cell with the tag "rough-figure", of which lines without a name are not
# compared by number: what is close to rounding, or trained at a rate that is too large,
# differs visibly from one kind of processor to another.
ROUGH = 0.1
ROUNDING = 1e-3  # of a number: nearer than this, two numbers are the same
MARK = "The figure differs: "


def compare_figures(cell_class: type) -> None:
    """Let nbval's cells compare records of figures, and no drawings."""
    compare_text = cell_class.compare_outputs

    def compare_outputs(self: Any, test: list, ref: list, *more: Any) -> bool:
        old, new = records(ref), records(test)
        same = compare_text(self, without(test), without(ref), *more)
        lines = []
        if len(old) != len(new):
            lines = [f"the cell made {len(old)} figures and makes {len(new)}"]
        else:
            rough = "rough-figure" in self.cell.metadata.get("tags", [])
            for before, after in zip(old, new, strict=True):
                lines += differences(before, after, ROUGH if rough else MOVED)
        self.comparison_traceback += [f"{MARK}{line}" for line in lines]
        return same and not lines

    cell_class.compare_outputs = compare_outputs


def records(outputs: list) -> list[str]:
    """Return the records of the figures among a cell's outputs."""
    return [out["data"][MIME] for out in outputs if MIME in out.get("data", {})]


def without(outputs: list) -> list:
    """Return outputs without drawings and records."""
    kept = []
    for out in outputs:
        data = {k: v for k, v in out.get("data", {}).items() if k not in (SVG, MIME)}
        kept.append(from_dict({**out, "data": data} if "data" in out else {**out}))
    return kept


def differences(stored: str, found: str, most: float = MOVED) -> list[str]:
    """Say in sentences how a figure differs from its stored record; [] if it does not.

    Positions count as equal when they are at most this part of the axis apart.
    """
    old, new = holds_of(stored), holds_of(found)
    if len(old) != len(new):
        return [f"the figure had {len(old)} panels and has {len(new)}"]
    lines = []
    for number, (before, after) in enumerate(zip(old, new, strict=True), start=1):
        where = f"panel {number}: " if len(old) > 1 else ""
        lines += [where + line for line in panel_differences(before, after, most)]
    return lines


def panel_differences(old: dict, new: dict, most: float) -> Iterator[str]:
    """Yield how one panel differs."""
    for name in ("title", "legend"):
        if old[name] != new[name]:
            yield f"the {name} was {old[name]!r} and is {new[name]!r}"
    for axis in ("x", "y"):
        for name in ("label", "scale", "ticks"):
            if old[axis][name] != new[axis][name]:
                was, now = old[axis][name], new[axis][name]
                yield f"the {axis} axis: its {name} was {was!r} and is {now!r}"
        where = along(old[axis])
        was, now = old[axis]["limits"], new[axis]["limits"]
        if any(abs(where(a) - where(b)) > most for a, b in zip(was, now, strict=True)):
            yield f"the {axis} axis: its limits were {was} and are {now}"
    names = [[artist["name"] for artist in panel["artists"]] for panel in (old, new)]
    if names[0] != names[1]:
        gone = [name for name in names[0] if name not in names[1]]
        come = [name for name in names[1] if name not in names[0]]
        counts = f"{len(names[0])} artists before, {len(names[1])} now"
        yield f"what is drawn differs ({counts}; gone: {gone}; new: {come})"
        return
    for before, after in zip(old["artists"], new["artists"], strict=True):
        yield from artist_differences(before, after, old, most)


def artist_differences(old: dict, new: dict, panel: dict, most: float) -> Iterator[str]:
    """Yield how one artist differs: its colours, or the first number that moved."""
    name = f"the {old['name']}"
    unnamed = old["name"] == "line" and most > MOVED
    if old["colours"] != new["colours"]:
        yield f"{name} had the colours {old['colours']} and has {new['colours']}"
    for key, before in old["numbers"].items():
        after = new["numbers"].get(key)
        size = along(panel[key]) if key in ("x", "y") else relative(before)
        if isinstance(before, list) or not after:
            if before != after:
                yield f"{name}: its {key} was {before} and is {after}"
        elif before["count"] != after["count"]:
            yield f"{name} had {before['count']} {key} and has {after['count']}"
        elif not unnamed:
            yield from moved(f"{name} moved: {key}", before, after, size, most)


def moved(
    what: str, before: dict, after: dict, size: Any, most: float
) -> Iterator[str]:
    """Yield the first of two rows of numbers that is not where it was."""
    for part, word in (
        ("some", "number {} of those kept"),
        ("mean and spread", "its {}"),
    ):
        for i, (a, b) in enumerate(zip(before[part], after[part], strict=True)):
            if a == b:
                continue
            if a is None or b is None or not near(a, b, size, most):
                place = ("mean", "spread")[i] if part != "some" else i + 1
                yield f"{what}, {word.format(place)}, was {a} and is {b}"
                return


def near(a: float, b: float, size: Any, most: float) -> bool:
    """Say whether two numbers are the same to the eye.

    What stands outside the axes is not seen: there the side alone counts.
    """
    first, second = (min(max(size(v), -0.1), 1.1) for v in (a, b))
    return abs(first - second) <= most or abs(a - b) <= ROUNDING * max(abs(a), abs(b))


def along(axis: dict[str, Any]) -> Any:
    """Return the function that gives a number's place on an axis, 0 to 1."""
    log = axis["scale"] == "log"
    low, high = axis["limits"]

    def scaled(value: float) -> float:
        return float(np.log10(max(value, 1e-300))) if log else value

    span = (scaled(high) - scaled(low)) or 1.0
    return lambda value: (scaled(value) - scaled(low)) / span


def relative(numbers: dict[str, Any] | list) -> Any:
    """Return the function that measures values by the largest of them."""
    known = [
        abs(v) for v in (numbers["some"] if isinstance(numbers, dict) else []) if v
    ]
    return lambda value: value / max(known, default=1.0)
