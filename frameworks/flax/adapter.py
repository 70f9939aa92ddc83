"""JAX with Flax: flax.linen.BatchNorm, gradients by jax.vjp."""

import jax
import numpy as np
import protocol
from flax import linen as nn

jax.config.update("jax_enable_x64", True)


def start(layer, x):
    """Return fresh parameters and statistics."""
    variables = layer.init(jax.random.PRNGKey(0), x)
    return variables["params"], variables["batch_stats"]


class Layer:
    """A layer with its parameters and statistics; Flax keeps them apart."""

    def __init__(self, case):
        settings = case.settings(
            axis=-1 if case.layout == "nhwc" else 1,
            momentum=case.keep,
            epsilon=case.eps,
            dtype=case.dtype,
            param_dtype=case.dtype,
        )
        self.layer = nn.BatchNorm(use_running_average=False, **settings)
        _, self.stats = start(self.layer, case.x[0])
        gamma, beta = jax.numpy.array(case.gamma), jax.numpy.array(case.beta)
        self.params = {"scale": gamma, "bias": beta}

    def step(self, x, dy):
        """Train on a batch; return y, dx, dgamma, dbeta."""

        def forward(x, params):
            variables = {"params": params, "batch_stats": self.stats}
            return self.layer.apply(variables, x, mutable=["batch_stats"])

        y, back, new = jax.vjp(forward, x, self.params, has_aux=True)
        dx, grads = back(jax.numpy.array(dy, y.dtype))
        self.stats = new["batch_stats"]
        return y, dx, grads["scale"], grads["bias"]

    def statistics(self):
        """Return the running mean and variance."""
        return self.stats["mean"], self.stats["var"]

    def infer(self, x):
        """Return y in evaluation mode."""
        variables = {"params": self.params, "batch_stats": self.stats}
        return self.layer.clone(use_running_average=True).apply(variables, x)


def facts():
    """Read the conventions from the layer."""
    defaults = protocol.defaults(nn.BatchNorm)
    params, stats = start(nn.BatchNorm(use_running_average=False), protocol.BATCH)
    frozen = nn.BatchNorm(use_running_average=True)
    variables = {"params": params, "batch_stats": stats}
    y, new = frozen.apply(variables, protocol.BATCH, mutable=["batch_stats"])
    moved = new.get("batch_stats", stats)["mean"]
    return {
        "layer": "flax.linen.BatchNorm",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"],
        "eps": defaults["epsilon"],
        "axis": defaults["axis"],
        "names": protocol.names("scale", "bias", "mean", "var"),
        "state": {**params, **stats},
        "mode_switch": "use_running_average, mutable=['batch_stats']",
        "frozen": protocol.frozen("use_running_average=True", moved, y),
        "checkpoint": ["params/" + k for k in sorted(params)]
        + ["batch_stats/" + k for k in sorted(stats)],
        "synced": "axis_name=" if "axis_name" in defaults else None,
    }


def extras():
    """Show the synced variant on one device: four shards as one batch."""
    x = np.arange(32, dtype=np.float32).reshape(8, 4) ** 1.5
    layer = nn.BatchNorm(use_running_average=False, axis_name="device")
    alone = nn.BatchNorm(use_running_average=False)
    params, stats = start(alone, x)
    variables = {"params": params, "batch_stats": stats}

    def run(layer, shard):
        return layer.apply(variables, shard, mutable=["batch_stats"])[0]

    whole, shards = np.array(run(alone, x)), x.reshape(4, 2, 4)
    synced = jax.vmap(lambda s: run(layer, s), axis_name="device")(shards)
    apart = jax.vmap(lambda s: run(alone, s))(shards)
    return {
        "synced_difference": float(abs(np.array(synced).reshape(8, 4) - whole).max()),
        "unsynced_difference": float(abs(np.array(apart).reshape(8, 4) - whole).max()),
    }
