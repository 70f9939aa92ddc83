import numpy as np
import pytest
from oracle import assert_close, draw, load_torch

from bnlib import layers as L
from bnlib import training as T


def rng(seed=0):
    return np.random.default_rng(seed)


def blobs(n=120, dtype=np.float64):
    """Draw three clouds of points that a small network tells apart."""
    target = np.arange(n) % 3
    centres = np.array([[2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 2.0, 9.0]])
    return (centres[target] + 0.4 * rng(1).normal(size=(n, 4))).astype(dtype), target


def net(norm="batch", activation="relu", dtype=np.float64, seed=0):
    sizes = (4, 6, 5, 3)
    return T.mlp(sizes, rng=rng(seed), norm=norm, activation=activation, dtype=dtype)


def kinds(model):
    return [type(layer).__name__ for layer in model]


# --- mlp


@pytest.mark.parametrize(
    ("norm", "hidden"),
    [
        (None, ["Linear", "Tanh"]),
        ("batch", ["Linear", "BatchNorm1d", "Tanh"]),
        ("layer", ["Linear", "LayerNorm", "Tanh"]),
    ],
)
def test_the_norm_stands_before_the_activation(norm, hidden):
    model = net(norm, "tanh")
    assert kinds(model) == [*hidden, *hidden, "Linear"]
    keys = model.state_dict()
    assert ("0.bias" in keys) == (norm != "batch")  # beta plays the part of the bias
    assert f"{len(model) - 1}.bias" in keys
    assert all(p.data.dtype == np.float64 for p in model.parameters())


def test_networks_that_differ_in_the_norm_start_from_the_same_weights():
    with_norm = [m.weight.data for m in net("batch") if isinstance(m, L.Linear)]
    without = [m.weight.data for m in net(None) if isinstance(m, L.Linear)]
    for a, b in zip(with_norm, without, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrong", [{"norm": "bach"}, {"activation": "gelu"}])
def test_unknown_names_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        T.mlp((4, 3), rng=rng(), **wrong)


# --- SGD and fit, against torch


def twin(torch, model):
    """Build the same network in torch, with the same state."""
    make = {
        "Linear": lambda m: torch.nn.Linear(
            m.weight.data.shape[1], m.weight.data.shape[0], bias=m.bias is not None
        ),
        "BatchNorm1d": lambda m: torch.nn.BatchNorm1d(m.num_features),
        "LayerNorm": lambda m: torch.nn.LayerNorm(m.normalized_shape),
        "ReLU": lambda m: torch.nn.ReLU(),
        "Sigmoid": lambda m: torch.nn.Sigmoid(),
    }
    theirs = torch.nn.Sequential(*(make[type(m).__name__](m) for m in model)).double()
    theirs.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
    return theirs


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9}, {"weight_decay": 0.01, "momentum": 0.5}], ids=str
)
def test_training_step_by_step_as_torch(norm, options):
    torch = load_torch()
    x, y = blobs()
    activation = "sigmoid" if norm == "batch" else "relu"
    ours = net(norm, activation)
    theirs = twin(torch, ours)
    batches = [rng(s).permutation(len(x))[:20] for s in range(12)]
    optimizer = T.SGD(ours.parameters(), 0.1, **options)
    history = T.fit(ours, x, y, steps=12, batches=batches, optimizer=optimizer)

    optimizer_torch = torch.optim.SGD(theirs.parameters(), 0.1, **options)
    losses = []
    for index in batches:
        logits = theirs(torch.tensor(x[index]))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y[index]))
        optimizer_torch.zero_grad()
        loss.backward()
        optimizer_torch.step()
        losses.append(loss.item())
    assert_close(history.loss, np.array(losses), rtol=1e-9)
    expected = theirs.state_dict()
    for key, value in ours.state_dict().items():
        assert_close(value, expected[key].numpy(), rtol=1e-9)
    assert_close(
        T.predict(ours, x), theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-9
    )


