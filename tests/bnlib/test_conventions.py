"""Conventions: a converted layer continues with the same numbers."""

import json
import math
import re
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from oracle import draw, load_torch

from bnlib import conventions
from bnlib import functional as F
from bnlib.conventions import (
    CONVENTIONS,
    SENTENCES,
    convert,
    default_settings,
    fresh_state,
    train_step,
)

FRAMEWORKS = Path(__file__).resolve().parents[2] / "frameworks"
SHAPES = [(6, 3), (4, 3, 2, 5)]
WEIGHT = 0.2  # of the new value, in every convention
PAIRS = [f"{a} {b}" for a, b in permutations(CONVENTIONS, 2)]


def settings_of(c, samples, axis=None, weight=WEIGHT):
    axis = c.axis if axis is None else axis
    return {c.momentum_name: c.setting(weight, samples), c.eps_name: 1e-3, "axis": axis}


def layer(c, channels, samples):
    state = fresh_state(c, channels)
    state[c.names["weight"]][:] = draw((channels,), seed=20)
    state[c.names["bias"]][:] = draw((channels,), seed=21)
    if "factor" in c.names:  # an average that has settled
        state[c.names["factor"]][:] = 1 / WEIGHT
    return state, settings_of(c, samples)


def run(c, state, settings, batches, start=0, fused=False):
    """Train on batches that have their channels on axis 1; return the outputs."""
    axis, outputs = settings["axis"], []
    for i, x in enumerate(batches):
        x = np.moveaxis(x, 1, axis)
        y, _ = train_step(x, state, settings, c, start + i, fused)
        outputs.append(np.moveaxis(y, axis, 1))
    return outputs


def assert_same(ours, expected, rtol=1e-12):
    assert set(ours) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            ours[name], value, rtol=rtol, atol=1e-13, err_msg=name
        )


def assert_training_and_converting_can_be_swapped(src, dst, shape, fused=False):
    batches = [draw(shape, seed=seed) for seed in range(5)]
    state, settings = layer(src, shape[1], shape[0])
    batch_shape = np.moveaxis(batches[0], 1, settings["axis"]).shape
    run(src, state, settings, batches[:3], fused=fused)

    known = {"batch_shape": batch_shape, "fused": fused}
    moved = convert(state, settings, src, dst, updates=3, **known)
    theirs = run(dst, moved.state, moved.settings, batches[3:], 3, fused)
    ours = run(src, state, settings, batches[3:], 3, fused)
    after = convert(state, settings, src, dst, updates=5, **known)

    np.testing.assert_allclose(theirs, ours, rtol=1e-12, atol=1e-13)
    assert_same(moved.state, after.state)
    assert moved.settings == after.settings
    momentum = moved.settings[dst.momentum_name]
    weight = dst.weight_of_new(momentum, shape[0], math.inf)
    assert weight == pytest.approx(WEIGHT, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_converting_and_training_can_be_swapped(pair, shape):
    src, dst = (CONVENTIONS[key] for key in pair.split())
    assert_training_and_converting_can_be_swapped(src, dst, shape)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if "tf1" in pair.split()])
def test_the_fused_kernel_has_its_own_variance(pair):
    src, dst = (CONVENTIONS[key] for key in pair.split())
    assert_training_and_converting_can_be_swapped(src, dst, (4, 3, 2, 5), fused=True)


@pytest.mark.parametrize("pair", PAIRS)
def test_there_and_back_gives_the_same_layer(pair):
    src, dst = (CONVENTIONS[key] for key in pair.split())
    batches = [draw((6, 3), seed=seed) for seed in range(3)]
    state, settings = layer(src, 3, 6)
    run(src, state, settings, batches)
    there = convert(state, settings, src, dst, batch_shape=(6, 3), updates=3)
    # What is left of the initial values is left of the source's.
    first = {"initial_var": src.initial_var, "first_replaces": src.first_replaces}
    middle = replace(dst, **first)
    back = convert(
        there.state, there.settings, middle, src, batch_shape=(6, 3), updates=3
    )
    assert_same(back.state, state)
    assert {**back.settings, "axis": 0} == pytest.approx({**settings, "axis": 0})


