"""What exercise 16.4 says of an experiment is run here, with the page's own cells."""

from pathlib import Path

import nbformat
import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "chapters" / "16_use_the_frameworks.ipynb"


@pytest.fixture(scope="module")
def page():
    """Run the cells of the page that train the nets and move their statistics."""
    space: dict = {}
    cells = [c.source for c in nbformat.read(PAGE, 4).cells if c.cell_type == "code"]
    starts = ("from functools import reduce", "train, test = ", "def accuracies(")
    for start in starts:
        (source,) = (s for s in cells if s.startswith(start))
        exec(source, space)
    return space


def lost(page, m):
    """Return the points that the copied setting costs with batches of m images."""
    medians = [
        np.median(
            [page["accuracies"](net, i, rho, m) for i, net in enumerate(page["nets"])]
        )
        for rho in (0.01, 0.99)
    ]
    return 100 * (medians[0] - medians[1])


def test_large_batches_hide_the_copied_setting(page):
    assert lost(page, 8) > 10
    assert 0.5 < lost(page, 60) < 5
