"""Every public function with every kind of array: the right dtype, or a sentence."""

import inspect
import warnings

import numpy as np
import pytest
from oracle import draw

import bnlib.functional as F
from bnlib import checks, data, graph, layers, ops, roses, training

KINDS = {
    "float32": lambda a: a.astype(np.float32),
    "float64": lambda a: a,
    "int": lambda a: np.rint(a).astype(np.int64),
    "uint8": lambda a: np.rint(np.abs(a)).astype(np.uint8),
    "bool": lambda a: a > 0,
    "object": lambda a: a.astype(object),
    "complex": lambda a: a + 1j,
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "other bytes": lambda a: a.astype(np.dtype(np.float64).newbyteorder()),
    "masked": lambda a: np.ma.array(a, mask=a > 1),
    "matrix": lambda a: np.matrix(a.reshape(len(a), -1)),
    "text": lambda a: a.astype(str),
    "list": lambda a: a.tolist(),
    "None": lambda a: None,
}
FLOAT = {"float32", "float64"}
X, G, C = draw((4, 6)), draw((4, 6), seed=1), draw((6,), seed=2)
X3, X4 = draw((4, 6, 3)), draw((2, 3, 4, 4))
TARGET = np.array([0, 1, 2, 5])


def through(forward, *arrays, **options):
    """Return a call of the backward function with float64 caches and a gradient."""

    def call(kind):
        y, cache = forward(*arrays, **options)
        return getattr(F, forward.__name__ + "_backward")(kind(y), cache)

    return call


def batch(kind, name):
    """Call batch norm with one argument of a kind, the others of float64."""
    given = {"running_mean": C.copy(), "running_var": C**2, "weight": C, "bias": C}
    given[name] = kind(given[name])
    return F.batch_norm(X, **given, training=True)[0]


