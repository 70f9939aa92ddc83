"""TensorFlow: layers of Keras, and the step as a tf.function or by train_on_batch."""

import keras
import tensorflow as tf
import timing
from keras import layers

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


def net(norm):
    """Return the net."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((784,))])
    for _, n_out in timing.HIDDEN:
        model.add(layers.Dense(n_out, use_bias=not norm))
        if norm:
            model.add(layers.BatchNormalization())
        model.add(layers.Activation("relu"))
    model.add(layers.Dense(10))
    return model


def make(norm, x, y):
    """Return the training step of one net."""
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


def make_keras(norm, x, y):
    """Return the training step of one compiled net."""
    model = net(norm)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(timing.LR), loss)

    def step(i):
        loss = model.train_on_batch(x[i], y[i])
        model.reset_metrics()  # else it returns the mean of all batches so far
        return loss

    return step
