"""TensorFlow: layers of Keras, and the step as a tf.function."""

import keras
import tensorflow as tf
import timing
from time_keras import net

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


def make(norm, x, y):
    """Return the training step of one net."""
    keras.utils.set_random_seed(0)
    model, optimizer = net(norm), keras.optimizers.SGD(timing.LR)
    x, y = [tf.constant(v) for v in x], [tf.constant(v) for v in y]
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(x, y):
        with tf.GradientTape() as tape:
            scores = model(x, training=True)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores)
            loss = tf.reduce_mean(loss)
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
        return loss

    return lambda i: train(x[i], y[i])


if __name__ == "__main__":
    timing.main(make)
