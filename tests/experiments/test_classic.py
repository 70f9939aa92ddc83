"""The classic experiment: its grid, and verdicts that follow the tables."""

from experiments import classic, runner


def test_tables_hold_the_steps_of_the_protocol():
    nets, seeds = len(classic.NETS), len(classic.SEEDS)
    for name, steps in (("curves", classic.STEPS), ("control", classic.CONTROL_STEPS)):
        table = runner.load("classic", name)
        expected = classic.evaluation_steps(steps)
        assert len(table["step"]) == nets * seeds * len(expected)
        assert set(table["step"]) == set(expected)
    assert set(runner.load("classic", "tuning")["lr"]) == set(classic.GRID)


def test_best_rates_lie_inside_the_grid():
    for lr in classic.best_rates(runner.load("classic", "tuning")).values():
        assert min(classic.GRID) < lr < max(classic.GRID)


def test_there_is_a_verdict_for_each_claim_of_the_sources():
    assert len(classic.claims()) >= 8


def test_verdicts_follow_the_table(monkeypatch):
    """Give batch norm the plain net's curves: its gains must vanish."""
    real = runner.load

    def same_curves(name, table):
        columns = real(name, table)
        batch = columns["norm"] == "batch"
        for key in {"accuracy", "p15", "p50", "p85"} & set(columns):
            columns[key] = columns[key].copy()
            columns[key][batch] = columns[key][~batch]
        return columns

    monkeypatch.setattr(classic, "load", same_curves)
    assert {c.verdict for c in classic.claims()} <= {"not at this size"}
