"""The environments: exact versions, a Python that is searched for, CNTK's stand-in."""

import shutil
import sys
from pathlib import Path

import pytest

from frameworks import environments
from frameworks.cntk import mpi
from frameworks.environments import NotHere
from frameworks.registry import FRAMEWORKS


def test_this_python_is_found():
    version = "{}.{}".format(*sys.version_info)
    assert environments.find_python(("0.1", version)) == Path(sys.executable)


def test_every_environment_has_exact_versions():
    used = {e for f in FRAMEWORKS.values() for e in f.environments} - {"main"}
    assert used == set(environments.ENVIRONMENTS)
    for name in used:
        lines = environments.requirements(name).read_text("utf-8").splitlines()
        packages = [line for line in lines if line and not line.startswith("#")]
        assert packages
        assert all("==" in line for line in packages)


def test_a_second_environment_is_tried_and_all_reasons_are_given(monkeypatch):
    def python_of(name, may_install):
        if name != "theano":
            raise NotHere("no Python 3.6")
        return Path("python-of-theano")

    monkeypatch.setattr(environments, "python_of", python_of)
    python, variables = environments.place_of(FRAMEWORKS["theano"])
    assert python == Path("python-of-theano")
    assert variables["THEANO_FLAGS"].startswith("cxx=")
    both = FRAMEWORKS["theano"]._replace(environments=["legacy", "modern"])
    with pytest.raises(NotHere, match=r"^no Python 3\.6; no Python 3\.6$"):
        environments.place_of(both)


def test_what_a_framework_needs_beside_its_packages_can_be_missing(monkeypatch):
    monkeypatch.setattr(environments, "python_of", lambda name, may_install: Path("p"))
    monkeypatch.setattr(mpi, "prepare", lambda environment: {"FOLDER": "x"})
    assert environments.place_of(FRAMEWORKS["cntk"])[1]["FOLDER"] == "x"

    def prepare(environment):
        raise OSError("gcc: none")

    monkeypatch.setattr(mpi, "prepare", prepare)
    with pytest.raises(NotHere, match="gcc: none"):
        environments.place_of(FRAMEWORKS["cntk"])


def test_the_stand_in_for_mpi_has_every_open_name(tmp_path, monkeypatch):
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    names = {"MPI_Send", "MPI_Initialized"}, {"ompi_mpi_comm_world"}
    monkeypatch.setattr(mpi, "open_names", lambda environment: names)
    variables = mpi.prepare(tmp_path)
    library = Path(variables["LD_LIBRARY_PATH"], "libmpi.so.12")
    symbols = mpi.output("nm", "-D", "--defined-only", library)
    assert set.union(*names) <= {line.split()[-1] for line in symbols.splitlines()}
    assert library.with_name("libmpi_cxx.so.1").exists()
    monkeypatch.setattr(mpi, "output", None)  # it is built once
    assert mpi.prepare(tmp_path) == variables


def test_a_missing_compiler_is_an_error_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr(mpi, "open_names", lambda environment: (set(), set()))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="gcc"):
        mpi.prepare(tmp_path)
