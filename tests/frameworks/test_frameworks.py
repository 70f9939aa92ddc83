"""The frameworks' records: complete, within tolerance, and red when bnlib is wrong."""

import base64
import copy
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from bnlib import functional as F
from bnlib.conventions import CONVENTIONS
from frameworks import environments, mpi, runner
from frameworks.cases import make_cases
from frameworks.compare import OUTPUTS, TOLERANCE, Verdict
from frameworks.registry import FRAMEWORKS

SEEDS = ["pytorch", "tensorflow", "tf1", "theano", "cntk"]  # named on the seed page
ALWAYS = ["pytorch", "onnxruntime"]  # in the main environment, so in CI too
GIVEN = make_cases()
RECORDS = {
    p.stem: json.loads(p.read_text("utf-8")) for p in runner.RECORDS.glob("*.json")
}
NAMES = sorted(FRAMEWORKS)


def judge(name, record=None):
    return Verdict(FRAMEWORKS[name], record or RECORDS[name], GIVEN)


def installed(name):
    return all(importlib.util.find_spec(m) for m in FRAMEWORKS[name].modules)


def test_every_framework_has_a_record_and_the_seeds_are_among_them():
    assert sorted(RECORDS) == NAMES
    assert set(SEEDS + ALWAYS) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_record_is_complete(name):
    record, framework = RECORDS[name], FRAMEWORKS[name]
    assert record["digest"] == GIVEN["digest"], "the cases changed: run the frameworks"
    assert record["status"] == "pass"
    assert {"python", "numpy"} < set(record["versions"])
    assert all(record["versions"].values())
    assert record["convention"] == framework.convention
    assert set(record["cases"]) == set(GIVEN["cases"])
    # Left out: only what the registry allows, and never a whole dtype or kind.
    for case in record["gaps"]:
        assert any(part in case for part in framework.gaps)
    for dtype in TOLERANCE:
        assert f"train-nd-{dtype}" in record["errors"]
        assert {f"train-{x}-{dtype}" for x in ("nchw", "nhwc")} & set(record["errors"])
        assert f"constant-nd-{dtype}" in record["errors"]
    for case, errors in record["errors"].items():
        if not case.startswith("one"):
            assert set(errors) == set(OUTPUTS)


@pytest.mark.parametrize("name", NAMES)
def test_stored_answers_agree_with_bnlib_today(name):
    verdict, record = judge(name), RECORDS[name]
    assert verdict.failures == []
    for case, errors in record["errors"].items():
        assert verdict.errors[case] == pytest.approx(errors, rel=0.1, abs=1e-15)
    report = json.loads(json.dumps(verdict.report()))
    assert report["measured"] == record["measured"]
    assert report["gaps"] == record["gaps"]


@pytest.mark.parametrize("name", NAMES)
def test_tolerances_are_the_usual_ones_or_have_a_reason(name):
    record, loose = RECORDS[name], {}
    for rule in record["looser"]:
        assert len(rule["reason"].split()) > 4
        assert TOLERANCE[rule["dtype"]] < rule["measured"] <= rule["tolerance"] <= 2e-6
        loose |= {(rule["dtype"], output): rule for output in rule["outputs"]}
    for case, errors in record["errors"].items():
        dtype = case.split("-")[-1]
        for output, found in errors.items():
            if (dtype, output) not in loose:
                assert found <= TOLERANCE[dtype]


@pytest.mark.parametrize("name", SEEDS)
def test_the_seed_systems_pass_within_the_usual_tolerance(name):
    assert RECORDS[name]["worst"]["float32"] <= 2e-5
    # TensorFlow 1 keeps 1 - momentum in float32; nothing else is looser.
    assert RECORDS[name]["worst"]["float64"] <= (1e-7 if name == "tf1" else 1e-10)


@pytest.mark.parametrize("name", ["keras_torch", "keras_jax"])
def test_keras_runs_without_tensorflow(name):
    assert "keras" in RECORDS[name]["loaded"]
    assert "tensorflow" not in RECORDS[name]["loaded"]
    record = {**RECORDS[name], "loaded": ["keras", "tensorflow"]}
    assert "tensorflow was loaded" in judge(name, record).failures


@pytest.mark.parametrize("name", NAMES)
def test_fresh_answers_are_the_stored_ones(name):
    if not installed(name):
        if name in ALWAYS and os.environ.get("CI") == "true":
            pytest.fail(f"CI needs {FRAMEWORKS[name].modules}")
        pytest.skip(f"not installed here: {', '.join(FRAMEWORKS[name].modules)}")
    answer = runner.answer_of(FRAMEWORKS[name], Path(sys.executable), "main", GIVEN)
    verdict = judge(name, answer)
    assert verdict.failures == []
    stored = RECORDS[name]
    for key in ("facts", "loaded"):
        assert answer[key] == stored[key]
    for case, found in answer["cases"].items():
        expected = stored["cases"][case]
        assert set(found) == set(expected)
        for output, value in found.get("outputs", {}).items():
            limit = 2 * verdict.tolerance(case.split("-")[-1], output)
            theirs = np.array(expected["outputs"][output], np.float64)
            np.testing.assert_allclose(
                np.array(value, np.float64), theirs, limit, limit
            )


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
    record = copy.deepcopy(RECORDS[name])
    record["cases"].update(cases)
    return record