def test_sgd_passes_over_parameters_without_gradient():
    used, unused = L.Parameter(np.ones(2)), L.Parameter(np.ones(2))
    data = used.data
    used.grad = np.array([1.0, -2.0])
    optimizer = T.SGD([used, unused], lr=0.5, weight_decay=0.1)
    optimizer.step()
    assert_close(data, np.array([0.45, 1.95]))  # in place
    assert_close(unused.data, np.ones(2))
    optimizer.zero_grad()
    assert used.grad is None


@pytest.mark.parametrize("wrong", ["lr", "momentum", "weight_decay"])
def test_sgd_refuses_negative_numbers(wrong):
    with pytest.raises(ValueError, match=f"{wrong}.*-0.1"):
        T.SGD([L.Parameter(np.ones(1))], **({"lr": 0.1} | {wrong: -0.1}))


# --- fit: the record, the batches, the modes


def test_fit_learns_and_records():
    x, y = blobs(dtype=np.float32)
    model = net(dtype=np.float32)
    seen = []
    history = T.fit(
        model,
        x,
        y,
        steps=200,
        rng=rng(),
        lr=0.1,
        batch_size=30,
        eval_at=(0, 50, 200),
        x_eval=x,
        y_eval=y,
        callback=lambda step, net: seen.append((step, net is model)),
    )
    assert history.loss.shape == history.step.shape == (200,)
    assert (history.step[0], history.step[-1]) == (1, 200)
    assert history.loss[-10:].mean() < 0.3 * history.loss[0]
    assert history.eval_step.tolist() == [0, 50, 200]
    assert seen == [(0, True), (50, True), (200, True)]
    assert history.accuracy[0] < 0.9 < history.accuracy[-1]
    assert history.accuracy[-1] == T.accuracy(model, x, y)
    assert (np.diff(history.seconds) >= 0).all()
    assert model.training
    assert model[1].state_dict()["num_batches_tracked"] == 200
    assert {p.data.dtype for p in model.parameters()} == {np.dtype("f4")}
    assert history.steps_to(0.9) in (50, 200)
    assert history.steps_to(1.1) is None


def test_evaluation_does_not_disturb_the_training():
    x, y = blobs()
    runs = []
    for eval_at in ((), range(0, 31, 5)):
        model = net()
        options = {"eval_at": eval_at, "x_eval": x, "y_eval": y}
        T.fit(model, x, y, steps=30, rng=rng(4), batch_size=20, **options)
        runs.append(model.state_dict())
    for key, value in runs[0].items():
        np.testing.assert_array_equal(value, runs[1][key])


def test_an_epoch_shows_each_example_once():
    x, y = blobs()
    seen = np.zeros(len(x), int)

    class Spy(L.Sequential):
        def forward(self, batch):
            for row in batch:
                seen[(x == row).all(axis=1)] += 1
            return super().forward(batch)

    T.fit(Spy(*net()), x, y, steps=6, rng=rng(), batch_size=20)
    assert (seen == 1).all()
    seen[:] = 0
    T.fit(Spy(*net()), x, y, steps=2, rng=rng(), batch_size=50)  # 20 are left out
    assert seen.max() == 1
    assert seen.sum() == 100
    seen[:] = 0
    T.fit(Spy(*net()), x, y, steps=3, rng=rng(), batch_size=50)
    assert seen.sum() == 150  # the third is a whole one, of a new epoch


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 1}, "rng"),
        ({"steps": 3, "batches": [np.arange(5)] * 2}, "2 .*3"),
        ({"steps": 1, "rng": rng(), "batch_size": 121}, "121"),
        ({"steps": 1, "rng": rng(), "batch_size": 0}, "batch_size"),
        ({"steps": 1, "rng": rng(), "y": np.arange(7)}, "120.*7"),
        ({"steps": 1, "rng": rng(), "eval_at": [0], "x_eval": np.ones((2, 4))}, "eval"),
    ],
)
def test_fit_names_what_is_wrong(options, words):
    x, y = blobs()
    with pytest.raises(ValueError, match=words):
        T.fit(net(), x, **({"y": y} | options))


# --- predict, accuracy, activations


