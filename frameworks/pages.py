"""The tables of the conventions page, made from the stored records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bnlib.conventions import CONVENTIONS, Convention
from frameworks.registry import FRAMEWORKS

RECORDS = Path(__file__).resolve().parent / "records"
Record = dict[str, Any]
ONE_VALUE = {
    "raises": "an error",
    "beta": "output is beta; the running variance shrinks",
    "nan": "output is beta; the running variance becomes NaN",
    "input": "the input comes back; nothing is updated",
}
WEIGHS = {
    "new": "the new value",
    "old": "the old value",
    "time constant": "neither: N samples leave the old value exp(-N / T)",
}


def records(names: Iterable[str] | None = None) -> list[Record]:
    """Return the stored records in the order of the registry.

    Parameters
    ----------
    names : iterable of str, optional
        Names of records; all when left out.

    Returns
    -------
    list of dict
        One for each framework that has been run.
    """
    wanted = set(FRAMEWORKS if names is None else names)
    paths = (RECORDS / f"{name}.json" for name in FRAMEWORKS if name in wanted)
    return [json.loads(path.read_text("utf-8")) for path in paths if path.exists()]


def agreement(names: Iterable[str] | None = None) -> str:
    """Return the table of what was run: versions, and the largest error.

    Parameters
    ----------
    names : iterable of str, optional
        Names of records; all when left out.

    Returns
    -------
    str
        Markdown.
    """
    head = ["system", "version", "Python", "float64", "float32", "verdict"]
    rows = []
    for r in records(names):
        versions, python = r["versions"], r["versions"]["python"]
        own = r["framework"]  # else the first package that it needs
        shown = own if own in versions else FRAMEWORKS[own].modules[0].replace("_", "-")
        version = versions[shown]
        worst = [_power(r["worst"].get(d)) for d in ("float64", "float32")]
        rows.append([r["title"], f"{shown} {version}", python, *worst, r["status"]])
    return _table(head, rows)


def looser(names: Iterable[str] | None = None) -> str:
    """Return the list of differences that are larger than usual, with their reasons.

    Parameters
    ----------
    names : iterable of str, optional
        Names of records; all when left out.

    Returns
    -------
    str
        Markdown.
    """
    lines = []
    for r in records(names):
        for item in r["looser"]:
            outputs = ", ".join(f"`{name}`" for name in item["outputs"])
            if len(item["outputs"]) == 7:
                outputs = "all results"
            measured = _power(item["measured"])
            lines.append(
                f"- **{r['title']}**, {item['dtype']}, {outputs}: {measured}. "
                f"Reason: {item['reason']}."
            )
    return "\n".join(lines)


def questions() -> str:
    """Return one folded table for each question that the frameworks answer differently.

    Returns
    -------
    str
        MyST Markdown with dropdowns.
    """
    parts = []
    for title, head, row in QUESTIONS:
        rows = [
            [r["title"], *row(r["facts"], CONVENTIONS[r["convention"]], r)]
            for r in records()
        ]
        parts.append(
            f":::{{dropdown}} {title}\n{_table(['system', *head], rows)}\n:::\n"
        )
    return "\n".join(parts)


Facts = dict[str, Any]
Answer = Callable[[Facts, Convention, Record], Iterable[str]]


def _momentum(facts: Facts, convention: Convention, record: Record) -> list[str]:
    first, later = (f"{w:.3g}" for w in record["measured"]["weight_of_new"])
    measured = later if first == later else f"{first}, then {later}"
    default = f"`{facts['momentum_name']}` = {facts['momentum']:g}"
    return [default, WEIGHS[convention.weighs], measured]


def _names(facts: Facts, convention: Convention, record: Record) -> list[str]:
    roles = ("weight", "bias", "running_mean", "running_var")
    return [f"`{facts['names'][role]}`" for role in roles]


def _dtypes(facts: Facts, convention: Convention, record: Record) -> list[str]:
    dtypes = ("float16", "float32", "float64")
    answers = (facts["statistics_dtype"].get(d, "not tried") for d in dtypes)
    return [a.split(":")[0].strip() if a.startswith("error") else a for a in answers]


def _frozen(facts: Facts, convention: Convention, record: Record) -> list[str]:
    frozen = facts["frozen"]
    words = {True: "yes", False: "no"}
    return [
        f"`{frozen['switch']}`",
        words[frozen["batch_statistics"]],
        words[frozen["statistics_move"]],
    ]


def _initial(facts: Facts, convention: Convention, record: Record) -> list[str]:
    values = facts["initial"]
    if not values:
        return ["the caller gives them"]
    return [", ".join(f"`{k}` {v:g}" for k, v in sorted(values.items()))]


def _zero(facts: Facts, convention: Convention, record: Record) -> list[str]:
    errors = record["errors"].get("constant-nd-float64")
    return ["not run" if errors is None else f"beta, to {_power(errors['y'])}"]


def _joined(items: Iterable[str]) -> str:
    return ", ".join(f"`{item}`" for item in items)


QUESTIONS: tuple[tuple[str, list[str], Answer], ...] = (
    (
        "What does `momentum` weigh, and what is its default?",
        ["default", "it weighs", "measured weight of a new batch"],
        _momentum,
    ),
    (
        "How large is epsilon?",
        ["default"],
        lambda f, c, r: [f"{f['eps']:g}"],
    ),
    (
        "Which variance normalizes, and which is stored?",
        ["normalizes with", "stores"],
        lambda f, c, r: ["divisor m", _stored(r)],
    ),
    (
        "On which axis do the channels stand?",
        ["default axis"],
        lambda f, c, r: [str(f["axis"])],
    ),
    (
        "What are the four arrays called?",
        ["gamma", "beta", "running mean", "running variance"],
        _names,
    ),
    ("What are the initial values?", ["initial values"], _initial),
    (
        "How is the mode chosen?",
        ["switch"],
        lambda f, c, r: [f["mode_switch"]],
    ),
    (
        "What happens with one value per channel in training?",
        ["result"],
        lambda f, c, r: [ONE_VALUE[c.one_value]],
    ),
    ("What happens to a constant feature?", ["output"], _zero),
    (
        "Which dtype do the statistics have?",
        ["float16 layer", "float32 layer", "float64 layer"],
        _dtypes,
    ),
    (
        "What does it mean to freeze the layer?",
        ["switch", "still batch statistics", "running ones still move"],
        _frozen,
    ),
    (
        "What does a checkpoint store?",
        ["arrays"],
        lambda f, c, r: [_joined(f["checkpoint"])],
    ),
    (
        "Is there a variant that synchronizes several devices?",
        ["variant"],
        lambda f, c, r: [f"`{f['synced']}`" if f["synced"] else "none"],
    ),
)


def _stored(record: Record) -> str:
    words = {"biased": "divisor m", "unbiased": "divisor m - 1"}
    return " or ".join(words[s] for s in record["measured"]["stored"])


def _power(value: float | None) -> str:
    """Write an error as the power of ten that it does not exceed."""
    if value is None:
        return "not run"
    if value == 0:
        return "0"
    power = -17
    while 10.0**power < value:
        power += 1
    return f"1e{power:+d}".replace("+", "").replace("e-0", "e-")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
