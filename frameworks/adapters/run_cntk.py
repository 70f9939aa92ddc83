"""CNTK 2.7: cntk.layers.BatchNormalization and cntk.ops.batch_normalization."""

import base64
import inspect
import os
import tempfile

import cntk as C
import numpy as np
import protocol
from cntk.device import cpu, try_set_default_device

try_set_default_device(cpu())
# What cntk.layers.BatchNormalization has as defaults, found in its signature.
DEFAULTS = inspect.signature(C.layers.BatchNormalization).parameters


def versions():
    """Return package versions."""
    return {"cntk": C.__version__, "mpi": os.environ.get("MPI_KIND", "installed")}


def train_once(loss, y, feed, wanted):
    """Return y and some gradients of the loss; the statistics move once."""
    both = C.combine([loss, y])
    state, found = both.forward(feed, [loss.output, y.output], {loss.output})
    root = {loss.output: np.ones_like(found[loss.output])}
    grads = both.backward(state, root, set(wanted))
    return np.asarray(found[y.output]), [np.asarray(grads[v]) for v in wanted]


class Layer:
    """The operation with its parameters and statistics."""

    def __init__(self, shape, dtype, gamma, beta, **settings):
        dtype, channels = np.dtype(dtype).type, (shape[1],)
        self.x = C.input_variable(shape[1:], dtype, needs_gradient=True)
        self.dy = C.input_variable(shape[1:], dtype)
        self.gamma = C.parameter(channels, init=gamma, dtype=dtype)
        self.beta = C.parameter(channels, init=beta, dtype=dtype)
        self.mean = C.constant(0, channels, dtype)
        self.var = C.constant(0, channels, dtype)
        self.y = C.batch_normalization(
            self.x,
            self.gamma,
            self.beta,
            self.mean,
            self.var,
            spatial=len(shape) > 2,
            running_count=C.constant(0, (), dtype),
            **settings,
        )
        self.loss = C.reduce_sum(self.y * self.dy)

    def step(self, x, dy):
        """Train on a batch; return y and the gradients of x, gamma and beta."""
        wanted = [self.x, self.gamma, self.beta]
        return train_once(self.loss, self.y, {self.x: x, self.dy: dy}, wanted)

    def statistics(self):
        """Return the running mean and variance."""
        return [np.array(self.mean.value), np.array(self.var.value)]


def train(case):
    """Run one case."""
    if case.layout == "nhwc":
        raise protocol.Unsupported("channels stand first: spatial=True means CHW")
    layer = Layer(
        case.x[0].shape,
        case.dtype,
        case.gamma,
        case.beta,
        epsilon=case.eps,
        normalization_time_constant=-len(case.x[0]) / np.log(case.keep),
    )
    y, grads = layer.step(case.x[0], case.dy)
    for batch in case.x[1:]:
        layer.step(batch, case.dy)
    mean, var = layer.statistics()
    return {
        "y": y,
        "dx": grads[0],
        "dgamma": grads[1],
        "dbeta": grads[2],
        "running_mean": mean,
        "running_var": var,
        "inference": np.array(layer.y.eval({layer.x: case.x_new})),
    }


def fresh(features, **settings):
    """Make a layer with default settings, and a function that trains it once."""
    x = C.input_variable(features, needs_gradient=True)
    layer = C.layers.BatchNormalization(**settings)(x)

    def step(function, batch):
        x = function.arguments[0]
        loss = C.reduce_sum(function)
        return train_once(loss, function, {x: batch}, [x])[0]

    return layer, step


def values(layer):
    """Return the parameters and constants of a layer by name."""
    found = list(layer.parameters) + list(layer.constants)
    return {v.name: np.array(v.value) for v in found if v.name}


def default_steps(x):
    """Train a fresh layer twice."""
    layer, step = fresh(x.shape[2])
    names = ("aggregate_mean", "aggregate_variance")
    steps = [[values(layer)[name] for name in names]]
    for batch in x:
        step(layer, batch)
        steps.append([values(layer)[name] for name in names])
    return steps


def facts():
    """Read the conventions from the layer."""
    layer, step = fresh(2)
    found = values(layer)
    with C.default_options(dtype=np.float64):
        double, _ = fresh(2)
    with C.default_options(dtype=np.float16):
        half, _ = fresh(2)
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    step(layer, x)  # even a frozen layer takes its very first batch
    frozen = layer.clone(C.CloneMethod.freeze)
    before = values(frozen)["aggregate_mean"]
    y = step(frozen, x + 10)
    moved = values(frozen)["aggregate_mean"] - before

    return {
        "layer": "cntk.layers.BatchNormalization",
        "momentum_name": "normalization_time_constant",
        "momentum": DEFAULTS["normalization_time_constant"].default.value,
        "eps": DEFAULTS["epsilon"].default.value,
        "axis": 1,
        "names": {
            role: name
            for role, name in (
                ("weight", "scale"),
                ("bias", "bias"),
                ("running_mean", "aggregate_mean"),
                ("running_var", "aggregate_variance"),
                ("count", "aggregate_count"),
            )
            if name in found
        },
        "initial": {name: value.flat[0] for name, value in found.items()},
        "mode_switch": "a forward pass with a backward pass, or eval()",
        "statistics_dtype": {
            "float32": found["aggregate_variance"].dtype.name,
            "float64": values(double)["aggregate_variance"].dtype.name,
            "float16": values(half)["aggregate_variance"].dtype.name,
        },
        "frozen": protocol.frozen("clone(CloneMethod.freeze)", moved, y),
        "checkpoint": sorted(found),
        "synced": None,
    }


def extras():
    """Export a small trained network to ONNX, with an input and the output here."""
    rng = np.random.RandomState(0)
    x = C.input_variable(4)
    layers = C.layers.Sequential(
        [
            C.layers.Dense(3, bias=False, init=C.glorot_uniform(seed=1)),
            C.layers.BatchNormalization(normalization_time_constant=10),
        ]
    )
    net = layers(x)
    batch = rng.rand(6, 4).astype(np.float32)
    trainer = C.Trainer(
        net,
        C.reduce_sum(C.square(net - C.constant(1.0, (3,)))),
        [C.sgd(net.parameters, C.learning_parameter_schedule(0.01))],
    )
    for _ in range(3):
        trainer.train_minibatch({x: batch})
    path = os.path.join(tempfile.mkdtemp(), "net.onnx")
    net.save(path, format=C.ModelFormat.ONNX)
    with open(path, "rb") as file:
        model = base64.b64encode(file.read()).decode()
    new = rng.rand(2, 4).astype(np.float32)
    return {"onnx": model, "input": new, "output": np.array(net.eval({x: new}))}


if __name__ == "__main__":
    protocol.main(__name__)
