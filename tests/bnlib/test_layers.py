import copy
import inspect
import itertools
import pickle

import numpy as np
import pytest
from oracle import assert_close, draw, load_torch

from bnlib import layers as L
from bnlib.training import fit

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


# --- networks as classes, written as for torch


def branched(nn, **kind):
    """Return a class of networks that holds layers in every way that torch knows."""

    class Branched(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 3, **kind)
            self.blocks = listed(nn, [nn.BatchNorm1d(3), nn.Linear(3, 3, **kind)])
            self.heads = named(nn, {"mean": nn.Linear(3, 2, **kind)})
            self.tail = nn.Sequential(nn.ReLU(), nn.Linear(2, 2, **kind))
            self.scale = parameter(nn, 2)

        def forward(self, x):
            h = self.blocks[1](self.blocks[0](self.first(x)))
            self.h = self.tail(self.heads["mean"](h))
            return self.h * value(self.scale)

        def backward(self, grad, input_grad=True):
            self.scale.accumulate((grad * self.h).sum(0))
            grad = self.tail.backward(grad * self.scale.data)
            grad = self.heads["mean"].backward(grad)
            for layer in (self.blocks[1], self.blocks[0]):
                grad = layer.backward(grad)
            return self.first.backward(grad, input_grad)

    return Branched


def listed(nn, layers):
    return layers if nn is L else nn.ModuleList(layers)


def named(nn, layers):
    return layers if nn is L else nn.ModuleDict(layers)


def parameter(nn, n):
    if nn is L:
        return L.Parameter(np.ones(n, np.float32))
    return nn.Parameter(load_torch().ones(n))


def value(p):
    return p.data if isinstance(p, L.Parameter) else p


def test_a_network_written_as_a_class_is_registered_and_trains_as_in_torch():
    torch = load_torch()
    ours, theirs = branched(L, rng=rng())(), branched(torch.nn)()
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    names = [name for name, _ in theirs.named_parameters()]
    assert [name for name, _ in ours.named_parameters()] == names
    assert len(list(ours.parameters())) == len(names)
    theirs.load_state_dict(as_torch(torch, ours.state_dict()))
    ours.eval()
    assert not any(m.training for m in ours.modules())
    assert ours.heads["mean"].training is ours.blocks[0].training is False
    x, y = draw((12, 4), np.float32), np.arange(12) % 2
    fit(ours, x, y, steps=5, batches=[np.arange(12)] * 5, lr=0.1)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        out = theirs(torch.tensor(x))
        torch.nn.functional.cross_entropy(out, torch.tensor(y)).backward()
        optimizer.step()
    for key, found in ours.state_dict().items():
        np.testing.assert_allclose(
            found, theirs.state_dict()[key].numpy(), rtol=1e-4, atol=1e-6
        )
    twin = branched(L, rng=rng())()
    twin.load_state_dict(ours.state_dict())
    np.testing.assert_array_equal(twin.eval()(x), ours.eval()(x))


def test_lists_in_lists_and_tuples_are_registered_too():
    class Net(L.Module):
        def __init__(self):  # forgets super().__init__(): nothing is missing
            self.grid = [[L.ReLU(), L.LayerNorm(2)], (L.RMSNorm(3),)]
            self.gains = {"a": L.Parameter(np.ones(2))}
            self.name, self.sizes, self.none = "net", [1, 2], None

    net = Net()
    keys = ["gains.a", "grid.0.1.weight", "grid.0.1.bias", "grid.1.0.weight"]
    assert list(net.state_dict()) == keys
    assert [k for k, _ in net.named_parameters()] == keys
    assert [k for k, _ in net.named_modules()] == [
        "",
        "grid.0.0",
        "grid.0.1",
        "grid.1.0",
    ]
    assert net.training
    assert not net.eval().grid[1][0].training


def test_a_sequential_with_more_attributes_has_them_too():
    class Net(L.Sequential):
        def __init__(self):
            super().__init__(L.LayerNorm(2))
            self.head = L.RMSNorm(2)

    assert list(Net().state_dict()) == ["0.weight", "0.bias", "head.weight"]


