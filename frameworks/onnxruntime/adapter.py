"""ONNX Runtime: the operator BatchNormalization, and its gradient from primitives.

The operator has a training mode and returns new running statistics, but no gradient
operator goes with it. The backward pass is therefore a second graph, of sums, products
and roots.
"""

import numpy as np
import onnx.parser
import onnxruntime
import protocol
from onnx import TensorProto, helper
from onnx.defs import get_schema

OPSET = 18
NAMES = ["scale", "B", "input_mean", "input_var"]
SCHEMA = get_schema("BatchNormalization", OPSET, "")
DEFAULTS = {k: v.default_value for k, v in SCHEMA.attributes.items()}
BACKWARD = """
gamma = Reshape (scale, column)
mu = ReduceMean (X, axes)
centred = Sub (X, mu)
squares = Mul (centred, centred)
var = ReduceMean (squares, axes)
shifted = Add (var, eps)
std = Sqrt (shifted)
x_hat = Div (centred, std)
dY_x_hat = Mul (dY, x_hat)
dgamma = ReduceSum <keepdims = 0> (dY_x_hat, axes)
dbeta = ReduceSum <keepdims = 0> (dY, axes)
mean_dY = ReduceMean (dY, axes)
mean_dY_x_hat = ReduceMean (dY_x_hat, axes)
along = Mul (x_hat, mean_dY_x_hat)
part = Sub (dY, mean_dY)
inner = Sub (part, along)
factor = Div (gamma, std)
dx = Mul (factor, inner)
"""


def session(nodes, inputs, outputs, dtype, constants=()):
    """Make a session of a graph; every shape is left open."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def info(names):
        return [helper.make_tensor_value_info(name, kind, None) for name in names]

    graph = helper.make_graph(
        nodes, "batch_norm", info(inputs), info(outputs), list(constants)
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def operator(dtype, training, **attributes):
    """Make a session of the operator alone."""
    outputs = ["Y", "running_mean", "running_var"] if training else ["Y"]
    if training:
        attributes["training_mode"] = 1
    node = helper.make_node("BatchNormalization", ["X", *NAMES], outputs, **attributes)
    return session([node], ["X", *NAMES], outputs, dtype)


def gradients(dtype, ndim, eps):
    """Make a session that computes dx, dgamma and dbeta from X, dY and scale."""
    nodes = [onnx.parser.parse_node(line) for line in BACKWARD.strip().splitlines()]
    axes, column = [0, *range(2, ndim)], [1, -1] + [1] * (ndim - 2)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes),
        helper.make_tensor("column", TensorProto.INT64, [ndim], column),
        helper.make_tensor("eps", kind, [], [eps]),
    ]
    outputs = ["dx", "dgamma", "dbeta"]
    return session(nodes, ["X", "dY", "scale"], outputs, dtype, constants)


class Layer:
    """The operator's two modes, the graph of the gradients, and the four arrays."""

    def __init__(self, case):
        if case.layout == "nhwc":
            raise protocol.Unsupported("the operator has its channels on axis 1")
        eps = case.settings(epsilon=case.eps)
        momentum = case.settings(momentum=case.keep)
        self.train = operator(case.dtype, True, **eps, **momentum)
        self.test = operator(case.dtype, False, **eps)
        default = round(DEFAULTS["epsilon"].f, 9)
        self.back = gradients(case.dtype, case.x[0].ndim, eps.get("epsilon", default))
        zero = np.zeros_like(case.beta)
        values = (case.gamma, case.beta, zero, zero + 1)
        self.state = dict(zip(NAMES, values, strict=True))

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta."""
        y, mean, var = self.train.run(None, {"X": x, **self.state})
        self.state.update(input_mean=mean, input_var=var)
        feed = {"X": x, "dY": dy, "scale": self.state["scale"]}
        return [y, *self.back.run(None, feed)]

    def statistics(self):
        """Return the running mean and variance."""
        return self.state["input_mean"], self.state["input_var"]

    def infer(self, x):
        """Return y in evaluation mode."""
        return self.test.run(None, {"X": x, **self.state})[0]


def facts():
    """Read the conventions from the operator's definition."""
    y = Layer(protocol.fresh()).infer(protocol.BATCH)
    return {
        "layer": "BatchNormalization of opset " + str(SCHEMA.since_version),
        "momentum_name": "momentum",
        "momentum": round(DEFAULTS["momentum"].f, 7),  # a float32 attribute
        "eps": round(DEFAULTS["epsilon"].f, 9),
        "axis": 1,
        "names": protocol.names(*[i.name for i in SCHEMA.inputs][1:]),
        "initial": {},
        "mode_switch": "the attribute training_mode",
        "frozen": protocol.frozen("training_mode=0", np.zeros(2), y),
        "checkpoint": NAMES,
        "synced": None,
    }
