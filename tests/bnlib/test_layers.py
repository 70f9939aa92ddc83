import copy
import pickle

import numpy as np
import pytest
from oracle import assert_close, draw, load_torch

from bnlib import layers as L

f64 = {"dtype": np.float64}


def rng():
    return np.random.default_rng(0)


# One row: how to make ours, how to make torch's, the shape of the input.
TWINS = {
    "Linear": (
        lambda: L.Linear(3, 4, rng=rng(), **f64),
        lambda nn: nn.Linear(3, 4),
        (5, 3),
    ),
    "Linear without bias": (
        lambda: L.Linear(3, 4, bias=False, rng=rng(), **f64),
        lambda nn: nn.Linear(3, 4, bias=False),
        (5, 3),
    ),
    "Conv2d": (
        lambda: L.Conv2d(3, 4, 3, stride=2, padding=1, rng=rng(), **f64),
        lambda nn: nn.Conv2d(3, 4, 3, stride=2, padding=1),
        (2, 3, 6, 5),
    ),
    "Conv2d without bias": (
        lambda: L.Conv2d(3, 4, 2, bias=False, rng=rng(), **f64),
        lambda nn: nn.Conv2d(3, 4, 2, bias=False),
        (2, 3, 6, 5),
    ),
    "BatchNorm1d": (
        lambda: L.BatchNorm1d(3, eps=0.1, **f64),
        lambda nn: nn.BatchNorm1d(3, eps=0.1),
        (5, 3),
    ),
    "BatchNorm1d 3D": (
        lambda: L.BatchNorm1d(3, momentum=0.3, **f64),
        lambda nn: nn.BatchNorm1d(3, momentum=0.3),
        (5, 3, 4),
    ),
    "BatchNorm1d cumulative": (
        lambda: L.BatchNorm1d(3, momentum=None, **f64),
        lambda nn: nn.BatchNorm1d(3, momentum=None),
        (5, 3),
    ),
    "BatchNorm1d not affine": (
        lambda: L.BatchNorm1d(3, affine=False, **f64),
        lambda nn: nn.BatchNorm1d(3, affine=False),
        (5, 3),
    ),
    "BatchNorm1d untracked": (
        lambda: L.BatchNorm1d(3, track_running_stats=False, **f64),
        lambda nn: nn.BatchNorm1d(3, track_running_stats=False),
        (5, 3),
    ),
    "BatchNorm2d": (
        lambda: L.BatchNorm2d(3, momentum=1.0, **f64),
        lambda nn: nn.BatchNorm2d(3, momentum=1.0),
        (2, 3, 4, 5),
    ),
    "LayerNorm": (
        lambda: L.LayerNorm((3, 4), eps=0.1, **f64),
        lambda nn: nn.LayerNorm((3, 4), eps=0.1),
        (5, 3, 4),
    ),
    "LayerNorm int": (
        lambda: L.LayerNorm(4, **f64),
        lambda nn: nn.LayerNorm(4),
        (5, 3, 4),
    ),
    "LayerNorm without bias": (
        lambda: L.LayerNorm(4, bias=False, **f64),
        lambda nn: nn.LayerNorm(4, bias=False),
        (5, 4),
    ),
    "LayerNorm not affine": (
        lambda: L.LayerNorm(4, elementwise_affine=False, **f64),
        lambda nn: nn.LayerNorm(4, elementwise_affine=False),
        (5, 4),
    ),
    "GroupNorm": (
        lambda: L.GroupNorm(2, 6, **f64),
        lambda nn: nn.GroupNorm(2, 6),
        (5, 6, 3),
    ),
    "InstanceNorm1d": (
        lambda: L.InstanceNorm1d(3, **f64),
        lambda nn: nn.InstanceNorm1d(3),
        (5, 3, 4),
    ),
    "InstanceNorm2d affine": (
        lambda: L.InstanceNorm2d(3, affine=True, track_running_stats=True, **f64),
        lambda nn: nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        (2, 3, 4, 5),
    ),
    "RMSNorm": (lambda: L.RMSNorm(4, **f64), lambda nn: nn.RMSNorm(4), (5, 4)),
    "ReLU": (lambda: L.ReLU(), lambda nn: nn.ReLU(), (5, 4)),
    "Sigmoid": (lambda: L.Sigmoid(), lambda nn: nn.Sigmoid(), (5, 4)),
    "Tanh": (lambda: L.Tanh(), lambda nn: nn.Tanh(), (5, 4)),
    "Flatten": (lambda: L.Flatten(), lambda nn: nn.Flatten(), (5, 4, 2)),
    "MLP": (
        lambda: L.Sequential(
            L.Linear(4, 6, bias=False, rng=rng(), **f64),
            L.BatchNorm1d(6, **f64),
            L.ReLU(),
            L.Linear(6, 3, rng=rng(), **f64),
        ),
        lambda nn: nn.Sequential(
            nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)
        ),
        (7, 4),
    ),
    "convolutional net": (
        lambda: L.Sequential(
            L.Conv2d(2, 3, 3, padding=1, bias=False, rng=rng(), **f64),
            L.BatchNorm2d(3, **f64),
            L.Tanh(),
            L.Sequential(L.Flatten(), L.Linear(60, 4, rng=rng(), **f64)),
            L.LayerNorm(4, **f64),
        ),
        lambda nn: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, bias=False),
            nn.BatchNorm2d(3),
            nn.Tanh(),
            nn.Sequential(nn.Flatten(), nn.Linear(60, 4)),
            nn.LayerNorm(4),
        ),
        (5, 2, 4, 5),
    ),
}
every_twin = pytest.mark.parametrize("name", TWINS)


