"""Records are held against bnlib, and turn red when bnlib or an answer is wrong."""

import base64
import copy
import json

import numpy as np
import pytest
from framework_records import having, stored

from bnlib import functional as F
from bnlib.conventions import CONVENTIONS
from frameworks.cases import make_cases
from frameworks.compare import Verdict
from frameworks.registry import FRAMEWORKS

SEEDS = ["pytorch", "tensorflow", "tf1", "theano", "cntk"]  # named on the seed page
GIVEN = make_cases()
NAMES = having("adapter.py")
RECORDS = {name: stored(name) for name in NAMES}
ANSWERS = {name: RECORDS[name]["answer"] for name in NAMES}


def judge(name, answer=None):
    return Verdict(FRAMEWORKS[name], answer or ANSWERS[name], GIVEN)


@pytest.mark.parametrize("name", NAMES)
def test_stored_answers_agree_with_bnlib_today(name):
    verdict, record = judge(name), RECORDS[name]["verdict"]
    assert verdict.failures == []
    for case, errors in record["errors"].items():
        assert verdict.errors[case] == pytest.approx(errors, rel=0.1, abs=1e-15)
    report = json.loads(json.dumps(verdict.report()))
    assert report["measured"] == record["measured"]
    assert report["gaps"] == record["gaps"]


@pytest.mark.parametrize("name", ["keras_torch", "keras_jax"])
def test_keras_runs_without_tensorflow(name):
    assert "keras" in ANSWERS[name]["loaded"]
    assert "tensorflow" not in ANSWERS[name]["loaded"]
    answer = {**ANSWERS[name], "loaded": ["keras", "tensorflow"]}
    assert "tensorflow was loaded" in judge(name, answer).failures


# --- bnlib is broken on purpose, and the records turn red -----------------------------

UNBIASED = {n for n in NAMES if CONVENTIONS[FRAMEWORKS[n].convention].stored[0] == "u"}
UNBIASED |= {"tf1", "tf1_today"}  # their fused kernel, on images


def biased_stored(x, mean=None, var=None, weight=None, bias=None, training=False,
                  momentum=0.1, eps=1e-5):  # fmt: skip
    old = None if var is None else var.copy()
    out = WHOLE(x, mean, var, weight, bias, training, momentum, eps)
    if training and var is not None:
        var[:] = old + momentum * (out[1].var - old)
    return out


def momentum_swapped(x, mean=None, var=None, weight=None, bias=None, training=False,
                     momentum=0.1, eps=1e-5):  # fmt: skip
    return WHOLE(x, mean, var, weight, bias, training, 1 - momentum, eps)


def eps_outside(x, mean=None, var=None, weight=None, bias=None, training=False,
                momentum=0.1, eps=1e-5):  # fmt: skip
    return WHOLE(x, mean, var, weight, bias, training, momentum, eps**2)


WHOLE = F.batch_norm
BREAKS = {
    biased_stored: (UNBIASED, {"running_var", "inference"}, set()),
    momentum_swapped: (set(NAMES), {"running_mean", "inference"}, {"running_var"}),
    eps_outside: (set(NAMES), {"y", "dx", "dgamma", "inference"}, set()),
}


@pytest.mark.parametrize("broken", BREAKS, ids=lambda f: f.__name__)
def test_a_broken_bnlib_turns_records_red(broken, monkeypatch):
    monkeypatch.setattr(F, "batch_norm", broken)
    red = {name: judge(name).failures for name in NAMES}
    names, always, only_unbiased = BREAKS[broken]
    assert {name for name, failures in red.items() if failures} == names
    for name in names:
        what = {f.split(": ")[1].split()[0] for f in red[name] if "differs" in f}
        assert what == always | (only_unbiased if name in UNBIASED else set())


def changed(name, **cases):
    answer = copy.deepcopy(ANSWERS[name])
    answer["cases"].update(cases)
    return answer


