"""ONNX Runtime: the operator BatchNormalization, and its gradient from primitives.

The operator has a training mode and returns new running statistics, but no gradient
operator goes with it. The backward pass is therefore a second graph, of sums, products
and roots.
"""

import numpy as np
import onnx
import onnxruntime
import protocol
from onnx import TensorProto, helper
from onnx.defs import get_schema

OPSET = 18
NAMES = ["scale", "B", "input_mean", "input_var"]
SCHEMA = get_schema("BatchNormalization", OPSET, "")


def versions():
    """Return package versions."""
    return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}


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
    axes = np.array([0, *range(2, ndim)], np.int64)
    nodes = []

    def node(kind, output, *inputs, **attributes):
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))

    def mean(output, value):
        node("ReduceMean", output, value, "axes")

    node("Reshape", "gamma", "scale", "column")
    mean("mu", "X")
    node("Sub", "centred", "X", "mu")
    node("Mul", "squares", "centred", "centred")
    mean("var", "squares")
    node("Add", "shifted", "var", "eps")
    node("Sqrt", "std", "shifted")
    node("Div", "x_hat", "centred", "std")
    node("Mul", "dy_x_hat", "dY", "x_hat")
    node("ReduceSum", "dgamma", "dy_x_hat", "axes", keepdims=0)
    node("ReduceSum", "dbeta", "dY", "axes", keepdims=0)
    mean("mean_dy", "dY")
    mean("mean_dy_x_hat", "dy_x_hat")
    node("Mul", "along", "x_hat", "mean_dy_x_hat")
    node("Sub", "part", "dY", "mean_dy")
    node("Sub", "inner", "part", "along")
    node("Div", "factor", "gamma", "std")
    node("Mul", "dx", "factor", "inner")
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    column = [1, -1] + [1] * (ndim - 2)
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, axes.shape, axes),
        helper.make_tensor("column", TensorProto.INT64, [ndim], column),
        helper.make_tensor("eps", kind, [], [eps]),
    ]
    outputs = ["dx", "dgamma", "dbeta"]
    return session(nodes, ["X", "dY", "scale"], outputs, dtype, constants)


def train(case):
    """Run one case."""
    if case.layout == "nhwc":
        raise protocol.Unsupported("the operator has its channels on axis 1")
    settings = {"epsilon": case.eps, "momentum": case.keep}
    step = operator(case.dtype, True, **settings)
    start = np.zeros_like(case.beta), np.ones_like(case.beta)
    state = dict(zip(NAMES, (case.gamma, case.beta, *start), strict=True))
    outputs = []
    for batch in case.x:
        outputs.append(step.run(None, {"X": batch, **state}))
        state.update(input_mean=outputs[-1][1], input_var=outputs[-1][2])
    back = gradients(case.dtype, case.x[0].ndim, case.eps)
    feed = {"X": case.x[0], "dY": case.dy, "scale": case.gamma}
    dx, dgamma, dbeta = back.run(None, feed)
    infer = operator(case.dtype, False, epsilon=case.eps)
    return {
        "y": outputs[0][0],
        "dx": dx,
        "dgamma": dgamma,
        "dbeta": dbeta,
        "running_mean": state["input_mean"],
        "running_var": state["input_var"],
        "inference": infer.run(None, {"X": case.x_new, **state})[0],
    }


def default_steps(x):
    """Train a fresh layer twice; the zeros and ones at first are ours."""
    zero, one = np.zeros(x.shape[2], np.float32), np.ones(x.shape[2], np.float32)
    state, steps = dict(zip(NAMES, (one, zero, zero, one), strict=True)), [None]
    for batch in x:
        new = operator("float32", True).run(None, {"X": batch, **state})[1:]
        state.update(input_mean=new[0], input_var=new[1])
        steps.append(new)
    return steps


def dtype_of_statistics(dtype):
    """Return the dtype of the new statistics, or what the runtime answers."""
    x, one = np.ones((3, 2), dtype), np.ones(2, dtype)
    try:
        step = operator(dtype, True)
        return step.run(None, {"X": x, **dict.fromkeys(NAMES, one)})[1].dtype.name
    except Exception as error:
        return "error: " + str(error).split(":")[-1].strip()[:120]


def facts():
    """Read the conventions from the operator's definition."""
    default = {k: v.default_value for k, v in SCHEMA.attributes.items()}
    x, one = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32), np.ones(2, np.float32)
    state = dict(zip(NAMES, (one, 0 * one, 0 * one, one), strict=True))
    y = operator("float32", False).run(None, {"X": x, **state})[0]
    roles = ("weight", "bias", "running_mean", "running_var")
    return {
        "layer": "BatchNormalization of opset " + str(SCHEMA.since_version),
        "momentum_name": "momentum",
        "momentum": round(default["momentum"].f, 7),  # a float32 attribute
        "eps": round(default["epsilon"].f, 9),
        "axis": 1,
        "names": dict(zip(roles, [i.name for i in SCHEMA.inputs][1:], strict=True)),
        "initial": {},
        "mode_switch": "the attribute training_mode",
        "statistics_dtype": {
            dtype: dtype_of_statistics(dtype)
            for dtype in ("float32", "float64", "float16")
        },
        "frozen": protocol.frozen("training_mode=0", np.zeros(2), y),
        "checkpoint": NAMES,
        "synced": None,
    }


if __name__ == "__main__":
    protocol.main(__name__)