def randomize(module):
    """Give each parameter and each running statistic a value that is not trivial."""
    state = module.state_dict()
    for seed, (key, value) in enumerate(state.items()):
        if value.dtype == np.int64:
            continue
        state[key] = draw(value.shape, value.dtype, seed)
        if key.endswith("running_var"):
            state[key] = np.abs(state[key]) + 0.2
    module.load_state_dict(state)


def as_torch(torch, state):
    return {key: torch.tensor(value) for key, value in state.items()}


def assert_same_state(ours, theirs):
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert_close(value, theirs[key].numpy())


@every_twin
def test_training_and_evaluation_agree_with_torch(name):
    torch = load_torch()
    make, make_torch, shape = TWINS[name]
    ours, theirs = make(), make_torch(torch.nn).double()
    assert_fresh = {k: v.shape for k, v in theirs.state_dict().items()}
    assert {k: v.shape for k, v in ours.state_dict().items()} == assert_fresh
    randomize(ours)
    theirs.load_state_dict(as_torch(torch, ours.state_dict()), strict=True)
    for mode in (True, True, True, False):  # three batches, then evaluation
        ours.train(mode)
        theirs.train(mode)
        x = draw(shape, seed=11 + mode)
        x_torch = torch.tensor(x, requires_grad=True)
        ours.zero_grad()
        theirs.zero_grad()
        y, y_torch = ours(x), theirs(x_torch)
        assert_close(y, y_torch.detach().numpy())
        grad_output = draw(y.shape, seed=12)
        y_torch.backward(torch.tensor(grad_output))
        assert_close(ours.backward(grad_output), x_torch.grad.numpy())
        expected = dict(theirs.named_parameters())
        assert list(dict(ours.named_parameters())) == list(expected)
        for key, parameter in ours.named_parameters():
            assert_close(parameter.grad, expected[key].grad.numpy())
        assert_same_state(ours.state_dict(), theirs.state_dict())


@every_twin
def test_state_travels_from_torch_and_back_without_renaming(name):
    torch = load_torch()
    make, make_torch, shape = TWINS[name]
    theirs = make_torch(torch.nn).double()
    theirs(torch.tensor(draw(shape)))  # moves the running statistics
    ours = make()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    assert_same_state(ours.state_dict(), theirs.state_dict())
    x = draw(shape, seed=3)
    assert_close(ours.eval()(x), theirs.eval()(torch.tensor(x)).detach().numpy())


@pytest.mark.parametrize("name", ["BatchNorm1d", "MLP"])
def test_float32_is_the_default_and_stays(name):
    if name == "BatchNorm1d":
        net = L.BatchNorm1d(4)
    else:
        net = L.Sequential(L.Linear(4, 4, rng=rng()), L.BatchNorm1d(4), L.ReLU())
    x = draw((5, 4), np.float32)
    y = net(x)
    assert y.dtype == net.backward(y).dtype == np.float32
    assert {p.grad.dtype for p in net.parameters()} == {np.dtype("f4")}
    kinds = {k.rsplit(".", 1)[-1]: v.dtype for k, v in net.state_dict().items()}
    assert kinds.pop("num_batches_tracked") == np.int64
    assert set(kinds.values()) == {np.dtype("f4")}