@pytest.mark.parametrize("pair", PAIRS)
def test_kept_variance_keeps_the_outputs_in_evaluation(pair):
    src, dst = (CONVENTIONS[key] for key in pair.split())
    x = draw((6, 3))
    state, settings = layer(src, 3, 6)
    run(src, state, settings, [x, 2 * x])
    moved = convert(
        state, settings, src, dst, batch_shape=(6, 3), updates=2, variance="keep"
    )
    ours = conventions.infer(x, state, settings, src)
    theirs = conventions.infer(x, moved.state, moved.settings, dst)
    np.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize("pair", PAIRS)
def test_deployment_needs_nothing_that_only_training_reads(pair):
    src, dst = (CONVENTIONS[key] for key in pair.split())
    x = draw((6, 3))
    state, settings = layer(src, 3, 6)
    run(src, state, settings, [x, 2 * x])
    state.pop(src.names.get("count"), None)
    moved = convert(state, settings, src, dst, variance="keep")
    ours = conventions.infer(x, state, settings, src)
    theirs = conventions.infer(x, moved.state, moved.settings, dst)
    np.testing.assert_array_equal(theirs, ours)
    said = {"time constant"} & {src.weighs, dst.weighs} and src.weighs != dst.weighs
    default = SENTENCES["default"].format(
        name=dst.momentum_name, got=f"{dst.momentum:g}"
    )
    assert (default in moved.notes) == bool(said)


LACKING = [("weight",), ("bias",), ("weight", "bias")]


@pytest.mark.parametrize("lacking", LACKING, ids="+".join)
@pytest.mark.parametrize("pair", PAIRS)
def test_layers_without_gamma_or_beta(pair, lacking):
    """Outputs stay; where the target must have the parameter, it is filled in."""
    src, dst = (CONVENTIONS[key] for key in pair.split())
    x = draw((6, 3))
    state, settings = layer(src, 3, 6)
    run(src, state, settings, [x, 2 * x])
    for role in lacking:
        del state[src.names[role]]
    kind = "both" if len(lacking) == 2 else lacking[0]
    known = {"batch_shape": (6, 3), "updates": 2}
    if kind not in src.lacks:
        with pytest.raises(ValueError, match="has no layer that lacks only"):
            convert(state, settings, src, dst, **known)
        return
    kept = convert(state, settings, src, dst, **known, variance="keep")
    ours = conventions.infer(x, state, settings, src)
    theirs = conventions.infer(x, kept.state, kept.settings, dst)
    np.testing.assert_allclose(theirs, ours, rtol=1e-12)
    moved = convert(state, settings, src, dst, **known)
    y, theirs = (
        train_step(x, *given, 2)[0]
        for given in ((state, settings, src), (moved.state, moved.settings, dst))
    )
    np.testing.assert_allclose(theirs, y, rtol=1e-12)
    for role, value in (("weight", 1), ("bias", 0)):
        name = dst.names[role]
        filled = SENTENCES["filled"].format(target=dst.title, name=name, value=value)
        must = role in lacking and kind not in dst.lacks
        assert (name in moved.state) == (must or role not in lacking)
        assert (filled in moved.notes) == must
        if must:
            np.testing.assert_array_equal(moved.state[name], np.full(3, value))


def test_caffe_by_the_arithmetic_of_its_source():
    """Blobs and factor, written as batch_norm_layer.cpp has them."""
    state, settings = fresh_state("caffe", 3), default_settings("caffe")
    mean, var, factor, keep = np.zeros(3), np.zeros(3), 0.0, 0.999
    for seed in range(4):
        x = draw((6, 3), seed=seed)
        train_step(x, state, settings, "caffe")
        factor = factor * keep + 1
        mean = keep * mean + x.mean(0)
        var = keep * var + 6 / 5 * x.var(0)
    assert_same(state, {**state, "bn[0]": mean, "bn[1]": var, "bn[2]": [factor]})
    moved = convert(state, settings, "caffe", "pytorch", variance="keep")
    np.testing.assert_allclose(moved.state["running_mean"], mean / factor, 1e-12)
    np.testing.assert_allclose(moved.state["running_var"], var / factor, 1e-12)
    y = (x - mean / factor) / np.sqrt(var / factor + 1e-5)
    np.testing.assert_allclose(conventions.infer(x, state, settings, "caffe"), y, 1e-12)
    weights = [CONVENTIONS["caffe"].weight_of_new(keep, 6, n) for n in range(4)]
    assert 1 / weights[-1] == pytest.approx(factor, rel=1e-12)
    with pytest.raises(ValueError, match=r"has not settled: its factor is 3\.99"):
        convert(state, settings, "caffe", "pytorch", batch_shape=(6, 3), updates=4)
    same = convert(state, settings, "caffe", "caffe", batch_shape=(6, 3))
    assert_same(same.state, state)


