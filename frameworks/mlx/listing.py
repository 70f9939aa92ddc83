"""Train a net with batch norm on the digits, in MLX."""

import mlx.core as mx
import numpy as np
from mlx import nn, optimizers

mx.set_default_device(mx.cpu)  # on a Mac, leave this out
mx.random.seed(0)
digits = {key: mx.array(value) for key, value in np.load("digits.npz").items()}


def block(n_in, n_out):
    # No bias: batch norm would subtract it again, and beta takes its place.
    return nn.Linear(n_in, n_out, bias=False), nn.BatchNorm(n_out), nn.ReLU()


def loss(x, y):
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


model = nn.Sequential(*block(64, 100), *block(100, 100), nn.Linear(100, 10))
step, sgd = nn.value_and_grad(model, loss), optimizers.SGD(0.1)
for i in list(range(0, 1380, 60)) * 15:
    _, grads = step(digits["x_train"][i : i + 60], digits["y_train"][i : i + 60])
    sgd.update(model, grads)
    mx.eval(model.state)  # nothing is computed before it is asked for

model.eval()  # without this line the test images would normalize each other
scores, alone = model(digits["x_test"]), model(digits["x_test"][:1])
correct, norm = scores.argmax(1) == digits["y_test"], model.layers[1]
print("test accuracy above 90 %:", correct.mean().item() > 0.9)
print("the layer stores:", ", ".join(sorted(norm.parameters())))
print("one image alone gives its row:", np.allclose(alone, scores[:1], atol=1e-5))

model.train().freeze()  # freezes weight and bias, but not the averages
before = norm.running_mean
model(digits["x_test"])
print("frozen averages still move:", not np.array_equal(before, norm.running_mean))