def test_shared_layers_and_parameters_count_once_but_stand_at_each_place():
    torch = load_torch()

    def build(nn, linear):
        net = nn.Sequential(linear(), linear(), linear())
        net[1].weight = net[0].weight
        return nn.Sequential(net, net[2])

    ours = build(L, lambda: L.Linear(2, 2, rng=rng()))
    theirs = build(torch.nn, lambda: torch.nn.Linear(2, 2))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    names = [name for name, _ in theirs.named_parameters()]
    assert [name for name, _ in ours.named_parameters()] == names
    assert [n for n, _ in ours.named_modules()] == [
        n for n, _ in theirs.named_modules()
    ]


def test_a_cache_is_not_registered():
    layer = L.LayerNorm(2)
    layer._cache = [L.Parameter(np.ones(2)), L.ReLU()]
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert list(layer.modules()) == [layer]


# --- a cache is used once


@every_twin
def test_a_second_backward_without_a_forward_says_what_happened(name):
    make, _, shape = TWINS[name]
    net = make()
    y = net(draw(shape))
    net.backward(y)
    before = [p.grad.copy() for p in net.parameters()]
    for wanted in (True, False):
        with pytest.raises(RuntimeError, match=r"backward has no cache: an earlier"):
            net.backward(y, wanted)
    for p, grad in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad, grad)
    net(draw(shape))
    net.backward(y)


def test_a_layer_at_two_places_of_a_network_is_refused():
    layer = L.Linear(3, 3, rng=rng(), **f64)
    net = L.Sequential(layer, L.ReLU(), layer)
    y = net(draw((5, 3)))
    with pytest.raises(RuntimeError, match="use a layer at one place"):
        net.backward(y)


def test_two_forwards_before_two_backwards_are_refused():
    layer = L.BatchNorm1d(3, **f64)
    layer(draw((5, 3)))
    y = layer(draw((5, 3), seed=1))
    layer.backward(y)  # that of the second batch
    with pytest.raises(RuntimeError, match="an earlier backward pass took it"):
        layer.backward(y)


def test_a_backward_without_any_forward_says_so_each_time():
    layer = L.ReLU()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no forward pass came before it"):
            layer.backward(np.ones((2, 2)))


def test_the_input_gradient_left_out_takes_the_cache_too():
    for layer in (L.ReLU(), L.Flatten()):
        y = layer(draw((4, 3)))
        layer.backward(y, input_grad=False)
        with pytest.raises(RuntimeError, match="no cache"):
            layer.backward(y)


# --- running statistics