@pytest.mark.parametrize("target", ["pytorch", "mlx", "theano", "tinygrad"])
def test_mlx_stored_the_biased_variance_until_0_32_0(target):
    """The values are those of MLX 0.32.0: a batch of 4 with variance 25."""
    state = {**fresh_state("mlx", 1), "running_var": np.array([3.4])}
    settings = {"momentum": 0.1, "eps": 1e-5}
    known = {"batch_shape": (4, 1), "updates": 1}
    new = convert(state, settings, "mlx_before", target, **known)
    assert new.state["running_var"] == pytest.approx(4.2333, abs=5e-5)
    x = np.array([[0.0], [10.0], [0.0], [10.0]])
    for key, expected in (("mlx_before", 3.4), ("mlx", 4.2333)):
        fresh = fresh_state(key, 1)
        train_step(x, fresh, {**settings, "axis": -1}, key)
        assert fresh["running_var"] == pytest.approx(expected, abs=5e-5)


# As keras.layers.BatchNormalization(scale=False) of Keras 3.15.1 gives it.
CONFIG = {
    "name": "batch_normalization", "trainable": True,
    "dtype": {"module": "keras", "class_name": "DTypePolicy",
              "config": {"name": "float32"}, "registered_name": None},
    "axis": -1, "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": False,
    "beta_initializer": {"module": "keras.initializers", "class_name": "Zeros",
                         "config": {}, "registered_name": None},
    "gamma_initializer": {"module": "keras.initializers", "class_name": "Ones",
                          "config": {}, "registered_name": None},
    "moving_mean_initializer": {"module": "keras.initializers", "class_name": "Zeros",
                                "config": {}, "registered_name": None},
    "moving_variance_initializer": {"module": "keras.initializers",
                                    "class_name": "Ones", "config": {},
                                    "registered_name": None},
    "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None,
    "gamma_constraint": None, "synchronized": False, "renorm": False,
    "renorm_clipping": None, "renorm_momentum": 0.99,
}  # fmt: skip


def test_settings_of_a_keras_layer_as_its_config():
    state = fresh_state("keras", 2)
    del state["gamma"]
    known = {"batch_shape": (6, 2), "updates": 3}
    new = convert(state, CONFIG, "keras", "flax", **known)
    assert new.settings == {"momentum": 0.99, "epsilon": 0.001, "axis": -1}
    assert set(new.state) == {"bias", "mean", "var"}
    legacy = {**CONFIG, "axis": [1]}
    assert convert(state, legacy, "tf1", "keras", updates=3).settings["axis"] == 1
    for change, words in (
        ({"scale": True}, "scale=True, and the state disagrees"),
        ({"center": False}, "center=False, and the state disagrees"),
        ({"renorm": True}, "renorm=True, which is another layer"),
    ):
        with pytest.raises(ValueError, match=words):
            convert(state, {**CONFIG, **change}, "keras", "flax", **known)
    with pytest.raises(KeyError, match="virtual_batch_size"):
        convert(state, {**CONFIG, "virtual_batch_size": 8}, "tf1", "flax", **known)


def test_translated_variance_changes_the_outputs_by_the_factor():
    state, settings = layer(CONVENTIONS["pytorch"], 3, 6)
    run(CONVENTIONS["pytorch"], state, settings, [draw((6, 3))] * 200)
    moved = convert(state, settings, "pytorch", "keras", batch_shape=(6, 3))
    ratio = moved.state["moving_variance"] / state["running_var"]
    np.testing.assert_allclose(ratio, 5 / 6, rtol=1e-12)


