"""A hidden cell says on its button what its code draws or prepares."""

from collections import Counter

import bn_site
import nbformat
import notebooks
import pytest

HIDDEN = {"hide-input", "hide-cell"}
SHOW, HIDE = "Show the code that ", "Hide the code that "


def titles(path) -> list[str]:
    """Return what stands on the buttons of a page's hidden cells; "" where nothing."""
    nb = nbformat.read(path, as_version=4)
    hidden = (c for c in nb.cells if HIDDEN & set(notebooks.tags(c)))
    found = []
    for cell in hidden:
        words = cell.metadata.get("mystnb", {})
        show, hide = (words.get(f"code_prompt_{k}", "") for k in ("show", "hide"))
        alike = show.startswith(SHOW) and hide == HIDE + show.removeprefix(SHOW)
        found.append(show.removeprefix(SHOW) if alike else "")
    return found


@pytest.mark.parametrize("path", notebooks.all_notebooks(), ids=lambda p: p.stem)
def test_each_hidden_cell_has_a_title_of_its_own(path):
    found = titles(path)
    short = [title for title in found if len(title.split()) < 3]
    assert not short, f"{len(short)} of {len(found)} hidden cells have no title"
    twice = [title for title, count in Counter(found).items() if count > 1]
    assert not twice


def test_a_screen_reader_says_the_title():
    body = (
        '<summary aria-label="Toggle hidden content">\n<span>Show it</span></summary>'
    )
    assert bn_site.with_own_titles(body) == "<summary>\n<span>Show it</span></summary>"
