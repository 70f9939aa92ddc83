"""What each framework means by its words, and a translator between them.

A batch-norm layer is the same mathematics everywhere, but the frameworks disagree about
which value ``momentum`` weighs, which variance is stored, where the channels stand and
what everything is called. `CONVENTIONS` says it for each; `convert` moves a trained
layer from one to another; `train_step` and `infer` run a layer by any convention, with
`bnlib.functional` as the engine. The records in ``frameworks/`` hold this table against
the real frameworks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np

from bnlib import functional as F
from bnlib._check import Array

__all__ = [
    "CONVENTIONS",
    "Convention",
    "Converted",
    "convert",
    "default_settings",
    "fresh_state",
    "infer",
    "train_step",
]

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

    def weight_of_new(self, momentum: Any, samples: int, updates: int = 1) -> float:
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
COUNTED = MappingProxyType({**TORCH_NAMES, "count": "num_batches_tracked"})
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
            ),
            Convention(
                "keras", "Keras 3", "momentum", "old", 0.99, "epsilon", 1e-3,
                "biased", -1, KERAS_NAMES,
            ),
            Convention(
                "tf1", "TensorFlow 1", "momentum", "old", 0.99, "epsilon", 1e-3,
                "biased", -1, KERAS_NAMES, stored_fused="unbiased",
            ),
            Convention(
                "theano", "Theano", "running_average_factor", "new", 0.1,
                "epsilon", 1e-4, "unbiased", 1, MXNET_NAMES, min_eps=1e-5,
                one_value="nan",
            ),
            Convention(
                "cntk", "CNTK", "normalization_time_constant", "time constant", 5000.0,
                "epsilon", 1e-5, "unbiased", 1,
                _names("scale", "bias", "aggregate_mean", "aggregate_variance",
                       "aggregate_count"),
                axes=(1,), initial_var=0.0, first_replaces=True,
                count_unit="samples", cumulative=-1.0, one_value="nan",
            ),
            Convention(
                "onnx", "ONNX", "momentum", "old", 0.9, "epsilon", 1e-5,
                "biased", 1, _names("scale", "B", "input_mean", "input_var"),
                axes=(1,),
            ),
            Convention(
                "flax", "Flax", "momentum", "old", 0.99, "epsilon", 1e-5,
                "biased", -1, _names("scale", "bias", "mean", "var"),
            ),
            Convention(
                "mlx", "MLX", "momentum", "new", 0.1, "eps", 1e-5,
                "unbiased", -1, TORCH_NAMES, axes=(-1,), one_value="raises",
            ),
            Convention(
                "paddle", "PaddlePaddle", "momentum", "old", 0.9, "epsilon", 1e-5,
                "biased", 1, _names("weight", "bias", "_mean", "_variance"),
                axes=(1, -1), one_value="input",
            ),
            Convention(
                "tinygrad", "tinygrad", "momentum", "new", 0.1, "eps", 1e-5,
                "unbiased", 1, COUNTED, axes=(1,), count_unit="batches",
                one_value="raises",
            ),
            Convention(
                "mxnet", "MXNet", "momentum", "old", 0.9, "epsilon", 1e-5,
                "biased", 1, MXNET_NAMES,
            ),
        )
    }
)  # fmt: skip


# --- the translator -------------------------------------------------------------------

State = dict[str, Array]
Settings = dict[str, Any]


class Converted(NamedTuple):
    """A layer in the words of another framework.

    Attributes
    ----------
    state : dict
        Arrays by the target's names.
    settings : dict
        Momentum and eps by the target's names, and ``axis``.
    moveaxis : tuple of int or None
        Where the target cannot have its channels on the source's axis: give it
        ``np.moveaxis(x, *moveaxis)``.
    """

    state: State
    settings: Settings
    moveaxis: tuple[int, int] | None


def default_settings(convention: str | Convention) -> Settings:
    """Return the settings of a layer that was made without any.

    Parameters
    ----------
    convention : str or Convention
        A key of `CONVENTIONS`, or a convention.

    Returns
    -------
    dict
        Momentum and eps by the framework's names, and ``axis``.
    """
    c = _lookup(convention)
    return {c.momentum_name: c.momentum, c.eps_name: c.eps, "axis": c.axis}


def fresh_state(
    convention: str | Convention, channels: int, dtype: type = np.float64
) -> State:
    """Return the state of a new layer, with the framework's names and initial values.

    Parameters
    ----------
    convention : str or Convention
        Whose layer.
    channels : int
        Number of channels C.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    dict
        Arrays of shape (C,), and a counter where the framework counts.
    """
    c = _lookup(convention)
    values = (1.0, 0.0, 0.0, c.initial_var)
    state: State = {
        c.names[role]: np.full(channels, value, dtype)
        for role, value in zip(ROLES, values, strict=True)
    }
    if "count" in c.names:
        state[c.names["count"]] = np.array(0)
    return state


def train_step(
    x: Array,
    state: State,
    settings: Mapping[str, Any],
    convention: str | Convention,
    updates: int = 1,
    fused: bool = False,
) -> tuple[Array, F.NormCache]:
    """Run one training batch by a framework's convention; **the state is changed**.

    Parameters
    ----------
    x : ndarray
        Input, channels on axis ``settings["axis"]``.
    state : dict
        As from `fresh_state`; running statistics and counter change in place.
    settings : mapping
        As from `default_settings`.
    convention : str or Convention
        Whose rules.
    updates : int
        Batches averaged before, for frameworks without a counter; it only matters for
        the first batch and for cumulative averages.
    fused : bool
        Whether the framework's fused kernel runs.

    Returns
    -------
    y : ndarray, like x
        Output.
    cache : NormCache
        For `bnlib.functional.batch_norm_backward`; its channels stand on axis 1.

    Raises
    ------
    KeyError, ValueError
        Names that are not the framework's; wrong shapes; one value per channel.
    """
    c = _lookup(convention)
    momentum, eps, axis = _settings(settings, c)
    _check_state(state, c)
    mean, var = (state[c.names[r]] for r in ("running_mean", "running_var"))
    x = np.moveaxis(x, axis, 1)
    if "count" in c.names:
        updates = _updates(state, c, len(x))
    weight = c.weight_of_new(momentum, len(x), updates)
    old_var = var.copy()
    gamma, beta = state[c.names["weight"]], state[c.names["bias"]]
    y, cache = F.batch_norm(x, mean, var, gamma, beta, True, weight, eps)
    if c.factor(2, fused) == 1:  # bnlib stores the unbiased variance
        var[:] = old_var + weight * (cache.var - old_var)
    if c.count_unit:
        name = c.names["count"]
        state[name] = state[name] + (1 if c.count_unit == "batches" else len(x))
    return np.moveaxis(y, 1, axis), cache


def infer(
    x: Array,
    state: Mapping[str, Array],
    settings: Mapping[str, Any],
    convention: str | Convention,
) -> Array:
    """Run a layer in evaluation mode by a framework's convention.

    Parameters
    ----------
    x : ndarray
        Input, channels on axis ``settings["axis"]``.
    state, settings, convention
        As in `train_step`; nothing is changed.

    Returns
    -------
    ndarray, like x
        Output.
    """
    c = _lookup(convention)
    _, eps, axis = _settings(settings, c)
    _check_state(state, c)
    gamma, beta, mean, var = (state[c.names[role]] for role in ROLES)
    y, _ = F.batch_norm(np.moveaxis(x, axis, 1), mean, var, gamma, beta, False, eps=eps)
    return np.moveaxis(y, 1, axis)


def convert(
    state: Mapping[str, Array],
    settings: Mapping[str, Any],
    source: str | Convention,
    target: str | Convention,
    *,
    batch_shape: Sequence[int] | None = None,
    updates: int | None = None,
    variance: Literal["translate", "keep"] = "translate",
) -> Converted:
    """Translate a layer's state and settings from one framework to another.

    A layer that is converted and then trained has the same numbers as one that is
    trained and then converted.

    Parameters
    ----------
    state : mapping
        Arrays of shape (C,) by the source's names; they are copied.
    settings : mapping
        Momentum and eps by the source's names; ``axis`` may be left out.
    source, target : str or Convention
        Keys of `CONVENTIONS`, or conventions.
    batch_shape : sequence of int, optional
        Shape of the training batches. Needed where the stored variances differ, for
        ``m / (m - 1)``, and for a time constant, which counts samples.
    updates : int, optional
        Batches seen so far, where the source does not count them. When left out, the
        initial values count as forgotten.
    variance : {"translate", "keep"}
        Store what the target would have stored, or keep the source's running variance
        and with it the outputs in evaluation mode.

    Returns
    -------
    Converted
        State, settings, and how to move the channel axis of the inputs.

    Raises
    ------
    KeyError
        The names are not the source's.
    ValueError
        Something that the target cannot express, or a missing batch shape.

    Examples
    --------
    >>> state = fresh_state("pytorch", 2)
    >>> new = convert(state, {"momentum": 0.1, "eps": 1e-5}, "pytorch", "keras",
    ...               batch_shape=(60, 2))
    >>> sorted(new.state), new.settings["momentum"]
    (['beta', 'gamma', 'moving_mean', 'moving_variance'], 0.9)
    """
    src, dst = _lookup(source), _lookup(target)
    momentum, eps, axis = _settings({"axis": src.axis, **settings}, src)
    _check_state(state, src)
    if variance not in ("translate", "keep"):
        raise ValueError(f"variance must be 'translate' or 'keep', got {variance!r}")
    if eps < dst.min_eps:
        raise ValueError(
            f"{dst.title} needs {dst.eps_name} >= {dst.min_eps}, got {eps}"
        )
    samples, m = _sizes(batch_shape, axis, state[src.names["weight"]].size)
    if "count" in src.names:
        if src.count_unit == "samples" and not samples:
            _need("batch_shape", "a counter of samples", src, dst)
        updates = _updates(state, src, samples)

    new = {dst.names[role]: np.array(state[src.names[role]]) for role in ROLES}
    if src.stored != dst.stored and variance == "translate" and updates != 0:
        if not m:
            _need("batch_shape", "the variance correction m / (m - 1)", src, dst)
        name = dst.names["running_var"]
        left = _left_of_initial(src, momentum, samples, updates) * src.initial_var
        new[name] = left + (new[name] - left) * (dst.factor(m) / src.factor(m))
    if "count" in dst.names:
        new[dst.names["count"]] = _new_count(src, dst, updates, samples)
    settings = {
        dst.momentum_name: _new_momentum(src, dst, momentum, samples),
        dst.eps_name: eps,
    }
    moved = None
    if dst.axes is not None and axis not in dst.axes:
        moved = axis, dst.axes[0]
    settings["axis"] = moved[1] if moved else axis
    return Converted(new, settings, moved)


# --- parts of a conversion ------------------------------------------------------------


def _lookup(convention: str | Convention) -> Convention:
    if isinstance(convention, Convention):
        return convention
    if convention not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        raise ValueError(f"unknown convention {convention!r}; known are {known}")
    return CONVENTIONS[convention]


def _settings(settings: Mapping[str, Any], c: Convention) -> tuple[Any, float, int]:
    """Return momentum, eps and axis, or say which names were expected."""
    wanted = (c.momentum_name, c.eps_name, "axis")
    if set(settings) != set(wanted):
        raise KeyError(
            f"settings of {c.title} must be {', '.join(wanted)}, "
            f"got {', '.join(settings)}"
        )
    momentum, eps, axis = (settings[name] for name in wanted)
    if momentum is None and c.cumulative is not None:
        raise ValueError(f"{c.momentum_name} of {c.title} must be a number, got None")
    share = momentum is not None and c.weighs != "time constant"
    if share and not 0 <= momentum <= 1:
        raise ValueError(
            f"{c.momentum_name} of {c.title} must lie between 0 and 1, got {momentum}"
        )
    if not eps >= 0:
        raise ValueError(f"{c.eps_name} must be >= 0, got {eps}")
    if c.axes is not None and axis not in c.axes:
        raise ValueError(f"axis of {c.title} must be one of {c.axes}, got {axis}")
    return momentum, eps, axis


def _check_state(state: Mapping[str, Array], c: Convention) -> None:
    if set(state) != set(c.names.values()):
        raise KeyError(
            f"state of {c.title} must hold {', '.join(c.names.values())}, "
            f"got {', '.join(state)}"
        )
    shapes = {c.names[role]: state[c.names[role]].shape for role in ROLES}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 1:
        raise ValueError(f"arrays of the state must share a shape (C,), got {shapes}")


def _sizes(
    batch_shape: Sequence[int] | None, axis: int, channels: int
) -> tuple[int, int]:
    """Return samples and values per channel of a batch, 0 where not known."""
    if batch_shape is None:
        return 0, 0
    shape = tuple(batch_shape)
    if len(shape) < 2 or shape[axis] != channels:
        raise ValueError(
            f"batch_shape must have {channels} channels on axis {axis}, got {shape}"
        )
    m = math.prod(shape) // channels
    if m < 2:
        raise ValueError(f"batch_shape must hold 2 values per channel, got {shape}")
    return shape[0], m


def _updates(state: Mapping[str, Array], c: Convention, samples: int) -> int:
    count = int(state[c.names["count"]])
    return count if c.count_unit == "batches" else -(-count // samples)


def _left_of_initial(
    src: Convention, momentum: Any, samples: int, updates: int | None
) -> float:
    """Return the weight that the initial value still has in the running average."""
    if updates is None or src.first_replaces or src.is_cumulative(momentum):
        return 0.0
    return (1 - src.weight_of_new(momentum, samples)) ** updates


def _new_count(
    src: Convention, dst: Convention, updates: int | None, samples: int
) -> Array:
    if updates is None:
        _need("updates", "its counter", src, dst)
    if dst.count_unit == "samples" and updates:
        if not samples:
            _need("batch_shape", "its counter of samples", src, dst)
        return np.array(updates * samples)
    return np.array(updates)


def _new_momentum(
    src: Convention, dst: Convention, momentum: Any, samples: int
) -> float | None:
    if src.is_cumulative(momentum):
        if dst.cumulative is not None and math.isnan(dst.cumulative):
            raise ValueError(
                f"{dst.title} has no cumulative average "
                f"({src.momentum_name}={momentum} in {src.title}); choose a number"
            )
        return dst.cumulative
    if src.weighs == dst.weighs:
        return momentum
    if "time constant" in (src.weighs, dst.weighs) and not samples:
        _need("batch_shape", "a time constant, which counts samples", src, dst)
    if {src.weighs, dst.weighs} == {"new", "old"}:
        return 1.0 - momentum
    return dst.setting(src.weight_of_new(momentum, samples), samples)


def _need(what: str, why: str, src: Convention, dst: Convention) -> NoReturn:
    raise ValueError(f"{src.title} to {dst.title} needs {what}=, for {why}")
