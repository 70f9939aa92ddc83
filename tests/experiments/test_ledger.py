"""The ledger holds every claim, with its rule beside its verdict."""

import re
from pathlib import Path

from experiments import ledger, runner


def test_every_claim_is_in_the_ledger():
    claims = [c for name in runner.names() for c in runner.module(name).claims()]
    rows = ledger.ledger()
    assert len(rows) == len(claims)
    text = ledger.as_markdown()
    for number, (name, claim) in enumerate(rows, 1):
        assert claim in runner.module(name).claims()
        assert f"**{number}. {claim.claim}: *{claim.verdict}*.**" in text
        assert f"- Rule: {claim.rule}\n" in text
        assert f"- Effect: {claim.effect}\n" in text


def test_citation_keys_become_citations_and_words_stay():
    text = ledger.as_markdown()
    assert "{cite:t}`ioffe2015`" in text
    assert "Source: control of this book" in text


def test_the_counts_add_up():
    total, *counts = map(int, re.findall(r"\d+", ledger.counts()))
    assert total == sum(counts) == len(ledger.ledger())


def test_each_table_of_a_claim_is_there_to_download():
    paths = re.findall(r"<\.\./(experiments/results/\S+\.csv)>", ledger.as_markdown())
    assert {Path(p).parent.name for p in paths} == set(runner.names())
    assert all((runner.HERE.parent / path).is_file() for path in paths)


def test_every_run_is_told_once():
    lines = ledger.provenance().splitlines()
    assert len(lines) == len(set(lines))
    for name in runner.names():
        for table, made in runner.record(name).items():
            told = any(line.startswith(f"{made['made_by']}:") for line in lines)
            assert told == (table != "reduced")
