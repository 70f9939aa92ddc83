"""Conventions: a converted layer continues with the same numbers."""

import json
import math
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
    return state, settings_of(c, samples)


def run(c, state, settings, batches, start=0):
    """Train on batches that have their channels on axis 1; return the outputs."""
    axis = settings["axis"]
    return [
        np.moveaxis(
            train_step(np.moveaxis(x, 1, axis), state, settings, c, start + i)[0],
            axis,
            1,
        )
        for i, x in enumerate(batches)
    ]


def assert_same(ours, expected, rtol=1e-12):
    assert set(ours) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            ours[name], value, rtol=rtol, atol=1e-13, err_msg=name
        )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_converting_and_training_can_be_swapped(pair, shape):
    src, dst = (CONVENTIONS[key] for key in pair.split())
    batches = [draw(shape, seed=seed) for seed in range(5)]
    state, settings = layer(src, shape[1], shape[0])
    batch_shape = np.moveaxis(batches[0], 1, settings["axis"]).shape
    run(src, state, settings, batches[:3])

    known = {"batch_shape": batch_shape}
    moved = convert(state, settings, src, dst, updates=3, **known)
    theirs = run(dst, moved.state, moved.settings, batches[3:], start=3)
    ours = run(src, state, settings, batches[3:], start=3)
    after = convert(state, settings, src, dst, updates=5, **known)

    np.testing.assert_allclose(theirs, ours, rtol=1e-12, atol=1e-13)
    assert_same(moved.state, after.state)
    assert moved.settings == after.settings
    weight = dst.weight_of_new(moved.settings[dst.momentum_name], shape[0], 3)
    assert weight == pytest.approx(WEIGHT, rel=1e-12)


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
    ],
)
def test_momentum_is_translated(source, momentum, target, expected):
    c = CONVENTIONS[source]
    settings = {c.momentum_name: momentum, c.eps_name: 1e-3}
    state = fresh_state(source, 2)
    moved = convert(state, settings, source, target, batch_shape=(60, 2), updates=0)
    found = moved.settings[CONVENTIONS[target].momentum_name]
    assert found == (expected if expected is None else pytest.approx(expected))


def test_a_layer_that_saw_nothing_needs_no_batch_shape():
    state = fresh_state("pytorch", 2)
    moved = convert(state, default_settings("pytorch"), "pytorch", "keras")
    np.testing.assert_array_equal(moved.state["moving_variance"], [1, 1])


def test_cumulative_averages_continue_from_pytorch_to_cntk():
    batches = [draw((6, 3), seed=seed) for seed in range(5)]
    torch, cntk = CONVENTIONS["pytorch"], CONVENTIONS["cntk"]
    state = fresh_state(torch, 3)
    settings = {"momentum": None, "eps": 1e-3, "axis": 1}
    run(torch, state, settings, batches[:2])
    moved = convert(state, settings, torch, cntk, batch_shape=(6, 3))
    run(cntk, moved.state, moved.settings, batches[2:])
    mean = np.mean([x.mean(0) for x in batches], 0)
    np.testing.assert_allclose(moved.state["aggregate_mean"], mean)
    assert moved.state["aggregate_count"] == 30


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


ERRORS = [
    (KeyError, "gamma, beta", "keras", "pytorch", {"state": {"weight": np.ones(2)}}),
    (KeyError, "momentum, eps", "pytorch", "keras", {"settings": {"epsilon": 1e-3}}),
    (ValueError, "unknown convention 'caffe'", "pytorch", "caffe", {}),
    (ValueError, "needs updates=", "keras", "pytorch", {"updates": None}),
    (ValueError, "needs batch_shape=", "pytorch", "keras", {"batch_shape": None}),
    (ValueError, "needs batch_shape=", "cntk", "pytorch", {"batch_shape": None}),
    (ValueError, "needs batch_shape=", "keras", "cntk", {"batch_shape": None}),
    (ValueError, "2 channels on axis 1", "pytorch", "keras", {"batch_shape": (6, 3)}),
    (ValueError, "2 values per channel", "pytorch", "keras", {"batch_shape": (1, 2)}),
    (ValueError, "no cumulative average", "pytorch", "keras",
     {"settings": {"momentum": None, "eps": 1e-3}}),
    (ValueError, "between 0 and 1", "pytorch", "keras",
     {"settings": {"momentum": 5.0, "eps": 1e-3}}),
    (ValueError, "must be a number, got None", "keras", "pytorch",
     {"settings": {"momentum": None, "epsilon": 1e-3}}),
    (ValueError, "Theano needs epsilon >= 1e-05", "pytorch", "theano",
     {"settings": {"momentum": 0.1, "eps": 1e-6}}),
    (ValueError, "eps must be >= 0", "pytorch", "keras",
     {"settings": {"momentum": 0.1, "eps": -1.0}}),
    (ValueError, "axis of PyTorch must be one of", "pytorch", "keras",
     {"settings": {"momentum": 0.1, "eps": 1e-3, "axis": -1}}),
    (ValueError, "'translate' or 'keep'", "pytorch", "keras", {"variance": "drop"}),
    (ValueError, "share a shape", "onnx", "keras", {"state": {
        "scale": np.ones(2), "B": np.ones(3), "input_mean": np.ones(2),
        "input_var": np.ones(2)}}),
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
    real = RECORD["pytorch"]["answer"]["cases"][case]["outputs"]
    state = {k: np.array(real[k]) for k in ("running_mean", "running_var")}
    channels = len(state["running_mean"])
    state |= {"weight": np.ones(channels), "bias": np.zeros(channels)}
    state["num_batches_tracked"] = np.array(3)
    shape = (3, channels, 2, 3) if images else (6, channels)
    c = CONVENTIONS[RECORD[name]["head"]["convention"]]
    settings = {"momentum": 0.1, "eps": 1e-3}
    moved = convert(state, settings, "pytorch", c, batch_shape=shape)
    for role in ("running_mean", "running_var"):
        expected = theirs[case]["outputs"][role]
        # 1e-6: some frameworks hold the momentum in float32.
        np.testing.assert_allclose(moved.state[c.names[role]], expected, 0, 1e-6)
