"""Dropout's shift: the law of one layer by simulation, and verdicts."""

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from experiments import dropout_shift, runner
from experiments.claims import rows_where


def test_the_law_of_one_layer_by_simulation():
    """All masks of three inputs, each with its probability, on skewed inputs."""
    rng = np.random.default_rng(0)
    p, u = 0.3, torch.from_numpy(rng.exponential(size=(50, 3)) + 1)
    linear = nn.Linear(3, 4, bias=False).double()
    model = nn.Sequential(nn.Dropout(p), linear)
    values, weights = [], []
    for mask in np.ndindex(2, 2, 2):
        kept = torch.tensor(mask, dtype=torch.float64)
        values.append((u * kept / (1 - p)) @ linear.weight.detach().T)
        weights.append(np.prod([1 - p if b else p for b in mask]) / len(u))
    x = torch.cat(values).numpy()
    w = np.repeat(weights, len(u))[:, None]
    var = (w * x**2).sum(0) - (w * x).sum(0) ** 2
    plain = (u @ linear.weight.detach().T).numpy().var(0, ddof=1)
    # 4 units: out_features over 10 marks hidden layers, so take ten copies of each
    wide = nn.Linear(3, 40, bias=False).double()
    wide.weight.data = linear.weight.data.repeat(10, 1)
    model = nn.Sequential(nn.Dropout(p), wide)
    (law,) = dropout_shift.one_layer_law(model, u)
    exact = np.sort(np.repeat(1 + (var - plain * 49 / 50) / plain, 10))
    assert law == pytest.approx(exact[19])  # torch's median is the lower middle


def test_a_net_without_dropout_has_a_law_of_one():
    model = dropout_shift.build("every", 0.0, 0, torch.float64)
    x = torch.rand(100, 784, dtype=torch.float64)
    assert dropout_shift.one_layer_law(model, x) == [1.0] * 5


def test_dropout_stands_where_the_place_says():
    kinds = {
        place: [i for i, m in enumerate(net) if isinstance(m, nn.Dropout)]
        for place in ("every", "last")
        for net in [dropout_shift.build(place, 0.5, 0, torch.float32)]
    }
    assert kinds == {"every": [3, 7, 11, 15, 19], "last": [15]}


def test_the_grid_reaches_failure_on_both_sides():
    tuning = runner.load("dropout_shift", "tuning")
    for place, p in dropout_shift.NETS:
        own = rows_where(tuning, place=place, p=p)
        means = [rows_where(own, lr=r)["accuracy"].mean() for r in dropout_shift.GRID]
        assert max(means[0], means[-1]) < max(means) - 0.1, (place, p)


def fake(monkeypatch, depth=1.5, law=1.0, given=0.0, last=0.0):
    """Replace the tables: shifts, points given back, and the gain of place "last"."""

    def of(column, p, rate, layer=5, place="every"):
        number = {
            "ratio": 1.4 * (depth if layer == 5 else 1),
            "law": 1.4 * law,
            "accuracy": 90.0 + last * (place == "last"),
            "repaired": 90.0 + given * (p == 0.5) + last * (place == "last"),
        }[column]
        return np.full(8, number)

    monkeypatch.setattr(dropout_shift, "of", of)
    return [claim.verdict for claim in dropout_shift.claims()]


def test_verdicts_follow_shift_and_repair(monkeypatch):
    yes, partly, no = "reproduced", "partly", "not at this size"
    assert fake(monkeypatch) == [yes, yes, no, yes] * 2 + [no]
    assert fake(monkeypatch, law=1.08)[0] == partly
    assert fake(monkeypatch, law=2.0)[0] == no
    assert fake(monkeypatch, depth=1.0)[1] == no
    assert [fake(monkeypatch, given=g)[2] for g in (0.4, 1, 3)] == [no, partly, yes]
    assert fake(monkeypatch, given=3, last=2)[-1] == partly
    assert fake(monkeypatch, given=3, last=5)[-1] == yes
