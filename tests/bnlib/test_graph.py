import numpy as np
import pytest
from oracle import assert_close, draw, reference

import bnlib.functional as F
from bnlib.checks import numerical_gradient
from bnlib.graph import BACKWARD_COLOUR, FORWARD_COLOUR, batch_norm_graph

NAMES = ["x", "mu", "centred", "squared", "var", "std", "inv_std", "x_hat"]
NAMES += ["gamma", "scaled", "beta", "y"]
SHAPES = [(5, 3), (7, 1), (2, 4)]


def case(shape=(5, 3), eps=0.1):
    shapes = (shape, shape[1:], shape[1:], shape)
    x, weight, bias, grad_output = (draw(s, seed=i) for i, s in enumerate(shapes))
    return batch_norm_graph(x, weight, bias, eps), x, weight, bias, grad_output


def loss_from(graph, name, value, grad_output):
    """Set one node, compute those after it, return sum(grad_output * y)."""
    values = {n: node.value for n, node in graph.nodes.items()}
    values[name] = value
    for node in list(graph.nodes.values())[list(values).index(name) + 1 :]:
        if node.op is not None:
            values[node.name] = node.op.forward(*(values[i] for i in node.inputs))
    return (grad_output * values["y"]).sum()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_three_backward_passes_agree_with_each_other_and_with_torch(shape, eps):
    graph, x, weight, bias, grad_output = case(shape, eps)
    y, cache = F.batch_norm(x, weight=weight, bias=bias, training=True, eps=eps)
    assert_close(graph["y"].value, y)
    closed = F.batch_norm_backward(grad_output, cache)
    six = F.batch_norm_backward_six(grad_output, cache)
    grads = graph.backward(grad_output)
    y_torch, expected = reference(
        lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True, 0.1, eps),
        grad_output,
        *(x, weight, bias),
    )
    assert_close(y, y_torch)
    # Two points and a small eps: grad_x is the small rest of numbers near 1.
    rtol = 1e-8 if shape == (2, 4) and eps < 0.1 else 1e-10
    for i, name in enumerate(("x", "gamma", "beta")):
        for ours in (closed[i], six[i], grads[name]):
            assert_close(ours, expected[i], rtol=rtol)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_each_node_is_the_numerical_one(name):
    graph, *_, grad_output = case()
    gradient = graph.backward(grad_output)[name]
    assert gradient.shape == graph[name].shape
    numerical = numerical_gradient(
        lambda value: loss_from(graph, name, value, grad_output), graph[name].value
    )
    assert_close(gradient, numerical, rtol=1e-7)


def test_closed_form_is_the_numerical_gradient_too():
    _, x, weight, bias, grad_output = case()
    rest = {"training": True, "eps": 0.1}

    def loss(x, weight, bias):
        y, _ = F.batch_norm(x, None, None, weight, bias, **rest)
        return (grad_output * y).sum()

    _, cache = F.batch_norm(x, None, None, weight, bias, **rest)
    grad_x, grad_weight, grad_bias = F.batch_norm_backward(grad_output, cache)
    for grad, f, at in [
        (grad_x, lambda v: loss(v, weight, bias), x),
        (grad_weight, lambda v: loss(x, v, bias), weight),
        (grad_bias, lambda v: loss(x, weight, v), bias),
    ]:
        assert_close(grad, numerical_gradient(f, at), rtol=1e-7)


def test_nodes_hold_the_symbols_of_the_paper():
    graph, x, weight, bias, _ = case()
    assert list(graph.nodes) == NAMES
    var = x.var(axis=0, ddof=0)
    expected = {
        "mu": x.mean(axis=0),
        "centred": x - x.mean(axis=0),
        "var": var,
        "std": np.sqrt(var + 0.1),
        "inv_std": 1 / np.sqrt(var + 0.1),
        "x_hat": (x - x.mean(axis=0)) / np.sqrt(var + 0.1),
        "gamma": weight,
        "beta": bias,
    }
    for name, value in expected.items():
        assert_close(graph[name].value, value)
    assert r"\hat{x}" in graph["x_hat"].symbol
    assert r"\sigma^2" in graph["var"].symbol
    with pytest.raises(KeyError, match=r"sigma.*x_hat"):
        graph["sigma"]


