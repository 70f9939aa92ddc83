"""The table of conventions: what each framework's batch-norm layer means by its words.

`bnlib.conventions` is the room to import from; the table stands apart for its length.
The records in ``frameworks/`` hold each entry against the real framework.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = ["CONVENTIONS", "ROLES", "Convention"]

ROLES = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Convention:
    """What one framework means by the words of its batch-norm layer.

    Attributes
    ----------
    key, title : str
        Short name, and the name for people.
    momentum_name, eps_name : str
        What the two settings are called.
    weighs : {"new", "old", "time constant"}
        What the momentum setting gives: the weight of the new value, the weight that
        the old value keeps, or T in ``exp(-N / T)``, the weight that the old value
        keeps after N samples.
    momentum, eps : float
        Defaults; NaN where the framework has no default.
    stored : {"biased", "unbiased"}
        Variance that the running average receives.
    axis : int
        Default channel axis.
    names : mapping
        The framework's names for the roles weight, bias, running_mean, running_var
        and, where it counts, count.
    axes : tuple of int or None
        Channel axes that can be chosen; None where any can.
    stored_fused : str or None
        Variance that the fused kernel stores, where it differs from ``stored``.
    initial_var : float
        Initial running variance; gamma starts at 1, beta and the mean at 0 everywhere.
    first_replaces : bool
        Whether the first batch takes the place of the initial values.
    count_unit : {"batches", "samples"} or None
        What the counter counts.
    cumulative : object
        Momentum setting that asks for the average over all batches: None, or a
        negative time constant; NaN where there is none.
    min_eps : float
        Smallest eps that is accepted in training.
    one_value : {"raises", "beta", "nan", "input"}
        One value per channel in training: an error; the output is beta and the running
        variance shrinks; the output is beta and the running variance becomes NaN; the
        input comes back and nothing is updated.
    mode_switch, frozen, synced : str
        How training is chosen, what stops the statistics, the variant for several
        devices.
    """

    key: str
    title: str
    momentum_name: str
    weighs: Literal["new", "old", "time constant"]
    momentum: float
    eps_name: str
    eps: float
    stored: Literal["biased", "unbiased"]
    axis: int
    names: Mapping[str, str] = field(hash=False)
    axes: tuple[int, ...] | None = None
    stored_fused: str | None = None
    initial_var: float = 1.0
    first_replaces: bool = False
    count_unit: Literal["batches", "samples"] | None = None
    cumulative: float | None = math.nan
    min_eps: float = 0.0
    one_value: Literal["raises", "beta", "nan", "input"] = "beta"
    mode_switch: str = ""
    frozen: str = ""
    synced: str = "none"

    def weight_of_new(
        self, momentum: float | None, samples: int, updates: int = 1
    ) -> float:
        """Return the weight that the next batch gets in the running average.

        Parameters
        ----------
        momentum : float or None
            The setting, in this framework's words.
        samples : int
            Examples in the batch.
        updates : int
            Batches that were averaged before.

        Returns
        -------
        float
            Between 0 and 1.
        """
        if (self.first_replaces and not updates) or self.is_cumulative(momentum):
            return 1.0 / (updates + 1)
        if self.weighs == "new":
            return float(momentum)
        if self.weighs == "old":
            return 1.0 - float(momentum)
        return 1.0 if momentum == 0 else -math.expm1(-samples / momentum)

    def setting(self, weight_of_new: float, samples: int) -> float:
        """Return the momentum setting that gives the new value this weight.

        Parameters
        ----------
        weight_of_new : float
            Weight of the new value, from 0 to 1.
        samples : int
            Examples in the batch.

        Returns
        -------
        float
            In this framework's words.
        """
        if self.weighs == "new":
            return weight_of_new
        if self.weighs == "old":
            return 1.0 - weight_of_new
        if weight_of_new in (0.0, 1.0):
            return math.inf if weight_of_new == 0 else 0.0
        return -samples / math.log1p(-weight_of_new)

    def is_cumulative(self, momentum: float | None) -> bool:
        """Say whether this setting asks for the average over all batches.

        Parameters
        ----------
        momentum : float or None
            The setting.

        Returns
        -------
        bool
            Always False where the framework has no such setting.
        """
        if self.cumulative is None:
            return momentum is None
        if math.isnan(self.cumulative):
            return False
        return momentum is not None and momentum < 0

    def factor(self, m: int, fused: bool = False) -> float:
        """Return what multiplies the biased variance of m values before it is stored.

        Parameters
        ----------
        m : int
            Values per channel in the batch.
        fused : bool
            Whether the framework's fused kernel runs.

        Returns
        -------
        float
            1 or ``m / (m - 1)``.
        """
        stored = self.stored_fused if fused and self.stored_fused else self.stored
        return 1.0 if stored == "biased" else m / (m - 1)


def _names(
    weight: str, bias: str, mean: str, var: str, count: str | None = None
) -> Mapping[str, str]:
    names = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    return MappingProxyType(names if count is None else {**names, "count": count})


TORCH_NAMES = _names("weight", "bias", "running_mean", "running_var")
COUNTED = _names(*TORCH_NAMES.values(), "num_batches_tracked")
KERAS_NAMES = _names("gamma", "beta", "moving_mean", "moving_variance")
MXNET_NAMES = _names("gamma", "beta", "running_mean", "running_var")

CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        c.key: c
        for c in (
            Convention(
                "pytorch", "PyTorch", "momentum", "new", 0.1, "eps", 1e-5,
                "unbiased", 1, COUNTED, axes=(1,), count_unit="batches",
                cumulative=None, min_eps=5e-324, one_value="raises",
                mode_switch="module.train(), module.eval()",
                frozen="module.eval(); requires_grad=False does not stop them",
                synced="torch.nn.SyncBatchNorm",
            ),
            Convention(
                "keras", "Keras 3", "momentum", "old", 0.99, "epsilon", 1e-3,
                "biased", -1, KERAS_NAMES,
                mode_switch="layer(x, training=True)",
                frozen="layer.trainable = False, which also means inference",
                synced="synchronized=True",
            ),
            Convention(
                "tf1", "TensorFlow 1", "momentum", "old", 0.99, "epsilon", 1e-3,
                "biased", -1, KERAS_NAMES, stored_fused="unbiased",
                mode_switch="training= and the operations in UPDATE_OPS",
                frozen="trainable=False, or do not run the operations in UPDATE_OPS",
            ),
            Convention(
                "theano", "Theano", "running_average_factor", "new", 0.1,
                "epsilon", 1e-4, "unbiased", 1, MXNET_NAMES, min_eps=1e-5,
                one_value="nan",
                mode_switch="batch_normalization_train, batch_normalization_test",
                frozen="leave the updates out of theano.function",
            ),
            Convention(
                "cntk", "CNTK", "normalization_time_constant", "time constant", 5000.0,
                "epsilon", 1e-5, "unbiased", 1,
                _names("scale", "bias", "aggregate_mean", "aggregate_variance",
                       "aggregate_count"),
                axes=(1,), initial_var=0.0, first_replaces=True,
                count_unit="samples", cumulative=-1.0, one_value="nan",
                mode_switch="train_minibatch or forward with a backward pass, eval",
                frozen="an infinite time constant; CloneMethod.freeze does not",
            ),
            Convention(
                "onnx", "ONNX", "momentum", "old", 0.9, "epsilon", 1e-5,
                "biased", 1, _names("scale", "B", "input_mean", "input_var"),
                axes=(1,), mode_switch="the attribute training_mode",
                frozen="training_mode=0",
            ),
            Convention(
                "flax", "Flax", "momentum", "old", 0.99, "epsilon", 1e-5,
                "biased", -1, _names("scale", "bias", "mean", "var"),
                mode_switch="use_running_average, mutable=['batch_stats']",
                frozen="use_running_average=True",
                synced="axis_name=",
            ),
            Convention(
                "mlx", "MLX", "momentum", "new", 0.1, "eps", 1e-5,
                "unbiased", -1, TORCH_NAMES, axes=(-1,), one_value="raises",
                mode_switch="module.train(), module.eval()",
                frozen="module.eval(); freeze() does not stop them",
            ),
            Convention(
                "paddle", "PaddlePaddle", "momentum", "old", 0.9, "epsilon", 1e-5,
                "biased", 1, _names("weight", "bias", "_mean", "_variance"),
                axes=(1, -1), one_value="input",
                mode_switch="layer.train(), layer.eval()",
                frozen="use_global_stats=True, or layer.eval()",
                synced="paddle.nn.SyncBatchNorm",
            ),
            Convention(
                "tinygrad", "tinygrad", "momentum", "new", 0.1, "eps", 1e-5,
                "unbiased", 1, COUNTED, axes=(1,), count_unit="batches",
                one_value="raises", mode_switch="Context(TRAINING=1)",
                frozen="leave TRAINING at 0",
            ),
            Convention(
                "mxnet", "MXNet", "momentum", "old", 0.9, "epsilon", 1e-5,
                "biased", 1, MXNET_NAMES, mode_switch="autograd.record()",
                frozen="use_global_stats=True",
                synced="gluon.contrib.nn.SyncBatchNorm",
            ),
        )
    }
)  # fmt: skip
