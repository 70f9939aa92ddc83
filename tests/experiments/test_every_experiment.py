"""What holds for every experiment: a new module is tested by being there."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from experiments import runner
from experiments.claims import VERDICTS, rows_where

ROOT = Path(__file__).resolve().parents[2]
NAMES = runner.names()
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
