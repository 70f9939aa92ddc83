"""What the pages show of the frameworks, made from the stored records.

Nothing here runs a framework: the pages need the records, the listings and the table of
conventions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from bnlib.conventions import CONVENTIONS, REASONS, SENTENCES, Convention
from frameworks.registry import FRAMEWORKS, HERE

Record = dict[str, Any]
Answer = Callable[[Record, Convention, Record], Iterable[str]]
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
FIELDS = (
    "title",
    "versions",
    "momentum_name",
    "weighs",
    "momentum",
    "eps_name",
    "eps",
    "min_eps",
    "eps_range",
    "stored",
    "stored_fused",
    "axis",
    "axes",
    "initial_var",
    "first_replaces",
    "count_unit",
    "cumulative",
    "lacks",
)


def records(names: Iterable[str] | None = None) -> dict[str, Record]:
    """Return the stored records of the cases.

    Parameters
    ----------
    names : iterable of str, optional
        Names of frameworks; all when left out.

    Returns
    -------
    dict
        The record of each framework that has been run, in the order of the registry.
    """
    wanted = set(FRAMEWORKS if names is None else names)
    paths = {f.name: f.file("record.json") for f in FRAMEWORKS.values()}
    return {
        name: json.loads(path.read_text("utf-8"))
        for name, path in paths.items()
        if name in wanted and path.exists()
    }


def agreement(names: Iterable[str] | None = None) -> str:
    """Return the table of what was run: versions, and the largest error.

    Parameters
    ----------
    names : iterable of str, optional
        Names of frameworks; all when left out.

    Returns
    -------
    str
        Markdown.
    """
    head = ["system", "version", "Python", "float64", "float32", "verdict"]
    rows = []
    for name, record in records(names).items():
        answer, verdict = record["answer"], record["verdict"]
        # Its own package, or else the first that it needs.
        shown = name if name in answer["versions"] else FRAMEWORKS[name].modules[0]
        version = f"{shown} {answer['versions'][shown]}"
        worst = [_power(verdict["worst"].get(d)) for d in ("float64", "float32")]
        title, status = record["head"]["title"], verdict["status"]
        rows.append([title, version, answer["python"], *worst, status])
    return _table(head, rows)


def looser(names: Iterable[str] | None = None) -> str:
    """Return the list of differences that are larger than usual, with their reasons.

    Parameters
    ----------
    names : iterable of str, optional
        Names of frameworks; all when left out.

    Returns
    -------
    str
        Markdown.
    """
    lines = []
    for record in records(names).values():
        for item in record["verdict"]["looser"]:
            outputs = ", ".join(f"`{name}`" for name in item["outputs"])
            if len(item["outputs"]) == 7:
                outputs = "all results"
            lines.append(
                f"- **{record['head']['title']}**, {item['dtype']}, {outputs}: "
                f"{_power(item['measured'])}. Reason: {item['reason']}."
            )
    return "\n".join(lines)


def tabs(*names: str) -> str:
    """Return a tab for each listing: its code, what it printed, its versions.

    Parameters
    ----------
    *names : str
        Frameworks that have a listing.

    Returns
    -------
    str
        MyST Markdown, a tab-set of sphinx-design.

    Raises
    ------
    ValueError
        There is no such listing, or the code would end its own block.
    FileNotFoundError
        A listing was never run.
    """
    known = [f.name for f in FRAMEWORKS.values() if f.file("listing.py").exists()]
    parts = ["::::{tab-set}"]
    for name in names:
        if name not in known:
            raise ValueError(f"no listing {name!r}; there are {', '.join(known)}")
        code = FRAMEWORKS[name].file("listing.py").read_text("utf-8").rstrip()
        if "```" in code or ":::" in code:
            raise ValueError(f"listing {name} holds the fence of a block")
        path = FRAMEWORKS[name].file("listing.json")
        if not path.exists():
            command = f"python -m frameworks --kind listing {name}"
            raise FileNotFoundError(f"{name} has no record: {command}")
        record = json.loads(path.read_text("utf-8"))
        answer, title = record["answer"], record["head"]["title"]
        versions = ", ".join(f"{k} {v}" for k, v in answer["versions"].items())
        parts += [f":::{{tab-item}} {title}", "```python", code, "```"]
        parts += ["It printed:", "", "```text", answer["stdout"].rstrip(), "```"]
        parts += [f"Ran with {versions}, Python {answer['python']}.", ":::"]
    return "\n".join([*parts, "::::"])


def speed() -> Record:
    """Return the record of the times.

    Returns
    -------
    dict
        As stored: head, verdict and answer, the last two by the rows of the table.

    Raises
    ------
    FileNotFoundError
        They were never measured.
    """
    path = HERE / "speed.json"
    if not path.exists():
        raise FileNotFoundError(
            "no times are stored: python -m frameworks --kind speed"
        )
    return json.loads(path.read_text("utf-8"))


def speed_table() -> str:
    """Return the stored times as a table.

    Returns
    -------
    str
        Markdown, with a sentence on the machine and the versions.
    """
    record = speed()
    timed = {row.name: row for f in FRAMEWORKS.values() for row in f.speed}
    lines = [
        "| Framework | Plain step, ms | With batch norm, ms | Ratio |",
        "| :-- | --: | --: | --: |",
    ]
    for name, answer in record["answer"].items():
        packages = [k for k in answer["versions"] if k != "numpy"] or ["numpy"]
        versions = ", ".join(f"{k} {answer['versions'][k]}" for k in packages)
        cells = [f"{timed[name].title} ({versions})"]
        cells += [f"{answer[key]:.2f}" for key in ("plain_ms", "batch_norm_ms")]
        lines.append(
            f"| {' | '.join(cells)} | {record['verdict'][name]['ratio']:.2f} |"
        )
    where = f"Measured on {record['head']['date']}, on one core of one machine"
    notes = [timed[name].note for name in record["answer"] if timed[name].note]
    where += f" ({record['head']['machine']})."
    return "\n".join([*lines, "", where, *notes])


def questions() -> str:
    """Return one folded table for each question that the frameworks answer differently.

    Returns
    -------
    str
        MyST Markdown with dropdowns.
    """
    parts = []
    for title, head, row in QUESTIONS:
        rows = []
        for record in records().values():
            convention = CONVENTIONS[record["head"]["convention"]]
            cells = row(record["answer"]["facts"], convention, record["verdict"])
            rows.append([record["head"]["title"], *cells])
        parts.append(
            f":::{{dropdown}} {title}\n{_table(['system', *head], rows)}\n:::\n"
        )
    return "\n".join(parts)


def versions() -> str:
    """Return the list of conventions, with the versions that each was measured for.

    Returns
    -------
    str
        Markdown.
    """
    rows = [[c.title, c.versions] for c in CONVENTIONS.values()]
    return _table(["convention", "measured for"], rows)


def form_data() -> Record:
    """Return what the form needs of `bnlib.conventions`, ready for JSON.

    Returns
    -------
    dict
        ``conventions``, by their keys; ``sentences`` and ``reasons``. A setting None is
        the text "None"; where there is no such setting, there is no value.
    """
    table: dict[str, Record] = {}
    for key, convention in CONVENTIONS.items():
        entry = {name: getattr(convention, name) for name in FIELDS}
        if convention.cumulative is None:
            entry["cumulative"] = "None"
        entry["names"] = dict(convention.names)
        table[key] = {
            k: None if isinstance(v, float) and math.isnan(v) else v
            for k, v in entry.items()
        }
    sentences, reasons = dict(SENTENCES), dict(REASONS)
    return {"conventions": table, "sentences": sentences, "reasons": reasons}


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
    text = json.dumps(form_data()).replace("<", "\\u003c")
    box = '<label><input type="checkbox" name="{0}"{1}> {2}</label>'.format
    return f"""<form class="bn-convert" data-source="{source}" data-target="{target}">
