"""Keras 3: keras.layers.BatchNormalization, on the backend of KERAS_BACKEND."""

import inspect

import keras
import numpy as np
import protocol
from keras import ops
from keras.layers import BatchNormalization

BACKEND = keras.backend.backend()
if BACKEND == "jax":
    import jax

    jax.config.update("jax_enable_x64", True)
elif BACKEND == "tensorflow":
    import tensorflow as tf
else:
    import torch


def versions():
    """Return package versions."""
    package = {"jax": "jax", "tensorflow": "tensorflow", "torch": "torch"}[BACKEND]
    return {"keras": keras.__version__, package: __import__(package).__version__}


def make(case):
    """Make the layer of a case, with its parameters."""
    axis = -1 if case.layout == "nhwc" else 1
    layer = BatchNormalization(axis, case.keep, case.eps, dtype=case.dtype)
    layer.build(case.x[0].shape)
    layer.gamma.assign(case.gamma)
    layer.beta.assign(case.beta)
    return layer


def step(layer, x, dy):
    """Train on a batch; return y and the gradients of x, gamma and beta."""
    if BACKEND == "tensorflow":
        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        variables = [x, layer.gamma.value, layer.beta.value]
        return y, tape.gradient(y, variables, output_gradients=tf.constant(dy))
    if BACKEND == "torch":
        x = torch.tensor(x, requires_grad=True)
        y = layer(x, training=True)
        y.backward(torch.tensor(dy))
        grads = [x.grad, layer.gamma.value.grad, layer.beta.value.grad]
        return y.detach(), grads
    trained = [v.value for v in layer.trainable_variables]
    kept = [v.value for v in layer.non_trainable_variables]

    def forward(x, trained):
        return layer.stateless_call(trained, kept, x, training=True)

    y, back, kept = jax.vjp(forward, x, trained, has_aux=True)
    for i, value in enumerate(kept):
        layer.non_trainable_variables[i].assign(value)
    dx, (dgamma, dbeta) = back(jax.numpy.asarray(dy, y.dtype))
    return y, [dx, dgamma, dbeta]


def array(value):
    """Take an array back from the backend."""
    return np.array(ops.convert_to_numpy(value))


def train(case):
    """Run one case."""
    layer = make(case)
    y, grads = step(layer, case.x[0], case.dy)
    for batch in case.x[1:]:
        layer(batch, training=True)
    return {
        "y": array(y),
        "dx": array(grads[0]),
        "dgamma": array(grads[1]),
        "dbeta": array(grads[2]),
        "running_mean": array(layer.moving_mean),
        "running_var": array(layer.moving_variance),
        "inference": array(layer(case.x_new, training=False)),
    }


def default_steps(x):
    """Train a fresh layer twice."""
    layer = BatchNormalization()
    layer.build(x[0].shape)
    steps = [[array(layer.moving_mean), array(layer.moving_variance)]]
    for batch in x:
        layer(batch, training=True)
        steps.append([array(layer.moving_mean), array(layer.moving_variance)])
    return steps


def facts():
    """Read the conventions from the layer."""
    defaults = inspect.signature(BatchNormalization).parameters
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    layer, frozen = BatchNormalization(), BatchNormalization(trainable=False)
    layer.build(x.shape)
    y = frozen(x, training=True)

    def dtype(policy):
        one = BatchNormalization(dtype=policy)
        one.build(x.shape)
        return one.moving_variance.dtype

    return {
        "layer": "keras.layers.BatchNormalization",
        "momentum_name": "momentum",
        "momentum": layer.momentum,
        "eps": layer.epsilon,
        "axis": defaults["axis"].default,
        "names": {
            "weight": layer.gamma.name,
            "bias": layer.beta.name,
            "running_mean": layer.moving_mean.name,
            "running_var": layer.moving_variance.name,
        },
        "initial": {v.name: float(array(v)[0]) for v in layer.weights},
        "mode_switch": "layer(x, training=True), fit() and predict()",
        "statistics_dtype": {
            "float32": dtype("float32"),
            "float64": dtype("float64"),
            "float16": dtype("float16") + "; " + dtype("mixed_float16") + " when mixed",
        },
        "frozen": protocol.frozen(
            "trainable=False", array(frozen.moving_mean), array(y)
        ),
        "checkpoint": [v.name for v in layer.weights],
        "synced": "synchronized=True" if "synchronized" in defaults else None,
    }


if __name__ == "__main__":
    protocol.main(__name__)
