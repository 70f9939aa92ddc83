"""What holds for every experiment: a new module is tested by being there."""

import json
import re
from pathlib import Path

import needs_torch  # noqa: F401  skips the file without torch
import numpy as np
import pytest

from experiments import runner
from experiments.claims import VERDICTS, rows_where

ROOT = Path(__file__).resolve().parents[2]
NAMES = runner.names()
# Their arms are numbers (a rate, a share), or stand beside each other in one row.
ONE_ARM = {"dropout_shift", "equilibrium", "schedules", "sphere"}
STAGES = [
    pytest.param(name, stage, id=f"{name}-{stage.table}")
    for name in NAMES
    for stage in runner.module(name).STAGES
]


def test_there_are_experiments():
    assert "classic" in NAMES
    assert "runner" not in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_protocol_stands_in_the_module(name):
    text = runner.module(name).__doc__
    for part in ("Protocol", "Source.", "Data.", "Seeds.", "Metric.", "refute"):
        assert part in text, part


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_a_stored_table_follows_its_tasks(name, stage):
    """Each task left rows with its own values in the columns of the same names."""
    table = runner.load(name, stage.table)
    rows = 0
    for task in stage.tasks(lambda other: runner.load(name, other)):
        own = rows_where(table, **{k: v for k, v in task.items() if k in table})
        assert len(next(iter(own.values()))), task
        rows += len(next(iter(own.values())))
    assert rows == len(next(iter(table.values())))


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_a_stored_table_says_how_it_was_made(name, stage):
    made = runner.record(name)[stage.table]
    assert made["made_by"].startswith(f"python -m experiments {name}")
    assert {"date", "seconds", "python", "numpy", "machine", "threads"} <= set(made)
    table = runner.load(name, stage.table)
    assert made["seeds"] == sorted(set(table.get("seed", [])))
    assert made["rows"] == len(next(iter(runner.load(name, stage.table).values())))


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_a_stored_table_comes_from_the_code_of_today(name, stage):
    status = runner.status(name, stage.table)
    assert status.startswith("current"), f"python -m experiments {name}: {status}"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_stored_that_no_stage_makes(name):
    tables = {stage.table for stage in runner.module(name).STAGES}
    files = {p.name for p in (runner.RESULTS / name).iterdir()}
    assert files == {f"{t}.csv" for t in tables} | {"record.json"}
    assert set(runner.record(name)) == tables


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_reduced_form_agrees_with_its_stored_rows(name):
    module = runner.module(name)
    (stage,) = [s for s in module.STAGES if s.table == "reduced"]
    tasks = stage.tasks(lambda table: runner.load(name, table))
    rows, _ = runner.run_tasks(stage.function, tasks)
    rows = json.loads(runner._as_json(rows))
    stored = runner.load(name, "reduced")
    assert len(rows) == len(next(iter(stored.values())))
    for key, values in stored.items():
        fresh = [np.nan if row[key] is None else row[key] for row in rows]
        if key in module.TOLERANCES:
            tolerance = module.TOLERANCES[key]
            np.testing.assert_allclose(fresh, values, rtol=0, atol=tolerance)
        else:
            assert fresh == values.tolist(), key


def differ(name, one, other):
    """Say whether two parts of a reduced table differ by more than the tolerances."""
    tolerances = runner.module(name).TOLERANCES
    return any(
        not np.allclose(one[key], other[key], 0, tolerances.get(key, 0), equal_nan=True)
        for key in one
        if one[key].dtype.kind == "f"
    )


@pytest.mark.parametrize("name", NAMES)
def test_arms_that_are_swapped_would_be_seen(name):
    """Two arms differ by more than the tolerance with which rows are compared."""
    stored = runner.load(name, "reduced")
    words = [key for key, values in stored.items() if values.dtype.kind == "U"]
    arms = [key for key in words if len(set(stored[key])) > 1]
    assert arms or name in ONE_ARM, f"{name}: columns {list(stored)}"
    for key in arms:
        parts = [rows_where(stored, **{key: value}) for value in set(stored[key])]
        pairs = [(a, b) for a in parts for b in parts if a is not b]
        equally_long = [p for p in pairs if len(p[0][key]) == len(p[1][key])]
        assert all(differ(name, *pair) for pair in equally_long), key


@pytest.mark.parametrize("name", NAMES)
def test_claims_have_a_verdict_a_rule_and_numbers(name):
    pages = [p.read_text("utf-8") for p in (ROOT / "chapters").glob("*.ipynb")]
    labels = {
        label for page in pages for label in re.findall(r"\((ch-[\w-]+)\)=", page)
    }
    sources = (ROOT / "references.bib").read_text("utf-8")
    cited = set(re.findall(r"^@\w+\{(\w+),", sources, re.M))
    claims = runner.module(name).claims()
    assert claims
    for claim in claims:
        assert claim.verdict in VERDICTS
        assert re.search(r"\d", claim.effect)
        assert re.search(r"\d", claim.rule), claim.rule
        assert claim.chapter in labels
        for source in claim.source.split("; "):
            assert " " in source or source in cited, source