<p><label>From <select name="source"></select></label>
<label>to <select name="target"></select></label></p>
<p><label>for <select name="purpose">
<option value="translate">training: translate the variance</option>
<option value="keep">deployment: keep the variance</option>
</select></label></p>
<p>{_input("momentum", "momentum")}
{_input("eps", "epsilon")}
{_input("variance", "variance", "1")}
{_input("factor", "factor")}
{_input("count", "updates so far")}</p>
<p>{_input("samples", "examples in a batch", "60")}
{_input("positions", "positions of a map", "1")}</p>
<p>{box("gamma", " checked", "has gamma")}
{box("beta", " checked", "has beta")}
{box("fused", "", "fused kernel")}</p>
<output aria-live="polite">The form needs JavaScript.</output>
<script type="application/json">{text}</script>
</form>"""


def _input(name: str, label: str, value: str = "") -> str:
    """Return a field for a number; the script may change the label."""
    return (
        f'<label><span data-name="{name}">{label}</span> <input name="{name}" '
        f'inputmode="decimal" size="8" value="{value}"></label>'
    )


# --- one row of each question ---------------------------------------------------------


def _momentum(facts: Record, convention: Convention, verdict: Record) -> list[str]:
    first, later = (f"{w:.3g}" for w in verdict["measured"]["weight_of_new"])
    measured = later if first == later else f"{first}, then {later}"
    default = f"`{facts['momentum_name']}` = {facts['momentum']:g}"
    return [default, WEIGHS[convention.weighs], measured]


def _names(facts: Record, convention: Convention, verdict: Record) -> list[str]:
    roles = ("weight", "bias", "running_mean", "running_var")
    return [f"`{facts['names'][role]}`" for role in roles]


def _dtypes(facts: Record, convention: Convention, verdict: Record) -> list[str]:
    dtypes = ("float16", "float32", "float64")
    answers = (facts["statistics_dtype"].get(d, "not tried") for d in dtypes)
    return [a.split(":")[0].strip() if a.startswith("error") else a for a in answers]


def _frozen(facts: Record, convention: Convention, verdict: Record) -> list[str]:
    frozen = facts["frozen"]
    words = {True: "yes", False: "no"}
    return [
        f"`{frozen['switch']}`",
        words[frozen["batch_statistics"]],
        words[frozen["statistics_move"]],
    ]


def _initial(facts: Record, convention: Convention, verdict: Record) -> list[str]:
    values = facts["initial"]
    if not values:
        return ["the caller gives them"]
    return [", ".join(f"`{k}` {v:g}" for k, v in sorted(values.items()))]


def _zero(facts: Record, convention: Convention, verdict: Record) -> list[str]:
    errors = verdict["errors"].get("constant-nd-float64")
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
        lambda f, c, v: [f"{f['eps']:g}"],
    ),
    (
        "Which variance normalizes, and which is stored?",
        ["normalizes with", "stores"],
        lambda f, c, v: ["divisor m", _stored(v)],
    ),
    (
        "On which axis do the channels stand?",
        ["default axis"],
        lambda f, c, v: [str(f["axis"])],
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
        lambda f, c, v: [f["mode_switch"]],
    ),
    (
        "What happens with one value per channel in training?",
        ["result"],
        lambda f, c, v: [ONE_VALUE[c.one_value]],
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
        lambda f, c, v: [_joined(f["checkpoint"])],
    ),
    (
        "Is there a variant that synchronizes several devices?",
        ["variant"],
        lambda f, c, v: [f"`{f['synced']}`" if f["synced"] else "none"],
    ),
)


def _stored(verdict: Record) -> str:
    words = {"biased": "divisor m", "unbiased": "divisor m - 1"}
    return " or ".join(words[s] for s in verdict["measured"]["stored"])


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
