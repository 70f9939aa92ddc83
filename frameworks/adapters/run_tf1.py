"""TensorFlow 1: tf.layers.batch_normalization, in 1.12 or in today's compat.v1.

Today's TensorFlow has it with TF_USE_LEGACY_KERAS=1 and the package tf-keras.
"""

import inspect

import numpy as np
import protocol
import tensorflow

TODAY = tensorflow.__version__.startswith("2.")
tf = tensorflow.compat.v1 if TODAY else tensorflow
if TODAY:
    tf.disable_eager_execution()
tf.logging.set_verbosity(tf.logging.ERROR)


def versions():
    """Return package versions."""
    found = {"tensorflow": tensorflow.__version__}
    if TODAY:
        import tf_keras  # noqa: PLC0415 - only today's TensorFlow has it

        found["tf-keras"] = tf_keras.__version__
    return found


class Graph:
    """A graph with one layer, and a session that runs it."""

    def __init__(self, shape, dtype="float32", **settings):
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.x = tf.placeholder(dtype, [None, *shape[1:]])
            self.dy = tf.placeholder(dtype, [None, *shape[1:]])
            self.training = tf.placeholder(tf.bool, [])
            self.layer = tf.layers.BatchNormalization(**settings)
            self.y = self.layer.apply(self.x, training=self.training)
            self.update = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
            moving = [self.layer.moving_mean, self.layer.moving_variance]
            self.statistics = [getattr(v, "value", lambda v=v: v)() for v in moving]
            self.session = tf.Session()
            self.session.run(tf.global_variables_initializer())

    def run(self, wanted, x, training, dy=None):
        """Run some tensors."""
        feed = {self.x: x, self.training: training}
        if dy is not None:
            feed[self.dy] = dy
        return self.session.run(wanted, feed)

    def gradients(self):
        """Make the gradients of x, gamma and beta."""
        with self.graph.as_default():
            wanted = [self.x, self.layer.gamma, self.layer.beta]
            return tf.gradients(self.y, wanted, self.dy)


def train(case):
    """Run one case."""
    settings = {
        "axis": -1 if case.layout == "nhwc" else 1,
        "momentum": case.keep,
        "epsilon": case.eps,
        "gamma_initializer": tf.constant_initializer(case.gamma),
        "beta_initializer": tf.constant_initializer(case.beta),
    }
    if case.layout == "nchw" or case.dtype == "float64":
        # On a CPU the fused kernel has no channels on axis 1 and no float64.
        settings["fused"] = False
    net = Graph(case.x[0].shape, case.dtype, **settings)
    wanted = [net.y, *net.gradients()]
    y, dx, dgamma, dbeta = net.run([wanted, net.update], case.x[0], True, case.dy)[0]
    for batch in case.x[1:]:
        net.run(net.update, batch, True)
    mean, var = net.session.run(net.statistics)
    return {
        "y": y,
        "dx": dx,
        "dgamma": dgamma,
        "dbeta": dbeta,
        "running_mean": mean,
        "running_var": var,
        "inference": net.run(net.y, case.x_new, False),
        "fused": bool(net.layer.fused),
    }


def default_steps(x):
    """Train a fresh layer twice."""
    net = Graph(x[0].shape)
    steps = [net.session.run(net.statistics)]
    for batch in x:
        net.run(net.update, batch, True)
        steps.append(net.session.run(net.statistics))
    return steps


def short(variable):
    """Return the last part of a variable's name."""
    return variable.name.split("/")[-1].split(":")[0]


def statistics_dtype(dtype):
    """Return the dtype of the statistics for an input of this dtype."""
    try:
        layer = Graph((2, 2), dtype).layer
    except ValueError as error:
        return "error: " + str(error)
    return layer.moving_variance.dtype.base_dtype.name


def facts():
    """Read the conventions from the layer."""
    defaults = inspect.signature(tf.layers.BatchNormalization.__init__).parameters
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    net, frozen = Graph(x.shape), Graph(x.shape, trainable=False)
    y, _ = frozen.run([frozen.y, frozen.update], x, True)
    with net.graph.as_default():
        saved = [short(v) for v in tf.global_variables()]
        first = {short(v): net.session.run(v).flat[0] for v in tf.global_variables()}
    layer = net.layer
    return {
        "layer": "tf.layers.batch_normalization",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"].default,
        "eps": defaults["epsilon"].default,
        "axis": defaults["axis"].default,
        "names": {
            "weight": short(layer.gamma),
            "bias": short(layer.beta),
            "running_mean": short(layer.moving_mean),
            "running_var": short(layer.moving_variance),
        },
        "initial": first,
        "mode_switch": "training=, and the operations in UPDATE_OPS",
        "statistics_dtype": {
            "float32": statistics_dtype("float32"),
            "float64": statistics_dtype("float64"),
            "float16": statistics_dtype("float16"),
        },
        "frozen": protocol.frozen(
            "trainable=False", frozen.session.run(frozen.statistics)[0], y
        ),
        "checkpoint": saved,
        "synced": None,
    }


def extras():
    """Show the trap: training without the operations in UPDATE_OPS."""
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    net = Graph(x.shape)
    net.run(net.y, x, True)
    forgotten = net.session.run(net.statistics)
    net.run([net.y, net.update], x, True)
    return {
        "update_ops": len(net.update),
        "mean_without_update_ops": forgotten[0],
        "mean_with_update_ops": net.session.run(net.statistics)[0],
    }


if __name__ == "__main__":
    protocol.main(__name__)
