"""The stored results: the reduced form runs again and must agree row by row."""

import json

import numpy as np
import pytest

from experiments import classic, runner

TOLERANCES = {  # a step of training in float32 may differ in the last bits
    "accuracy": 0.01,  # 20 of 2,000 test images
    "loss": 0.01,  # nats
    "p15": 0.02,
    "p50": 0.02,
    "p85": 0.02,
}
VERDICTS = {"reproduced", "partly", "not at this size"}


def test_reduced_form_agrees_with_stored_rows():
    stored = runner.load("classic_reduced")
    rows = classic.reduced()
    assert len(rows) == len(stored["step"])
    for key in ("activation", "norm", "seed", "step", "lr"):
        assert [row[key] for row in rows] == stored[key].tolist(), key
    for key, tolerance in TOLERANCES.items():
        fresh = np.array([np.nan if row[key] is None else row[key] for row in rows])
        np.testing.assert_allclose(fresh, stored[key], rtol=0, atol=tolerance)


def test_stored_tables_follow_the_protocol():
    curves, control = runner.load("classic_curves"), runner.load("classic_control")
    nets, seeds = len(classic.NETS), len(classic.SEEDS)
    for table, steps in (
        (curves, classic.STEPS),
        (control, classic.CONTROL_STEPS),
    ):
        expected = classic.evaluation_steps(steps)
        assert len(table["step"]) == nets * seeds * len(expected)
        assert set(table["seed"]) == set(classic.SEEDS)
        assert set(table["step"]) == set(expected)
    assert set(curves["lr"]) == {classic.LR}
    tuning = runner.load("classic_tuning")
    assert set(tuning["lr"]) == set(classic.GRID)
    rows = [
        dict(zip(tuning, row, strict=True))
        for row in zip(*tuning.values(), strict=True)
    ]
    for net, lr in classic.best_rates(rows).items():
        own = (control["activation"] == net[0]) & (control["norm"] == net[1])
        assert set(control["lr"][own]) == {lr}


def test_best_rates_lie_inside_the_grid():
    tuning = runner.load("classic_tuning")
    rows = [
        dict(zip(tuning, row, strict=True))
        for row in zip(*tuning.values(), strict=True)
    ]
    for lr in classic.best_rates(rows).values():
        assert min(classic.GRID) < lr < max(classic.GRID)


def test_claims_have_a_verdict_and_the_numbers_behind_it():
    claims = classic.claims()
    assert len(claims) >= 8
    for row in claims:
        assert row["verdict"] in VERDICTS
        assert any(character.isdigit() for character in row["effect"])
        assert row["chapter"].startswith("ch-")


def test_verdict_follows_the_table(monkeypatch):
    """Give batch norm the plain net's curves: the speed-up must vanish."""
    real = runner.load

    def same_curves(table):
        columns = real(table)
        if table == "classic_curves":
            batch = columns["norm"] == "batch"
            for key in ("accuracy", "p15", "p50", "p85"):
                columns[key] = columns[key].copy()
                columns[key][batch] = columns[key][~batch]
        return columns

    monkeypatch.setattr(classic, "load", same_curves)
    assert classic.claims()[0]["verdict"] == "not at this size"


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [([0.1, 0.9, 0.8, 0.95], 20), ([0.1, 0.2, 0.3, 0.4], np.inf)],
)
def test_steps_to(accuracy, expected):
    table = {
        "activation": np.array(["relu"] * 4),
        "norm": np.array(["none"] * 4),
        "seed": np.zeros(4),
        "step": np.array([10, 20, 30, 40]),
        "accuracy": np.array(accuracy),
    }
    assert classic.steps_to(table, 0.9)["relu", "none"][0] == expected


def test_tables_round_trip(tmp_path):
    rows = [{"name": "a", "value": 0.1}, {"name": "b", "value": None}]
    runner.save("trial", {"rows": rows}, 1.0, tmp_path)
    columns = runner.load("trial_rows", tmp_path)
    assert columns["name"].tolist() == ["a", "b"]
    np.testing.assert_equal(columns["value"], [0.1, np.nan])
    assert runner.record("trial", tmp_path)["made_by"].endswith("experiments trial")
    assert json.loads((tmp_path / "trial.json").read_text())["tables"] == ["rows"]


def test_missing_table_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m experiments classic"):
        runner.load("classic_curves", tmp_path)


def square(n):
    return [{"n": n, "square": n * n}]


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_keep_their_order(jobs):
    rows = runner.run_tasks(square, [{"n": n} for n in range(5)], jobs)
    assert [row["square"] for row in rows] == [0, 1, 4, 9, 16]
