"""What each framework means by its words, and a translator between them.

A batch-norm layer is the same mathematics everywhere, but the frameworks disagree about
which value ``momentum`` weighs, which variance is stored, where the channels stand and
what everything is called. `CONVENTIONS` says it for each; `convert` moves a trained
layer from one to another; `train_step` and `infer` run a layer by any convention, with
`bnlib.functional` as the engine. The records in ``frameworks/`` hold this table against
the real frameworks. `SENTENCES` holds what `convert` says; the form of the conventions
page says the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np

from bnlib import functional as F
from bnlib._check import Array

__all__ = [
    "CONVENTIONS",
    "SENTENCES",
    "Convention",
    "Converted",
    "convert",
    "default_settings",
    "fresh_state",
    "infer",
    "train_step",
]

ROLES = ("weight", "bias", "running_mean", "running_var")
NEUTRAL = {"weight": 1.0, "bias": 0.0}  # for a layer without gamma or beta
SETTLED = 1e-3  # of an average that is taken for settled, and of rounding in float32
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Convention:
    """What one framework means by the words of its batch-norm layer.

    Attributes
    ----------
    key, title : str
        Short name, and the name for people.
    versions : str
        For which versions this was measured.
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
        The framework's names for the roles weight, bias, running_mean, running_var;
        where it counts, count; and factor, where the running statistics are stored
        times a factor, which becomes ``momentum * factor + 1`` with each batch.
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
        Momentum setting that asks for the average over all batches: None, a negative
        time constant, or an old value that keeps all its weight; NaN where there is
        none.
    min_eps : float
        Smallest eps that is accepted in training.
    lacks : tuple of {"weight", "bias", "both"}
        What a layer may leave out.
    config : tuple of str
        Further names that its own list of settings has; they change nothing here.
    one_value : {"raises", "beta", "nan", "input"}
        One value per channel in training: an error; the output is beta and the running
        variance shrinks; the output is beta and the running variance becomes NaN; the
        input comes back and nothing is updated.
    """

    key: str
    title: str
    versions: str
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
    lacks: tuple[str, ...] = ()
    config: tuple[str, ...] = ()

    @property
    def eps_range(self) -> str:
        """Which eps is accepted in training, in words."""
        least = f"from {_shown(self.min_eps)} on"
        return "above 0" if 0 < self.min_eps < 1e-300 else least

    def weight_of_new(self, momentum: Any, samples: int, updates: float = 1) -> float:
        """Return the weight that the next batch gets in the running average.

        Parameters
        ----------
        momentum : float or None
            The setting, in this framework's words.
        samples : int
            Examples in the batch.
        updates : float
            Batches that were averaged before; infinity asks for the weight in the long
            run.

        Returns
        -------
        float
            Between 0 and 1.
        """
        if (self.first_replaces and not updates) or self.is_cumulative(momentum):
            return 1.0 / (updates + 1)
        if "factor" in self.names:
            return (1.0 - momentum) / (1.0 - momentum ** (updates + 1))
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
        if self.cumulative is None or momentum is None:
            return self.cumulative is None and momentum is None
        return momentum < 0 if self.cumulative < 0 else momentum == self.cumulative

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
        return 1.0 if self.stores(fused) == "biased" else m / (m - 1)

    def stores(self, fused: bool = False) -> str:
        """Say which variance the running average receives.

        Parameters
        ----------
        fused : bool
            Whether the framework's fused kernel runs.

        Returns
        -------
        str
            "biased" or "unbiased".
        """
        return self.stored_fused if fused and self.stored_fused else self.stored


def _names(
    weight: str, bias: str, mean: str, var: str, **more: str
) -> Mapping[str, str]:
    names = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    return MappingProxyType({**names, **more})


TORCH_NAMES = _names("weight", "bias", "running_mean", "running_var")
COUNTED = MappingProxyType({**TORCH_NAMES, "count": "num_batches_tracked"})
KERAS_NAMES = _names("gamma", "beta", "moving_mean", "moving_variance")
MXNET_NAMES = _names("gamma", "beta", "running_mean", "running_var")
ANY = ("weight", "bias", "both")
KERAS_CONFIG = (
    "name", "trainable", "dtype", "batch_input_shape", "center", "scale",
    "beta_initializer", "gamma_initializer", "moving_mean_initializer",
    "moving_variance_initializer", "beta_regularizer", "gamma_regularizer",
    "beta_constraint", "gamma_constraint", "synchronized", "renorm", "renorm_clipping",
    "renorm_momentum",
)  # fmt: skip

CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        c.key: c
        for c in (
            Convention(
                "pytorch", "PyTorch", "2.13.0", "momentum", "new", 0.1, "eps", 1e-5,
                "unbiased", 1, COUNTED, axes=(1,), count_unit="batches",
                cumulative=None, min_eps=5e-324, one_value="raises",
                lacks=("bias", "both"),
            ),
            Convention(
                "keras", "Keras 3", "3.15.1", "momentum", "old", 0.99, "epsilon", 1e-3,
                "biased", -1, KERAS_NAMES, lacks=ANY, config=KERAS_CONFIG,
            ),
            Convention(
                "tf1", "TensorFlow 1", "1.12.3, and 2.21.0 with tf_keras 2.21.0",
                "momentum", "old", 0.99, "epsilon", 1e-3,
                "biased", -1, KERAS_NAMES, stored_fused="unbiased", lacks=ANY,
                config=KERAS_CONFIG,
            ),
            Convention(
                "theano", "Theano", "1.0.5", "running_average_factor", "new", 0.1,
                "epsilon", 1e-4, "unbiased", 1, MXNET_NAMES, min_eps=1e-5,
                one_value="nan",
            ),
            Convention(
                "cntk", "CNTK", "2.7", "normalization_time_constant",
                "time constant", 5000.0, "epsilon", 1e-5, "unbiased", 1,
                _names("scale", "bias", "aggregate_mean", "aggregate_variance",
                       count="aggregate_count"),
                axes=(1,), initial_var=0.0, first_replaces=True,
                count_unit="samples", cumulative=-1.0, one_value="nan",
            ),
            Convention(
                "caffe", "Caffe", "not run: read in the source of 1.0",
                "moving_average_fraction", "old", 0.999, "eps", 1e-5, "unbiased", 1,
                _names("scale[0]", "scale[1]", "bn[0]", "bn[1]", factor="bn[2]"),
                axes=(1,), initial_var=0.0, first_replaces=True, cumulative=1.0,
                lacks=ANY,
            ),
            Convention(
                "onnx", "ONNX", "ONNX Runtime 1.32.0", "momentum", "old", 0.9,
                "epsilon", 1e-5, "biased", 1,
                _names("scale", "B", "input_mean", "input_var"), axes=(1,),
            ),
            Convention(
                "flax", "Flax", "0.12.8", "momentum", "old", 0.99, "epsilon", 1e-5,
                "biased", -1, _names("scale", "bias", "mean", "var"), lacks=ANY,
            ),
            Convention(
                "mlx", "MLX from 0.32.1", "0.32.1 to 0.32.4", "momentum", "new", 0.1,
                "eps", 1e-5, "unbiased", -1, TORCH_NAMES, axes=(-1,),
                one_value="raises", lacks=("both",),
            ),
            Convention(
                "mlx_before", "MLX to 0.32.0", "0.2.0 to 0.32.0", "momentum", "new",
                0.1, "eps", 1e-5, "biased", -1, TORCH_NAMES, axes=(-1,),
                lacks=("both",),
            ),
            Convention(
                "paddle", "PaddlePaddle", "3.3.1", "momentum", "old", 0.9,
                "epsilon", 1e-5, "biased", 1,
                _names("weight", "bias", "_mean", "_variance"),
                axes=(1, -1), one_value="input",
            ),
            Convention(
                "tinygrad", "tinygrad", "0.14.0", "momentum", "new", 0.1, "eps", 1e-5,
                "unbiased", 1, COUNTED, axes=(1,), count_unit="batches",
                one_value="raises", lacks=("both",),
            ),
            Convention(
                "mxnet", "MXNet", "1.9.1", "momentum", "old", 0.9, "epsilon", 1e-5,
                "biased", 1, MXNET_NAMES,
            ),
        )
    }
)  # fmt: skip

# What `convert` and the form say. The form fills in the same values by the same names.
SENTENCES: Mapping[str, str] = MappingProxyType({
    "number": "{name} must be a number, got {got}.",
    "decimal point": "Write {name} with a decimal point, {point} instead of {got}.",
    "share": "{name} must be a number from 0 to 1, got {got}.",
    "not negative": "{name} must be a number from 0 on, got {got}.",
    "not without": "{source} has no layer that lacks only {name}.",
    "whole": "{name} must be a whole number from {least} on, got {got}.",
    "least eps": "{target} takes {name} {least}, not {got}.",
    "two values": "A variance needs two values per channel at least, got {got}.",
    "batch": "{source} to {target} needs the size of a batch (batch_shape), for {why}.",
    "updates": "{source} to {target} needs the number of updates (updates), for {why}.",
    "fused": "{source} to {target} needs to know whether the fused kernel ran (fused): "
    "for images it stores another variance.",
    "no average of all": "{target} has no average over all batches, which {name} = "
    "{got} asks for in {source}; choose a number.",
    "nothing seen": "This layer has seen no batch yet, and {source} and {target} treat "
    "the first one differently; make a new layer instead.",
    "too small": "{name} is {got}, and its initial value alone leaves {least} after "
    "{updates} updates; check both.",
    "not settled": "The average of {source} has not settled: its factor is {got} and "
    "goes to {limit}, and {target} cannot have its next weights; keep the variance, or "
    "train further.",
    "standing still": "{target} cannot leave the statistics as they are with {name}; "
    "its use_global_stats does.",
    "center and scale": "The settings say {name}={got}, and the state disagrees.",
    "renorm": "The settings say renorm=True, which is another layer.",
    "forgotten": "Its initial value counts as forgotten: the number of updates is not "
    "known.",
    "filled": "{target} always has {name}: it is filled with {value}; do not train it.",
    "default": "{name} is the default, {got}: it could not be translated, and "
    "evaluation does not read it.",
    "counted": "{name} is {got}: the true number is not known, and evaluation does not "
    "read it.",
    "frozen": "With {name} = {got} the statistics stay as they are.",
})  # fmt: skip
REASONS: Mapping[str, str] = MappingProxyType({
    "variance": "the variance correction m / (m - 1)",
    "constant": "a time constant, which counts samples",
    "counter": "its counter",
    "samples": "a counter of samples",
})  # fmt: skip


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
    notes : tuple of str
        What one must know of this layer: sentences of `SENTENCES`.
    """

    state: State
    settings: Settings
    moveaxis: tuple[int, int] | None
    notes: tuple[str, ...] = ()


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
        Arrays of shape (C,); a counter where the framework counts, and a factor of
        shape (1,) where it stores one.
    """
    c = _lookup(convention)
    values = (1.0, 0.0, 0.0, c.initial_var)
    state: State = {
        c.names[role]: np.full(channels, value, dtype)
        for role, value in zip(ROLES, values, strict=True)
    }
    if "count" in c.names:
        state[c.names["count"]] = np.array(0)
    if "factor" in c.names:
        state[c.names["factor"]] = np.zeros(1, dtype)
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
        As from `fresh_state`; running statistics and counter change in place. Gamma,
        beta and the counter may be left out.
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
    mean, var = _statistics(state, c)
    x = np.moveaxis(x, axis, 1)
    counter = c.names.get("count")
    if counter in state:
        updates = _updates(state[counter], c, len(x))
    weight = c.weight_of_new(momentum, len(x), updates)
    if "factor" in c.names:
        factor = state[c.names["factor"]]
        factor[:] = momentum * factor + 1
        weight = 1 / factor.item()
    old_var = var.copy()
    gamma, beta = (state.get(c.names[role]) for role in NEUTRAL)
    y, cache = F.batch_norm(x, mean, var, gamma, beta, True, weight, eps)
    if c.factor(2, fused) == 1:  # bnlib stores the unbiased variance
        var[:] = old_var + weight * (cache.var - old_var)
    scale = 1 / weight if "factor" in c.names else 1
    state[c.names["running_mean"]][:] = scale * mean
    state[c.names["running_var"]][:] = scale * var
    if counter in state:
        state[counter] = state[counter] + (1 if c.count_unit == "batches" else len(x))
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
    mean, var = _statistics(state, c)
    gamma, beta = (state.get(c.names[role]) for role in NEUTRAL)
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
    fused: bool | None = None,
) -> Converted:
    """Translate a layer's state and settings from one framework to another.

    A layer that is converted and then trained has the same numbers as one that is
    trained and then converted.

    Parameters
    ----------
    state : mapping
        Arrays of shape (C,) by the source's names; they are copied. Gamma and beta may
        be left out where the source allows it, and so may a counter.
    settings : mapping
        Momentum and eps by the source's names; ``axis`` may be left out. Of a Keras
        layer this may be its ``get_config()``.
    source, target : str or Convention
        Keys of `CONVENTIONS`, or conventions.
    batch_shape : sequence of int, optional
        Shape of the training batches. Needed where the stored variances differ, for
        ``m / (m - 1)``, and for a time constant, which counts samples.
    updates : int, optional
        Batches seen so far, where the state has no counter. When left out, the initial
        values count as forgotten.
    variance : {"translate", "keep"}
        To go on with training, store what the target would have stored; or, for
        deployment, keep the source's running variance and with it the outputs in
        evaluation mode. Then nothing is needed that only training reads.
    fused : bool, optional
        Whether TensorFlow 1 ran its fused kernel, which stores another variance.

    Returns
    -------
    Converted
        State, settings, how to move the channel axis of the inputs, and notes.

    Raises
    ------
    KeyError
        The names are not the source's.
    ValueError
        A sentence of `SENTENCES`, on what the target cannot express, what is missing
        or what cannot be true; or wrong shapes.

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
    if variance not in ("translate", "keep"):
        raise ValueError(f"variance must be 'translate' or 'keep', got {variance!r}")
    _check_state(state, src)
    _check_config(settings, state, src)
    count, factor = (_item(state, src.names.get(name)) for name in ("count", "factor"))
    move = _Move(src, dst, momentum, variance == "keep", count, factor, updates)
    move.check_values(np.asarray(state[src.names["running_var"]]))
    if not eps >= dst.min_eps:
        eps_words = {"least": dst.eps_range, "got": _shown(eps)}
        move.refuse("least eps", name=dst.eps_name, **eps_words)
    mean, var = _statistics(state, src)
    move.samples, move.m = _sizes(batch_shape, axis, mean.size)
    move.count_updates()
    images = batch_shape is not None and len(batch_shape) == 4
    var = move.new_var(var, fused, images)

    new: State = {}
    missing = _missing(state, src)
    for role, value in NEUTRAL.items():
        if role not in missing:
            new[dst.names[role]] = np.array(state[src.names[role]])
        elif not _may_lack(dst, missing):
            new[dst.names[role]] = np.full_like(mean, value)
            move.note("filled", name=dst.names[role], value=_shown(value))
    new_momentum = move.new_momentum()
    if "count" in dst.names:
        new[dst.names["count"]] = np.array(move.new_count())
    scale = 1.0
    if "factor" in dst.names:
        scale = move.new_factor(new_momentum)
        new[dst.names["factor"]] = np.array([scale])
    new[dst.names["running_mean"]] = scale * mean
    new[dst.names["running_var"]] = scale * var
    moved = None
    if dst.axes is not None and axis not in dst.axes:
        moved = axis, dst.axes[0]
    new_settings = {dst.momentum_name: new_momentum, dst.eps_name: eps}
    new_settings["axis"] = moved[1] if moved else axis
    return Converted(new, new_settings, moved, tuple(move.notes))


