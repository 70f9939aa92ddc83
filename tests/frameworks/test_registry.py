"""Every framework: its folder is complete, and what it may leave out has a reason."""

import ast

import pytest
from framework_records import having, stored

from bnlib.conventions import CONVENTIONS
from frameworks import run
from frameworks.cases import make_cases
from frameworks.compare import OUTPUTS, TOLERANCE
from frameworks.environments import ENVIRONMENTS
from frameworks.registry import FRAMEWORKS, GROUPS, HERE

GIVEN = make_cases()
NAMES = [name for name in FRAMEWORKS if name != "bnlib"]  # bnlib is what they face
SCRIPTS = [path for name in ("adapter", "listing", "speed") for path in
           sorted(HERE.glob(f"*/{name}.py"))]  # fmt: skip
# Named on the seed page; their float64 is as exact as float64 can be, but for this one.
SEED = ("pytorch", "tensorflow", "tf1", "theano", "cntk")
FLOAT32_MOMENTUM = "tf1"


def test_the_seed_systems_are_there_and_pass_within_the_usual_tolerance():
    for name in SEED:
        worst = stored(name)["verdict"]["worst"]
        assert worst["float32"] <= 2e-5
        assert worst["float64"] <= (1e-7 if name == FLOAT32_MOMENTUM else 1e-10)
    assert {*SEED, "keras_jax"} <= set(having("listing.py"))


def test_a_folder_is_a_framework_and_places_are_unique():
    folders = {path.name for path in HERE.iterdir() if path.is_dir()}
    assert folders - {"within", "requirements", "__pycache__"} == set(FRAMEWORKS)
    places = [framework.place for framework in FRAMEWORKS.values()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_head_names_what_exists(name):
    framework = FRAMEWORKS[name]
    assert framework.convention in CONVENTIONS
    assert framework.group in GROUPS
    assert framework.environments
    assert set(framework.environments) <= {"main", *ENVIRONMENTS}
    assert framework.modules or name == "bnlib"
    if framework.prepare:
        assert framework.file(f"{framework.prepare}.py").exists()
    assert bool(framework.speed) == framework.file("speed.py").exists()
    for row in framework.speed:
        functions = framework.file("speed.py").read_text("utf-8")
        assert f"def {row.function}(norm, x, y):" in functions


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_complete(name):
    framework = FRAMEWORKS[name]
    assert framework.file("adapter.py").exists()
    for kind in run.KINDS.values():
        if hasattr(kind, "record") and framework.file(kind.script).exists():
            record = stored(name, kind.record)
            assert set(record) == {"head", "verdict", "answer"}
            assert record["head"]["framework"] == name
            assert record["head"]["title"] == framework.title
            assert record["head"]["convention"] == framework.convention
            assert record["verdict"]["status"] == "pass"
            assert record["verdict"]["failures"] == []
            versions = record["answer"]["versions"]
            assert {*framework.modules, "numpy"} <= set(versions)
            assert all([*versions.values(), record["answer"]["python"]])


@pytest.mark.parametrize("name", NAMES)
def test_a_record_has_every_case(name):
    record, framework = stored(name), FRAMEWORKS[name]
    assert record["head"]["digest"] == GIVEN["digest"], "the cases changed: run it"
    assert set(record["answer"]["cases"]) == set(GIVEN["cases"])
    # Left out: only what the head allows, and never a whole dtype or kind.
    for case in record["verdict"]["gaps"]:
        assert any(part in case for part in framework.gaps)
    errors = record["verdict"]["errors"]
    for dtype in TOLERANCE:
        assert f"train-nd-{dtype}" in errors
        assert {f"train-{x}-{dtype}" for x in ("nchw", "nhwc")} & set(errors)
        assert f"constant-nd-{dtype}" in errors
    for case, found in errors.items():
        if not case.startswith("one"):
            assert set(found) == set(OUTPUTS)


@pytest.mark.parametrize("name", NAMES)
def test_tolerances_are_the_usual_ones_or_have_a_reason(name):
    verdict, loose = stored(name)["verdict"], {}
    assert [
        {key: rule[key] for key in ("dtype", "outputs", "tolerance", "reason")}
        for rule in verdict["looser"]
    ] == [rule._asdict() for rule in FRAMEWORKS[name].looser]
    for rule in verdict["looser"]:
        assert len(rule["reason"].split()) > 4
        assert TOLERANCE[rule["dtype"]] < rule["measured"] <= rule["tolerance"] <= 2e-6
        loose |= {(rule["dtype"], output): rule for output in rule["outputs"]}
    for case, errors in verdict["errors"].items():
        dtype = case.split("-")[-1]
        for output, found in errors.items():
            if (dtype, output) not in loose:
                assert found <= TOLERANCE[dtype]
    assert all(len(reason.split()) > 2 for reason in FRAMEWORKS[name].gaps.values())


@pytest.mark.parametrize("name", having("listing.py"))
def test_a_listing_is_short_stands_alone_and_is_the_one_that_ran(name):
    text = FRAMEWORKS[name].file("listing.py").read_text("utf-8")
    assert len(text.splitlines()) <= 40
    assert "digits.npz" in text
    assert ("bnlib" in text) == (name == "onnxruntime")
    assert "frameworks" not in text
    kind = run.Listing()
    record = stored(name, "listing.json")
    assert record["head"]["digest"] == kind.digest(FRAMEWORKS[name])
    assert kind.judge(FRAMEWORKS[name], record["answer"]) == record["verdict"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_script_imports_nothing_of_this_repository(path):
    """It runs in another environment, with the files of within on its path."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or ".").split(".")[0])
    assert not imported & {"frameworks", "experiments", "coursework", "."}
    allowed = FRAMEWORKS[path.parent.name].environments == ["main"]
    assert allowed or "bnlib" not in imported


def test_a_head_takes_what_it_leaves_out_from_the_one_it_is_like():
    jax, torch = FRAMEWORKS["keras_jax"], FRAMEWORKS["keras_torch"]
    assert jax.adapter == torch.adapter == "tensorflow"
    assert jax.looser == torch.looser != FRAMEWORKS["tensorflow"].looser
    assert jax.environments == FRAMEWORKS["tensorflow"].environments
    assert jax.variables == {"KERAS_BACKEND": "jax"}
    assert jax.speed == ()
