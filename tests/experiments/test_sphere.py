"""Lengths and directions: nets, arms and readers that can be wrong."""

import numpy as np
import pytest
from needs_torch import torch

from bnlib.pytorch.measure import scale_invariant
from experiments import decay, directions, equilibrium, nets, schedules, sphere


def test_the_hidden_weights_are_the_ones_that_a_test_finds():
    x, _ = nets.images("train", torch.float64)
    model = sphere.build(0)
    assert scale_invariant(model, x[:64], by_unit=True) == [*sphere.HIDDEN]
    hidden, others = sphere.groups(model)
    assert [tuple(w.shape) for w in hidden] == [(64, 784), (64, 64)]
    assert len(others) == 6


def test_only_the_hidden_weights_decay():
    model = sphere.build(0)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = sphere.sgd(model, 0.5, 0.2, 0.1)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        lr, wd = (0.5, 0.2) if name in sphere.HIDDEN else (0.1, 0.0)
        expected = before[name] - lr * (1 + wd * before[name])
        np.testing.assert_allclose(p.detach(), expected, rtol=1e-12, err_msg=name)


def test_growth_adds_up_the_squares_of_the_steps():
    rows = sphere.growth(200, 0.1, sphere.TINY, 1.0, 12)
    assert [row["step"] for row in rows[:2]] == [0, 0]
    for row in rows:
        assert row["length"] == pytest.approx(row["predicted"], rel=1e-10)
    assert rows[-1]["length"] > 1.01 * rows[1]["length"]


@pytest.mark.parametrize(
    ("arm", "momentum", "least", "most"),
    [
        ("growing", 0.0, 0, 1e-13),
        ("growing eps", 0.0, 0, 1e-13),
        ("dropped", 0.0, 1e-4, 1),
        ("growing", 0.9, 1e-4, 1),
        ("root", 0.9, 0, 1e-13),
    ],
)
def test_which_arms_keep_the_losses(arm, momentum, least, most):
    rows = schedules.compare(200, arm, "trained", sphere.TINY, momentum, 20)
    assert least <= rows[-1]["difference"] <= most


def test_the_reference_is_the_decay_of_pytorch():
    """The update written out does what torch's optimizer does."""
    model, twin = sphere.build(0), sphere.build(0)
    optimizer = torch.optim.SGD(
        sphere.groups(model)[0],
        lr=schedules.LR,
        momentum=0.9,
        weight_decay=schedules.MOMENTUM / schedules.LR,
    )
    move = schedules.updates("reference", sphere.groups(twin)[0], 0.9)
    rng = np.random.default_rng(0)
    for step in range(4):
        pairs = [*zip(sphere.groups(model)[0], sphere.groups(twin)[0], strict=True)]
        for a, b in pairs:
            a.grad = b.grad = torch.from_numpy(rng.standard_normal(a.shape))
        optimizer.step()
        move(step, sphere.groups(twin)[0])
        for a, b in pairs:
            np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-12, atol=1e-15)


def test_a_run_that_breaks_off_is_a_difference(monkeypatch):
    nan = np.full(5, np.nan)
    monkeypatch.setattr(schedules, "last", lambda *_: nan)
    claims = schedules.claims()
    assert {c.verdict for c in claims} == {"not at this size"}
    assert "inf" in claims[0].effect


@pytest.mark.parametrize("arm", ["weight norm", "batch norm"])
@pytest.mark.parametrize("problem", directions.PROBLEMS)
def test_one_step_follows_the_gradient_of_length_and_direction(arm, problem):
    """Against differences of the loss as a function of length and w."""
    x, y, w = directions.draw(3, problem, 10)
    metric = np.eye(len(w)) if arm == "weight norm" else x.T @ x / len(x)
    first = np.append(w, np.sqrt(w @ metric @ w))

    def loss(p):
        v = p[-1] * p[:-1] / np.sqrt(p[:-1] @ metric @ p[:-1])
        return directions.loss_of(problem, x @ v, y)[0]

    nudges = 1e-6 * np.eye(len(first))
    grad = np.array([(loss(first + e) - loss(first - e)) / 2e-6 for e in nudges])
    losses = directions.descend(problem, arm, x, y, w, np.array([0.3]), 1)
    assert losses[0, 0] == pytest.approx(loss(first), rel=1e-12)
    assert losses[0, 1] == pytest.approx(loss(first - 0.3 * grad), rel=1e-7)