# --- bookkeeping of the batch-norm layer


def test_batches_are_counted_in_training_only():
    layer = L.BatchNorm1d(3)
    for _ in range(3):
        layer(draw((5, 3), np.float32))
    layer.eval()
    layer(draw((5, 3), np.float32))
    count = layer.state_dict()["num_batches_tracked"]
    assert (count, count.dtype, count.shape) == (3, np.int64, ())


def test_no_momentum_means_the_average_over_all_batches():
    layer = L.BatchNorm1d(3, momentum=None, **f64)
    batches = [draw((5, 3), seed=s) for s in range(4)]
    for x in batches:
        layer(x)
    state = layer.state_dict()
    assert_close(state["running_mean"], np.mean([x.mean(axis=0) for x in batches], 0))
    unbiased = [x.var(axis=0, ddof=1) for x in batches]
    assert_close(state["running_var"], np.mean(unbiased, axis=0))


def test_untracked_layer_uses_the_batch_in_evaluation_too():
    layer = L.BatchNorm1d(3, track_running_stats=False, **f64)
    x = draw((5, 3))
    y = layer(x)
    assert_close(layer.eval()(x), y)
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_batch_of_one():
    layer = L.BatchNorm1d(3, **f64)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=r"Expected more than 1 value .* \[1, 3\]"):
        layer(np.ones((1, 3)))
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    assert layer.eval()(np.ones((1, 3))).shape == (1, 3)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("BatchNorm1d", (3,)),
        ("BatchNorm1d", (2, 3, 4, 4)),
        ("BatchNorm2d", (2, 3)),
        ("BatchNorm2d", (2, 3, 4)),
    ],
)
def test_wrong_number_of_axes_in_the_words_of_torch(layer, shape):
    torch = load_torch()
    with pytest.raises(ValueError) as ours:  # noqa: PT011
        getattr(L, layer)(3)(np.ones(shape, np.float32))
    with pytest.raises(ValueError) as theirs:  # noqa: PT011
        getattr(torch.nn, layer)(3)(torch.ones(shape))
    assert str(ours.value) == str(theirs.value)


def test_wrong_number_of_features_or_groups():
    with pytest.raises(ValueError, match=r"3 .*4|4 .*3"):
        L.BatchNorm1d(3)(np.ones((5, 4), np.float32))
    with pytest.raises(ValueError, match="num_channels must be divisible"):
        L.GroupNorm(4, 6)
    with pytest.raises(TypeError):
        L.BatchNorm1d(3, **f64)(draw((5, 3), np.float32))


# --- modules, parameters, states


def small_net():
    return L.Sequential(
        L.Linear(4, 3, rng=rng(), **f64), L.BatchNorm1d(3, **f64), L.ReLU()
    )


def test_sequential_is_a_sequence_of_modules():
    net = small_net()
    assert len(net) == 3
    assert [type(m).__name__ for m in net] == ["Linear", "BatchNorm1d", "ReLU"]
    assert net[1] is list(net)[1]
    assert isinstance(net[-1], L.ReLU)
    assert all(m in list(net.modules()) for m in net)


def test_train_and_eval_reach_every_module():
    net = L.Sequential(small_net(), L.BatchNorm1d(3, **f64))
    assert net.training
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())


def test_gradients_add_up_until_cleared():
    net = small_net()
    assert all(p.grad is None for p in net.parameters())
    x, grad_output = draw((5, 4)), draw((5, 3))
    net(x)
    net.backward(grad_output)
    once = [p.grad.copy() for p in net.parameters()]
    net(x)
    net.backward(grad_output)
    for first, parameter in zip(once, net.parameters(), strict=True):
        assert_close(parameter.grad, 2 * first)
    net.zero_grad()
    assert all(p.grad is None or not p.grad.any() for p in net.parameters())


def test_state_dict_is_a_copy():
    net = small_net()
    state = net.state_dict()
    for value in state.values():
        value[...] = 7
    assert all((v != 7).any() for v in net.state_dict().values())
    net.load_state_dict(state)
    state["0.weight"][...] = 9
    assert (net.state_dict()["0.weight"] == 7).all()


