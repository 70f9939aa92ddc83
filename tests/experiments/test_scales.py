"""The sweep of scales: verdicts that can come out the other way."""

import numpy as np
import pytest

from experiments import scales

MORE = "Batch norm forgives more"
EVERY = "Batch norm forgives every"
FAILS = "Batch norm fails outright"


def judged(monkeypatch, plain, batch):
    """Return the verdicts if the scales end with these accuracies, 'good' the last."""

    def accuracies(activation, norm, lr):
        values = plain if norm == "none" else batch
        starts = (*scales.SCALES, "good")
        return {s: np.full(5, v) for s, v in zip(starts, values, strict=True)}

    monkeypatch.setattr(scales, "accuracies", accuracies)
    return {claim.claim: claim.verdict for claim in scales.claims()}


@pytest.mark.parametrize(
    ("plain", "batch", "expected"),
    [
        ([0.9] * 11, [0.9] * 11, (False, True, False)),
        ([0.1] * 10 + [0.9], [0.9] * 11, (True, True, False)),
        ([0.1] * 10 + [0.9], [0.1] + [0.9] * 10, (True, False, True)),
        ([0.1] * 10 + [0.9], [0.3] + [0.9] * 10, (True, False, False)),
        ([0.1] * 11, [0.1] * 10 + [0.9], (False, False, True)),
    ],
)
def test_verdicts_follow_the_accuracies(monkeypatch, plain, batch, expected):
    verdicts = judged(monkeypatch, plain, batch)
    for start, holds in zip((MORE, EVERY, FAILS), expected, strict=True):
        (verdict,) = [v for claim, v in verdicts.items() if claim.startswith(start)]
        assert verdict == ("reproduced" if holds else "not at this size"), start


def test_a_scale_is_judged_by_the_best_of_both_nets(monkeypatch):
    judged(monkeypatch, [0.5] * 11, [0.5] * 10 + [0.9])
    assert scales.forgiven("relu", "none", 0.01).tolist() == [0] * 5
    judged(monkeypatch, [0.5] * 11, [0.5] * 11)
    assert scales.forgiven("relu", "none", 0.01).tolist() == [10] * 5