@pytest.mark.parametrize("old", [1e8, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("kind", "momentum"),
    [("batch", 1.0), ("batch", 1), ("batch", None), ("instance", 1.0)],
)
def test_weight_one_replaces_the_running_statistics_exactly(kind, momentum, old):
    make = L.BatchNorm1d if kind == "batch" else L.InstanceNorm1d
    layer = make(1, momentum=momentum, track_running_stats=True)
    layer.running_mean[:] = layer.running_var[:] = old
    x = np.array([0.0, 0.0, 2.0, 4.0], np.float32).reshape(1, 1, 4)
    layer(x)
    assert layer.running_mean == np.float32(1.5)
    assert layer.running_var == np.float32(11 / 3)
    if kind == "batch":
        layer.reset_running_stats()
        layer(x[0].T)
        np.testing.assert_array_equal(layer.running_mean, np.float32([1.5]))


def test_reset_running_stats_repairs_what_was_lost_as_in_torch():
    torch = load_torch()
    ours, theirs = (
        L.BatchNorm1d(3, momentum=None),
        torch.nn.BatchNorm1d(3, momentum=None),
    )
    x = draw((5, 3), np.float32)
    ours.running_mean[:], ours.running_var[:] = np.nan, np.inf
    kept = ours.running_mean, ours.running_var, ours.num_batches_tracked
    ours(x)
    for layer in (ours, theirs):
        layer.reset_running_stats()
    fresh = {k: v.numpy() for k, v in theirs.state_dict().items()}
    for key, found in ours.state_dict().items():
        np.testing.assert_array_equal(found, fresh[key])
    assert kept[0] is ours.running_mean  # in place: who holds them sees it
    for _ in range(2):
        ours(x)
        theirs(torch.tensor(x))
    np.testing.assert_allclose(ours.running_var, theirs.running_var.numpy(), rtol=1e-6)
    L.BatchNorm1d(3, track_running_stats=False).reset_running_stats()  # nothing to do


def test_instance_norm_without_momentum_leaves_its_statistics_as_in_torch():
    torch = load_torch()
    options = {"momentum": None, "track_running_stats": True}
    ours, theirs = L.InstanceNorm1d(3, **options), torch.nn.InstanceNorm1d(3, **options)
    x = draw((2, 3, 4), np.float32)
    for layer, batch in ((ours, x), (theirs, torch.tensor(x))):
        layer(batch)
    for key, found in ours.state_dict().items():
        np.testing.assert_array_equal(found, theirs.state_dict()[key].numpy())
    with np.errstate(all="ignore"):
        ours(np.full((1, 3, 2), np.inf, np.float32))
    assert (ours.running_mean == 0).all()  # 0 times infinity is not added


@pytest.mark.parametrize("which", ["running_mean", "running_var"])
@pytest.mark.parametrize("make", [L.BatchNorm1d, L.InstanceNorm1d])
def test_an_update_that_cannot_be_made_wholly_changes_nothing(make, which):
    layer = make(3, track_running_stats=True)
    getattr(layer, which).flags.writeable = False
    before = layer.state_dict()
    with pytest.raises(ValueError, match="one of them is read-only"):
        layer(draw((2, 3, 4), np.float32))
    for key, found in layer.state_dict().items():
        np.testing.assert_array_equal(found, before[key])
    layer.eval()(draw((2, 3, 4), np.float32))  # there nothing is written


# --- states as torch has them


def torch_state(torch):
    theirs = torch.nn.BatchNorm1d(3)
    theirs(torch.tensor(draw((5, 3), np.float32)))
    return {k: v.clone() for k, v in theirs.state_dict().items()}


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int64"]
)
def test_states_of_other_dtypes_are_converted_as_torch_does(dtype):
    torch = load_torch()
    state = torch_state(torch)
    state["weight"] = torch.tensor([1, 2, 3]).to(getattr(torch, dtype))
    state["bias"] = torch.nn.Parameter(torch.tensor([0.5, 0.25, -1.0]))  # wants grads
    state["num_batches_tracked"] = torch.tensor([7.0])
    ours, theirs = L.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    ours.load_state_dict(state)
    theirs.load_state_dict(state)
    for key, found in ours.state_dict().items():
        expected = theirs.state_dict()[key].numpy()
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    ours.load_state_dict(dict(ours.state_dict(), weight=L.Parameter(np.full(3, 4.0))))
    assert (ours.weight.data == 4).all()


def test_old_checkpoints_without_a_count_are_taken_as_in_torch():
    torch = load_torch()
    state = torch_state(torch)
    del state["num_batches_tracked"]
    ours, theirs = L.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    ours(draw((5, 3), np.float32))
    theirs(torch.tensor(draw((5, 3), np.float32)))
    assert ours.load_state_dict(state) == theirs.load_state_dict(state) == ([], [])
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 1