def test_predict_is_in_evaluation_mode_and_puts_the_modes_back():
    x, _ = blobs()
    model = net()
    model(x)
    model[1].eval()  # one frozen layer in a model that is training
    before = model.state_dict()
    modes = [m.training for m in model.modules()]
    y = T.predict(model, x, batch_size=50)
    assert_close(T.predict(model, x, batch_size=7), y, rtol=1e-13)
    assert [m.training for m in model.modules()] == modes
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    assert_close(model.eval()(x), y, rtol=1e-13)
    model.train()
    with pytest.raises(ValueError, match="3"):
        T.predict(model, x[:, :3])
    assert all(m.training for m in model.modules())  # put back after an error, too


def test_accuracy_counts_right_answers():
    model = L.Sequential(L.ReLU())
    outputs = np.array([[3.0, 1, 0], [0, 2, 1], [0, 5, 1], [np.nan, 2, 1]])
    assert T.accuracy(model, outputs, np.array([0, 1, 2, 1])) == 0.5  # nan is wrong
    assert T.accuracy(model, outputs[3:], np.array([0])) == 0  # and so where argmax is


def test_accuracy_refuses_targets_of_another_shape():
    outputs = np.eye(3)
    for target in (np.arange(3)[:, None], np.array([0])):
        with pytest.raises(ValueError, match=r"\(3, 1\)|\(1,\)|1"):
            T.accuracy(L.Sequential(L.ReLU()), outputs, target)


def test_a_callback_may_look_in_evaluation_mode():
    x, y = blobs()
    runs = []
    for callback in (None, lambda step, model: model.eval()(x)):
        model = net()
        options = {"batch_size": 20, "eval_at": (0, 3), "callback": callback}
        T.fit(model, x, y, steps=6, rng=rng(), **options)
        assert model.training
        runs.append(model.state_dict())
    for key, value in runs[0].items():
        np.testing.assert_array_equal(value, runs[1][key])


def test_activations_are_the_outputs_of_each_layer():
    x, _ = blobs()
    model = net().eval()
    outputs = T.activations(model, x)
    assert len(outputs) == len(model)
    assert_close(outputs[0], x @ model[0].weight.data.T)
    assert_close(outputs[-1], model(x))
    assert_close(outputs[2], np.maximum(outputs[1], 0))


def test_a_training_step_lowers_the_loss_of_its_batch():
    x, y = blobs()
    for norm in (None, "batch", "layer"):
        batches = [np.arange(30)] * 2
        loss = T.fit(net(norm), x, y, steps=2, batches=batches, lr=1e-3).loss
        assert loss[1] < loss[0]


def test_draws_are_reproducible():
    assert_close(net(seed=3)(draw((5, 4))), net(seed=3)(draw((5, 4))), rtol=0)


# --- frozen layers, caches, seconds, memory


def frozen_net():
    model = net()
    model[1].eval()  # the first of two batch norms keeps its statistics
    return model


@pytest.mark.parametrize("look", ["nothing", "evaluation", "callback"])
def test_a_frozen_layer_stays_frozen_in_fit_as_in_torch(look):
    torch = load_torch()
    x, y = blobs()
    model = frozen_net()
    theirs = twin(torch, model)
    theirs[1].eval()
    modes = [m.training for m in model.modules()]
    options = {"eval_at": range(7)}
    if look == "evaluation":
        options |= {"x_eval": x, "y_eval": y}
    elif look == "callback":
        options |= {"callback": lambda step, model: model.train(step % 2 == 0)}
    batches = [rng(s).permutation(len(x))[:20] for s in range(6)]
    T.fit(model, x, y, steps=6, batches=batches, lr=0.1, **options)
    assert [m.training for m in model.modules()] == modes
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for index in batches:
        optimizer.zero_grad()
        logits = theirs(torch.tensor(x[index]))
        torch.nn.functional.cross_entropy(logits, torch.tensor(y[index])).backward()
        optimizer.step()
    for key, value in model.state_dict().items():
        assert_close(value, theirs.state_dict()[key].numpy(), rtol=1e-9)
    assert model[1].num_batches_tracked == 0
    assert model[4].num_batches_tracked == 6