# --- parts of a conversion ------------------------------------------------------------


def _lookup(convention: str | Convention) -> Convention:
    if isinstance(convention, Convention):
        return convention
    if convention not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        raise ValueError(f"unknown convention {convention!r}; known are {known}")
    return CONVENTIONS[convention]


def _shown(value: Any) -> str:
    """Write a value as the form does: six digits, or the words that were given."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    text = str(value).strip() if math.isnan(number) else f"{number:.6g}"
    return text or "nothing"


def _refuse(key: str, **values: Any) -> NoReturn:
    """Raise a sentence of the table."""
    raise ValueError(SENTENCES[key].format(**values))


def _number(value: Any, name: str) -> float:
    """Return a number, which may be written as text; refuse anything else."""
    if isinstance(value, str) and DECIMAL_COMMA.fullmatch(value.strip()):
        point = value.strip().replace(",", ".")
        _refuse("decimal point", name=name, point=point, got=value.strip())
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        _refuse("number", name=name, got=_shown(value))
    return number


def _not_negative(value: Any, name: str) -> float:
    """Return a finite number from 0 on; refuse anything else."""
    number = _number(value, name)
    if not 0 <= number < math.inf:
        _refuse("not negative", name=name, got=_shown(value))
    return number


def _whole(value: Any, name: str, least: int) -> int:
    """Return a whole number; refuse anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (number.is_integer() and number >= least):
        _refuse("whole", name=name, least=least, got=_shown(value))
    return int(number)


