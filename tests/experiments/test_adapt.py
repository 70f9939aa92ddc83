"""Shifts, test batches, roses and averages: same runs, readers, verdicts."""

from copy import deepcopy
from functools import partial

import numpy as np
import pytest
from needs_torch import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from bnlib.pytorch.adapting import minimize_entropy, mix_statistics
from experiments import (
    adapt_batches,
    adapt_roses,
    adapt_shift,
    averaged,
    nets,
    runner,
    stacks,
)
from experiments.claims import means_of

YES, PART, NO = "reproduced", "partly", "not at this size"


def pixels(n=6):
    return nets.images("validation", torch.float64)[0][:n]


@pytest.mark.parametrize("name", ["contrast", "brightness", "both", "shade", "stripes"])
def test_affine_shifts_are_one_factor_and_one_image(name):
    x = pixels()
    a, b = (adapt_shift.shifted(name, v) for v in (x, 0 * x))
    moved = a - b
    factor = moved[x > 0.5] / x[x > 0.5]
    torch.testing.assert_close(factor, factor[:1].expand_as(factor))
    torch.testing.assert_close(b, b[:1].expand_as(b))


def test_other_shifts_are_what_they_are_called():
    x = pixels()
    maps = x.numpy().reshape(-1, 28, 28)
    blur, smear = (
        adapt_shift.shifted(n, x).numpy().reshape(-1, 28, 28) for n in ("blur", "smear")
    )
    assert blur[0, 12, 14] == pytest.approx(maps[0, 9:16, 11:18].mean())
    assert smear[1, 12, 14] == pytest.approx(maps[1, 12, 9:20].mean())
    noise = adapt_shift.shifted("noise", x) - x
    assert torch.equal(noise, adapt_shift.shifted("noise", x) - x)
    assert abs(noise.std() - 0.5) < 0.02
    mixture, both = (adapt_shift.shifted(n, x) for n in ("mixture", "both"))
    assert torch.equal(mixture[::2], x[::2])
    assert torch.equal(mixture[1::2], both[1::2])
    kept = adapt_shift.shifted("speckle", x)[x > 0] > 0
    assert abs(kept.double().mean() - 0.5) < 0.1


def test_scaling_the_input_undoes_contrast_and_brightness():
    x, known = pixels(20), pixels(50)
    moved, pool = (adapt_shift.shifted("both", v) for v in (x, known))
    torch.testing.assert_close(adapt_shift.like_source(moved, pool, known), x)


def alone(stack, many, k):
    """Return net k of a dense stack with batch norm as a net of its own."""
    layers = []
    for layer in stack:
        if isinstance(layer, stacks.Dense):
            one = nn.Linear(*layer.weight.shape[1:], bias=layer.bias is not None)
            one = one.double()
            one.weight.data = layer.weight[k].T.detach().clone()
            if layer.bias is not None:
                one.bias.data = layer.bias[k].detach().clone()
        elif isinstance(layer, stacks.OverUnits):
            units = layer.norm.num_features // many
            one, part = (
                nn.BatchNorm1d(units).double(),
                slice(k * units, (k + 1) * units),
            )
            for name, value in layer.norm.state_dict().items():
                if value.ndim:
                    one.state_dict()[name].copy_(value[part])
        else:
            one = deepcopy(layer)
        layers.append(one)
    return nn.Sequential(*layers).eval()


def test_methods_do_to_nets_side_by_side_what_they_do_to_one(monkeypatch):
    """The mean over two nets halves gradients, which doubles Adam's epsilon."""
    stack = adapt_shift.trained(
        "dense", "batch", [(0.1, 3), (0.3, 4)], 5, torch.float64
    )
    x, known = nets.images("validation", torch.float64)[0][:400].split(200)
    found = dict(adapt_shift.ways(stack, "batch", "mixture", 2, x, known, 0.3, 0.01))
    seen = adapt_shift.shifted("mixture", x)
    adam = partial(torch.optim.Adam, eps=2e-8)
    monkeypatch.setattr(torch.optim, "Adam", adam)
    for k in range(2):
        net = alone(stack, 2, k)
        wanted = {
            "source": net(seen),
            "mixed": torch.cat([mix_statistics(net, 0.3)(b) for b in seen.split(100)]),
            "tent": minimize_entropy(net, seen.split(100), lr=0.01)[1],
        }
        for way, logits in wanted.items():
            torch.testing.assert_close(found[way][:, k], logits, rtol=0, atol=1e-8)
    assert set(found) == {"source", "input", "batch", "mixed", "all", "tent", "domains"}


