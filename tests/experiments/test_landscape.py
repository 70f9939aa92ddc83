"""The landscape: two views of one place, and verdicts that can come out both ways."""

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from experiments import landscape, nets

X = torch.from_numpy(np.random.default_rng(0).random((20, 784)))
Y = torch.arange(20) % 10


@pytest.mark.parametrize("norm", landscape.NORMS)
def test_both_views_are_the_same_function_of_the_batch(norm):
    model = landscape.build(3, norm, 0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(5):  # gamma and beta that are not 1 and 0
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
    views = landscape.views(model, norm, X)
    assert views[landscape.OWN[norm]] is model
    outputs = [view(X) for view in views.values()]
    torch.testing.assert_close(*outputs, rtol=1e-11, atol=1e-11)
    fixed, following = (
        landscape.measured(views[v], X, Y, 0.1)
        for v in (landscape.FIXED, landscape.FOLLOWING)
    )
    assert fixed["loss"] == following["loss"]
    assert fixed["change"] != following["change"]


def test_a_restored_norm_projects_the_plain_gradient():
    plain = landscape.build(1, "none", 0)
    restored = landscape.restore(plain, X)
    gradients = {}
    for name, model in (("plain", plain), ("restored", restored)):
        hidden = model[0](X)
        hidden.retain_grad()
        out = hidden
        for layer in [*model][1:]:
            out = layer(out)
        nn.functional.cross_entropy(out, Y).backward()
        gradients[name] = hidden.grad
    hidden = plain[0](X).detach()
    x_hat = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt()
    g = gradients["plain"]
    wanted = g - g.mean(0) - x_hat * (g * x_hat).mean(0)
    torch.testing.assert_close(gradients["restored"], wanted, rtol=1e-9, atol=1e-12)


def test_a_look_leaves_training_as_it_is():
    steps, ends = 20, []
    for looks in (False, True):
        model = landscape.build(3, "batch", 0)

        def look(_step, model=model):
            for view in landscape.views(model, "batch", X).values():
                landscape.measured(view, X, Y, 0.1)

        nets.train(
            model,
            (X, Y),
            torch.optim.SGD(model.parameters(), 0.1),
            steps=steps,
            batch_size=10,
            rng=np.random.default_rng(0),
            call_at=range(steps) if looks else (),
            callback=look,
        )
        ends.append({k: v.clone() for k, v in model.state_dict().items()})
    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key


@pytest.fixture
def invent(monkeypatch):
    """Return a function that replaces what was measured, and judges it."""

    def with_numbers(**of):
        def typical(column, depth, lr, norm, statistics=None):
            statistics = statistics or landscape.OWN[norm]
            return np.full(5, of.get(f"{norm}_{statistics}", 1.0))

        monkeypatch.setattr(landscape, "typical", typical)
        return {c.claim: c.verdict for c in landscape.claims()}

    return with_numbers


def verdicts_of(verdicts, start):
    return {v for claim, v in verdicts.items() if claim.startswith(start)}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({}, ("not at this size", "not at this size", "not at this size")),
        ({"none_fixed": 3.0}, ("reproduced", "partly", "not at this size")),
        ({"batch_fixed": 3.0}, ("not at this size", "partly", "reproduced")),
    ],
)
def test_own_places_and_same_weights_are_judged_apart(invent, numbers, expected):
    verdicts = invent(**numbers)
    own, same, shift = expected
    assert verdicts_of(verdicts, "Along the gradient") == {own}
    both = verdicts_of(verdicts, "Statistics that follow the weights")
    assert ({"partly"} if len(both) > 1 else both) == {same}
    assert verdicts_of(verdicts, "At the same weights") == {shift}


def test_not_reduced_means_nearly_as_large_or_larger(invent):
    about = "Batch norm does not reduce internal covariate shift"
    relative = {c: v for c, v in invent(none_fixed=2.0).items() if c.startswith(about)}
    assert {v for c, v in relative.items() if "relative" in c} == {"not at this size"}
    assert {v for c, v in relative.items() if "cosine" in c} == {"reproduced"}
    verdicts = invent(none_fixed=0.5)
    assert {v for c, v in verdicts.items() if "cosine of" in c} == {"not at this size"}
    assert verdicts_of(verdicts, f"{about}, 5 layers: relative") == {"reproduced"}