@pytest.mark.parametrize(
    ("source", "momentum", "target", "expected"),
    [
        ("pytorch", 0.1, "keras", 0.9),
        ("keras", 0.99, "pytorch", 0.01),
        ("keras", 0.99, "flax", 0.99),
        ("theano", 0.1, "mlx", 0.1),
        ("pytorch", 0.1, "cntk", -60 / math.log(0.9)),
        ("cntk", 5000.0, "pytorch", 1 - math.exp(-60 / 5000)),
        ("cntk", 5000.0, "keras", math.exp(-60 / 5000)),
        ("cntk", 0.0, "keras", 0.0),
        ("cntk", math.inf, "pytorch", 0.0),
        ("pytorch", 0.0, "cntk", math.inf),
        ("pytorch", 1.0, "cntk", 0.0),
        ("pytorch", None, "cntk", -1.0),
        ("cntk", -1.0, "pytorch", None),
        ("pytorch", None, "caffe", 1.0),
        ("cntk", -2.0, "caffe", 1.0),
        ("pytorch", 0.1, "caffe", 0.9),
        ("pytorch", 1.0, "caffe", 0.0),
        ("keras", "0.9", "pytorch", 0.1),
    ],
)
def test_momentum_is_translated(source, momentum, target, expected):
    c = CONVENTIONS[source]
    settings = {c.momentum_name: momentum, c.eps_name: 1e-3}
    state = fresh_state(source, 2)
    if "count" in c.names:
        state[c.names["count"]] = np.array(60)
    moved = convert(state, settings, source, target, batch_shape=(60, 2), updates=1)
    found = moved.settings[CONVENTIONS[target].momentum_name]
    assert found == (expected if expected is None else pytest.approx(expected))


def test_a_layer_that_saw_nothing_needs_no_batch_shape():
    state = fresh_state("pytorch", 2)
    moved = convert(state, default_settings("pytorch"), "pytorch", "keras")
    np.testing.assert_array_equal(moved.state["moving_variance"], [1, 1])


