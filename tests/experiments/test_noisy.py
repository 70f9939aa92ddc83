"""Noisy batch norm: what is judged without noise, and verdicts both ways."""

import numpy as np
import pytest
from needs_torch import torch

from experiments import nets, noisy


def images(n=40):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.random((n, 784))).float()
    return x, torch.arange(n) % 10


def test_own_statistics_are_without_noise_and_leave_no_trace():
    model, (x, y) = noisy.build(2, "noisy", 0), images()
    clean = noisy.build(2, "batch", 0)
    clean.load_state_dict(model.state_dict())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    got = noisy.own_accuracy(model, (x, y))
    assert got == (clean(x).argmax(1) == y).double().mean().item()
    assert got == noisy.own_accuracy(model, (x, y))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert (model[1].shift, model[1].scale, model[1].jitter) == (0.5, 1.25, 0.1)


def test_moments_are_those_before_the_last_activation():
    model, (x, _) = noisy.build(2, "batch", 0), images()
    count = model[1].num_batches_tracked.item()
    mean, deviation = noisy.moments(model, x)
    assert mean.shape == deviation.shape == (noisy.WIDTH,)
    assert mean.abs().max() < 1e-5  # behind a batch norm with beta 0
    assert (deviation - 1).abs().max() < 1e-2
    assert model[1].num_batches_tracked.item() == count


def test_evaluation_mode_misses_the_mean_scale_of_the_noise():
    """Behind the second noisy layer, values are about 1.125 times too small."""
    model, (x, _) = noisy.build(2, "noisy", 0), images(2000)
    model.requires_grad_(False)
    for _ in range(200):
        model(x)
    spread = model.eval()[:5](x).std(0, correction=0).mean().item()
    assert 1 / 1.3 < spread < 1 / 1.08
    usual = noisy.build(2, "batch", 0)
    for _ in range(200):
        usual(x)
    assert usual.eval()[:5](x).std(0, correction=0).mean().item() == pytest.approx(
        1, abs=0.02
    )


@pytest.mark.parametrize(
    ("accuracies", "shift", "expected"),
    [
        ({"none": 70, "batch": 80, "noisy": 79.5}, 2.0, ["reproduced"] * 4),
        ({"none": 70, "batch": 80, "noisy": 70}, 0.5, ["not at this size"] * 4),
    ],
)
def test_verdicts_follow_the_numbers(monkeypatch, accuracies, shift, expected):
    monkeypatch.setattr(
        noisy, "percent", lambda d, lr, n, *_: np.full(8, accuracies[n])
    )
    shifts = {"none": 1.0, "noisy": shift}
    monkeypatch.setattr(noisy, "shifts", lambda d, lr, n: np.full(8, shifts[n]))
    for depth in noisy.DEPTHS:
        rows = [c.verdict for c in noisy.depth_claims(depth)]
        assert rows == [expected[0], *expected[1:], *expected[1:]]


def test_both_arms_see_the_same_start():
    plain, noise = noisy.build(3, "none", 1), noisy.build(3, "noisy", 1)
    assert torch.equal(plain[0].weight, noise[0].weight)
    assert nets.accuracy(noise, images()) >= 0
