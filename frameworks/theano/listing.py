"""Train a net with batch norm on the digits, in Theano."""

import numpy as np
import theano
import theano.tensor as T
from theano.tensor.nnet.bn import batch_normalization_test, batch_normalization_train

theano.config.floatX = "float32"
digits, rng = np.load("digits.npz"), np.random.RandomState(0)
START = {"gamma": 1, "beta": 0, "mean": 0, "var": 1}
x, y = T.fmatrix("x"), T.lvector("y")
learned, updates, train, test = [], [], x, x
for n_in, n_out in ((64, 100), (100, 100), (100, 10)):
    w = theano.shared(rng.normal(0, 0.1, (n_in, n_out)).astype("float32"))
    train, test = T.dot(train, w), T.dot(test, w)
    learned.append(w)
    if n_out == 10:  # scores: no batch norm after them
        break
    # Theano keeps no layer: the four arrays are ours, and so is what becomes of them.
    norm = [theano.shared(np.full(n_out, v, "float32"), k) for k, v in START.items()]
    gamma, beta, mean, var = norm
    train, _, _, new_mean, new_var = batch_normalization_train(
        train, gamma, beta, running_mean=mean, running_var=var
    )
    learned += [gamma, beta]
    updates += [(mean, new_mean), (var, new_var)]  # left out, the averages never move
    train = T.nnet.relu(train)
    test = T.nnet.relu(batch_normalization_test(test, gamma, beta, mean, var))

loss = T.nnet.categorical_crossentropy(T.nnet.softmax(train), y).mean()
updates += [(p, p - np.float32(0.1) * T.grad(loss, p)) for p in learned]
step, scores = theano.function([x, y], updates=updates), theano.function([x], test)
for i in list(range(0, 1380, 60)) * 15:
    step(digits["x_train"][i : i + 60], digits["y_train"][i : i + 60])

rows, alone = scores(digits["x_test"]), scores(digits["x_test"][:1])
print("test accuracy above 90 %:", (rows.argmax(1) == digits["y_test"]).mean() > 0.9)
print("the arrays of one layer:", ", ".join(array.name for array in norm))
print("one image alone gives its row:", np.allclose(alone, rows[:1], atol=1e-5))
