"""What runs in the frameworks' own Pythons: the loop of the cases, and the clock."""

import sys

import numpy as np
import pytest

from frameworks.registry import HERE


@pytest.fixture
def within(monkeypatch):
    """Import a module of the folder, which is on the path of the scripts only."""

    def load(name):
        monkeypatch.syspath_prepend(str(HERE / "within"))
        sys.modules.pop(name, None)
        return __import__(name)

    yield load
    for name in ("protocol", "timing"):
        sys.modules.pop(name, None)


CASE = {
    "kind": "train",
    "layout": "nd",
    "dtype": "float32",
    "eps": 0.5,
    "keep": 0.9,
    "x": [[[1.0, 2.0]], [[3.0, 4.0]]],
    "dy": [[1.0, 1.0]],
    "x_new": [[5.0, 6.0]],
    "gamma": [1.0, 1.0],
    "beta": [0.0, 0.0],
}


class Sum:
    """A layer whose statistics are the sum of its batches, changed in place."""

    def __init__(self, case):
        self.mean = np.zeros(2)
        self.settings = case.settings(eps=case.eps)

    def step(self, x, dy):
        self.mean += x.sum(0)
        return x, dy, 0 * self.mean, None

    def statistics(self):
        return self.mean, self.mean

    def infer(self, x):
        return x + self.mean


def test_the_protocol_trains_on_all_batches_and_names_the_outputs(within):
    protocol = within("protocol")
    outputs = protocol.run_one(Sum, protocol.Case(**CASE))["outputs"]
    assert outputs == {
        "y": [[1.0, 2.0]],
        "dx": [[1.0, 1.0]],
        "dgamma": [0.0, 0.0],
        "running_mean": [4.0, 6.0],
        "running_var": [4.0, 6.0],
        "inference": [[9.0, 12.0]],
    }


def test_an_exception_is_part_of_the_answer(within, capsys):
    protocol = within("protocol")

    class No(Sum):
        def __init__(self, case):
            raise protocol.Unsupported("channels stand last")

    class Loud(Sum):
        def infer(self, x):
            raise ValueError("no\nsecond line")

    case = protocol.Case(**CASE)
    assert protocol.run_one(No, case) == {"unsupported": "channels stand last"}
    assert protocol.run_one(Loud, case) == {"raises": "ValueError: no"}
    assert "second line" in capsys.readouterr().err


def test_defaults_are_tried_without_settings(within):
    protocol = within("protocol")
    assert Sum(protocol.Case(**CASE)).settings == {"eps": 0.5}
    assert Sum(protocol.fresh()).settings == {}
    batches = np.array(CASE["x"], np.float32)
    first, second, third = protocol.default_steps(Sum, batches)
    np.testing.assert_array_equal([first, second, third][-1][0], [4.0, 6.0])
    np.testing.assert_array_equal(first[0], [0.0, 0.0])  # a copy, not the live array
    np.testing.assert_array_equal(second[0], [1.0, 2.0])


def test_facts_must_be_those_of_the_protocol(within):
    protocol = within("protocol")
    facts = dict.fromkeys(protocol.FACTS, "")
    facts |= {"names": protocol.names("a", "b", "c", "d", count="e"), "initial": None}
    facts |= {"statistics_dtype": {"float16": "none"}}
    del facts["checkpoint"]
    state = {"a": np.ones(2), "d": np.zeros(2)}
    found = protocol.complete({**facts, "state": state}, Sum)
    assert found["names"] == {"weight": "a", "running_var": "d"}
    assert found["initial"] == {"a": 1.0, "d": 0.0}
    assert found["checkpoint"] == ["a", "d"]
    assert found["statistics_dtype"]["float16"] == "none"
    assert found["statistics_dtype"]["float32"] == "float64"
    with pytest.raises(KeyError, match="checkpoint"):
        protocol.complete(facts, Sum)


def test_numbers_survive_json(within):
    listed = within("protocol").listed
    assert listed(np.float32(0.1)) == 0.1
    assert listed({"a": (np.array([1.5, np.nan]), np.int64(2))}) == {
        "a": [[1.5, "nan"], 2]
    }


@pytest.mark.parametrize("bad", [True, False])
def test_a_net_that_does_not_learn_is_a_failure(within, monkeypatch, tmp_path, bad):
    timing = within("timing")

    def make(norm, x, y):
        losses = iter(np.full(1000, 2.0) if norm == bad else np.linspace(2, 1, 1000))
        return lambda i: next(losses)

    np.savez(tmp_path / "batches.npz", x=np.zeros((5, 1)), y=np.zeros(5))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timing, "ROUNDS", 20)
    what = "batch_norm" if bad else "plain"
    with pytest.raises(RuntimeError, match=f"the {what} net does not learn"):
        timing.measure(make)


def test_the_file_of_the_path_is_the_framework_and_not_the_folder():
    """A script of Theano that imports theano must not find the folder theano."""
    folders = {path.name for path in HERE.iterdir()}
    names = {path.stem for path in (HERE / "within").glob("*.py")}
    assert not names & folders