def test_each_half_of_the_mixture_gets_its_own_statistics():
    stack = adapt_shift.trained("dense", "batch", [(0.1, 3)], 20, torch.float64)
    x, known = nets.images("validation", torch.float64)[0].split(500)
    runs = [
        dict(adapt_shift.ways(stack, "batch", shift, 1, x, known, 0, 0.01))
        for shift in ("mixture", "none")
    ]
    first = adapt_shift.second(x) == 0
    pool = adapt_shift.beside(known[::2], 1)
    clean = adapt_shift.adapt(stack, [pool])(adapt_shift.beside(x[first], 1))
    torch.testing.assert_close(runs[0]["domains"][first], clean.detach())
    assert "domains" not in runs[1]


@pytest.mark.parametrize("size", adapt_batches.SIZES)
def test_test_batches_hold_the_classes_of_their_kind(size):
    y = nets.images("test")[1].numpy()
    for kind, most in (("one", 1), ("two", 2), ("mixed", 10)):
        rng = np.random.default_rng(0)
        found = adapt_batches.arranged(y, kind, size, rng)
        assert len(np.unique(found)) == found.size
        assert found.shape[1] == size
        assert max(len(np.unique(y[batch])) for batch in found) == min(most, size)
        assert len(set(np.bincount(y[found.ravel()]))) == 1


def test_the_commonest_answer_is_counted_for_each_net():
    logits = torch.zeros(4, 2, 10)
    logits[:, 0, 7] = 1
    logits[torch.arange(4), 1, torch.tensor([1, 1, 1, 5])] = 1
    counts = adapt_batches.frequencies(logits)
    assert counts.max(0).values.tolist() == [1, 0.75]
    assert counts.argmax(0).tolist() == [7, 1]


def test_shortcut_roses_differ_in_colour_alone_from_the_others():
    rng = np.random.default_rng
    same, other = (
        adapt_roses.roses(200, "red", rng(1), not_rose=kind, size=16)
        for kind in adapt_roses.WORLDS.values()
    )
    red = adapt_roses.roses(200, "red", rng(2), size=16).paint.mean(0)
    assert np.abs(same.paint[same.y == 0].mean(0) - red).max() < 0.05
    assert np.abs(other.paint[other.y == 0].mean(0) - red).max() > 0.3
    assert np.abs(other.paint[other.y == 1].mean(0) - red).max() < 0.05


def test_averages_are_those_of_a_plain_loop():
    steps, kept, run = 20, [], []
    stack = stacks.build("dense", "batch", (0,), torch.float64)
    averages = averaged.Averages(stack, steps)
    ema = None
    for step in range(steps + 1):
        with torch.no_grad():
            for value in (*stack.parameters(), stack[1].norm.running_mean):
                value.add_(0.1 * step)
        weight = stack[0].weight.detach().clone()
        mean = stack[1].norm.running_mean.clone()
        averages.before_step(step)
        now = torch.cat([weight.ravel(), mean])
        ema = now if ema is None else 0.98 * ema + 0.02 * now
        if step >= 10 and step % averaged.EVERY == 0:
            kept.append(now)
        run.append(now)

    def flat(model):
        return torch.cat([model[0].weight.detach().ravel(), model[1].norm.running_mean])

    def of(name, buffers):
        return flat(averages.kept[name, buffers].module)

    torch.testing.assert_close(of("ema", True), ema)
    torch.testing.assert_close(of("swa", True), torch.stack(kept).mean(0))
    for name, first in (("ema", 0), ("swa", 10)):
        assert torch.equal(of(name, False)[-100:], run[-1][-100:])  # torch's default
        x = torch.zeros(4, 1, 784, dtype=torch.float64)
        models = {
            (weights, kind): model
            for weights, kind, model in averaged.arms(stack, averages, x)
        }
        stale = flat(models[name, "stale"])
        torch.testing.assert_close(stale[:-100], of(name, False)[:-100])
        assert torch.equal(stale[-100:], run[first][-100:])
        assert torch.equal(flat(models[name, "last"])[-100:], run[-1][-100:])
        assert isinstance(averages.kept[name, True], AveragedModel)


