"""The ledger holds every claim, with its rule beside its verdict."""

from experiments import ledger, runner


def test_every_claim_is_in_the_ledger():
    claims = [c for name in runner.names() for c in runner.module(name).claims()]
    assert ledger.ledger() == claims
    text = ledger.as_markdown()
    for number, claim in enumerate(claims, 1):
        assert f"**{number}. {claim.claim}: *{claim.verdict}*.**" in text
        assert f"- Rule: {claim.rule}\n" in text
        assert f"- Effect: {claim.effect}\n" in text


def test_citation_keys_become_citations_and_words_stay():
    text = ledger.as_markdown()
    assert "{cite:t}`ioffe2015`" in text
    assert "Source: control of this book" in text


def test_every_run_is_told_once():
    lines = ledger.provenance().splitlines()
    assert len(lines) == len(set(lines))
    for name in runner.names():
        for made in runner.record(name).values():
            assert any(made["made_by"] in line for line in lines)