# A call for each public function that takes an array, by the array that is varied; and
# the kinds that it takes. What it gives has the dtype that it took.
CALLS = {
    "batch_norm": (lambda k: F.batch_norm(k(X), training=True)[0], FLOAT),
    "batch_norm running_mean": (lambda k: batch(k, "running_mean"), {"float64"}),
    "batch_norm weight": (lambda k: batch(k, "weight"), {"float64", "None"}),
    "batch_norm bias": (lambda k: batch(k, "bias"), {"float64", "None"}),
    "layer_norm": (lambda k: F.layer_norm(k(X), 6)[0], FLOAT),
    "layer_norm weight": (lambda k: F.layer_norm(X, 6, k(C))[0], {"float64", "None"}),
    "rms_norm": (lambda k: F.rms_norm(k(X), 6)[0], FLOAT),
    "rms_norm weight": (lambda k: F.rms_norm(X, 6, k(C))[0], {"float64", "None"}),
    "group_norm": (lambda k: F.group_norm(k(X), 2)[0], FLOAT),
    "group_norm bias": (lambda k: F.group_norm(X, 2, C, k(C))[0], {"float64", "None"}),
    "instance_norm": (lambda k: F.instance_norm(k(X3))[0], FLOAT),
    "standardize": (lambda k: F.standardize(k(X), 0)[0], FLOAT),
    "linear": (lambda k: F.linear(k(X), k(X))[0], FLOAT),
    "linear weight": (lambda k: F.linear(X, k(X))[0], {"float64"}),
    "linear bias": (lambda k: F.linear(X, X, k(X[:, 0]))[0], {"float64", "None"}),
    "conv2d": (lambda k: F.conv2d(k(X4), k(X4[:, :, :2, :2]))[0], FLOAT),
    "conv2d weight": (lambda k: F.conv2d(X4, k(X4[:, :, :2, :2]))[0], {"float64"}),
    "relu": (lambda k: F.relu(k(X))[0], FLOAT),
    "sigmoid": (lambda k: F.sigmoid(k(X))[0], FLOAT),
    "tanh": (lambda k: F.tanh(k(X))[0], FLOAT),
    "cross_entropy": (lambda k: F.cross_entropy_backward(
        F.cross_entropy(k(X), TARGET)[1]), FLOAT),
    "cross_entropy target": (
        lambda k: F.cross_entropy(X, k(TARGET * 1.0))[0], {"int", "uint8"}),
    "cross_entropy_backward": (lambda k: F.cross_entropy_backward(k(X)), set()),
    "batch_norm_backward": (through(F.batch_norm, X, training=True), {"float64"}),
    "batch_norm_backward_six": (lambda k: F.batch_norm_backward_six(
        k(G), F.batch_norm(X, training=True)[1]), {"float64"}),
    "norm_backward": (lambda k: F.norm_backward(
        k(G), F.batch_norm(X, training=True)[1]), {"float64"}),
    "layer_norm_backward": (through(F.layer_norm, X, normalized_shape=6), {"float64"}),
    "rms_norm_backward": (through(F.rms_norm, X, normalized_shape=6), {"float64"}),
    "group_norm_backward": (through(F.group_norm, X, num_groups=2), {"float64"}),
    "instance_norm_backward": (through(F.instance_norm, X3), {"float64"}),
    "standardize_backward": (lambda k: F.standardize_backward(
        k(G), *F.standardize(X, 0), 0), {"float64"}),
    "linear_backward": (through(F.linear, X, X), {"float64"}),
    "conv2d_backward": (through(F.conv2d, X4, X4[:, :, :2, :2]), {"float64"}),
    "relu_backward": (through(F.relu, X), {"float64"}),
    "sigmoid_backward": (through(F.sigmoid, X), {"float64"}),
    "tanh_backward": (through(F.tanh, X), {"float64"}),
    "batch_norm_graph": (lambda k: graph.batch_norm_graph(k(X)).forward(), FLOAT),
    "batch_norm_graph weight": (
        lambda k: graph.batch_norm_graph(X, k(C)).forward(), {"float64", "None"}),
    "Graph.backward": (lambda k: graph.batch_norm_graph(X).backward(k(G)), {"float64"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_a_function_computes_in_the_dtype_it_takes_or_refuses_in_a_sentence(name, kind):
    call, taken = CALLS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=PendingDeprecationWarning)  # matrix
        if kind not in taken:
            with pytest.raises((TypeError, ValueError)) as refusal:
                call(KINDS[kind])
            assert " got " in str(refusal.value)
            assert "\n" not in str(refusal.value)
            return
        found = call(KINDS[kind])
    found = found[0] if isinstance(found, tuple) else found
    found = found["x"] if isinstance(found, dict) else found
    assert np.isfinite(found).all()
    if kind in FLOAT:
        assert found.dtype == kind


def test_every_function_of_the_library_stands_in_the_table():
    others = {  # what takes no array of numbers, or is tested with kinds elsewhere
        *("mlp", "fit", "predict", "accuracy", "activations", "root_of_sum"),
        *(
            "compare",
            "relative_error",
            "numerical_gradient",
            "gradient_check",
            "size_of",
        ),
        *("load_digits", "load_mnist", "load_mnist10k", "toy_scales", "fixed_order"),
        *("batches", "endless_batches", "roses", "rose_features"),
    }
    for module in (F, ops, graph, training, checks, data, roses, layers):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__.startswith("bnlib.") and not name.startswith("_"):
                private = function.__module__.split(".")[1].startswith("_")
                table = name in CALLS or name in others
                assert private or table, f"{module.__name__}.{name}"


def test_arrays_mapped_from_a_file_are_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float64, "w+", shape=X.shape)
    mapped[:] = X
    np.testing.assert_array_equal(
        F.batch_norm(mapped, training=True)[0], F.batch_norm(X, training=True)[0]
    )


def test_foreign_bytes_are_named():
    with pytest.raises(TypeError, match=r"got >f4 \(bytes in a foreign order\)"):
        F.relu(np.ones(3, ">f4"))


# --- caches


def caches():
    """Return a cache of each forward function, by its name."""
    w = X4[:, :, :2, :2]
    return {
        "batch_norm": F.batch_norm(X, training=True)[1],
        "layer_norm": F.layer_norm(X, 6)[1],
        "group_norm": F.group_norm(X, 2)[1],
        "instance_norm": F.instance_norm(X3)[1],
        "rms_norm": F.rms_norm(X, 6)[1],
        "linear": F.linear(X, X)[1],
        "conv2d": F.conv2d(X4, w)[1],
        "relu": F.relu(X)[1],
        "sigmoid": F.sigmoid(X)[1],
        "tanh": F.tanh(X)[1],
        "cross_entropy": F.cross_entropy(X, TARGET)[1],
    }


SLOPES = {"relu", "sigmoid", "tanh"}  # their caches are all derivatives


@pytest.mark.parametrize("backward", caches())
def test_the_cache_of_another_function_is_refused_in_a_sentence(backward):
    function = getattr(F, backward + "_backward")
    for name, cache in [*caches().items(), ("None", None), ("tuple", (X, X, True))]:
        if name == backward or {name, backward} <= SLOPES:
            continue
        gradient = () if backward == "cross_entropy" else (G,)
        with pytest.raises(TypeError, match=r"expected the cache of .*, got "):
            function(*gradient, cache)


def test_the_six_equations_refuse_the_cache_of_another_norm():
    with pytest.raises(TypeError, match="cache of batch_norm, got that of layer_norm"):
        F.batch_norm_backward_six(G, caches()["layer_norm"])


def test_instance_norm_in_evaluation_keeps_its_name():
    _, cache = F.instance_norm(X3, C, C**2, use_input_stats=False)
    F.instance_norm_backward(X3, cache)
    with pytest.raises(TypeError, match="got that of instance_norm"):
        F.batch_norm_backward(X3, cache)


FORWARD = {
    "batch_norm": lambda x: F.batch_norm(x, training=True),
    "batch_norm affine": lambda x: F.batch_norm(x, None, None, C, C, True),
    "batch_norm evaluation": lambda x: F.batch_norm(x, C.copy(), C**2),
    "layer_norm": lambda x: F.layer_norm(x, 6),
    "layer_norm bias": lambda x: F.layer_norm(x, 6, None, C),
    "group_norm": lambda x: F.group_norm(x, 2),
    "rms_norm": lambda x: F.rms_norm(x, 6),
    "linear": lambda x: F.linear(x, X),
    "relu": F.relu,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
}


@pytest.mark.parametrize("name", FORWARD)
def test_the_output_is_never_the_cache(name):
    grads = []
    for change in (0.0, 1.0):
        y, cache = FORWARD[name](X.copy())
        gradient = draw(y.shape, seed=5)
        y += change
        backward = getattr(F, name.split()[0] + "_backward")
        grads.append(backward(gradient, cache))
    first, second = (g if isinstance(g, tuple) else (g,) for g in grads)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_output_of_a_layer_is_not_what_its_backward_reads():
    rng = np.random.default_rng(0)
    made = [layers.ReLU(), layers.Sigmoid(), layers.Tanh(), layers.LayerNorm(6)]
    made += [layers.BatchNorm1d(6, affine=False), layers.Linear(6, 6, rng=rng)]
    made += [layers.GroupNorm(2, 6, affine=False), layers.Flatten()]
    x, gradient = X.astype(np.float32), G.astype(np.float32)
    for layer in made:
        grads = []
        for change in (0, 1):
            y = layer(x.copy())
            y += change
            grads.append(layer.backward(gradient))
        np.testing.assert_array_equal(*grads)


# --- against torch, where the arguments are odd

ODD = {
    "relu of nan": (lambda f, a: f.relu(a([np.nan, -1.0, 0.0, 2.0]))),
    "sigmoid of infinity": (lambda f, a: f.sigmoid(a([np.inf, -np.inf, np.nan]))),
    "tanh of infinity": (lambda f, a: f.tanh(a([np.inf, -np.inf, np.nan, 0.0]))),
}


@pytest.mark.parametrize("name", ODD)
def test_activations_of_odd_values_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    leaves = []

    def tensor(values):
        leaves.append(torch.tensor(values, dtype=torch.float64, requires_grad=True))
        return leaves[0]

    expected = ODD[name](torch.nn.functional, tensor)
    expected.backward(torch.arange(1.0, 1 + len(expected)).double())
    y, cache = ODD[name](F, np.array)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    grad = getattr(F, name.split()[0] + "_backward")(np.arange(1.0, 1 + len(y)), cache)
    np.testing.assert_array_equal(grad, leaves[0].grad.numpy())


SINGLE = [((1, 4), 4), ((2, 4), 4), ((1, 4, 1), 4), ((1, 4, 2), 4), ((1, 4), 2),
          ((1, 1), 1), ((2, 1, 1, 1), 1), ((1, 6, 1, 1), 6)]  # fmt: skip


@pytest.mark.parametrize(("shape", "groups"), SINGLE, ids=str)
def test_one_value_in_one_group_is_refused_where_torch_refuses_it(shape, groups):
    torch = pytest.importorskip("torch")
    words = []
    for function, x in ((F.group_norm, np.ones), (torch.group_norm, torch.ones)):
        functional = torch.nn.functional.group_norm if x is torch.ones else function
        try:
            functional(x(shape), groups)
            words.append(None)
        except ValueError as error:
            words.append(str(error))
    assert words[0] == words[1]


EMPTY = [(0, 6), (0, 6, 4), (2, 6, 0), (0, 6, 2, 2)]


@pytest.mark.parametrize("shape", EMPTY, ids=str)
@pytest.mark.filterwarnings("error")
def test_an_empty_batch_has_an_empty_output_as_in_torch(shape):
    torch = pytest.importorskip("torch")
    mean, var = np.zeros(6), np.ones(6)
    calls = [
        lambda f, x, m, v: f.batch_norm(x, m, v),
        lambda f, x, m, v: f.batch_norm(x, None, None, training=True),
        lambda f, x, m, v: f.layer_norm(x, x.shape[1:]),
        lambda f, x, m, v: f.rms_norm(x, x.shape[1:]),
        lambda f, x, m, v: f.group_norm(x, 2),
    ]
    for call in calls:
        if 0 in shape[1:] and call in calls[2:4]:
            continue  # bnlib refuses to normalize over nothing
        tensors = [torch.tensor(a) for a in (np.empty(shape), mean, var)]
        expected = call(torch.nn.functional, *tensors)
        y, cache = call(F, np.empty(shape), mean, var)
        assert y.shape == expected.shape
        assert F.norm_backward(y, cache)[0].shape == shape
    with pytest.raises(ValueError, match="at least one value"):
        F.batch_norm(np.empty(shape), mean, var, training=True)
    np.testing.assert_array_equal([mean, var], [np.zeros(6), np.ones(6)])
