"""Train a net with batch norm on the digits, in TensorFlow 1."""

import numpy as np
import tensorflow as tf

tf.set_random_seed(0)
digits = np.load("digits.npz")
x = tf.placeholder(tf.float32, [None, 64])
y = tf.placeholder(tf.int64, [None])
training = tf.placeholder_with_default(False, [])

h = x
for units in (100, 100):
    h = tf.layers.dense(h, units, use_bias=False)
    h = tf.nn.relu(tf.layers.batch_normalization(h, training=training))
scores = tf.layers.dense(h, 10)
loss = tf.losses.sparse_softmax_cross_entropy(y, scores)
accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(scores, 1), y), tf.float32))

# The layers only announce their moving averages here: nobody runs them yet.
updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
optimizer = tf.train.GradientDescentOptimizer(0.1)
forgotten = optimizer.minimize(loss)
with tf.control_dependencies(updates):  # now each step runs them first
    right = optimizer.minimize(loss)

test = {x: digits["x_test"], y: digits["y_test"]}
with tf.Session() as session:
    for name, step in (("with", right), ("without", forgotten)):
        session.run(tf.global_variables_initializer())
        for i in list(range(0, 1380, 60)) * 15:
            batch = {x: digits["x_train"][i : i + 60], y: digits["y_train"][i : i + 60]}
            session.run(step, {training: True, **batch})
        verdict = session.run(accuracy, test) > 0.9
        print(f"test accuracy above 90 %, {name} the update operations:", verdict)
    rows, alone = (session.run(scores, {x: digits["x_test"][:n]}) for n in (60, 1))
print("one image alone gives its row:", np.allclose(alone, rows[:1], atol=1e-5))
layer = tf.global_variables("batch_normalization/")
print("the layer stores:", ", ".join(v.op.name.split("/")[1] for v in layer))