def test_the_exact_length_is_the_best():
    x, y, w = directions.draw(3, "least squares", 10)
    (first, *_), *_ = directions.descend(
        "least squares", "exact length", x, y, w, np.array([0.1]), 1
    )
    factors = np.linspace(-3, 3, 601)[:, None]
    losses = directions.loss_of("least squares", factors * (x @ w), y)[0]
    assert first <= losses.min()
    assert first == pytest.approx(losses.min(), abs=1e-3)


def test_the_least_logistic_loss_has_no_gradient_and_others_lie_above():
    x, y, w = directions.draw(3, "logistic", 10)
    least = directions.least_logistic(x, y)
    losses = directions.descend("logistic", "plain", x, y, w, np.array([3.0]), 500)
    assert losses.min() == pytest.approx(least, abs=1e-9)


def test_steps_and_rates_are_read_for_each_seed(monkeypatch):
    columns = {
        "problem": np.repeat("logistic", 16),
        "condition": np.repeat(10.0, 16),
        "arm": np.repeat("plain", 16),
        "seed": np.repeat(np.arange(8.0), 2),
        "rate": np.tile([0.1, 1.0], 8),
        "to0.1": np.array([5.0, 3, np.inf, np.inf, *[4.0, 6.0] * 6]),
    }
    monkeypatch.setattr(directions, "load", lambda *_: columns)
    fewest = directions.fewest("logistic", 10, "plain", 0.1)
    assert fewest.tolist() == [3, np.inf, *[4] * 6]
    rates = directions.best_rate("logistic", 10, "plain", 0.1)
    assert rates.tolist() == [1.0, 0.1, *[0.1] * 6]


def test_the_best_setting_is_that_of_the_mean_and_of_the_smaller_rate():
    rows = [
        (arm, lr, dose, seed, share)
        for arm in decay.ARMS
        for lr, dose, shares in (
            (0.3, 0.01, (0.8, 1.0)),
            (0.1, 0.1, (0.9, 0.9)),
            (0.1, 0.03, (0.9, 0.9)),
            (1.0, 0.03, (0.99, 0.6)),
        )
        for seed, share in enumerate(shares)
    ]
    names = ("arm", "lr", "dose", "seed", "accuracy")
    table = {n: np.array(v) for n, v in zip(names, zip(*rows, strict=True))}  # noqa: B905
    assert decay.best(table) == dict.fromkeys(decay.ARMS, (0.1, 0.03))


def test_the_grid_of_decay_changes_what_it_names():
    """Two steps at a high decay shrink the parts of an arm, and no others."""
    model = nets.mlp(decay.SIZES, np.random.default_rng(0), norm=torch.nn.BatchNorm1d)
    names = [n for n, _ in model.named_parameters()]
    parts = [name for part in decay.PARTS.values() for name in part]
    assert sorted([*parts, "6.bias"]) == sorted(names)
    losses = {
        arm: decay.train(arm, 0.3, dose, 0, 20, "validation")[0]["train_loss"]
        for arm, dose in [("none", 0.0), *((a, 1.0) for a in decay.ARMS if a != "none")]
    }
    assert losses["own rate"] == losses["none"]  # a factor of 1 changes nothing
    assert len({*losses.values()}) == len(losses) - 1


def test_two_starts_are_compared_by_their_ratio(monkeypatch):
    ends = {0.1: np.array([2.0, 6.0]), 1.0: np.array([4.0, 3.0])}
    monkeypatch.setattr(equilibrium, "at_end", lambda *_, gain, **__: ends[gain])
    assert equilibrium.apart(0.001, 1).tolist() == [2, 2]
    np.testing.assert_allclose(
        equilibrium.turned(0.02, 1.0, 1), np.array([4.0, 3.0]) / 0.2
    )


def test_the_twin_follows_decay_without_decay():
    """The growing rate gives the losses of decay; the constant rate does not."""
    ends = {
        arm: decay.train(arm, 1.0, 0.03, 0, 300, "validation")[0]["train_loss"]
        for arm in ("weights", "twin", "none")
    }
    effect = abs(ends["none"] - ends["weights"])
    assert abs(ends["twin"] - ends["weights"]) < 0.25 * effect


def test_an_arm_of_several_settings_has_those_near_its_best():
    rows = [
        ("own rate", lr, 1.0, seed, share)
        for lr, share in ((0.1, 0.9495), (0.3, 0.95), (1.0, 0.948))
        for seed in (0, 1)
    ]
    names = ("arm", "lr", "dose", "seed", "accuracy")
    table = {n: np.array(v) for n, v in zip(names, zip(*rows, strict=True))}  # noqa: B905
    assert decay.near_best(table) == [(0.1, 1.0), (0.3, 1.0)]
