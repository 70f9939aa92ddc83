"""TensorFlow 1: tf.layers.batch_normalization, in 1.12 or in today's compat.v1.

Today's TensorFlow has it with TF_USE_LEGACY_KERAS=1 and the package tf-keras.
"""

import protocol
import tensorflow

tf = tensorflow
if tensorflow.__version__.startswith("2."):
    import tf_keras  # noqa: F401 - its version belongs to the answer

    tf = tensorflow.compat.v1
    tf.disable_eager_execution()
tf.logging.set_verbosity(tf.logging.ERROR)


class Layer:
    """A graph with one layer, and a session; ``more`` are settings of no case."""

    def __init__(self, case, **more):
        settings = case.settings(
            axis=-1 if case.layout == "nhwc" else 1,
            momentum=case.keep,
            epsilon=case.eps,
            gamma_initializer=tf.constant_initializer(case.gamma),
            beta_initializer=tf.constant_initializer(case.beta),
            # On a CPU the fused kernel has no channels on axis 1 and no float64.
            fused=None if case.layout != "nchw" and case.dtype == "float32" else False,
        )
        with tf.Graph().as_default():
            shape = [None, *case.x[0].shape[1:]]
            self.x, self.dy = (tf.placeholder(case.dtype, shape) for _ in "xy")
            self.training = tf.placeholder(tf.bool, [])
            self.layer = tf.layers.BatchNormalization(**settings, **more)
            self.y = self.layer.apply(self.x, training=self.training)
            self.update = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
            wanted = [self.x, self.layer.gamma, self.layer.beta]
            self.gradients = tf.gradients(self.y, wanted, self.dy)
            self.variables = {short(v): v for v in tf.global_variables()}
            self.session = tf.Session()
            self.session.run(tf.global_variables_initializer())
        self.fused = bool(self.layer.fused)

    def run(self, wanted, x):
        """Run tensors in training mode."""
        return self.session.run(wanted, {self.x: x, self.training: True})

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta."""
        feed = {self.x: x, self.dy: dy, self.training: True}
        wanted = [self.y, *self.gradients]
        return self.session.run([wanted, self.update], feed)[0]

    def values(self):
        """Return the value of each variable."""
        return self.session.run(self.variables)

    def statistics(self):
        """Return the running mean and variance."""
        values = self.values()
        moving = (self.layer.moving_mean, self.layer.moving_variance)
        return [values[short(variable)] for variable in moving]

    def infer(self, x):
        """Return y in evaluation mode."""
        return self.session.run(self.y, {self.x: x, self.training: False})


def short(variable):
    """Return the last part of a variable's name."""
    return variable.name.split("/")[-1].split(":")[0]


def facts():
    """Read the conventions from the layer."""
    defaults = protocol.defaults(tf.layers.BatchNormalization.__init__)
    net, frozen = Layer(protocol.fresh()), Layer(protocol.fresh(), trainable=False)
    y, _ = frozen.run([frozen.y, frozen.update], protocol.BATCH)
    return {
        "layer": "tf.layers.batch_normalization",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"],
        "eps": defaults["epsilon"],
        "axis": defaults["axis"],
        "names": protocol.names(
            short(net.layer.gamma),
            short(net.layer.beta),
            short(net.layer.moving_mean),
            short(net.layer.moving_variance),
        ),
        "state": net.values(),
        "mode_switch": "training=, and the operations in UPDATE_OPS",
        "frozen": protocol.frozen("trainable=False", frozen.statistics()[0], y),
        "synced": None,
    }


def extras():
    """Show the trap: training without the operations in UPDATE_OPS."""
    net = Layer(protocol.fresh())
    net.run(net.y, protocol.BATCH)
    forgotten = net.statistics()[0]
    net.run([net.y, net.update], protocol.BATCH)
    return {
        "update_ops": len(net.update),
        "mean_without_update_ops": forgotten,
        "mean_with_update_ops": net.statistics()[0],
    }
