"""For sets that are not yet questions as data: turns their form into the new one.

It goes when the last of them has moved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bncheck import form
from bncheck.form import Check, Expect, Own

# Statistics over other axes have other shapes: what breaks later follows from that.
STRUCTURAL = frozenset(
    ("stats-over-features", "stats-over-all", "per-pixel", "per-image", "per-channel",
     "over-channels", "over-batch", "over-all", "batch-axis", "reshape-mixes", "layer",
     "interleaved", "wrong-axis")
)  # fmt: skip
ANY = "*"  # in place of a mistake's value: whatever differs is this mistake


def OwnForward(call: int, out: Expect, dout: Any, h: float = 1e-5) -> Own:  # noqa: N802
    """Make the new form of it."""
    return Own(replace(out, call=call), h)


def Question(  # noqa: N802
    key: str,
    title: str,
    points: float,
    functions: tuple[str, ...],
    checks: tuple[Check, ...],
    sentences: dict[str, str],
    observer: str = "",
    fatal: tuple[str, ...] = (),
    kind: str = "calls",
) -> form.Question:
    """Make a question in the new form."""
    new = tuple(_check(check) for check in checks)
    names = {n for c in new for e in c.expects for n in (*e.wrong, *e.whatever)}
    of = {n: n.partition("#")[0] for n in names if "#" in n}
    return form.Question(
        key,
        title,
        points,
        functions,
        new,
        sentences,
        of,
        kind,
        observer,
        fatal,
        breaks=tuple(STRUCTURAL),
    )


def _check(check: Check) -> Check:
    own = check.own
    if own and own.out:
        own = replace(own, out=_expect(own.out))
    return replace(
        check,
        expects=tuple(map(_expect, check.expects)),
        own=own,
        instead=_check(check.instead) if check.instead else None,
    )


def _expect(expect: Expect) -> Expect:
    def is_any(value: Any) -> bool:
        return isinstance(value, str) and value == ANY

    values = {k: v for k, v in expect.wrong.items() if not is_any(v)}
    whatever = tuple(k for k, v in expect.wrong.items() if is_any(v))
    upstream = tuple(k for k in values if k.startswith("forward:"))
    return replace(expect, wrong=values, whatever=whatever, upstream=upstream)
