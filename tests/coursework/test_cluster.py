"""The same reports from one process, from several, and from a Dask cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from coursework import grade, sources

pytestmark = pytest.mark.slow

KEY = "a key for the tests of the cluster"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Make a class of four: right, wrong, empty, broken."""
    folder = tmp_path_factory.mktemp("class")
    data = (sources.SETS / "ps1.ipynb").read_bytes()
    (folder / "ada.ipynb").write_bytes(data)
    (folder / "ben.ipynb").write_bytes(data.replace(b"var + eps", b"var"))
    (folder / "eva.py").write_text("x = 1\n")
    (folder / "max.ipynb").write_text("{ not json")
    key = tmp_path_factory.mktemp("key") / "term.key"
    key.write_text(KEY)
    return folder, key


def run(room, out: Path, *options: str) -> dict[str, bytes]:
    folder, key = room
    arguments = [str(folder), "--set", "ps1", "--key", str(key), "--out", str(out)]
    assert grade.main([*arguments, *options]) == 0
    return {
        str(p.relative_to(out)): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def alone(room, tmp_path_factory):
    return run(room, tmp_path_factory.mktemp("alone"), "--jobs", "1")


def test_the_same_key_gives_the_same_bytes(room, alone, tmp_path):
    assert run(room, tmp_path / "again", "--jobs", "1") == alone


def test_several_processes_give_the_same_bytes(room, alone, tmp_path):
    assert run(room, tmp_path / "two", "--jobs", "2") == alone


def test_a_dask_cluster_gives_the_same_bytes(room, alone, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        assert (
            run(room, tmp_path / "dask", "--dask", cluster.scheduler_address) == alone
        )


def test_another_key_gives_other_seeds(room, alone, tmp_path):
    folder, _ = room
    other = tmp_path / "other.key"
    other.write_text(KEY + "x")
    found = run((folder, other), tmp_path / "out")
    name = next(n for n in alone if n.startswith("reports") and "ada" in n)
    assert found[name] != alone[name]


def test_scores_are_as_they_should_be(alone):
    rows = alone["gradebook.csv"].decode().splitlines()
    total = {r.split(",")[0]: r for r in rows[1:]}
    assert set(total) == {"ada", "ben", "eva", "max"}
    assert ",10" in total["ada"]
