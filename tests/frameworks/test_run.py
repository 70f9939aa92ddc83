"""The runner: it judges and stores, a skip is no pass, a failure is no skip."""

import json

import numpy as np
import pytest
from framework_records import need, stored

from bnlib import functional as F
from frameworks import environments, run
from frameworks.compare import Verdict
from frameworks.registry import FRAMEWORKS

ALWAYS = ["pytorch", "onnxruntime"]  # in the main environment, so in CI too


@pytest.fixture
def empty_machine(folders, monkeypatch, tmp_path):
    """Return the copy of the folders on a machine without other Pythons."""
    monkeypatch.setattr(environments, "HOME", tmp_path / "environments")
    monkeypatch.setattr(environments, "pythons", lambda version: iter(()))
    return folders


def answers(monkeypatch, answer):
    """Let every script answer this."""
    monkeypatch.setattr(run, "answer_of", lambda kind, job, may_install: answer)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALWAYS)
def test_fresh_answers_are_the_stored_ones(name):
    need(name)
    kind = run.Cases()
    answer = run.answer_of(kind, run.Job(name, FRAMEWORKS[name]))
    verdict = Verdict(FRAMEWORKS[name], answer, kind.given)
    assert verdict.failures == []
    record = stored(name)["answer"]
    for key in ("facts", "loaded"):
        assert answer[key] == record[key]
    for case, found in answer["cases"].items():
        expected = record["cases"][case]
        assert set(found) == set(expected)
        for output, value in found.get("outputs", {}).items():
            limit = 2 * verdict.tolerance(case.split("-")[-1], output)
            theirs = np.array(expected["outputs"][output], np.float64)
            np.testing.assert_allclose(
                np.array(value, np.float64), theirs, limit, limit
            )


@pytest.mark.slow
@pytest.mark.parametrize("name", ALWAYS)
def test_a_listing_prints_what_is_stored(name):
    need(name)
    kind = run.Listing()
    answer = run.answer_of(kind, run.Job(name, FRAMEWORKS[name]))
    assert answer["stdout"] == stored(name, "listing.json")["answer"]["stdout"]
    assert kind.judge(FRAMEWORKS[name], answer)["failures"] == []


@pytest.mark.slow
def test_times_are_taken(monkeypatch):
    monkeypatch.setattr(run, "BATCHES", 10)
    kind = run.Speed()
    (job,) = kind.jobs(FRAMEWORKS["bnlib"])
    answer = run.answer_of(kind, job)
    assert answer["plain_ms"] > 0
    assert answer["batch_norm_ms"] > 0
    assert answer["versions"]["numpy"]


def test_what_a_machine_lacks_is_a_skip_and_never_a_pass(empty_machine, capsys):
    record = empty_machine / "theano" / "record.json"
    record.unlink()
    assert run.main(["theano"]) == 1
    said = capsys.readouterr().out
    assert "skip  theano" in said
    assert "no Python 3.6 on the PATH or with pyenv" in said
    assert "no Python 3.11 or 3.8 on the PATH" in said
    assert "0 passed, 0 failed, 1 skipped" in said
    assert not record.exists()


@pytest.mark.parametrize("kind", ["cases", "listing"])
def test_a_script_that_fails_is_a_failure(empty_machine, capsys, kind):
    need("onnxruntime")
    script, record = run.KINDS[kind].script, run.KINDS[kind].record
    path = empty_machine / "onnxruntime" / script
    path.write_text("print('so far')\nraise ValueError('no')\n", "utf-8")
    (path.parent / record).unlink()
    assert run.main(["--kind", kind, "onnxruntime", "theano"]) == 1
    said = capsys.readouterr().out
    assert "fail  onnxruntime" in said
    assert "so far" in said
    assert "ValueError: no" in said
    assert "0 passed, 1 failed, 1 skipped" in said
    assert not (path.parent / record).exists()


