"""Train a net with batch norm on the digits, in TensorFlow 2 with Keras."""

import numpy as np
import tensorflow as tf
from tensorflow.keras import Input, Sequential, layers, losses, optimizers

tf.keras.utils.set_random_seed(0)
digits = np.load("digits.npz")
train = tf.data.Dataset.from_tensor_slices((digits["x_train"], digits["y_train"]))
train = train.shuffle(1400).batch(60)


def block(units):
    # No bias: batch norm would subtract it again, and beta takes its place.
    yield layers.Dense(units, use_bias=False)
    yield layers.BatchNormalization()  # momentum=0.99 is the weight of the OLD value
    yield layers.Activation("relu")


model = Sequential([Input((64,)), *block(100), *block(100), layers.Dense(10)])
loss = losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizers.SGD(0.1), loss, metrics=["accuracy"])
model.fit(train, epochs=15, verbose=0)  # fit trains with training=True by itself

x, y = digits["x_test"], digits["y_test"]
print("test accuracy above 90 %:", model.evaluate(x, y, verbose=0)[1] > 0.9)
norm = model.layers[1]
print("the layer stores:", ", ".join(weight.name for weight in norm.weights))
# A call has training=False unless one says more: here, too, it is the right one.
scores, alone = model(x), model(x[:1])
print("one image alone gives its row:", np.allclose(alone, scores[:1], atol=1e-5))

norm.trainable = False  # means more than in PyTorch: the layer now infers, always
before, h = norm.moving_mean.numpy(), model.layers[0](x)
y_train, y_infer = norm(h, training=True), norm(h, training=False)
print("frozen, it infers even with training=True:", np.allclose(y_train, y_infer))
print("frozen averages stay:", np.array_equal(before, norm.moving_mean))
