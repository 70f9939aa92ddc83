"""CNTK 2.7: cntk.layers.BatchNormalization."""

import base64
import os
import tempfile

import cntk as C
import numpy as np
import protocol
from cntk.device import cpu, try_set_default_device

try_set_default_device(cpu())
# What cntk.layers.BatchNormalization has as defaults, found in its signature.
DEFAULTS = protocol.defaults(C.layers.BatchNormalization)


class Layer:
    """The layer and its input."""

    def __init__(self, case):
        if case.layout == "nhwc":
            raise protocol.Unsupported("channels stand first: spatial=True means CHW")
        time_constant = -len(case.x[0]) / np.log(case.keep)
        settings = case.settings(
            map_rank=None if case.layout == "nd" else 1,
            epsilon=case.eps,
            normalization_time_constant=time_constant,
        )
        with C.default_options(dtype=np.dtype(case.dtype).type):
            x = C.input_variable(case.x[0].shape[1:], needs_gradient=True)
            self.use(C.layers.BatchNormalization(**settings)(x))
        self.layer.scale.value, self.layer.bias.value = case.gamma, case.beta

    def use(self, layer):
        """Take a layer and make a loss whose gradient is dy."""
        self.layer, (self.x,) = layer, layer.arguments
        self.dy = C.input_variable(layer.shape, layer.dtype)
        self.loss = C.reduce_sum(layer * self.dy)

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta."""
        both = C.combine([self.loss, self.layer])
        loss, y = self.loss.output, self.layer.output
        state, found = both.forward({self.x: x, self.dy: dy}, [loss, y], {loss})
        wanted = [self.x, *self.layer.parameters]
        grads = both.backward(state, {loss: np.ones_like(found[loss])}, set(wanted))
        named = {variable.name: grads[variable] for variable in wanted}
        dx = grads[self.x]
        return found[y], dx, named.get("scale"), named.get("bias")

    def values(self):
        """Return the parameters and constants by name."""
        found = list(self.layer.parameters) + list(self.layer.constants)
        return {v.name: np.array(v.value) for v in found if v.name}

    def statistics(self):
        """Return the running mean and variance."""
        values = self.values()
        return [values["aggregate_mean"], values["aggregate_variance"]]

    def infer(self, x):
        """Return y in evaluation mode."""
        return self.layer.eval({self.x: x})


def facts():
    """Read the conventions from the layer."""
    found, frozen = Layer(protocol.fresh()).values(), Layer(protocol.fresh())
    # Even a frozen layer takes its very first batch.
    frozen.step(protocol.BATCH, protocol.BATCH)
    frozen.use(frozen.layer.clone(C.CloneMethod.freeze))
    before = frozen.statistics()[0]
    y = frozen.step(protocol.BATCH + 10, protocol.BATCH)[0]
    moved = frozen.statistics()[0] - before
    return {
        "layer": "cntk.layers.BatchNormalization",
        "momentum_name": "normalization_time_constant",
        "momentum": DEFAULTS["normalization_time_constant"].value,
        "eps": DEFAULTS["epsilon"].value,
        "axis": 1,
        "names": protocol.names(
            "scale",
            "bias",
            "aggregate_mean",
            "aggregate_variance",
            count="aggregate_count",
        ),
        "state": {name: found[name] for name in sorted(found)},
        "mode_switch": "a forward pass with a backward pass, or eval()",
        "frozen": protocol.frozen("clone(CloneMethod.freeze)", moved, y),
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
