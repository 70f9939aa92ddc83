"""The runner: order, resuming, tables and their record."""

import json

import numpy as np
import pytest

from experiments import runner
from experiments.runner import Stage


def square(n):
    return [{"n": n, "square": n * n, "share": np.float64(n / 3)}]


def fails_at_three(n):
    if n == 3:
        raise RuntimeError("the machine went down")
    return square(n)


TASKS = [{"n": n} for n in range(5)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_keep_their_order(jobs):
    rows = runner.run_tasks(square, TASKS, jobs)
    assert [row["square"] for row in rows] == [0, 1, 4, 9, 16]


def test_a_finished_seed_is_not_run_again(tmp_path, capsys):
    with pytest.raises(RuntimeError, match="went down"):
        runner.run_tasks(fails_at_three, TASKS, kept=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 3
    calls = []

    def counted(n):
        calls.append(n)
        return square(n)

    rows = runner.run_tasks(counted, TASKS, kept=tmp_path)
    assert calls == [3, 4]
    assert rows == runner.run_tasks(square, TASKS)
    assert "3 of 5 runs were finished before" in capsys.readouterr().out


class Trial:
    STAGES = (
        Stage("first", square, lambda load: TASKS),
        Stage("second", square, lambda load: [{"n": int(load("first")["n"].max())}]),
    )


@pytest.fixture
def trial(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "module", lambda name: Trial)
    monkeypatch.setattr(runner, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(runner, "_fingerprint", lambda name, stage: stage.table)
    return tmp_path / "results"


def test_stages_are_stored_one_after_the_other(trial):
    assert runner.run("trial", results=trial) == {"first": 5, "second": 1}
    assert runner.load("trial", "second", trial)["square"].tolist() == [16]
    made = runner.record("trial", trial)
    assert list(made) == ["first", "second"]
    assert made["first"]["rows"] == 5
    assert made["first"]["made_by"] == "python -m experiments trial --table first"
    assert not list((trial.parent / "kept").rglob("*.json"))


def test_one_table_is_run_alone(trial):
    runner.run("trial", results=trial)
    before = (trial / "trial" / "first.csv").stat().st_mtime_ns
    assert runner.run("trial", ["second"], results=trial) == {"second": 1}
    assert (trial / "trial" / "first.csv").stat().st_mtime_ns == before


def test_an_interrupted_run_goes_on(trial, monkeypatch):
    broken = (Stage("first", fails_at_three, lambda load: TASKS),)
    monkeypatch.setattr(Trial, "STAGES", broken)
    with pytest.raises(RuntimeError):
        runner.run("trial", results=trial)
    assert not (trial / "trial").exists()
    monkeypatch.setattr(Trial, "STAGES", (Stage("first", square, lambda load: TASKS),))
    assert runner.run("trial", results=trial) == {"first": 5}


def test_the_code_names_what_was_kept(monkeypatch, tmp_path):
    stage = runner.module("classic").STAGES[0]
    before = runner._fingerprint("classic", stage)
    assert runner._fingerprint("classic", stage) == before
    source = (runner.HERE / "classic.py").read_bytes()
    (tmp_path / "classic.py").write_bytes(source + b"# changed\n")
    monkeypatch.setattr(runner, "HERE", tmp_path)
    assert runner._fingerprint("classic", stage) != before


def test_tables_round_trip(tmp_path):
    rows = [{"name": "a", "value": 0.1}, {"name": "b", "value": None}]
    runner.store("trial", "rows", rows, 1.0, tmp_path)
    columns = runner.load("trial", "rows", tmp_path)
    assert columns["name"].tolist() == ["a", "b"]
    np.testing.assert_equal(columns["value"], [0.1, np.nan])
    assert "rows" in json.loads((tmp_path / "trial" / "record.json").read_text())


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected rows for the table rows of trial"):
        runner.store("trial", "rows", [], 1.0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_table_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m experiments classic"):
        runner.load("classic", "curves", tmp_path)
