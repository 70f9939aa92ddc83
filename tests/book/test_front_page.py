"""The front page: its map, its cards, the paths; what is told about pages."""

from __future__ import annotations

import re
from pathlib import Path

import bn_map
import cards
import pytest
from bn_map import Head
from contract import toc_pages
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
LINES = [line for _, lines in bn_map.map_of_the_book() for line in lines]


def test_the_map_has_each_chapter_once_in_order():
    chapters = [p for p in toc_pages() if re.match(r"chapters/\d\d_", p)]
    assert [f"chapters/{line.page}" for line in LINES] == chapters


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.page)
def test_a_chapter_has_cards_of_its_present_figure_and_words(line):
    large = Image.open(cards.OUT / f"{line.page[:2]}.png")
    assert large.size == cards.LARGE
    assert large.text["source"] == cards.source_of(line), "old: make cards"
    assert Image.open(cards.OUT / f"{line.page[:2]}-small.webp").size == cards.SMALL


def test_the_front_page_has_a_card_of_its_present_words():
    title, claim = cards.front()
    assert title.endswith("?")
    assert len(claim.split()) > 5
    made = Image.open(cards.OUT / "book.png").text["source"]
    assert made == cards.source_of_front(), "old: make cards"


def test_cards_are_light():
    heavy = {p.name for p in cards.OUT.glob("*.webp") if p.stat().st_size > 16_000}
    heavy |= {p.name for p in cards.OUT.glob("*.png") if p.stat().st_size > 60_000}
    assert heavy == set()


def test_a_figure_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no figure 'fig-none'"):
        cards.figure_of(bn_map.Line("01_scale_the_inputs", "fig-none", ""))


def head(number: int, *needs: str) -> Head:
    """Return a chapter with a number and needs."""
    return Head(
        f"{number:02}_x", f"ch-{number}", "X & Y", 5, "3 for it", "beginner", needs
    )


def test_paths_join_a_chapter_to_what_it_needs_and_stand_below_it():
    heads = [head(1), head(2, "ch-1"), head(3, "ch-1", "sec-else"), head(5, "ch-3")]
    needs = bn_map.needed(heads)
    assert needs == {1: [], 2: [1], 3: [1], 5: [3]}
    assert bn_map.depths(needs) == {1: 0, 2: 1, 3: 1, 5: 2}
    drawn = bn_map.drawing(heads)
    assert drawn.count("<line") == 3
    assert drawn.count("<circle") == 4
    assert 'aria-label="5 X &amp; Y; needs 3"' in drawn


def test_heads_are_those_of_the_chapters():
    first = bn_map.head_of("01_scale_the_inputs")
    assert (first.number, first.anchor, first.needs) == (1, "ch-scale", ())
    assert "ch-backward" in bn_map.head_of("09_go_deep").needs
    assert all(bn_map.head_of(line.page).reading > 5 for line in LINES)
