"""The runner: order, resuming, tables and their record."""

import json

import numpy as np
import pytest

from bnlib import data
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
    rows, seconds = runner.run_tasks(square, TASKS, jobs)
    assert seconds >= 0
    assert [row["square"] for row in rows] == [0, 1, 4, 9, 16]


def test_a_finished_seed_is_not_run_again(tmp_path, capsys):
    with pytest.raises(RuntimeError, match="went down"):
        runner.run_tasks(fails_at_three, TASKS, kept=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 3
    calls = []

    def counted(n):
        calls.append(n)
        return square(n)

    rows, _ = runner.run_tasks(counted, TASKS, kept=tmp_path)
    assert calls == [3, 4]
    assert rows == runner.run_tasks(square, TASKS)[0]
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
    monkeypatch.setattr(runner, "code_of", lambda name, table: f"code of {table}")
    monkeypatch.setattr(runner, "libraries", lambda name, table: {"numpy"})
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


def test_a_status_says_whether_the_code_has_changed(trial, monkeypatch):
    assert runner.status("trial", "first", trial) == "not stored"
    runner.run("trial", results=trial)
    assert runner.status("trial", "first", trial).startswith("current: 5 rows, ")
    monkeypatch.setattr(runner, "code_of", lambda name, table: "other")
    assert runner.status("trial", "first", trial).startswith("THE CODE HAS CHANGED")


def test_rows_of_other_code_are_not_taken_over(trial, monkeypatch):
    broken = (Stage("first", fails_at_three, lambda load: TASKS),)
    monkeypatch.setattr(Trial, "STAGES", broken)
    with pytest.raises(RuntimeError):
        runner.run("trial", results=trial)
    assert "3 runs finished of a new one" in runner.status("trial", "first", trial)
    calls: list[int] = []
    counted = (Stage("first", lambda n: calls.append(n) or square(n), lambda _: TASKS),)
    monkeypatch.setattr(Trial, "STAGES", counted)
    monkeypatch.setattr(runner, "code_of", lambda name, table: "other")
    runner.run("trial", results=trial)
    assert calls == [0, 1, 2, 3, 4]


def test_a_task_that_is_given_twice_is_refused():
    with pytest.raises(ValueError, match="6 different tasks, got some twice"):
        runner.run_tasks(square, [*TASKS, {"n": 0}])


def forgets_its_seed(norm, seed):
    rng = np.random.default_rng(0)
    return [{"norm": norm, "seed": seed, "accuracy": rng.random()}]


def test_a_seed_that_is_not_used_is_found():
    tasks = [{"norm": n, "seed": s} for n in ("none", "batch") for s in (0, 1)]
    with pytest.raises(ValueError, match="same rows for seeds 0 and 1"):
        runner.run_tasks(forgets_its_seed, tasks)


def chooses(split, seed):
    return [{"seed": seed, "images": len(data.load_mnist10k(split).y)}]


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_chooses_settings_sees_no_test_images(jobs):
    tasks = [{"split": "validation", "seed": 0}]
    rows, _ = runner.run_tasks(chooses, tasks, jobs, choosing=True)
    assert rows == [{"seed": 0, "images": 1000}]
    tasks = [{"split": "test", "seed": 0}]
    with pytest.raises(ValueError, match="chosen on validation images"):
        runner.run_tasks(chooses, tasks, jobs, choosing=True)
    assert runner.run_tasks(chooses, tasks, jobs)[0] == [{"seed": 0, "images": 2000}]


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_rows():
    distributed = pytest.importorskip("distributed")
    (stage,) = [s for s in runner.module("scales").STAGES if s.table == "reduced"]
    tasks = stage.tasks(None)[:2]
    alone, _ = runner.run_tasks(stage.function, tasks)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        spread, _ = runner.run_tasks(stage.function, tasks, dask=address)
    assert spread == alone


def test_tables_round_trip(tmp_path):
    rows = [{"name": "a", "value": 0.1}, {"name": "b", "value": None}]
    runner.store("scales", "reduced", rows, 1.0, "c0de", tmp_path)
    columns = runner.load("scales", "reduced", tmp_path)
    assert columns["name"].tolist() == ["a", "b"]
    np.testing.assert_equal(columns["value"], [0.1, np.nan])
    made = json.loads((tmp_path / "scales" / "record.json").read_text())["reduced"]
    assert made["code"] == "c0de"
    assert made["numpy"] == np.__version__
    assert made["torch"] is None


def test_a_table_that_is_written_again_is_read_again(tmp_path):
    for value in (1.0, 2.0):
        rows = [{"name": "a", "value": value}]
        runner.store("scales", "reduced", rows, 1.0, "c0de", tmp_path)
        table = runner.load("scales", "reduced", tmp_path)
        assert table["value"].tolist() == [value]
    with pytest.raises(ValueError, match="read-only"):
        table["value"][0] = 3.0


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected rows for the table rows of trial"):
        runner.store("trial", "rows", [], 1.0, "c0de", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_table_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m experiments classic"):
        runner.load("classic", "curves", tmp_path)