def _settings(settings: Mapping[str, Any], c: Convention) -> tuple[Any, float, int]:
    """Return momentum, eps and axis, or say what was expected."""
    wanted = (c.momentum_name, c.eps_name, "axis")
    if not set(wanted) <= set(settings) <= {*wanted, *c.config}:
        raise KeyError(
            f"settings of {c.title} must be {', '.join(wanted)}, "
            f"got {', '.join(settings)}"
        )
    momentum, eps, axis = (settings[name] for name in wanted)
    if momentum is not None or c.cumulative is not None:
        momentum = _number(momentum, c.momentum_name)
        if c.weighs != "time constant" and not 0 <= momentum <= 1:
            _refuse("share", name=c.momentum_name, got=_shown(momentum))
    eps = _not_negative(eps, c.eps_name)
    if isinstance(axis, Sequence) and len(axis) == 1:  # as legacy Keras writes it
        axis = axis[0]
    if c.axes is not None and axis not in c.axes:
        raise ValueError(f"axis of {c.title} must be one of {c.axes}, got {axis}")
    return momentum, eps, axis


def _missing(state: Mapping[str, Array], c: Convention) -> list[str]:
    """Return which of gamma and beta a layer leaves out."""
    return [role for role in NEUTRAL if c.names[role] not in state]