def test_an_answer_cannot_be_left_out_without_the_registry():
    case = "train-nd-float64"
    left_out = judge("pytorch", changed("pytorch", **{case: {"unsupported": "tired"}}))
    assert left_out.failures == [f"{case}: left out: tired"]
    raised = judge("pytorch", changed("pytorch", **{case: {"raises": "TypeError: x"}}))
    assert raised.failures == [f"{case}: TypeError: x"]
    record = changed("pytorch")
    del record["cases"][case]
    assert judge("pytorch", record).failures == [f"{case}: not answered"]
    record = changed("pytorch")
    del record["cases"][case]["outputs"]["dx"]
    assert judge("pytorch", record).failures == [f"{case}: dx is missing"]


def test_a_batch_of_one_must_do_what_the_convention_says():
    case = "one-nd-float64"
    quiet = RECORDS["tensorflow"]["cases"][case]
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
    record = copy.deepcopy(RECORDS["pytorch"])
    record["facts"][key] = value
    assert any(f.startswith(f"facts: {key}") for f in judge("pytorch", record).failures)


def test_default_steps_show_weight_and_variance():
    found = {n: RECORDS[n]["measured"] for n in SEEDS}
    assert found["pytorch"] == {"stored": ["unbiased"], "weight_of_new": [0.1, 0.1]}
    assert found["tensorflow"] == {"stored": ["biased"], "weight_of_new": [0.01, 0.01]}
    assert found["cntk"]["weight_of_new"] == pytest.approx([1, 0.0012], rel=2e-3)
    record = {**RECORDS["pytorch"], "default_steps": RECORDS["mlx"]["default_steps"]}
    assert judge("pytorch", record).failures == []
    record["default_steps"] = RECORDS["tensorflow"]["default_steps"]
    words = " ".join(judge("pytorch", record).failures)
    assert "weighs" in words
    assert "store ['biased']" in words


def test_cntks_export_runs_in_onnx_runtime():
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    extras = RECORDS["cntk"]["extras"]
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
        extras = RECORDS[name]["extras"]
        assert not any(extras["mean_without_update_ops"])
        assert all(extras["mean_with_update_ops"])
    mxnet = RECORDS["mxnet"]["extras"]
    assert not any(mxnet["mean_after_forward"])
    assert all(mxnet["mean_after_backward"])
    flax = RECORDS["flax"]["extras"]
    assert flax["synced_difference"] < 1e-5 < 0.1 < flax["unsynced_difference"]


# --- the runner -----------------------------------------------------------------------


@pytest.fixture
def empty_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "HOME", tmp_path / "environments")
    monkeypatch.setattr(runner, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(environments, "pythons", lambda version: iter(()))
    return tmp_path


def test_what_a_machine_lacks_is_a_skip_and_never_a_pass(empty_machine, capsys):
    assert runner.main(["theano"]) == 1
    said = capsys.readouterr().out
    assert "skip  theano" in said
    assert "no Python 3.6 on the PATH or with pyenv" in said
    assert "no Python 3.11 or 3.8 on the PATH" in said
    assert "0 passed, 0 failed, 1 skipped" in said
    assert not (empty_machine / "records").exists()


def test_a_failing_adapter_is_a_failure(empty_machine, monkeypatch, capsys):
    if not installed("pytorch"):
        pytest.skip("torch is not installed")
    broken = FRAMEWORKS["pytorch"]._replace(adapter="run_nothing")
    monkeypatch.setitem(FRAMEWORKS, "pytorch", broken)
    assert runner.main(["pytorch", "theano"]) == 1
    said = capsys.readouterr().out
    assert "fail  pytorch" in said
    assert "no answer" in said
    assert "0 passed, 1 failed, 1 skipped" in said


def test_a_disagreement_is_a_failure_with_its_record(
    empty_machine, monkeypatch, capsys
):
    def answer_of(framework, python, environment, given):
        return json.loads(json.dumps(RECORDS[framework.name]))

    monkeypatch.setattr(runner, "answer_of", answer_of)
    assert runner.main(["pytorch"]) == 0
    monkeypatch.setattr(F, "batch_norm", momentum_swapped)
    assert runner.main(["pytorch"]) == 1
    assert "train-nd-float64: running_mean differs" in capsys.readouterr().out
    stored = json.loads((empty_machine / "records" / "pytorch.json").read_text())
    assert stored["status"] == "fail"


def test_unknown_names_are_an_error():
    with pytest.raises(SystemExit, match="unknown: caffe; known: pytorch"):
        runner.main(["caffe"])


def test_this_python_is_found():
    version = "{}.{}".format(*sys.version_info)
    assert environments.find_python(("0.1", version)) == Path(sys.executable)


def test_every_environment_has_exact_versions():
    used = {e for f in FRAMEWORKS.values() for e in f.environments} - {"main", "cntk"}
    assert used == set(environments.ENVIRONMENTS)
    for name in used:
        lines = (environments.HERE / "requirements" / f"{name}.txt").read_text()
        packages = [s for s in lines.splitlines() if s and not s.startswith("#")]
        assert packages
        assert all("==" in s for s in packages)


def test_the_stand_in_for_mpi_has_every_open_name(tmp_path, monkeypatch):
    if not environments.shutil.which("gcc"):
        pytest.skip("no gcc")
    names = {"MPI_Send", "MPI_Initialized"}, {"ompi_mpi_comm_world"}
    monkeypatch.setattr(mpi, "open_names", lambda environment: names)
    mpi.stand_in(tmp_path, tmp_path)
    symbols = mpi.output("nm", "-D", "--defined-only", str(tmp_path / "libmpi.so.12"))
    assert set.union(*names) <= {line.split()[-1] for line in symbols.splitlines()}
    assert (tmp_path / "libmpi_cxx.so.1").exists()
