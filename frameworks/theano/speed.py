"""Theano: one function with updates."""

import numpy as np
import theano
import theano.tensor as T
import timing
from theano.tensor.nnet.bn import batch_normalization_train

theano.config.floatX = "float32"


def shared(value, *shape):
    """Return a shared array of float32."""
    return theano.shared(np.full(shape, value, "float32"))


def make(norm, x, y):
    """Return the training step of one net."""
    rng = np.random.RandomState(0)
    images, labels = T.fmatrix("x"), T.lvector("y")
    learned, updates, h = [], [], images
    for n_in, n_out in (*timing.HIDDEN, (100, 10)):
        w = rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out)).astype("float32")
        w, beta = theano.shared(w), shared(0, n_out)
        learned += [w, beta]
        h = T.dot(h, w)
        if n_out == 10 or not norm:
            h = h + beta
        else:
            gamma, mean, var = shared(1, n_out), shared(0, n_out), shared(1, n_out)
            learned.append(gamma)
            h, _, _, new_mean, new_var = batch_normalization_train(
                h, gamma, beta, running_mean=mean, running_var=var
            )
            updates += [(mean, new_mean), (var, new_var)]
        h = h if n_out == 10 else T.nnet.relu(h)
    loss = T.nnet.categorical_crossentropy(T.nnet.softmax(h), labels).mean()
    rate = np.float32(timing.LR)
    updates += [(p, p - rate * T.grad(loss, p)) for p in learned]
    train = theano.function([images, labels], loss, updates=updates)
    return lambda i: train(x[i], y[i])