def test_gradient_of_a_node_is_the_sum_of_its_branches():
    graph, *_, grad_output = case()
    graph.backward(grad_output)
    first = {name: node.grad.copy() for name, node in graph.nodes.items()}
    graph.backward(grad_output)  # a second sweep starts from nothing
    assert set(graph["x"].branches) == {"mu", "centred"}
    assert set(graph["centred"].branches) == {"squared", "x_hat"}
    for name, node in graph.nodes.items():
        assert_close(node.grad, first[name], rtol=0)
        assert_close(sum(node.branches.values()), node.grad)
        users = {n.name for n in graph.nodes.values() if name in n.inputs}
        assert set(node.branches) == (users or {"loss"})


def test_forward_follows_a_changed_input_and_forgets_gradients():
    graph, x, weight, bias, grad_output = case()
    graph.backward(grad_output)
    graph["x"].value = x**2
    y = graph.forward()
    expected, _ = F.batch_norm(x**2, None, None, weight, bias, True, eps=0.1)
    assert_close(y, expected)
    assert all(node.grad is None for node in graph.nodes.values())


def test_plain_graph_leaves_its_arguments_alone():
    x = draw((5, 3))
    before = x.copy()
    x.flags.writeable = False
    graph = batch_norm_graph(x)
    grads = graph.backward(np.ones_like(x))
    np.testing.assert_array_equal(x, before)
    assert_close(graph["y"].value, graph["x_hat"].value)
    np.testing.assert_allclose(grads["x"], 0, atol=1e-12)  # a shift changes nothing


def test_float32_is_kept():
    x = draw((5, 3), np.float32)
    graph = batch_norm_graph(x, eps=np.float64(0.1))
    grads = graph.backward(x)
    assert {n.value.dtype for n in graph.nodes.values()} == {np.dtype("f4")}
    assert {g.dtype for g in grads.values()} == {np.dtype("f4")}


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"x": np.ones((1, 3))}, ValueError, r"\(1, 3\)"),
        ({"x": np.ones((2, 3, 4))}, ValueError, r"\(2, 3, 4\)"),
        ({"x": np.ones((2, 3), int)}, TypeError, "int64"),
        ({"x": np.ones((2, 3)), "eps": -1.0}, ValueError, "eps.*-1"),
        ({"x": np.ones((2, 3)), "weight": np.ones(4)}, ValueError, "weight.*3.*4"),
    ],
)
def test_errors_name_what_came(arguments, kind, words):
    with pytest.raises(kind, match=words):
        batch_norm_graph(**arguments)


def test_backward_refuses_a_gradient_of_another_shape():
    with pytest.raises(ValueError, match=r"\(5, 3\).*\(3, 5\)"):
        case()[0].backward(np.ones((3, 5)))


def test_table_has_a_row_for_each_node():
    graph, *_, grad_output = case()
    graph.backward(grad_output)
    rows = graph.table()
    assert [row["name"] for row in rows] == NAMES
    for row in rows:
        node = graph[row["name"]]
        assert row["value"] is node.value
        assert row["grad"] is node.grad
        assert row["shape"] == node.value.shape
        assert row["rule"]
        assert row["local_rule"]


def test_drawing_is_made_from_the_live_graph():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    graph, *_, grad_output = case()
    with pytest.raises(ValueError, match="backward"):
        graph.draw()
    plt.close("all")
    graph.backward(grad_output)
    edges = sum(len(node.inputs) for node in graph.nodes.values())
    for backward in (False, True):
        for entry in ((0, 0), (2, 1)):
            _, ax = plt.subplots()
            assert graph.draw(ax, entry=entry, backward=backward) is ax
            ax.figure.canvas.draw()  # the LaTeX of every symbol is understood
            texts = [t.get_text().replace("\N{MINUS SIGN}", "-") for t in ax.texts]
            arrows = [getattr(text, "arrow_patch", None) for text in ax.texts]
            colours = [
                matplotlib.colors.to_hex(arrow.get_edgecolor())
                for arrow in arrows
                if arrow is not None
            ]
            assert colours.count(FORWARD_COLOUR.lower()) == edges
            assert colours.count(BACKWARD_COLOUR.lower()) == edges * backward
            for node in graph.nodes.values():
                index = entry if node.value.ndim == 2 else entry[1:]
                assert f"{node.value[index]:.4f}" in texts
                if backward:
                    assert f"{node.grad[index]:.4f}" in texts
            plt.close("all")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eps_counts_in_both_dtypes(dtype):
    x = np.full((4, 2), 3.0, dtype)  # no spread: eps alone is under the root
    graph = batch_norm_graph(x, eps=0.25)
    assert (graph["std"].value == 0.5).all()
    assert graph["std"].value.dtype == dtype
    assert_close(graph.forward(), F.batch_norm(x, training=True, eps=0.25)[0])
