"""TensorFlow 1: tf.layers in a graph and a session."""

import tensorflow as tf
import timing


def make(norm, x, y):
    """Return the training step of one net."""
    threads = tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
    )
    with tf.Graph().as_default():
        tf.set_random_seed(0)
        images = tf.placeholder(tf.float32, [None, 784])
        labels = tf.placeholder(tf.int64, [None])
        h = images
        for _, n_out in timing.HIDDEN:
            h = tf.layers.dense(h, n_out, use_bias=not norm)
            h = tf.layers.batch_normalization(h, training=True) if norm else h
            h = tf.nn.relu(h)
        loss = tf.losses.sparse_softmax_cross_entropy(labels, tf.layers.dense(h, 10))
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train = tf.train.GradientDescentOptimizer(timing.LR).minimize(loss)
        session = tf.Session(config=threads)
        session.run(tf.global_variables_initializer())
    return lambda i: session.run([train, loss], {images: x[i], labels: y[i]})[1]