@pytest.mark.parametrize("pair", list(permutations(("pytorch", "cntk", "caffe"), 2)))
def test_averages_of_all_batches_continue(pair):
    src, dst = (CONVENTIONS[key] for key in pair)
    batches = [draw((6, 3), seed=seed) for seed in range(5)]
    state = fresh_state(src, 3)
    settings = {src.momentum_name: src.cumulative, src.eps_name: 1e-3, "axis": 1}
    run(src, state, settings, batches[:2])
    moved = convert(state, settings, src, dst, batch_shape=(6, 3))
    run(dst, moved.state, moved.settings, batches[2:])
    mean = np.mean([x.mean(0) for x in batches], 0)
    var = np.mean([x.var(0, ddof=1) for x in batches], 0)
    found = conventions.infer(batches[0], moved.state, moved.settings, dst)
    expected = (batches[0] - mean) / np.sqrt(var + 1e-3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    seen = {"pytorch": 5, "cntk": 30, "caffe": 5}[dst.key]
    assert moved.state[dst.names.get("count", "bn[2]")] == seen


@pytest.mark.parametrize(
    ("source", "axis", "target", "expected", "moveaxis"),
    [
        ("pytorch", 1, "keras", 1, None),
        ("keras", -1, "pytorch", 1, (-1, 1)),
        ("pytorch", 1, "mlx", -1, (1, -1)),
        ("flax", -1, "mlx", -1, None),
        ("keras", 2, "paddle", 1, (2, 1)),
    ],
)
def test_channel_axis_is_moved_where_it_must(source, axis, target, expected, moveaxis):
    c = CONVENTIONS[source]
    state, settings = fresh_state(c, 3), {**default_settings(c), "axis": axis}
    settings[c.eps_name] = 1e-3
    shape = [4, 5, 6]
    shape[axis] = 3
    moved = convert(state, settings, c, target, batch_shape=shape, updates=0)
    assert moved.settings["axis"] == expected
    assert moved.moveaxis == moveaxis
    if moveaxis:
        assert np.moveaxis(np.zeros(shape), *moveaxis).shape[expected] == 3


MEAN = {"running_mean": np.ones(2), "weight": np.ones(2), "bias": np.ones(2)}


def torch_layer(momentum=0.1, eps=1e-3, count=12, var=(1.0, 1.0)):
    """Return a state and settings of PyTorch, as `convert` takes them."""
    state = {**MEAN, "running_var": np.array(var)}
    if count is not None:
        state["num_batches_tracked"] = np.array(count)
    return {"state": state, "settings": {"momentum": momentum, "eps": eps}}


BATCH, UPDATES = "needs the size of a batch", "needs the number of updates"
ERRORS = [
    (KeyError, "gamma, beta", "keras", "pytorch", {"state": {"weight": np.ones(2)}}),
    (KeyError, "momentum, eps", "pytorch", "keras", {"settings": {"epsilon": 1e-3}}),
    (ValueError, "unknown convention 'mindspore'", "pytorch", "mindspore", {}),
    (ValueError, f"{UPDATES} (updates), for its counter", "keras", "pytorch",
     {"updates": None}),
    (ValueError, f"{UPDATES} (updates), for its counter", "pytorch", "tinygrad",
     {**torch_layer(count=None), "updates": None}),
    (ValueError, f"{UPDATES} (updates), for its counter", "pytorch", "caffe",
     {**torch_layer(momentum=None, count=None), "updates": None}),
    (ValueError, f"{BATCH} (batch_shape), for the variance", "pytorch", "keras",
     {"batch_shape": None}),
    (ValueError, f"{BATCH} (batch_shape), for a counter of", "cntk", "pytorch",
     {"batch_shape": None}),
    (ValueError, f"{BATCH} (batch_shape), for the variance", "keras", "cntk",
     {"batch_shape": None}),
    (ValueError, f"{BATCH} (batch_shape), for a time", "pytorch", "cntk",
     {"batch_shape": None}),
    (ValueError, "2 channels on axis 1", "pytorch", "keras", {"batch_shape": (6, 3)}),
    (ValueError, "needs two values per channel at least, got 1", "pytorch", "keras",
     {"batch_shape": (1, 2)}),
    (ValueError, "examples in a batch must be a whole number from 1 on, got 1.5",
     "pytorch", "keras", {"batch_shape": (1.5, 2)}),
    (ValueError, "positions of a map must be a whole number from 1 on, got 0",
     "pytorch", "keras", {"batch_shape": (6, 2, 0)}),
    (ValueError, "no average over all batches, which momentum = None asks for",
     "pytorch", "keras", torch_layer(momentum=None)),
    (ValueError, "momentum must be a number from 0 to 1, got 5", "pytorch", "keras",
     torch_layer(momentum=5.0)),
    (ValueError, "Write momentum with a decimal point, 0.1 instead of 0,1.", "pytorch",
     "keras", torch_layer(momentum="0,1")),
    (ValueError, "must be a number, got None", "keras", "pytorch",
     {"settings": {"momentum": None, "epsilon": 1e-3}}),
    (ValueError, "momentum must be a number, got nan", "pytorch", "keras",
     torch_layer(momentum=math.nan)),
    (ValueError, "Theano takes epsilon from 1e-05 on, not 1e-06", "pytorch", "theano",
     torch_layer(eps=1e-6)),
    (ValueError, "PyTorch takes eps above 0, not 0", "keras", "pytorch",
     {"settings": {"momentum": 0.9, "epsilon": 0}}),
    (ValueError, "eps must be a number from 0 on, got -1", "pytorch", "keras",
     torch_layer(eps=-1.0)),
    (ValueError, "axis of PyTorch must be one of", "pytorch", "keras",
     {"settings": {"momentum": 0.1, "eps": 1e-3, "axis": -1}}),
    (ValueError, "'translate' or 'keep'", "pytorch", "keras", {"variance": "drop"}),
    (ValueError, "share a shape", "onnx", "keras", {"state": {
        "scale": np.ones(2), "B": np.ones(3), "input_mean": np.ones(2),
        "input_var": np.ones(2)}}),
    (ValueError, "num_batches_tracked must be a whole number from 0 on, got -1",
     "pytorch", "keras", torch_layer(count=-1)),
    (ValueError, "num_batches_tracked must be a whole number from 0 on, got 2.5",
     "pytorch", "keras", torch_layer(count=2.5)),
    (ValueError, "num_batches_tracked must be a whole number from 0 on, got nan",
     "pytorch", "keras", torch_layer(count=math.nan)),
    (ValueError, "updates must be a whole number from 0 on, got -3", "keras", "pytorch",
     {"updates": -3}),
    (ValueError, "updates must be a whole number from 0 on, got 0.5", "keras",
     "pytorch", {"updates": 0.5}),
    (ValueError, "running_var must be a number from 0 on, got -0.5", "pytorch",
     "keras", torch_layer(var=(1.0, -0.5))),
    (ValueError, "running_var must be a number, got nan", "pytorch", "keras",
     torch_layer(var=(1.0, math.nan))),
    (ValueError, "running_var must be a number from 0 on, got inf", "pytorch", "keras",
     torch_layer(var=(math.inf, 1.0))),
    (ValueError, "running_var is 0.01, and its initial value alone leaves 0.28243 after"
     " 12 updates", "pytorch", "keras", torch_layer(var=(1.0, 0.01))),
    (ValueError, "seen no batch yet, and CNTK and PyTorch treat the first", "cntk",
     "pytorch", {"state": fresh_state("cntk", 2)}),
    (ValueError, "seen no batch yet, and PyTorch and CNTK treat the first", "pytorch",
     "cntk", torch_layer(count=0)),
    (ValueError, "seen no batch yet, and Caffe and CNTK", "caffe", "cntk",
     {"state": fresh_state("caffe", 2)}),
    (ValueError, "Caffe cannot leave the statistics as they are with "
     "moving_average_fraction; its use_global_stats does", "pytorch", "caffe",
     torch_layer(momentum=0.0)),
    (ValueError, "needs to know whether the fused kernel ran", "pytorch", "tf1",
     {"batch_shape": (6, 2, 5, 5)}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "words", "source", "target", "change"), ERRORS)
def test_errors_say_what_was_expected(kind, words, source, target, change):
    c = CONVENTIONS[source]
    state = fresh_state(c, 2)
    if "count" in c.names:
        state[c.names["count"]] = np.array(12)
    given = {
        "state": state,
        "settings": {c.momentum_name: c.momentum, c.eps_name: 1e-3},
        "batch_shape": (6, 2),
        "updates": 3,
        **change,
    }
    with pytest.raises(kind) as caught:
        convert(source=source, target=target, **given)
    assert words in str(caught.value)


def test_a_still_layer_of_pytorch_is_a_still_layer_of_cntk_and_back():
    given = torch_layer(momentum=0.0, count=12)
    there = convert(**given, source="pytorch", target="cntk", batch_shape=(6, 2))
    assert there.settings["normalization_time_constant"] == math.inf
    said = "With normalization_time_constant = inf the statistics stay as they are."
    assert there.notes == (said,)
    back = convert(there.state, there.settings, "cntk", "pytorch", batch_shape=(6, 2))
    assert back.settings["momentum"] == 0
    assert_same(back.state, given["state"])


def test_what_was_assumed_is_said():
    state, settings = fresh_state("keras", 2), default_settings("keras")
    new = convert(state, settings, "keras", "mlx", batch_shape=(6, 2))
    assert new.notes == (SENTENCES["forgotten"],)
    new = convert(state, settings, "keras", "pytorch", variance="keep")
    assert new.notes[0].startswith("num_batches_tracked is 1: the true number")
    known = convert(state, settings, "keras", "mlx", batch_shape=(6, 2), updates=9)
    assert known.notes == ()


def test_every_convention_says_for_which_versions_it_was_measured():
    for record in RECORD.values():
        c = CONVENTIONS[record["head"]["convention"]]
        assert any(
            re.search(
                rf"(?<![\d.]){re.escape(version.split('+')[0])}(?![\d.])", c.versions
            )
            for name, version in record["answer"]["versions"].items()
            if name not in ("numpy", "jax")
        ), (c.title, c.versions, record["answer"]["versions"])
    measured = {record["head"]["convention"] for record in RECORD.values()}
    assert set(CONVENTIONS) - measured == {"caffe"}
    assert CONVENTIONS["caffe"].versions.startswith("not run")


def test_arguments_are_left_alone_and_copied():
    state, settings = layer(CONVENTIONS["pytorch"], 3, 6)
    before = {name: value.copy() for name, value in state.items()}
    moved = convert(state, settings, "pytorch", "keras", batch_shape=(6, 3))
    for value in moved.state.values():
        value[:] = 7
    assert_same(state, before)


def test_the_engine_follows_bnlib():
    """PyTorch's convention is bnlib's own, value for value."""
    x = draw((6, 3))
    state, settings = layer(CONVENTIONS["pytorch"], 3, 6)
    mean, var = np.zeros(3), np.ones(3)
    y, cache = train_step(x, state, settings, "pytorch")
    weight, bias = state["weight"], state["bias"]
    expected, _ = F.batch_norm(x, mean, var, weight, bias, True, WEIGHT, 1e-3)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(state["running_var"], var)
    assert state["num_batches_tracked"] == 1
    assert cache.training


@pytest.mark.parametrize("source", [key for key in CONVENTIONS if key != "pytorch"])
def test_a_layer_continues_in_the_real_pytorch(source):
    torch = load_torch()
    batches = [draw((6, 3), seed=seed) for seed in range(5)]
    c = CONVENTIONS[source]
    state, settings = layer(c, 3, 6)
    settings["axis"] = 1
    c = replace(c, axes=None)
    run(c, state, settings, batches[:3])
    moved = convert(state, settings, c, "pytorch", batch_shape=(6, 3), updates=3)
    real = torch.nn.BatchNorm1d(
        3,
        eps=moved.settings["eps"],
        momentum=moved.settings["momentum"],
        dtype=torch.float64,
    )
    real.load_state_dict({k: torch.tensor(v) for k, v in moved.state.items()})
    theirs = [real(torch.tensor(x)).detach().numpy() for x in batches[3:]]
    ours = run(c, state, settings, batches[3:], start=3)
    np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-12)
    after = convert(state, settings, c, "pytorch", batch_shape=(6, 3), updates=5)
    found = {k: v.numpy() for k, v in real.state_dict().items()}
    assert_same(after.state, found, rtol=1e-10)


