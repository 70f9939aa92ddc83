"""Each case of the clinic has its parts; its check fails before and passes after."""

import copy
import re
from pathlib import Path

import clinic
import contract
import nbformat
import pytest
from needs_torch import torch

from bnlib.pytorch import doctor
from bnlib.pytorch.doctor.clinic import outcome

ROOT = Path(__file__).resolve().parents[2]
PAGES = clinic.pages(ROOT / "chapters")
FRONT = "17_visit_the_clinic"


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def text_of(path: Path) -> str:
    return "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")


CASES = [(path, case) for path in PAGES for case in clinic.cases(read(path))]


@pytest.fixture
def whole(request):
    """Give back the number type that pages choose."""
    kind = torch.get_default_dtype()
    yield
    torch.set_default_dtype(kind)


@pytest.mark.parametrize("path", [p for p in PAGES if p.stem != FRONT], ids=str)
def test_each_check_fails_before_and_passes_after(path, monkeypatch, whole):
    """Run a page's cells, and each case's two programs through its measure."""
    monkeypatch.chdir(path.parent)
    met = []
    monkeypatch.setattr(doctor, "visit", lambda *given: met.append(given))
    room: dict = {}
    ran = 0
    for cell in read(path).cells:
        if cell.cell_type != "code" or "colab" in cell.metadata.get("tags", []):
            continue
        exec(compile(cell.source, path.name, "exec"), room)
        if len(met) > ran:
            ran = len(met)
            measure, broken, mended, examine = met[-1]
            before = outcome(measure, broken, examine)
            after = outcome(measure, mended, examine)
            assert not before.passes, before
            assert after.passes, after
            if before.codes is not None:
                assert set(before.codes) - set(after.codes), "the doctor sees no cure"
    assert ran == len(clinic.cases(read(path)))


def test_there_are_enough_cases():
    assert len(CASES) >= 30
    assert len({path for path, _ in CASES}) == 6


def test_anchors_are_used_once_and_symptoms_are_short():
    anchors = [case.anchor for _, case in CASES]
    assert len(anchors) == len(set(anchors))
    assert [c.symptom for _, c in CASES if len(c.symptom.split()) > 14] == []


def test_the_front_page_leads_to_each_case():
    linked = set(
        re.findall(r"\{ref\}`(?:[^`<]*<)?(clinic-[\w-]+)>?`", text_of(PAGES[0]))
    )
    assert PAGES[0].stem == FRONT
    assert {case.anchor for _, case in CASES} - linked == set()


def test_each_code_of_the_doctor_leads_to_a_section():
    there = {p.removeprefix("chapters/") for p in contract.toc_pages()}
    found = {path.stem: clinic.anchors(read(path)) for path in PAGES}
    places = {code: re.split(r"\.html#", p) for code, p in doctor.pages().items()}
    for code, (page, anchor) in places.items():
        name = page.removeprefix("chapters/")
        assert clinic.PAGE.fullmatch(name), code
        assert name in there, code
        assert anchor in found[name], code


def spoiled(change):
    """Return what a healthy case lacks once something is taken from it."""
    case = copy.deepcopy(CASES[0][1])
    assert [*clinic.lacks(case)] == []
    change(case)
    return " ".join(clinic.lacks(case))


def replaced(tag, old, new):
    def change(case):
        cell = case.cells[tag]
        assert old in str(cell)
        cell.source = cell.source.replace(old, new)
        for out in cell.outputs:
            out.text = out.text.replace(old, new)

    return change


def without(pattern):
    def change(case):
        assert re.search(pattern, case.text)
        case.text = re.sub(pattern, "", case.text)

    return change


FAULTS = {
    "no broken": (lambda case: case.cells.pop("broken"), "the tag broken"),
    "no visit": (lambda case: case.cells.pop("visit"), "the tag visit"),
    "no quiz": (without(r":::\{quiz\}.*"), "no quiz"),
    "no diagnosis": (without(r"\{dropdown\} Diagnosis"), "no dropdown"),
    "no thread": (without(r"\*\*People met it:\*\*"), "no thread"),
    "thread elsewhere": (without(r"github\.com/"), "no thread"),
    "another program": (
        replaced("mended", "    return", "    a = 1\n" * 3 + "    return"),
        "lines differ in broken",
    ),
    "nothing changed": (
        replaced("mended", ".eval()  # changed", ""),
        "0 lines differ",
    ),
    "no mark": (replaced("mended", "  # changed", ""), "is marked"),
    "no symptom": (lambda case: case.cells["broken"].outputs.clear(), "no symptom"),
    "no measure": (replaced("visit", "def measure", "def other"), "no function"),
    "does not fail": (replaced("visit", "FAILS", "passes"), "does not fail"),
    "does not pass": (replaced("visit", "passes", "FAILS"), "does not pass"),
    "long program": (
        lambda case: case.cells["broken"].update(
            source="def broken():\n" + "    x = 1\n" * 21
        ),
        "21 lines",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_case_that_lacks_a_part_is_seen(name):
    change, message = FAULTS[name]
    assert message in spoiled(change)