def test_a_disagreement_is_a_failure_with_its_record(folders, monkeypatch, capsys):
    answers(monkeypatch, stored("pytorch")["answer"])
    path = folders / "pytorch" / "record.json"
    before = path.read_bytes()
    assert run.main(["pytorch"]) == 0
    assert path.read_bytes() == before  # what is stored can be read and stored again
    whole = F.batch_norm

    def swapped(x, mean, var, weight, bias, training, momentum=0.1, eps=1e-5):
        return whole(x, mean, var, weight, bias, training, 1 - momentum, eps)

    monkeypatch.setattr(F, "batch_norm", swapped)
    assert run.main(["--look", "pytorch"]) == 1
    assert path.read_bytes() == before
    assert run.main(["pytorch"]) == 1
    assert "train-nd-float64: running_mean differs" in capsys.readouterr().out
    verdict = json.loads(path.read_text("utf-8"))["verdict"]
    assert verdict["status"] == "fail"
    assert verdict["failures"]


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("pytorch", "above 90 %: True", "above 90 %: False", "it does not say: test"),
        ("pytorch", "its row: True", "its row: maybe", "it does not say: one image"),
        ("pytorch", "still move: True", "still move: False", "it says: ['frozen"),
        ("tf1", "operations: False", "operations: True", "it says: []"),
    ],
)
def test_what_a_listing_says_must_be_true(
    folders, monkeypatch, capsys, name, old, new, words
):
    answer = stored(name, "listing.json")["answer"]
    assert old in answer["stdout"]
    answer["stdout"] = answer["stdout"].replace(old, new)
    answers(monkeypatch, answer)
    assert run.main(["--kind", "listing", name]) == 1
    assert words in capsys.readouterr().out


def test_a_listing_that_changed_has_another_digest(folders):
    framework = FRAMEWORKS["onnxruntime"]
    path, digest = folders / "onnxruntime" / "listing.py", run.Listing().digest
    digest_of_the_run = stored("onnxruntime", "listing.json")["head"]["digest"]
    assert digest(framework) == digest_of_the_run
    path.write_text(path.read_text("utf-8").replace("> 0.9", "> 1"), "utf-8")
    assert digest(framework) != digest_of_the_run


def test_times_are_stored_when_all_rows_were_measured(folders, monkeypatch, capsys):
    path = folders / "speed.json"
    rows = json.loads(path.read_text("utf-8"))["answer"]
    path.unlink()

    def answer_of(kind, job, may_install):
        return rows[job.name]

    monkeypatch.setattr(run, "answer_of", answer_of)
    assert run.main(["--kind", "speed", "pytorch"]) == 0
    assert run.main(["--kind", "speed", "--look"]) == 0
    assert not path.exists()
    assert run.main(["--kind", "speed"]) == 0
    record = json.loads(path.read_text("utf-8"))
    assert record["answer"] == rows
    assert record["verdict"]["bnlib"]["ratio"] > 1
    assert "ratio 1.49" in capsys.readouterr().out


def test_a_look_installs_nothing_and_stores_nothing(empty_machine, capsys):
    before = {p: p.stat().st_mtime_ns for p in empty_machine.rglob("*.json")}
    assert run.main(["--look", "--kind", "speed", "tensorflow"]) == 1
    assert "has not been made" in capsys.readouterr().out
    assert not (environments.HOME / "modern").exists()
    assert before == {p: p.stat().st_mtime_ns for p in empty_machine.rglob("*.json")}


@pytest.mark.parametrize("kind", run.KINDS)
def test_unknown_names_are_an_error(kind):
    with pytest.raises(SystemExit, match=r"unknown: caffe; known: .*pytorch"):
        run.main(["--kind", kind, "caffe"])


def test_a_framework_takes_part_in_what_it_has_a_script_for():
    assert "bnlib" not in run.chosen(run.Cases, (), ())
    assert run.chosen(run.Speed, ["bnlib"], ()) == ["bnlib"]
    with pytest.raises(SystemExit, match="unknown: tinygrad"):
        run.chosen(run.Listing, ["tinygrad"], ())
    assert run.chosen(run.Cases, (), ["legacy"]) == ["tf1", "theano", "cntk"]