RECORD = {
    path.parent.name: json.loads(path.read_text("utf-8"))
    for path in FRAMEWORKS.glob("*/record.json")
}
# CNTK's first batch replaces the initial values: a history that PyTorch never has.
COMPARABLE = sorted(
    name
    for name, r in RECORD.items()
    if not CONVENTIONS[r["head"]["convention"]].first_replaces
)


@pytest.mark.parametrize("images", [False, True], ids=["vectors", "images"])
@pytest.mark.parametrize("name", COMPARABLE)
def test_pytorchs_numbers_become_each_frameworks_own(name, images):
    """Three real batches in PyTorch, converted, are three real batches elsewhere."""
    theirs, cases = RECORD[name]["answer"]["cases"], ["train-nd-float64"]
    if images:
        cases = ["train-nchw-float64", "train-nhwc-float64"]
    case = next(case for case in cases if "outputs" in theirs[case])
    fused = theirs[case]["outputs"].get("fused")
    real = RECORD["pytorch"]["answer"]["cases"][case]["outputs"]
    state = {k: np.array(real[k]) for k in ("running_mean", "running_var")}
    channels = len(state["running_mean"])
    state |= {"weight": np.ones(channels), "bias": np.zeros(channels)}
    state["num_batches_tracked"] = np.array(3)
    shape = (3, channels, 2, 3) if images else (6, channels)
    c = CONVENTIONS[RECORD[name]["head"]["convention"]]
    settings = {"momentum": 0.1, "eps": 1e-3}
    moved = convert(state, settings, "pytorch", c, batch_shape=shape, fused=fused)
    for role in ("running_mean", "running_var"):
        expected = theirs[case]["outputs"][role]
        # 1e-6: some frameworks hold the momentum in float32.
        np.testing.assert_allclose(moved.state[c.names[role]], expected, 0, 1e-6)