def _may_lack(c: Convention, missing: Sequence[str]) -> bool:
    """Say whether a layer can leave out just these parameters."""
    return not missing or ("both" if len(missing) == 2 else missing[0]) in c.lacks


def _check_state(state: Mapping[str, Array], c: Convention) -> None:
    """Hold names and shapes of a state against the convention."""
    missing = _missing(state, c)
    optional = {*NEUTRAL, "count"}
    needed = {name for role, name in c.names.items() if role not in optional}
    if not needed <= set(state) <= set(c.names.values()):
        raise KeyError(
            f"state of {c.title} must hold {', '.join(c.names.values())}, "
            f"got {', '.join(state)}"
        )
    if not _may_lack(c, missing):
        without = " and ".join(c.names[role] for role in missing)
        _refuse("not without", source=c.title, name=without)
    names = [c.names[role] for role in ROLES if role not in missing]
    shapes = {name: np.shape(state[name]) for name in names}
    if len(set(shapes.values())) > 1 or len(shapes[names[-1]]) != 1:
        raise ValueError(f"arrays of the state must share a shape (C,), got {shapes}")


def _check_config(
    settings: Mapping[str, Any], state: Mapping[str, Array], c: Convention
) -> None:
    """Refuse a list of Keras settings that is not this layer's."""
    for role, name in (("weight", "scale"), ("bias", "center")):
        got = settings.get(name)
        if got is not None and bool(got) != (c.names[role] in state):
            _refuse("center and scale", name=name, got=got)
    if settings.get("renorm"):
        _refuse("renorm")


