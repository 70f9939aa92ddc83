"""Train a net with batch norm on the digits, in Keras 3 on JAX."""

import os
import random
import sys

os.environ["KERAS_BACKEND"] = "jax"  # before the import; "torch" runs as well

import keras
import numpy as np
from keras import layers

random.seed(0)  # keras.utils.set_random_seed would load TensorFlow, if it is there
digits = np.load("digits.npz")


def block(x, units):
    # No bias: batch norm would subtract it again, and beta takes its place.
    x = layers.Dense(units, use_bias=False)(x)
    # What PyTorch calls momentum=0.1 and eps=1e-5.
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return layers.ReLU()(x)


image = keras.Input((64,))
model = keras.Model(image, layers.Dense(10)(block(block(image, 100), 100)))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
model.fit(digits["x_train"], digits["y_train"], batch_size=60, epochs=15, verbose=0)

x, y = digits["x_test"], digits["y_test"]
print("test accuracy above 90 %:", model.evaluate(x, y, verbose=0)[1] > 0.9)
print("the layer stores:", ", ".join(weight.name for weight in model.layers[2].weights))
scores, alone = model.predict(x, verbose=0), model.predict(x[:1], verbose=0)
print("one image alone gives its row:", np.allclose(alone, scores[:1], atol=1e-5))
print("TensorFlow was not loaded:", "tensorflow" not in sys.modules)
