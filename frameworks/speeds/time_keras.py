"""Keras: a compiled model and train_on_batch."""

import keras
import timing
from keras import layers


def net(norm):
    """Return the net."""
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
    keras.utils.set_random_seed(0)
    model = net(norm)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(timing.LR), loss)

    def step(i):
        loss = model.train_on_batch(x[i], y[i])
        model.reset_metrics()  # else it returns the mean of all batches so far
        return loss

    return step


if __name__ == "__main__":
    timing.main(make)