def _statistics(state: Mapping[str, Array], c: Convention) -> tuple[Array, Array]:
    """Return copies of the running mean and variance, without a factor."""
    mean, var = (np.array(state[c.names[role]]) for role in ROLES[2:])
    if "factor" not in c.names:
        return mean, var
    factor = _item(state, c.names["factor"])
    return (mean / factor, var / factor) if factor else (0 * mean, 0 * var)


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
    samples = _whole(shape[0], "examples in a batch", 1)
    place = axis % len(shape)
    sizes = [n for i, n in enumerate(shape) if i not in (0, place)]
    m = samples * math.prod(_whole(n, "positions of a map", 1) for n in sizes)
    if m < 2:
        _refuse("two values", got=m)
    return samples, m


def _item(state: Mapping[str, Array], name: str | None) -> Any:
    """Return a number of the state, None where it is not there."""
    return None if name is None or name not in state else np.asarray(state[name]).item()


def _updates(count: Any, c: Convention, samples: int) -> int:
    """Turn a counter into a number of batches."""
    count = int(count)
    return count if c.count_unit == "batches" else -(-count // samples)


@dataclass
class _Move:
    """One conversion: both conventions, and what is known of the layer.

    ``count`` and ``factor`` are the source's own; what is not known is None, and
    ``samples`` and ``m``, the values per channel, are 0.
    """

    src: Convention
    dst: Convention
    momentum: Any
    keep: bool
    count: Any
    factor: Any
    updates: Any
    samples: int = 0
    m: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def cumulative(self) -> bool:
        """Whether the source averages all batches."""
        return self.src.is_cumulative(self.momentum)

    def say(self, key: str, **values: Any) -> str:
        """Fill in a sentence."""
        names = {"source": self.src.title, "target": self.dst.title}
        return SENTENCES[key].format(**names, **values)

    def refuse(self, key: str, **values: Any) -> NoReturn:
        """Raise a sentence."""
        raise ValueError(self.say(key, **values))

    def need(self, what: str, why: str) -> NoReturn:
        """Say what must be known."""
        self.refuse(what, why=REASONS[why])

    def note(self, key: str, **values: Any) -> None:
        """Keep a sentence for the result."""
        self.notes.append(self.say(key, **values))

    def check_values(self, variances: Array) -> None:
        """Refuse a count, a factor or a variance that cannot be true."""
        names = self.src.names
        if self.count is not None:
            self.count = _whole(self.count, names["count"], 0)
        elif self.updates is not None:
            self.updates = _whole(self.updates, "updates", 0)
        if self.factor is not None:
            self.factor = _not_negative(self.factor, names["factor"])
            if self.cumulative:
                _whole(self.factor, names["factor"], 0)
        for variance in variances:
            _not_negative(variance, names["running_var"])

    def count_updates(self) -> None:
        """Find the number of updates; refuse a layer whose next weights are special."""
        src, dst = self.src, self.dst
        if self.count is not None:
            self.updates = None
            if src.count_unit == "batches" or not self.count or self.samples:
                self.updates = _updates(self.count, src, self.samples or 1)
            elif not self.keep:
                self.need("batch", "samples")
        if self.factor is not None and (self.cumulative or not self.factor):
            self.updates = int(self.factor)
        firsts = {(c.first_replaces, "factor" in c.names) for c in (src, dst)}
        if self.updates == 0 and not self.cumulative and len(firsts) > 1:
            self.refuse("nothing seen")
        if self.factor is None or self.keep or self.cumulative or len(firsts) == 1:
            return
        limit = 1 / src.weight_of_new(self.momentum, 1, math.inf)
        if abs(self.factor / limit - 1) > SETTLED:
            self.refuse("not settled", got=_shown(self.factor), limit=_shown(limit))

    def new_var(self, var: Array, fused: bool | None, images: bool) -> Array:
        """Return the running variance that the target would have stored."""
        src, dst = self.src, self.dst
        if self.keep or self.updates == 0:
            return var
        if fused is None and images and src.stored_fused != dst.stored_fused:
            self.refuse("fused")
        if src.stores(bool(fused)) == dst.stores(bool(fused)):
            return var
        if not self.m:
            self.need("batch", "variance")
        left = 0.0
        if not (src.first_replaces or self.cumulative):
            if self.updates is None:
                self.note("forgotten")
            else:
                weight = src.weight_of_new(self.momentum, self.samples, math.inf)
                left = src.initial_var * (1 - weight) ** self.updates
        if var.min() < left * (1 - SETTLED):
            least = {"least": _shown(left), "updates": self.updates}
            name = src.names["running_var"]
            self.refuse("too small", name=name, got=_shown(var.min()), **least)
        ratio = dst.factor(self.m, bool(fused)) / src.factor(self.m, bool(fused))
        return left + (var - left) * ratio

    def new_momentum(self) -> float | None:
        """Return the setting; for deployment a default where it has no translation."""
        name = self.dst.momentum_name
        try:
            momentum = self.translated_momentum()
        except ValueError:
            if not self.keep:
                raise
            self.note("default", name=name, got=_shown(self.dst.momentum))
            return self.dst.momentum
        if momentum == math.inf:
            self.note("frozen", name=name, got="inf")
        return momentum

    def translated_momentum(self) -> float | None:
        """Return the setting that gives a new batch the same weight."""
        src, dst, momentum = self.src, self.dst, self.momentum
        if self.cumulative:
            if dst.cumulative is not None and math.isnan(dst.cumulative):
                got = _shown(momentum)
                self.refuse("no average of all", name=src.momentum_name, got=got)
            return dst.cumulative
        if src.weighs == dst.weighs:
            new = momentum
        elif {src.weighs, dst.weighs} == {"new", "old"}:
            new = 1.0 - momentum
        elif self.samples:
            weight = src.weight_of_new(momentum, self.samples, math.inf)
            new = dst.setting(weight, self.samples)
        else:
            self.need("batch", "constant")
        if dst.is_cumulative(new):  # a weight of 0 has another meaning there
            self.refuse("standing still", name=dst.momentum_name)
        return new

    def new_count(self) -> int:
        """Return the target's counter; for deployment 1 where it is not known."""
        unit = self.samples if self.dst.count_unit == "samples" else 1
        if self.updates == 0 or (self.updates and unit):
            return self.updates * unit
        if not self.keep:
            what = (
                ("updates", "counter") if self.updates is None else ("batch", "samples")
            )
            self.need(*what)
        self.note("counted", name=self.dst.names["count"], got=1)
        return 1

    def new_factor(self, momentum: Any) -> float:
        """Return what the target multiplies its running statistics by."""
        if self.factor is not None:
            return self.factor
        if self.keep:
            return 1.0
        if self.cumulative:
            if self.updates is None:
                self.need("updates", "counter")
            return float(self.updates)
        return 1 / self.dst.weight_of_new(momentum, self.samples, math.inf)
