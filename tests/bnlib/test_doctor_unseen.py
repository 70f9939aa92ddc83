"""The doctor and sixty models that were written before it was asked about them."""

import pytest
from needs_torch import torch  # noqa: F401  skips where there is none
from unseen import HEALTHY, SICK, TOLD

from bnlib.pytorch.doctor import ERROR, WARNING, diagnose


def found(patient):
    model, batches, more = patient.admit()
    return diagnose(model, batches, **more)


def test_there_are_thirty_of_each_and_each_has_a_name():
    assert len(SICK) == len(HEALTHY) == 30
    assert len({patient.name for patient in (*SICK, *HEALTHY)}) == 60
    assert all(patient.says for patient in SICK)
    assert set(TOLD) == {patient.name for patient in SICK}


@pytest.mark.parametrize("patient", SICK, ids=lambda patient: patient.name)
def test_a_sick_model_gets_the_code_that_is_expected(patient):
    codes = {finding.code for finding in found(patient)}
    expected = TOLD[patient.name]
    assert expected in codes if expected else not codes


@pytest.mark.parametrize("patient", HEALTHY, ids=lambda patient: patient.name)
def test_a_healthy_model_gets_neither_an_error_nor_a_warning(patient):
    loud = [f for f in found(patient) if f.severity in (ERROR, WARNING)]
    assert loud == []


def test_the_number_of_faults_that_are_told_apart():
    assert len(set(filter(None, TOLD.values()))) >= 15
