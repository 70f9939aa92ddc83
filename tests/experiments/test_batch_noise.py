"""The laws of the noise, against all batches of a small population."""

from itertools import combinations, product

import needs_torch  # noqa: F401  skips the file without torch
import numpy as np
import pytest

from experiments import batch_noise

POPULATION = np.array([0.0, 1.0, 5.0, 5.5])


@pytest.mark.parametrize("m", [2, 3, 5])
def test_the_laws_hold_for_all_draws_with_replacement(m):
    drawn = np.array([*product(POPULATION, repeat=m)])
    sd, z = POPULATION.std(), POPULATION - POPULATION.mean()
    mean, var = drawn.mean(1).std() / sd, drawn.var(1).std() / sd**2
    assert mean == pytest.approx(batch_noise.mean_law(m))
    kurtosis = (z**4).mean() / sd**4
    assert var == pytest.approx(float(batch_noise.var_law(m, kurtosis)))


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_the_law_of_the_mean_holds_for_all_draws_without_replacement(m):
    drawn = np.array([*combinations(POPULATION, m)])
    mean = drawn.mean(1).std() / POPULATION.std()
    assert mean == pytest.approx(batch_noise.mean_law(m, 4))


def fake(monkeypatch, deep=0.2, var=1.0, gauss=1.0, without=1.0):
    """Replace the table by one with given ratios."""
    rows = [
        (s, way, m, layer)
        for s in range(5)
        for way, ms in batch_noise.WAYS.items()
        for m in ms
        for layer in (1, 2, 3)
    ]
    seed, way, m, layer = map(np.array, zip(*rows, strict=True))
    below = (way == "training") & (layer > 1)
    table = {"seed": seed, "way": way, "m": m, "layer": layer}
    table["mean_ratio"] = np.where(way == "without", without, np.where(below, deep, 1))
    table |= {"var_ratio": np.full(len(m), var), "kurtosis": np.full(len(m), 3.0)}
    table["gauss_ratio"] = np.full(len(m), gauss)
    monkeypatch.setattr(batch_noise, "load", lambda *_: table)
    return [claim.verdict for claim in batch_noise.claims()]


def test_each_verdict_can_come_out_otherwise(monkeypatch):
    yes, partly, no = "reproduced", "partly", "not at this size"
    assert fake(monkeypatch) == [yes, yes, yes, yes, no]
    assert fake(monkeypatch, deep=0.9) == [yes] * 5
    found = fake(monkeypatch, var=1.07, gauss=0.8, without=1.2)
    assert found == [yes, partly, no, no, no]