def test_a_case_cannot_be_left_out_unless_the_head_says_so():
    case = "train-nd-float64"
    left_out = judge("pytorch", changed("pytorch", **{case: {"unsupported": "tired"}}))
    assert left_out.failures == [f"{case}: left out: tired"]
    raised = judge("pytorch", changed("pytorch", **{case: {"raises": "TypeError: x"}}))
    assert raised.failures == [f"{case}: TypeError: x"]
    answer = changed("pytorch")
    del answer["cases"][case]
    assert judge("pytorch", answer).failures == [f"{case}: not answered"]
    answer = changed("pytorch")
    del answer["cases"][case]["outputs"]["dx"]
    assert judge("pytorch", answer).failures == [f"{case}: dx is missing"]


def test_a_batch_of_one_must_do_what_the_convention_says():
    case = "one-nd-float64"
    quiet = ANSWERS["tensorflow"]["cases"][case]
    loud = {"raises": "ValueError: one value"}
    found = judge("pytorch", changed("pytorch", **{case: quiet})).failures
    assert found == [f"{case}: gave numbers where an error was expected"]
    found = judge("tensorflow", changed("tensorflow", **{case: loud})).failures
    assert found == [f"{case}: ValueError: one value"]
    found = judge("theano", changed("theano", **{case: quiet})).failures
    assert found == [f"{case}: running_var differs by inf"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("momentum", 0.9), ("eps", 1e-3), ("axis", -1), ("names", {"weight": "gamma"})],
)
def test_facts_are_held_against_the_table(key, value):
    answer = changed("pytorch")
    answer["facts"][key] = value
    assert any(f.startswith(f"facts: {key}") for f in judge("pytorch", answer).failures)


def test_default_steps_show_weight_and_variance():
    found = {n: RECORDS[n]["verdict"]["measured"] for n in SEEDS}
    assert found["pytorch"] == {"stored": ["unbiased"], "weight_of_new": [0.1, 0.1]}
    assert found["tensorflow"] == {"stored": ["biased"], "weight_of_new": [0.01, 0.01]}
    assert found["cntk"]["weight_of_new"] == pytest.approx([1, 0.0012], rel=2e-3)
    answer = {**ANSWERS["pytorch"], "default_steps": ANSWERS["mlx"]["default_steps"]}
    assert judge("pytorch", answer).failures == []
    answer["default_steps"] = ANSWERS["tensorflow"]["default_steps"]
    words = " ".join(judge("pytorch", answer).failures)
    assert "weighs" in words
    assert "store ['biased']" in words


def test_cntks_export_runs_in_onnx_runtime():
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    extras = ANSWERS["cntk"]["extras"]
    model = base64.b64decode(extras["onnx"])
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(model, options)
    name = session.get_inputs()[0].name
    rows = np.array(extras["input"], np.float32)  # the export has a batch of one
    found = [session.run(None, {name: row[None]})[0][0] for row in rows]
    np.testing.assert_allclose(found, extras["output"], rtol=1e-5, atol=1e-6)
    graph = onnx.load_from_string(model).graph
    (node,) = (n for n in graph.node if n.op_type == "BatchNormalization")
    (momentum,) = (a.f for a in node.attribute if a.name == "momentum")
    # The time constant was 10 samples, the batch 6: the exporter takes 48.
    assert momentum == pytest.approx(np.exp(-48 / 10), rel=1e-4)


def test_traps_are_in_the_records():
    for name in ("tf1", "tf1_today"):
        extras = ANSWERS[name]["extras"]
        assert not any(extras["mean_without_update_ops"])
        assert all(extras["mean_with_update_ops"])
    mxnet = ANSWERS["mxnet"]["extras"]
    assert not any(mxnet["mean_after_forward"])
    assert all(mxnet["mean_after_backward"])
    flax = ANSWERS["flax"]["extras"]
    assert flax["synced_difference"] < 1e-5 < 0.1 < flax["unsynced_difference"]