def test_the_grids_reach_failure_on_both_sides():
    table = runner.load("adapt_shift", "tuning")
    for net in adapt_shift.NETS:
        for norm in adapt_shift.NORMS:
            means = [*means_of(table, "lr", net=net, norm=norm).values()]
            assert max(means[0], means[-1]) < max(means) - 0.09, (net, norm)
    table = runner.load("adapt_shift", "choices")
    for net in adapt_shift.NETS:
        means = [*means_of(table, "value", net=net, what="tent").values()]
        assert means[0] < max(means) > means[-1] + 0.1
        means = [*means_of(table, "value", net=net, what="weight").values()]
        assert means[0] < max(means) > means[-1]
    table = runner.load("adapt_roses", "tuning")
    for norm in adapt_roses.NORMS:
        for world in adapt_roses.WORLDS:
            where = {"column": "gain", "norm": norm, "world": world}
            means = [*means_of(table, "lr", **where).values()]
            assert max(means[0], means[-1]) < max(means) - 0.1, (norm, world)


def judged(monkeypatch, module, **readers):
    for name, reader in readers.items():
        monkeypatch.setattr(module, name, reader)
    return [c.verdict for c in module.claims()]


def eight(value):
    return np.full(8, float(value))


def test_verdicts_on_shifts_follow_the_accuracies(monkeypatch):
    same = judged(
        monkeypatch, adapt_shift,
        of=lambda *_: eight(90), with_images=lambda *_: eight(90),
    )  # fmt: skip
    assert same == [YES, YES, NO, NO, NO, NO, NO, NO, PART, PART, PART, PART, YES]

    def told(net, norm, shift, method="source"):
        if norm != "batch":
            return eight(60)
        if shift == "invert":
            return eight(5 if net == "dense" else 30)
        if shift == "none":
            return eight(94)
        gained = {"source": 50, "batch": 70, "tent": 70.5, "all": 75, "domains": 94}
        if net == "dense" and shift in adapt_shift.AFFINE and method == "all":
            return eight(94 if shift != "shade" else 92)
        return eight(gained[method])

    found = judged(
        monkeypatch, adapt_shift,
        of=told, with_images=lambda _, n: eight(80 if n == 20 else 90),
    )  # fmt: skip
    assert found == [PART, NO, YES, PART, YES, PART, PART, PART, NO, YES, NO, YES, PART]


def test_verdicts_on_test_batches_follow_the_accuracies(monkeypatch):
    readers = {
        "chosen": lambda *_: 0.5, "tent_rate": lambda: 0.01,
        "of": lambda *_: eight(90), "tent": lambda *_: eight(90),
    }  # fmt: skip
    same = judged(monkeypatch, adapt_batches, **readers)
    assert same == [NO, NO, NO, NO, NO, YES, NO, NO]

    def told(kind, size, weight, shift="both"):
        if kind == "one":
            return eight({0.0: 10, 0.5: 40, 1.0: 20}.get(weight, 15))
        if kind == "two":
            return eight(60)
        return eight(90 - 40 * (weight == 0 and size == 2))

    readers |= {
        "of": told,
        "tent": lambda kind, rate: eight(90 - 30 * rate - 3 * (kind == "one") * rate),
    }
    found = judged(monkeypatch, adapt_batches, **readers)
    assert found == [PART, PART, PART, YES, PART, YES, NO, PART]


def test_verdicts_on_roses_follow_the_accuracies(monkeypatch):
    same = judged(monkeypatch, adapt_roses, of=lambda *_: eight(90))
    assert same == [NO, NO, PART, PART, NO, YES, YES]

    def told(norm, domain, method="source", world="shape"):
        if world == "shortcut":
            return eight(70 if domain == "pink" else 30)
        if norm == "none":
            return eight(80)
        at = {"source": 70, "all": 95, "few": 92, "roses": 80}[method]
        return eight(72 if domain == "white" and method == "all" else at)

    found = judged(monkeypatch, adapt_roses, of=told)
    assert found == [PART, YES, NO, YES, PART, YES, NO]


def test_verdicts_on_averages_follow_the_accuracies(monkeypatch):
    same = judged(monkeypatch, averaged, of=lambda *_: eight(90))
    assert same == [NO, NO, YES, NO, NO, YES, NO, NO]

    def told(lr, weights, statistics):
        if weights == "last":
            return eight(90 + 0.2 * (statistics == "precise"))
        return eight({"stale": 80, "last": 90.9}.get(statistics, 90 + lr))

    found = judged(monkeypatch, averaged, of=told)
    assert found == [PART, YES, YES, PART, YES, YES, NO, PART]