def test_load_returns_what_was_missing_and_what_was_not_expected_as_torch_does():
    torch = load_torch()
    state = {"weight": torch.ones(3), "foo": torch.ones(2), "bar": torch.ones(1)}
    ours = L.BatchNorm1d(3).load_state_dict(state, strict=False)
    theirs = torch.nn.BatchNorm1d(3).load_state_dict(state, strict=False)
    assert ours.missing_keys == theirs.missing_keys
    assert ours.unexpected_keys == theirs.unexpected_keys


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.array(["a", "b", "c"]), "must hold numbers, got <U1"),
        (np.array([None] * 3), "must hold numbers, got object"),
        (np.ones(3) + 1j, "must hold numbers, got complex128"),
        (np.ma.ones(3), "must hold numbers, got a MaskedArray"),
        (np.ones((3, 1)), r"must have shape \(3,\), got \(3, 1\)"),
        (np.float32(1), r"must have shape \(3,\), got \(\)"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(value, words):
    layer = L.BatchNorm1d(3)
    before = layer.state_dict()
    state = {k: v + 1 for k, v in before.items()} | {"running_var": value}
    with pytest.raises((TypeError, ValueError), match=f"running_var {words}"):
        layer.load_state_dict(state)
    for key, found in layer.state_dict().items():
        np.testing.assert_array_equal(found, before[key])


def test_a_read_only_parameter_is_named_before_anything_is_loaded():
    layer = L.BatchNorm1d(3)
    before = layer.state_dict()
    layer.running_var.flags.writeable = False
    with pytest.raises(ValueError, match="running_var cannot be loaded"):
        layer.load_state_dict({k: v + 1 for k, v in before.items()})
    for key, found in layer.state_dict().items():
        np.testing.assert_array_equal(found, before[key])


def test_a_state_may_hold_the_layers_own_arrays():
    layer = L.BatchNorm1d(3)
    layer.bias.data[:] = 5
    own = {"weight": layer.bias.data, "bias": layer.weight.data}
    layer.load_state_dict(own, strict=False)
    np.testing.assert_array_equal(
        [layer.weight.data, layer.bias.data], [[5] * 3, [1] * 3]
    )


# --- what no layer can be made of

REFUSED = {
    "eps must be >= 0, got -1e-05": {"eps": -1e-5},
    "eps must be >= 0, got nan": {"eps": float("nan")},
    "dtype must be float32 or float64, got int64": {"dtype": np.int64},
    "dtype must be float32 or float64, got float16": {"dtype": np.float16},
    "dtype must be float32 or float64, got complex64": {"dtype": np.complex64},
    "momentum must be None or lie in 0 to 1, got 1.5": {"momentum": 1.5},
    "momentum must be None or lie in 0 to 1, got -0.1": {"momentum": -0.1},
    "momentum must be None or lie in 0 to 1, got nan": {"momentum": float("nan")},
}
MAKERS = {  # how a layer is made, and the names of its sizes
    L.Linear: ("in_features", "out_features"),
    L.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride"),
    L.BatchNorm1d: ("num_features",),
    L.BatchNorm2d: ("num_features",),
    L.InstanceNorm1d: ("num_features",),
    L.InstanceNorm2d: ("num_features",),
    L.LayerNorm: ("normalized_shape",),
    L.RMSNorm: ("normalized_shape",),
    L.GroupNorm: ("num_groups", "num_channels"),
}


@pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)
def test_every_layer_refuses_the_same_things_in_the_same_words(make):
    takes = inspect.signature(make).parameters
    sizes = dict.fromkeys(MAKERS[make], 1)
    sizes |= {"rng": rng()} if "rng" in takes else {}
    make(**sizes)
    for words, options in REFUSED.items():
        if set(options) <= set(takes):
            with pytest.raises((ValueError, TypeError)) as refusal:
                make(**(sizes | options))
            assert str(refusal.value) == words
    for name, size in itertools.product(MAKERS[make], (0, -1, 1.5, "3", None)):
        with pytest.raises(ValueError, match=f"{name}.* must be an integer >= 1, got"):
            make(**(sizes | {name: size}))


def test_shapes_and_paddings_are_refused_in_words():
    for wrong in ((), (3, 0), (3, 1.0)):
        with pytest.raises(ValueError, match="normalized_shape"):
            L.LayerNorm(wrong)
    with pytest.raises(ValueError, match="padding must be an integer >= 0, got -1"):
        L.Conv2d(1, 1, 1, padding=-1, rng=rng())
    for layer in (L.Linear, L.Conv2d):
        with pytest.raises(TypeError, match="rng must be a numpy"):
            layer(*(1,) * len(MAKERS[layer]), rng=0)


def test_an_empty_batch_passes_through_every_layer_in_evaluation_as_in_torch():
    torch = load_torch()
    for name, (make, make_torch, shape) in TWINS.items():
        ours, theirs = make().eval(), make_torch(torch.nn).double().eval()
        x = np.empty((0, *shape[1:]))
        try:
            expected = theirs(torch.tensor(x)).shape
        except (IndexError, RuntimeError):  # torch's instance norm, Flatten
            continue
        assert ours(x).shape == expected, name
        assert ours.backward(np.empty(expected)).shape == x.shape, name
        for p in ours.parameters():
            assert not p.grad.any(), name


def test_a_slice_of_a_sequential_is_a_sequential_of_the_same_layers():
    net = small_net()
    part = net[:2]
    assert isinstance(part, L.Sequential)
    assert list(part) == [net[0], net[1]]


def test_only_true_and_false_are_modes():
    with pytest.raises(ValueError, match="got 'eval'"):
        small_net().train("eval")


def test_a_parameter_holds_floats():
    for wrong in (np.array([1, 2]), [1.0, 2.0], np.ma.ones(2), np.ones(2, complex)):
        with pytest.raises(TypeError, match=r"data must be .*, got"):
            L.Parameter(wrong)