def broken_state(kind):
    state = {key: value + 1 for key, value in small_net().state_dict().items()}
    if kind == "missing":
        del state["1.running_var"]  # late in the order: earlier keys are fine
    elif kind == "unexpected":
        state["2.weight"] = np.ones(3)
    elif kind == "shape":
        state["1.running_var"] = np.ones(4)
    elif kind == "words":
        state["1.running_var"] = np.array(["a", "b", "c"])
    return state


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "running_var"),
        ("unexpected", "2.weight"),
        ("shape", r"running_var.*\(3,\).*\(4,\)"),
        ("words", r"running_var must hold numbers, got <U1"),
    ],
)
def test_failed_load_changes_nothing_and_names_the_key(kind, words):
    net = small_net()
    before = net.state_dict()
    with pytest.raises((ValueError, KeyError, TypeError), match=words):
        net.load_state_dict(broken_state(kind))
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_load_that_is_not_strict_takes_what_fits():
    net = small_net()
    before = net.state_dict()
    state = broken_state("missing") | {"2.weight": np.ones(3)}
    net.load_state_dict(state, strict=False)
    after = net.state_dict()
    assert_close(after["0.weight"], state["0.weight"])
    assert_close(after["1.running_var"], before["1.running_var"])


def pickle_copy(module):
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickle_copy])
def test_a_copy_is_a_network_of_its_own(duplicate):
    net = small_net()
    twin = duplicate(net)
    x = draw((5, 4))
    assert_close(twin(x), net(x))
    before = net.state_dict()
    twin.backward(draw((5, 3)))
    twin(x + 1)
    for parameter in twin.parameters():
        parameter.data -= parameter.grad
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
        assert (twin.state_dict()[key] != value).any()
    assert all(p.grad is None for p in net.parameters())


def test_an_assigned_running_statistic_is_used_and_stored():
    layer = L.BatchNorm1d(3, **f64)
    layer.running_mean = np.arange(3.0)  # as precise statistics do
    x = draw((5, 3))
    expected = (x - np.arange(3.0)) / np.sqrt(1 + 1e-5)
    assert_close(layer.eval()(x), expected)
    assert_close(layer.state_dict()["running_mean"], np.arange(3.0))


def test_backward_before_forward_says_so():
    for layer in (L.BatchNorm1d(3), L.Linear(3, 2, rng=rng()), L.ReLU()):
        with pytest.raises(RuntimeError, match=type(layer).__name__):
            layer.backward(np.ones((5, 3), np.float32))


@every_twin
def test_input_gradient_can_be_left_out(name):
    make, _, shape = TWINS[name]
    full, lean = make(), make()
    for net, wanted in ((full, True), (lean, False)):
        y = net(draw(shape))
        grad_x = net.backward(draw(y.shape, seed=12), input_grad=wanted)
        assert (grad_x is not None) == wanted
    for p, q in zip(full.parameters(), lean.parameters(), strict=True):
        assert_close(p.grad, q.grad)


def test_only_the_first_layer_leaves_its_input_gradient_out():
    inner = L.Sequential(L.Linear(4, 3, rng=rng(), **f64), L.ReLU())
    net = L.Sequential(inner, L.Linear(3, 2, rng=rng(), **f64))
    asked = []
    for layer in (*inner, net[1]):
        whole = layer.backward
        layer.backward = lambda g, w, whole=whole: asked.append(w) or whole(g, w)
    net(draw((5, 4)))
    assert net.backward(draw((5, 2)), input_grad=False) is None
    assert asked == [True, True, False]  # in reverse: last, inner ReLU, inner Linear


@pytest.mark.parametrize(
    ("init", "std"), [("he", (2 / 400) ** 0.5), ("lecun", 400**-0.5), (0.01, 0.01)]
)
def test_initial_weights_have_the_spread_asked_for(init, std):
    layer = L.Linear(400, 300, rng=rng(), init=init)
    assert layer.weight.data.std() == pytest.approx(std, rel=0.02)
    assert not layer.bias.data.any()
    again = L.Linear(400, 300, rng=rng(), init=init)
    np.testing.assert_array_equal(layer.weight.data, again.weight.data)
    if init != 0.01:
        conv = L.Conv2d(40, 50, 5, rng=rng(), init=init)  # fan-in 40 * 25
        assert conv.weight.data.std() == pytest.approx(std * 0.4**0.5, rel=0.02)


def test_unknown_init_is_named():
    with pytest.raises(ValueError, match="xavier"):
        L.Linear(3, 4, rng=rng(), init="xavier")
