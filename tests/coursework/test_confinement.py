"""The means of confinement change no score, and a machine's faults cost none."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from confined import MEANS, needs_means, require

from bncheck.errors import machine_error
from coursework import sources
from coursework.grader import batch, client, engine, output, report
from coursework.grader.collect import Found
from coursework.grader.confine import Confinement
from coursework.grader.engine import Options, grade_one
from coursework.grader.reading import read_submission
from coursework.questions import SETS

pytestmark = pytest.mark.slow

TORCH = importlib.util.find_spec("torch") is not None
KEY = b"a key for the confinement tests!"
TRAINS = """
import os
import tempfile

import numpy as np
import torch
from torch import nn

SEEDS = [0, 1, 2]
REPORTED = {0: {"loss": 0.0}, 1: {"loss": 0.0}, 2: {"loss": 0.0}}


def run(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(16, 3))).float()
    for way in (torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop):
        optimizer = way(model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        for _ in range(3):
            optimizer.zero_grad()
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
            schedule.step()
    with tempfile.TemporaryDirectory() as folder:
        np.save(os.path.join(folder, "loss.npy"), float(loss.detach()))
        return {"loss": float(np.load(os.path.join(folder, "loss.npy"))) * 0}
"""


def grade(data: bytes, file: str, name: str, monkeypatch, means: Confinement) -> dict:
    monkeypatch.setattr(engine, "confinement", lambda options: means)
    submission = read_submission(data, file, SETS[name].functions)
    graded = grade_one(submission._replace(student="Kim"), name, KEY, Options())
    assert graded.pop("confinement") == means.text
    return graded


@needs_means
@pytest.mark.parametrize("name", SETS)
def test_every_means_gives_the_same_report(name, monkeypatch):
    if SETS[name].imports and not TORCH:
        pytest.skip("needs torch")
    if name == "capstone":
        data, file = TRAINS.encode(), "capstone.py"
    else:
        data, file = (sources.SETS / f"{name}.ipynb").read_bytes(), f"{name}.ipynb"
    reports = [
        grade(data, file, name, monkeypatch, means)
        for means in [*MEANS.values(), engine.UNSAFE]
    ]
    texts = {json.dumps(r, sort_keys=True) for r in reports}
    assert len(texts) == 1
    if name != "ps3":  # its second answer depends on the draw
        assert reports[0]["score"] == reports[0]["points"], reports[0]["results"]


# --- faults of the machine ------------------------------------------------------------


def caught(source: str, name: str, **names: object) -> BaseException:
    """Return what a piece of code raises; its name says whose it is."""
    with pytest.raises(BaseException) as info:  # noqa: PT011
        exec(compile(source, name, "exec"), names)
    return info.value


def library(tmp_path: Path, source: str, monkeypatch) -> None:
    (tmp_path / "a_library.py").write_text(source, "utf-8")
    monkeypatch.delitem(sys.modules, "a_library", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_library_that_cannot_be_imported_is_the_machines_fault(tmp_path, monkeypatch):
    library(tmp_path, "open('/not/there')", monkeypatch)
    said = machine_error(caught("def f():\n    import a_library\nf()", "cell 3"))
    assert said == "FileNotFoundError: No such file or directory in a_library, line 1"


def test_a_part_that_a_library_lacks_is_the_machines_fault(tmp_path, monkeypatch):
    library(tmp_path, "def f():\n    import not_a_package", monkeypatch)
    error = caught("import a_library\ndef f():\n    a_library.f()\nf()", "glue.py")
    said = "ModuleNotFoundError: no module not_a_package in a_library, line 2"
    assert machine_error(error) == said


def test_what_hides_behind_another_error_is_found(tmp_path, monkeypatch):
    text = "try:\n    open('/not/there')\nexcept OSError:\n    raise RuntimeError"
    library(tmp_path, text, monkeypatch)
    said = machine_error(caught("import a_library", "cell 1"))
    assert said.startswith("FileNotFoundError")


@pytest.mark.parametrize(
    "source",
    [
        "open('/not/there')",
        "import not_a_package",
        "from numpy import not_a_name",
        "import numpy as np\nnp.load('/not/there.npy')",
        "exec(\"open('/not/there')\")",
        "raise OSError('mine')",
        "raise ImportError('mine')",
        "1 / 0",
    ],
)
def test_an_error_of_the_students_own_line_is_theirs(source):
    assert machine_error(caught(source, "cell 1")) == ""


def test_words_of_an_exception_are_not_told(tmp_path, monkeypatch):
    library(tmp_path, "raise OSError('a hidden number')", monkeypatch)
    said = machine_error(caught("import a_library", "cell 1"))
    assert said == "OSError in a_library, line 1"


@pytest.mark.skipif(not TORCH, reason="needs torch")
def test_without_a_folder_to_write_to_nobody_loses_points(tmp_path, monkeypatch):
    """torch.optim asks for a temporary folder when it is imported."""
    means = require("landlock")
    prepare = client.prepare

    def closed(*arguments):
        plan = prepare(*arguments)
        return plan._replace(rules=plan.rules | {"write": []})

    monkeypatch.setattr(client, "prepare", closed)
    monkeypatch.setattr(engine, "confinement", lambda options: means)
    path = sources.SETS / "ps5.ipynb"
    task = batch.Task(Found("Kim", path), "ps5", KEY, Options())
    record = batch.grade_task(task, path.read_bytes())
    assert record["report"]["score"] is None
    reason = record["report"]["error"]
    assert reason.startswith("set-up error, no score: *freeze: FileNotFoundError")
    entry = report.Entry(record["report"], {}, {})
    output.write_class(tmp_path, [entry], {})
    assert "FileNotFoundError" in (tmp_path / "summary.html").read_text("utf-8")
