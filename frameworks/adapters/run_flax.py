"""JAX with Flax: flax.linen.BatchNorm, gradients by jax.vjp."""

import inspect

import flax
import jax
import numpy as np
import protocol
from flax import linen as nn

jax.config.update("jax_enable_x64", True)


def versions():
    """Return package versions."""
    return {"flax": flax.__version__, "jax": jax.__version__}


def start(layer, x):
    """Return fresh parameters and statistics."""
    variables = layer.init(jax.random.PRNGKey(0), x)
    return variables["params"], variables["batch_stats"]


def train(case):
    """Run one case."""
    layer = nn.BatchNorm(
        use_running_average=False,
        axis=-1 if case.layout == "nhwc" else 1,
        momentum=case.keep,
        epsilon=case.eps,
        dtype=case.dtype,
        param_dtype=case.dtype,
    )
    _, stats = start(layer, case.x[0])
    params = {"scale": jax.numpy.array(case.gamma), "bias": jax.numpy.array(case.beta)}

    def forward(x, params, stats):
        variables = {"params": params, "batch_stats": stats}
        return layer.apply(variables, x, mutable=["batch_stats"])

    y, back, new = jax.vjp(
        lambda x, params: forward(x, params, stats), case.x[0], params, has_aux=True
    )
    dx, grads = back(jax.numpy.array(case.dy))
    for batch in case.x[1:]:
        _, new = forward(batch, params, new["batch_stats"])
    variables = {"params": params, "batch_stats": new["batch_stats"]}
    return {
        "y": np.array(y),
        "dx": np.array(dx),
        "dgamma": np.array(grads["scale"]),
        "dbeta": np.array(grads["bias"]),
        "running_mean": np.array(new["batch_stats"]["mean"]),
        "running_var": np.array(new["batch_stats"]["var"]),
        "inference": np.array(
            layer.clone(use_running_average=True).apply(variables, case.x_new)
        ),
    }


def default_steps(x):
    """Train a fresh layer twice."""
    layer = nn.BatchNorm(use_running_average=False)
    params, stats = start(layer, x[0])
    steps = [[np.array(stats["mean"]), np.array(stats["var"])]]
    for batch in x:
        variables = {"params": params, "batch_stats": stats}
        stats = layer.apply(variables, batch, mutable=["batch_stats"])[1]["batch_stats"]
        steps.append([np.array(stats["mean"]), np.array(stats["var"])])
    return steps


def facts():
    """Read the conventions from the layer."""
    defaults = inspect.signature(nn.BatchNorm).parameters
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    layer = nn.BatchNorm(use_running_average=False)
    params, stats = start(layer, x)
    frozen = nn.BatchNorm(use_running_average=True)
    variables = {"params": params, "batch_stats": stats}
    y, new = frozen.apply(variables, x, mutable=["batch_stats"])

    def dtype(name):
        return start(layer, x.astype(name))[1]["var"].dtype.name

    return {
        "layer": "flax.linen.BatchNorm",
        "momentum_name": "momentum",
        "momentum": defaults["momentum"].default,
        "eps": defaults["epsilon"].default,
        "axis": defaults["axis"].default,
        "names": {
            role: name
            for role, name, where in (
                ("weight", "scale", params),
                ("bias", "bias", params),
                ("running_mean", "mean", stats),
                ("running_var", "var", stats),
            )
            if name in where
        },
        "initial": {k: float(v[0]) for k, v in {**params, **stats}.items()},
        "mode_switch": "use_running_average, mutable=['batch_stats']",
        "statistics_dtype": {
            name: dtype(name) for name in ("float32", "float64", "float16")
        },
        "frozen": protocol.frozen(
            "use_running_average=True",
            new.get("batch_stats", stats)["mean"],
            np.array(y),
        ),
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


if __name__ == "__main__":
    protocol.main(__name__)
