"""The computation graph of the batch-norm layer: twelve nodes, forward and backward.

Each node knows its value, its rule, its local rule for gradients, and, after a backward
sweep, its gradient. The drawing is made from the graph itself, so that it cannot differ
from what is computed. This is the slow, open form of `bnlib.functional.batch_norm`; the
tests hold the two against each other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bnlib._check import (
    Array,
    check_eps,
    check_float,
    check_gradient,
    check_parameter,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import FancyBboxPatch

FORWARD_COLOUR, BACKWARD_COLOUR = "#1A1A1A", "#84476A"

# Where the nodes of the batch-norm layer stand: statistics below, parameters above.
POSITIONS = {
    "x": (0, 1),
    "mu": (0, 0),
    "centred": (1.25, 1),
    "squared": (1.25, 0),
    "var": (2.2, 0),
    "std": (3.1, 0),
    "inv_std": (4.05, 0),
    "x_hat": (4.05, 1),
    "gamma": (5.05, 2),
    "scaled": (5.05, 1),
    "beta": (6, 2),
    "y": (6, 1),
}


class Op(NamedTuple):
    """An elementary operation: how values go forward and gradients back.

    Attributes
    ----------
    forward : callable
        Values of the inputs to the value of the node.
    backward : callable
        Gradient of the node, its value, and the values of the inputs, to one gradient
        for each input. Sums over the batch, where an input was broadcast, are done by
        `Graph.backward`.
    local_rule : str
        The derivative in words or LaTeX.
    """

    forward: Callable[..., Array]
    backward: Callable[..., tuple[Array, ...]]
    local_rule: str


@dataclass
class Node:
    """A named quantity of the graph.

    Attributes
    ----------
    name, symbol : str
        Name in code, and LaTeX in the paper's notation.
    rule : str
        LaTeX of how it is computed.
    inputs : tuple of str
        Names of the nodes it is computed from; none for x, gamma and beta.
    op : Op or None
        The operation; None for an input.
    position : tuple of float
        Where it stands in the drawing.
    value : ndarray or None
        Set by the forward sweep.
    grad : ndarray or None
        Gradient of the loss with respect to the value; set by the backward sweep.
    branches : dict of str to ndarray
        The gradient that came back from each node that uses this one; ``grad`` is
        their sum.
    """

    name: str
    symbol: str
    rule: str
    inputs: tuple[str, ...] = ()
    op: Op | None = None
    position: tuple[float, float] = (0.0, 0.0)
    value: Any = None
    grad: Any = None
    branches: dict[str, Array] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    @property
    def local_rule(self) -> str:
        """The derivative, in LaTeX."""
        return self.op.local_rule if self.op else "none: an input"


MEAN = Op(
    lambda a: a.mean(0),
    lambda g, y, a: (np.broadcast_to(g / len(a), a.shape),),
    r"each row receives $g / m$",
)
SUBTRACT = Op(
    lambda a, b: a - b,
    lambda g, y, a, b: (g, -g),
    r"$g$ to the first, $-g$ to the second",
)
SQUARE = Op(
    lambda a: a**2,
    lambda g, y, a: (2 * a * g,),
    r"$2 a \, g$",
)
RECIPROCAL = Op(
    lambda a: 1 / a,
    lambda g, y, a: (-g * y**2,),
    r"$-g / a^2$",
)
MULTIPLY = Op(
    lambda a, b: a * b,
    lambda g, y, a, b: (g * b, g * a),
    r"$g \, b$ to the first, $g \, a$ to the second",
)
ADD = Op(
    lambda a, b: a + b,
    lambda g, y, a, b: (g, g),
    r"$g$ to both",
)


def root_of_sum(eps: float) -> Op:
    """Return the operation ``sqrt(a + eps)``.

    Parameters
    ----------
    eps : float, >= 0
        Added under the root.

    Returns
    -------
    op : Op
        The operation.
    """
    return Op(
        lambda a: np.sqrt(a + a.dtype.type(eps)),
        lambda g, y, a: (g / (2 * y),),
        r"$g / (2 \sqrt{a + \epsilon})$",
    )


class Graph:
    """Nodes in the order of computation; the last one is the output.

    Parameters
    ----------
    nodes : list of Node
        Each node stands after its inputs.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = {node.name: node for node in nodes}

    def __getitem__(self, name: str) -> Node:
        if name not in self.nodes:
            raise KeyError(f"no node {name!r}; the nodes are {', '.join(self.nodes)}")
        return self.nodes[name]

    @property
    def output(self) -> Node:
        """The last node, y."""
        return next(reversed(self.nodes.values()))

    def forward(self) -> Array:
        """Compute all values, in order; forget old gradients.

        Returns
        -------
        y : ndarray
            Value of the output.
        """
        for node in self.nodes.values():
            node.grad, node.branches = None, {}
            if node.op is not None:
                node.value = node.op.forward(*(self[i].value for i in node.inputs))
        return self.output.value

    def backward(self, grad_output: Array) -> dict[str, Array]:
        """Compute all gradients, in reverse order, by the local rules alone.

        Parameters
        ----------
        grad_output : ndarray, like y
            Gradient of the loss with respect to the output.

        Returns
        -------
        grads : dict of str to ndarray
            Gradient of each node.

        Raises
        ------
        ValueError, TypeError
            Shape or dtype of ``grad_output`` differs from the output's.
        """
        check_gradient(grad_output, self.output.shape, self.output.value.dtype)
        self.output.branches["loss"] = grad_output
        for node in reversed(self.nodes.values()):
            node.grad = sum(node.branches.values())
            if node.op is None:
                continue
            values = [self[i].value for i in node.inputs]
            grads = node.op.backward(node.grad, node.value, *values)
            for name, grad in zip(node.inputs, grads, strict=True):
                broadcast = grad.ndim > self[name].value.ndim
                self[name].branches[node.name] = grad.sum(0) if broadcast else grad
        return {name: node.grad for name, node in self.nodes.items()}

    def table(self) -> list[dict[str, object]]:
        """Return one row for each node, in the order of computation.

        Returns
        -------
        rows : list of dict
            Keys ``name``, ``symbol``, ``shape``, ``rule``, ``local_rule``, ``value``
            and ``grad``.
        """
        keys = ("name", "symbol", "shape", "rule", "local_rule", "value", "grad")
        return [{k: getattr(node, k) for k in keys} for node in self.nodes.values()]

    def draw(
        self,
        ax: Axes | None = None,
        entry: tuple[int, int] = (0, 0),
        backward: bool = True,
        down: bool = False,
    ) -> Axes:
        """Draw the graph with the numbers of one entry.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        entry : tuple of int
            Example and feature whose value and gradient are written in the nodes.
        backward : bool
            Whether gradients and their arrows are drawn.
        down : bool
            Whether the computation runs from top to bottom, for a narrow page, and not
            from left to right.

        Returns
        -------
        ax : matplotlib Axes
            The drawing: solid dark arrows forward, dashed plum arrows backward.

        Raises
        ------
        ValueError
            Gradients are asked for before a backward sweep.
        """
        if backward and self.output.grad is None:
            raise ValueError("draw(backward=True) needs graph.backward(...) before it")
        if ax is None:
            import matplotlib.pyplot as plt  # noqa: PLC0415  only drawings need it

            figure, ax = plt.subplots(figsize=(7.2, 4.2))
            narrow = functools.partial(
                self.draw, entry=entry, backward=backward, down=True
            )
            setattr(figure, "draw_narrow", narrow)  # noqa: B010  for a narrow page
        places = {
            name: (1.05 * node.position[1], -0.78 * node.position[0])
            if down
            else node.position
            for name, node in self.nodes.items()
        }
        boxes = {
            name: self._draw_node(ax, node, places[name], entry, backward)
            for name, node in self.nodes.items()
        }
        for node in self.nodes.values():
            for name in node.inputs:
                self._draw_edge(ax, boxes[name], boxes[node.name], backward)
        xs, ys = zip(*places.values(), strict=True)
        ax.set_xlim(min(xs) - 0.5, max(xs) + 0.5)
        ax.set_ylim(min(ys) - 0.35, max(ys) + 0.35)
        ax.set_axis_off()
        return ax

    def _draw_node(
        self,
        ax: Axes,
        node: Node,
        place: tuple[float, float],
        entry: tuple[int, int],
        backward: bool,
    ) -> FancyBboxPatch:
        from matplotlib.patches import FancyBboxPatch  # noqa: PLC0415

        x, y = place
        box = FancyBboxPatch(
            (x - 0.34, y - 0.22),
            0.68,
            0.44,
            boxstyle="round,pad=0.04,rounding_size=0.06",
            facecolor="#F4F4F4",
            edgecolor="#8C8C8C",
            linewidth=0.8,
        )
        ax.add_patch(box)
        index = entry if node.value.ndim == 2 else entry[1:]
        rows = [(f"${node.symbol}$", FORWARD_COLOUR, 10, "normal")]
        rows += [(_number(node.value[index]), FORWARD_COLOUR, 8, "normal")]
        if backward:
            rows += [(_number(node.grad[index]), BACKWARD_COLOUR, 8, "italic")]
        heights = (0.13, -0.05, -0.19) if backward else (0.1, -0.13)
        for (text, colour, size, style), height in zip(rows, heights, strict=True):
            ax.text(
                *(x, y + height, text),
                color=colour,
                fontsize=size,
                style=style,
                ha="center",
                va="center",
            )
        return box

    def _draw_edge(
        self, ax: Axes, start: FancyBboxPatch, end: FancyBboxPatch, backward: bool
    ) -> None:
        p0, p1 = (
            np.array([b.get_x() + b.get_width() / 2, b.get_y() + b.get_height() / 2])
            for b in (start, end)
        )
        side = np.array([p0[1] - p1[1], p1[0] - p0[0]]) / np.hypot(*(p1 - p0)) * 0.045
        arrows: list[tuple] = [(p0, p1, start, end, side, FORWARD_COLOUR, "-")]
        arrows += [(p1, p0, end, start, -side, BACKWARD_COLOUR, (0, (3, 1.5)))]
        for tail, tip, patch_a, patch_b, shift, colour, line in arrows[: 1 + backward]:
            ax.annotate(
                "",
                xy=tip + shift,
                xytext=tail + shift,
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": colour,
                    "linestyle": line,
                    "linewidth": 1.2,
                    "patchA": patch_a,
                    "patchB": patch_b,
                    "shrinkA": 1,
                    "shrinkB": 1,
                    "mutation_scale": 8,
                },
            )


