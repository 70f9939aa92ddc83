"""Keras 3: keras.layers.BatchNormalization, on the backend of KERAS_BACKEND."""

import keras
import protocol
from keras.layers import BatchNormalization
from keras.ops import convert_to_numpy

BACKEND = keras.backend.backend()
if BACKEND == "jax":
    import jax

    jax.config.update("jax_enable_x64", True)
elif BACKEND == "tensorflow":
    import tensorflow as tf
else:
    import torch


class Layer:
    """The layer; each backend has its own way to a gradient."""

    def __init__(self, case):
        axis = -1 if case.layout == "nhwc" else 1
        settings = case.settings(axis=axis, momentum=case.keep, epsilon=case.eps)
        self.layer = BatchNormalization(dtype=case.dtype, **settings)
        self.layer.build(case.x[0].shape)
        self.layer.gamma.assign(case.gamma)
        self.layer.beta.assign(case.beta)

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta."""
        gradients = globals()["gradients_" + BACKEND]
        return [convert_to_numpy(v) for v in gradients(self.layer, x, dy)]

    def statistics(self):
        """Return the running mean and variance."""
        moving = (self.layer.moving_mean, self.layer.moving_variance)
        return [convert_to_numpy(v) for v in moving]

    def infer(self, x):
        """Return y in evaluation mode."""
        return convert_to_numpy(self.layer(x, training=False))


def gradients_tensorflow(layer, x, dy):
    """Return y, dx, dgamma, dbeta, with a tape."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    wanted = [x, layer.gamma.value, layer.beta.value]
    return [y, *tape.gradient(y, wanted, output_gradients=tf.constant(dy))]


def gradients_torch(layer, x, dy):
    """Return y, dx, dgamma, dbeta, with autograd."""
    x = torch.tensor(x, requires_grad=True)
    y = layer(x, training=True)
    wanted = [x, layer.gamma.value, layer.beta.value]
    return [y, *torch.autograd.grad(y, wanted, torch.tensor(dy, dtype=y.dtype))]


def gradients_jax(layer, x, dy):
    """Return y, dx, dgamma, dbeta, with a stateless call."""
    trained = [v.value for v in layer.trainable_variables]
    kept = [v.value for v in layer.non_trainable_variables]

    def forward(x, trained):
        return layer.stateless_call(trained, kept, x, training=True)

    y, back, new = jax.vjp(forward, x, trained, has_aux=True)
    for variable, value in zip(layer.non_trainable_variables, new, strict=True):
        variable.assign(value)
    dx, grads = back(jax.numpy.asarray(dy, y.dtype))
    return [y, dx, *grads]


def facts():
    """Read the conventions from the layer."""
    defaults = protocol.defaults(BatchNormalization)
    layer, frozen = BatchNormalization(), BatchNormalization(trainable=False)
    mixed = BatchNormalization(dtype="mixed_float16")
    for one in (layer, mixed):
        one.build(protocol.BATCH.shape)
    y = frozen(protocol.BATCH, training=True)
    half = protocol.statistics_dtype(Layer, "float16")
    return {
        "layer": "keras.layers.BatchNormalization",
        "momentum_name": "momentum",
        "momentum": layer.momentum,
        "eps": layer.epsilon,
        "axis": defaults["axis"],
        "names": protocol.names(
            layer.gamma.name,
            layer.beta.name,
            layer.moving_mean.name,
            layer.moving_variance.name,
        ),
        "state": {v.name: convert_to_numpy(v) for v in layer.weights},
        "mode_switch": "layer(x, training=True), fit() and predict()",
        "statistics_dtype": {
            "float16": half + "; " + mixed.moving_variance.dtype + " when mixed",
        },
        "frozen": protocol.frozen(
            "trainable=False",
            convert_to_numpy(frozen.moving_mean),
            convert_to_numpy(y),
        ),
        "synced": "synchronized=True" if "synchronized" in defaults else None,
    }
