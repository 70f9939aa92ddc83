"""JAX with Flax, the step compiled by jax.jit."""

import jax
import optax
import timing
from flax import linen as nn


class Net(nn.Module):
    """The net."""

    norm: bool

    @nn.compact
    def __call__(self, x):
        """Return the scores, in training mode."""
        for _, n_out in timing.HIDDEN:
            x = nn.Dense(n_out, use_bias=not self.norm)(x)
            x = nn.BatchNorm(use_running_average=False)(x) if self.norm else x
            x = nn.relu(x)
        return nn.Dense(10)(x)


def make(norm, x, y):
    """Return the training step of one net."""
    net = Net(norm)
    x, y = [jax.numpy.array(v) for v in x], [jax.numpy.array(v) for v in y]
    state = net.init(jax.random.key(0), x[0])

    @jax.jit
    def train(state, x, y):
        def loss(params):
            given = {**state, "params": params}
            scores, new = net.apply(given, x, mutable=["batch_stats"])
            each = optax.softmax_cross_entropy_with_integer_labels(scores, y)
            return each.mean(), new

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(state["params"])
        move = jax.tree.map(lambda p, g: p - timing.LR * g, state["params"], grads)
        return {"params": move, **new}, value

    def step(i):
        nonlocal state
        state, value = train(state, x[i], y[i])
        return value

    return step