def _number(value: float) -> str:
    """Write a value with four decimals and a true minus sign."""
    return f"{value + 0.0:.4f}".replace("-", "\N{MINUS SIGN}")


def batch_norm_graph(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Graph:
    """Build the graph of a batch-norm layer in training mode, values computed.

    Parameters
    ----------
    x : ndarray of shape (m, d), float32 or float64
        Mini-batch; m > 1.
    weight, bias : ndarray of shape (d,), optional
        Gamma and beta; ones and zeros when not given.
    eps : float, >= 0
        Added to the variance under the root.

    Returns
    -------
    graph : Graph
        Nodes ``x, mu, centred, squared, var, std, inv_std, x_hat, gamma, scaled, beta,
        y``.

    Raises
    ------
    ValueError, TypeError
        Wrong shape or dtype; one example; negative eps.

    References
    ----------
    Ioffe and Szegedy (2015), Algorithm 1; the idea of one step for each elementary
    operation is Kratzert's (2016).
    """
    check_float("x", x, min_ndim=2)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x must have shape (m, d) with m > 1, got {x.shape}")
    check_eps(eps)
    check_parameter("weight", weight, x.shape[1:], x.dtype)
    check_parameter("bias", bias, x.shape[1:], x.dtype)
    ones, zeros = np.ones(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    gamma, beta = ones if weight is None else weight, zeros if bias is None else bias
    b = r"\mathcal{B}"
    root = rf"\sqrt{{\sigma^2_{b} + \epsilon}}"
    nodes = [
        Node("x", "x_i", "input", value=x),
        Node("mu", rf"\mu_{b}", r"$\frac{1}{m}\sum_i x_i$", ("x",), MEAN),
        Node("centred", rf"x_i - \mu_{b}", "subtract", ("x", "mu"), SUBTRACT),
        Node("squared", rf"(x_i - \mu_{b})^2", "square", ("centred",), SQUARE),
        Node("var", rf"\sigma^2_{b}", "mean of the squares", ("squared",), MEAN),
        Node("std", root, "add eps, take the root", ("var",), root_of_sum(eps)),
        Node("inv_std", rf"1/{root}", "invert", ("std",), RECIPROCAL),
        Node("x_hat", r"\hat{x}_i", "multiply", ("centred", "inv_std"), MULTIPLY),
        Node("gamma", r"\gamma", "input", value=gamma),
        Node("scaled", r"\gamma \hat{x}_i", "scale", ("x_hat", "gamma"), MULTIPLY),
        Node("beta", r"\beta", "input", value=beta),
        Node("y", "y_i", "shift", ("scaled", "beta"), ADD),
    ]
    for node in nodes:
        node.position = POSITIONS[node.name]
    graph = Graph(nodes)
    graph.forward()
    return graph
