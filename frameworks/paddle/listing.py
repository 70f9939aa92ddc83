"""Train a net with batch norm on the digits, in PaddlePaddle."""

import numpy as np
import paddle
from paddle import nn

paddle.seed(0)
digits = {key: paddle.to_tensor(value) for key, value in np.load("digits.npz").items()}


def block(n_in, n_out):
    # No bias: batch norm would subtract it again, and beta takes its place.
    linear = nn.Linear(n_in, n_out, bias_attr=False)
    # The names are PyTorch's, but momentum=0.9 is the weight of the OLD value.
    return linear, nn.BatchNorm1D(n_out, momentum=0.9), nn.ReLU()


model = nn.Sequential(*block(64, 100), *block(100, 100), nn.Linear(100, 10))
sgd = paddle.optimizer.SGD(0.1, parameters=model.parameters())
for i in list(range(0, 1380, 60)) * 15:
    x, y = digits["x_train"][i : i + 60], digits["y_train"][i : i + 60]
    nn.functional.cross_entropy(model(x), y).backward()
    sgd.step()
    sgd.clear_grad()

model.eval()  # without this line the test images would normalize each other
scores, alone = model(digits["x_test"]), model(digits["x_test"][:1])
correct = scores.argmax(1) == digits["y_test"]
print("test accuracy above 90 %:", correct.astype("float32").mean().item() > 0.9)
print("the layer stores:", ", ".join(model[1].state_dict()))
print("one image alone gives its row:", np.allclose(alone, scores[:1], atol=1e-5))

model.train()  # a batch of one is no error here: it passes as if there were no layer
h = model[0](digits["x_test"][:1])
print("in training one image passes unchanged:", np.array_equal(model[1](h), h))
