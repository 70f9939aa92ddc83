"""The listings of the frameworks: stored, current, true, and shown as tabs."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
from oracle import load_torch

from frameworks import environments, show, speed
from frameworks.environments import ROOT, NotHere
from frameworks.registry import FRAMEWORKS

SEED = ("pytorch", "tensorflow", "keras_jax", "tf1", "theano", "cntk")
# What a listing shows to be false on purpose: the update operations were forgotten.
FALSE = {"tf1": ["test accuracy above 90 %, without the update operations: False"]}


def verdicts(stdout):
    """Return the lines that say True and those that say False."""
    lines = stdout.splitlines()
    return [[s for s in lines if s.endswith(f": {v}")] for v in (True, False)]


def problems(name, record):
    """Say what is wrong with a record of a listing."""
    true, false = verdicts(record["stdout"])
    if record["digest"] != show.digest(name):
        yield "the listing has changed since it was run"
    if false != FALSE.get(name, []):
        yield f"it says False: {false}"
    for start in ("test accuracy above 90 %", "one image alone gives its row"):
        if not any(line.startswith(start) for line in true):
            yield f"it does not say: {start}: True"
    missing = {*FRAMEWORKS[name].modules, "numpy"} - set(record["versions"])
    if missing or not all(record["versions"].values()) or not record["python"]:
        yield "versions are missing"


def test_every_system_of_the_seed_has_a_listing():
    assert set(SEED) <= set(show.NAMES)
    files = {path.stem for path in show.LISTINGS.glob("*.py")}
    assert files == set(show.NAMES)
    assert files == {path.stem for path in show.RECORDS.glob("*.json")}


@pytest.mark.parametrize("name", show.NAMES)
def test_stored_record(name):
    assert list(problems(name, show.stored(name))) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("digest", "0" * 16),
        ("versions", {"torch": "2"}),
        ("python", ""),
        ("stdout", "test accuracy above 90 %: False\n"),
        ("stdout", "test accuracy above 90 %: True\n"),
    ],
)
def test_a_wrong_record_is_seen(key, value):
    assert list(problems("pytorch", {**show.stored("pytorch"), key: value}))


@pytest.mark.parametrize("name", show.NAMES)
def test_listing_is_short_and_stands_alone(name):
    text = show.listing(name)
    assert len(text.splitlines()) <= 40
    assert "digits.npz" in text
    assert ("bnlib" in text) == (name == "onnxruntime")
    assert "frameworks" not in text


@pytest.mark.parametrize("name", ["pytorch", "onnxruntime"])
def test_listing_prints_what_is_stored(name):
    load_torch() if name == "pytorch" else pytest.importorskip("onnxruntime")
    record = show.fresh(name)
    assert record["stdout"] == show.stored(name)["stdout"]
    assert list(problems(name, record)) == []


def replace_listing(monkeypatch, folder, text, name="onnxruntime"):
    """Put another text in the place of a listing; records go into the folder."""
    for module in FRAMEWORKS[name].modules:
        pytest.importorskip(module)
    (folder / f"{name}.py").write_text(text, "utf-8")
    monkeypatch.setattr(show, "LISTINGS", folder)
    monkeypatch.setattr(show, "RECORDS", folder)


def test_changed_listing_is_seen(monkeypatch, tmp_path):
    text = show.listing("onnxruntime").replace("> 0.9", "> 1")
    record = show.stored("onnxruntime")
    replace_listing(monkeypatch, tmp_path, text)
    assert list(problems("onnxruntime", record))  # by its digest, without a run
    found = show.fresh("onnxruntime")
    assert found["stdout"] != record["stdout"]
    assert list(problems("onnxruntime", found))


def test_failing_listing_is_a_failure(monkeypatch, tmp_path, capsys):
    replace_listing(monkeypatch, tmp_path, "print('so far')\nraise ValueError('no')\n")
    assert show.main(["onnxruntime"]) == 1
    printed = capsys.readouterr().out
    assert "fail onnxruntime" in printed
    assert "so far" in printed
    assert "ValueError: no" in printed
    assert not (tmp_path / "onnxruntime.json").exists()


def test_skip_gives_the_reason_and_is_no_pass(monkeypatch, tmp_path, capsys):
    def nowhere(name):
        raise NotHere("no Python 3.6")

    monkeypatch.setattr(show, "python_of", nowhere)
    monkeypatch.setattr(show, "RECORDS", tmp_path)
    assert show.main(["theano"]) == 1
    assert "skip theano: no Python 3.6; no Python 3.6" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_main_stores_the_record(monkeypatch, tmp_path):
    replace_listing(
        monkeypatch, tmp_path, "import onnx, onnxruntime\nprint('x: True')\n"
    )
    assert show.main(["onnxruntime"]) == 0
    record = show.stored("onnxruntime")
    assert record["stdout"] == "x: True\n"
    assert record["digest"] == show.digest("onnxruntime")


def test_unknown_names():
    with pytest.raises(ValueError, match="no listing 'caffe'; there are pytorch"):
        show.tabs("pytorch", "caffe")
    with pytest.raises(SystemExit):
        show.main(["caffe"])
    with pytest.raises(SystemExit):
        speed.main(["caffe"])


def test_tabs():
    text = show.tabs(*show.NAMES)
    lines = text.splitlines()
    titles = [s.split("} ")[1] for s in lines if s.startswith(":::{tab-item}")]
    assert titles == [FRAMEWORKS[name].title for name in show.NAMES]
    assert lines[0] == "::::{tab-set}"
    assert lines[-1] == "::::"
    assert lines.count(":::") == lines.count("```python") == len(show.NAMES)
    assert lines.count("```") == 2 * len(show.NAMES)
    for name in show.NAMES:
        assert f"```python\n{show.listing(name)}\n```" in text
        assert f"```text\n{show.stored(name)['stdout']}```" in text
    assert "torch 2." in show.tabs("pytorch")
    assert show.tabs("theano").count("{tab-item}") == 1


def test_a_listing_must_not_end_its_block(monkeypatch, tmp_path):
    (tmp_path / "pytorch.py").write_text('"""\n```\n"""\n', "utf-8")
    monkeypatch.setattr(show, "LISTINGS", tmp_path)
    with pytest.raises(ValueError, match="fence"):
        show.tabs("pytorch")


def test_never_run(monkeypatch, tmp_path):
    monkeypatch.setattr(show, "RECORDS", tmp_path)
    monkeypatch.setattr(speed, "RECORD", tmp_path / "speed.json")
    with pytest.raises(FileNotFoundError, match=r"frameworks\.show"):
        show.tabs("pytorch")
    with pytest.raises(FileNotFoundError, match=r"frameworks\.speed"):
        speed.speed_table()


def test_pages_need_no_packages():
    code = (
        "import sys; from frameworks import show, speed; show.tabs(*show.NAMES); "
        "speed.speed_table(); print(sorted({'numpy', 'torch', 'bnlib'} & "
        "set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True, cwd=ROOT).strip() == "[]"


def test_stored_times():
    record = json.loads(speed.RECORD.read_text("utf-8"))
    assert list(record["systems"]) == list(speed.SYSTEMS)
    scripts = {path.stem for path in (speed.HERE / "speeds").glob("time_*.py")}
    assert scripts == {f"time_{name}" for name in speed.SYSTEMS}
    assert record["machine"]
    for name, result in record["systems"].items():
        framework = speed.SYSTEMS[name].framework
        assert framework is None or framework in FRAMEWORKS
        assert result["plain_ms"] > 0
        assert result["batch_norm_ms"] > 0
        assert all(result["versions"].values())
    rows = [s for s in speed.speed_table().splitlines() if s.startswith("| ")][2:]
    assert len(rows) == len(speed.SYSTEMS)
    for row, result in zip(rows, record["systems"].values(), strict=True):
        assert f"| {result['batch_norm_ms'] / result['plain_ms']:.2f} |" in row
    assert record["date"] in speed.speed_table()


def test_times_are_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "BATCHES", 10)
    speed.write_batches(tmp_path / "batches.npz")
    result = speed.measure("bnlib", tmp_path / "batches.npz")
    assert result["plain_ms"] > 0
    assert result["batch_norm_ms"] > 0
    assert result["versions"]["numpy"]


@pytest.mark.parametrize("bad", [True, False])
def test_a_net_that_does_not_learn_is_a_failure(monkeypatch, tmp_path, bad):
    monkeypatch.syspath_prepend(str(speed.HERE / "speeds"))
    timing = importlib.import_module("timing")

    def make(norm, x, y):
        losses = iter(np.full(1000, 2.0) if norm == bad else np.linspace(2, 1, 1000))
        return lambda i: next(losses)

    np.savez(tmp_path / "data.npz", x=np.zeros((5, 1)), y=np.zeros(5))
    arguments = ["time", str(tmp_path / "data.npz"), str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(timing, "ROUNDS", 20)
    what = "batch_norm" if bad else "plain"
    with pytest.raises(RuntimeError, match=f"the {what} net does not learn"):
        timing.main(make)
    assert not (tmp_path / "out.json").exists()


def test_a_look_installs_nothing_and_stores_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(environments, "HOME", tmp_path / "none")
    monkeypatch.setattr(speed, "RECORD", tmp_path / "speed.json")
    assert speed.main(["--look", "tensorflow"]) == 1  # nothing was measured
    assert "has not been made" in capsys.readouterr().out
    assert not (tmp_path / "none" / "modern").exists()
    assert not (tmp_path / "speed.json").exists()
