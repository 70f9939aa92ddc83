"""The ledger holds every claim, with its rule beside its verdict."""

import re
from pathlib import Path

import needs_torch  # noqa: F401  skips the file without torch
import pytest

from experiments import ledger, runner


@pytest.fixture(scope="module")
def rows():
    return ledger.ledger()


@pytest.fixture(scope="module")
def text():
    return ledger.as_markdown()


def test_every_claim_is_in_the_ledger(rows, text):
    claims = [
        (name, c) for name in runner.names() for c in runner.module(name).claims()
    ]
    assert sorted(rows, key=claims.index) == claims
    for number, (_, claim) in enumerate(rows, 1):
        assert f"**{number}. {claim.claim}: *{claim.verdict}*.**" in text
        assert f"- Rule: {claim.rule}\n" in text
        assert f"- Effect: {claim.effect}\n" in text


def test_citation_keys_become_citations_and_words_stay(text):
    assert "{cite:t}`ioffe2015`" in text
    assert "Source: control of this book" in text


def test_the_counts_add_up(rows):
    total, *counts = map(int, re.findall(r"\d+", ledger.counts()))
    assert total == sum(counts) == len(rows)


def test_each_table_of_a_claim_is_there_to_download(text):
    paths = re.findall(r"<\.\./(experiments/results/\S+\.csv)>", text)
    assert {Path(p).parent.name for p in paths} == set(runner.names())
    assert all((runner.HERE.parent / path).is_file() for path in paths)


def test_every_run_is_told_once():
    lines = ledger.provenance().splitlines()
    assert len(lines) == len(set(lines))
    for name in runner.names():
        for table, made in runner.record(name).items():
            told = any(line.startswith(f"{made['made_by']}:") for line in lines)
            assert told == (table != "reduced")