def test_fit_sets_a_model_in_evaluation_mode_to_training():
    x, y = blobs()
    model = net().eval()
    T.fit(model, x, y, steps=2, rng=rng())
    assert all(m.training for m in model.modules())
    assert model[1].num_batches_tracked == 2


def test_modes_are_put_back_after_a_callback_that_fails():
    x, y = blobs()
    model = frozen_net()
    modes = [m.training for m in model.modules()]

    def fail(step, model):
        model.eval()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        T.fit(model, x, y, steps=1, rng=rng(), eval_at=[0], callback=fail)
    assert [m.training for m in model.modules()] == modes


def test_a_look_between_forward_and_backward_does_not_change_the_gradient():
    x, y = blobs()
    grads = []
    for look in (False, True):
        model = net()
        out = model(x)
        if look:
            T.accuracy(model, x[::-1].copy(), y)
        model.backward(out)
        grads.append([p.grad for p in model.parameters()])
    for first, second in zip(*grads, strict=True):
        np.testing.assert_array_equal(first, second)


def test_outputs_of_layers_are_not_what_the_next_layer_keeps():
    x, _ = blobs()
    grads = []
    for change in (0, 1):
        model = net()
        outputs = T.activations(model, x)
        for y in outputs:
            y += change
        model.backward(np.ones((120, 3)))
        grads.append([p.grad for p in model.parameters()])
    for first, second in zip(*grads, strict=True):
        np.testing.assert_array_equal(first, second)


def test_seconds_are_those_of_training_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(T.time, "perf_counter", lambda: now[0])

    class Clocked(L.Sequential):
        def forward(self, batch):
            now[0] += 1.0 if self.training else 1000.0
            return super().forward(batch)

    def look(step, model):
        now[0] += 1000.0

    x, y = blobs()
    options = {"eval_at": (0, 2, 5), "x_eval": x, "y_eval": y, "callback": look}
    history = T.fit(Clocked(*net()), x, y, steps=5, rng=rng(), **options)
    assert history.seconds.tolist() == [0.0, 2.0, 5.0]


def test_steps_to_counts_an_accuracy_that_is_just_reached():
    history = T.History(
        eval_step=np.array([0, 10, 20]), accuracy=np.array([0.1, 0.5, 0.75])
    )
    assert history.steps_to(0.5) == 10
    assert history.steps_to(0.1) == 0
    assert history.steps_to(0.76) is None


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_optimizer_shares_no_memory_with_the_gradients(weight_decay):
    torch = load_torch()
    ours = L.Parameter(np.ones(2))
    theirs = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": weight_decay}
    pair = [T.SGD([ours], **options), torch.optim.SGD([theirs], **options)]
    ours.grad, theirs.grad = np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]).double()
    for _ in range(3):
        for optimizer in pair:
            optimizer.step()
        ours.grad *= -3  # in place, as clipping does
        theirs.grad *= -3
    assert_close(ours.data, theirs.detach().numpy(), rtol=1e-14)


def test_predict_takes_an_empty_batch_and_accuracy_refuses_it():
    model = net()
    assert T.predict(model, np.empty((0, 4))).shape == (0, 3)
    with pytest.raises(ValueError, match="at least one example"):
        T.accuracy(model, np.empty((0, 4)), np.empty(0, int))
    for wrong in (0, -1, 2.5):
        with pytest.raises(ValueError, match="batch_size must be an integer >= 1"):
            T.predict(model, np.ones((5, 4)), batch_size=wrong)


def test_a_step_that_cannot_be_made_wholly_changes_nothing():
    for wrong in ("shape", "read-only"):
        first, second = L.Parameter(np.ones(2)), L.Parameter(np.ones(2))
        first.grad, second.grad = np.ones(2), np.ones(1 + (wrong == "read-only"))
        second.data.flags.writeable = wrong == "shape"
        with pytest.raises(ValueError, match=wrong):
            T.SGD([first, second], 0.1).step()
        assert_close(first.data, np.ones(2))


def test_sgd_refuses_to_train_nothing():
    with pytest.raises(ValueError, match="at least one parameter"):
        T.SGD(L.ReLU().parameters(), 0.1)
