"""The classic experiment: its steps, and verdicts that follow the tables."""

from experiments import classic, runner


def test_the_table_holds_the_steps_of_the_protocol():
    table = runner.load("classic", "curves")
    expected = classic.evaluation_steps(classic.STEPS)
    assert len(table["step"]) == len(classic.NETS) * len(classic.SEEDS) * len(expected)
    assert set(table["step"]) == set(expected)


def test_there_is_a_verdict_for_each_claim_of_the_sources():
    assert len(classic.claims()) >= 5


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
