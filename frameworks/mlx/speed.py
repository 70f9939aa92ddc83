"""MLX on the CPU."""

import mlx.core as mx
import timing
from mlx import nn, optimizers

mx.set_default_device(mx.cpu)


def make(norm, x, y):
    """Return the training step of one net."""
    mx.random.seed(0)
    x, y, layers = [mx.array(v) for v in x], [mx.array(v) for v in y], []
    for n_in, n_out in timing.HIDDEN:
        layers.append(nn.Linear(n_in, n_out, bias=not norm))
        layers += [nn.BatchNorm(n_out), nn.ReLU()] if norm else [nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(100, 10))
    optimizer = optimizers.SGD(timing.LR)

    def loss(x, y):
        return nn.losses.cross_entropy(model(x), y, reduction="mean")

    train = nn.value_and_grad(model, loss)

    def step(i):
        value, grads = train(x[i], y[i])
        optimizer.update(model, grads)
        mx.eval(model.state, value)
        return value.item()

    return step
