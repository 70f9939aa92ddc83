"""What figures hold is stored, and a change of it is told in words."""

from __future__ import annotations

import re

import bn_figures
import figure_records
import figures
import matplotlib as mpl
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from notebooks import all_notebooks

from bnlib import plotting
from bnlib.graph import batch_norm_graph

PHONE = 327  # pixels that a figure has on a phone of 375
SMALLEST = 10  # pixels
STORED = [
    (path.stem, number, output["data"])
    for path in all_notebooks()
    for number, cell in enumerate(nbformat.read(path, 4).cells, start=1)
    for output in cell.get("outputs", [])
    if "Figure size" in "".join(output.get("data", {}).get("text/plain", ""))
]
NAMES = [f"{name}, cell {number}" for name, number, _ in STORED]


def drawn(low: float = 0.0, high: float = 1.0) -> Figure:
    """Return a figure with a line, points, an area, an image and a text."""
    figure = Figure(figsize=(6.4, 3.6))
    left, right = figure.subplots(1, 2)
    x = np.linspace(1, 10, 100)
    left.plot(x, low + (high - low) * x / 10, label="rising", color="#3F77D8")
    left.scatter(x[::10], x[::10] / 20, label="measured")
    left.fill_between(x, 0, x / 30, color="#D87A3F", alpha=0.2)
    left.set(title="left", xlabel="updates", ylabel="loss (nats)", ylim=(0, 1))
    left.annotate("here", (5, 0.5), xytext=(6, 0.6))
    left.legend(ncols=2)
    right.imshow(np.outer(x, x), vmin=0, vmax=100)
    return figure


def held(figure: Figure) -> str:
    """Return the record of a figure as a notebook stores it."""
    return figures.record(figure)


def test_the_same_figure_does_not_differ():
    assert figure_records.differences(held(drawn()), held(drawn())) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f.axes[0].set_xlim(0, 1e6), "x axis: its limits were"),
        (lambda f: f.axes[0].set_yscale("symlog"), "y axis: its scale was 'linear'"),
        (lambda f: f.axes[0].set_ylabel("loss"), "its label was 'loss (nats)'"),
        (lambda f: f.axes[0].set_title("right"), "the title was 'left'"),
        (lambda f: f.axes[0].lines[0].set_color("red"), "'rising' had the colours"),
        (lambda f: f.axes[0].lines[0].set_ydata(np.ones(100)), "'rising' moved: y"),
        (lambda f: f.axes[0].lines[0].remove(), "gone: [\"line 'rising'\"]"),
        (
            lambda f: f.axes[0].collections[0].set_offsets(np.ones((10, 2))),
            "points 'measured' moved: x",
        ),
        (lambda f: f.axes[0].texts[0].set_text("there"), "text 'here'"),
        (lambda f: f.axes[1].images[0].set_clim(0, 1), "its colour limits was"),
        (
            lambda f: f.axes[1].images[0].set_data(np.ones((100, 100))),
            "image moved: values",
        ),
        (lambda f: f.add_axes((0, 0, 0.1, 0.1)), "had 2 panels and has 3"),
    ],
)
def test_a_change_is_told_in_words(change, told):
    figure = drawn()
    change(figure)
    lines = figure_records.differences(held(drawn()), held(figure))
    assert any(told in line for line in lines), lines


def test_less_than_a_hundredth_of_the_axis_is_no_change():
    assert not figure_records.differences(held(drawn()), held(drawn(high=1.005)))
    assert figure_records.differences(held(drawn()), held(drawn(high=1.05)))
    rough = figure_records.ROUGH
    assert not figure_records.differences(held(drawn()), held(drawn(high=1.05)), rough)
    assert figure_records.differences(held(drawn()), held(drawn(high=1.3)), rough)


def test_of_a_rough_figure_lines_without_a_name_may_move():
    figure, other = drawn(), drawn()
    for one, height in ((figure, 0.2), (other, 0.8)):
        one.axes[0].plot([1, 10], [0, height], label="_seed")
    assert figure_records.differences(held(figure), held(other))
    rough = figure_records.ROUGH
    assert not figure_records.differences(held(figure), held(other), rough)
    other.axes[0].lines[0].set_ydata(np.zeros(100))  # the line with a name
    assert figure_records.differences(held(figure), held(other), rough)


def test_what_is_outside_the_axes_may_move_there():
    """A loss that diverges has other digits on another machine, and nobody sees it."""
    figure, other = drawn(), drawn()
    y = figure.axes[0].lines[0].get_ydata()
    for one, height in ((figure, 1e8), (other, 1e9)):
        one.axes[0].lines[0].set_ydata(np.where(y > 0.5, height * y, y))
    assert not figure_records.differences(held(figure), held(other))
    other.axes[0].lines[0].set_ydata(np.where(y > 0.5, -1e9 * y, y))
    assert figure_records.differences(held(figure), held(other))


def test_drawings_are_the_same_each_time_and_hold_their_text():
    first, second = (figures.drawing(drawn()) for _ in range(2))
    assert first == second
    assert ">updates</text>" in first


def test_a_narrow_drawing_stacks_panels_and_keeps_its_text_large():
    figure = drawn()
    svg = figures.narrow(figure)
    tops = [ax.get_position().y0 for ax in figure.axes]
    assert tops[0] > tops[1] + 0.2
    assert smallest_text(svg) >= SMALLEST


def smallest_text(svg: str) -> float:
    """Return the height of the smallest text of a narrow drawing on a phone, pixels."""
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    sizes = re.findall(r"font(?:-size)?: ([\d.]+)px", svg)
    return min(map(float, sizes), default=SMALLEST) * PHONE / width


def test_the_graph_runs_down_a_narrow_page():
    rng = np.random.default_rng(0)
    graph = batch_norm_graph(rng.normal(size=(4, 2)))
    plotting.use_style()
    ax = graph.draw(backward=False)
    narrow = figures.narrow(ax.figure)
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', narrow).groups())
    assert height > width
    mpl.rcdefaults()


@pytest.mark.parametrize(("name", "number", "data"), STORED, ids=NAMES)
def test_every_stored_figure_is_two_drawings_and_a_record(name, number, data):
    assert set(data) == {"text/plain", figures.SVG, figures.MIME}
    assert data[figures.SVG].startswith("<svg ")
    assert figures.holds_of(data[figures.MIME]), "a figure without axes"
    assert smallest_text(figures.narrow_of(data[figures.MIME])) >= SMALLEST


def test_figures_are_stored():
    assert len(STORED) > 40


def test_no_page_holds_an_output_that_the_site_would_leave_out():
    """The build does not warn of unknown kinds, because records are unknown to it."""
    known = {"text/plain", "text/html", "text/markdown", figures.SVG, figures.MIME}
    for path in all_notebooks():
        for cell in nbformat.read(path, 4).cells:
            for output in cell.get("outputs", []):
                assert set(output.get("data", {})) <= known, path.name


# --- on the page ----------------------------------------------------------------------


def test_colours_keep_their_part_in_the_dark():
    light = {c: plotting.luminance(rgb(c)) for c in plotting.PALETTE.values()}
    for colour in light:
        dark = bn_figures.in_the_dark(colour.lower())
        below = plotting.luminance(rgb(bn_figures.NIGHT))
        contrast = (plotting.luminance(rgb(dark)) + 0.05) / (below + 0.05)
        assert contrast >= 4.5, f"{colour} becomes {dark}: {contrast:.2f}"
    assert bn_figures.in_the_dark("#ffffff") == bn_figures.NIGHT
    for colour in (plotting.ON_DARK, plotting.ON_LIGHT):  # on images, which stay
        assert bn_figures.in_the_dark(colour.lower()) == colour.lower()


def rgb(colour: str) -> list[float]:
    """Return a colour as three numbers in 0..1."""
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_drawings_on_a_page_share_no_names():
    svg = figures.drawing(drawn())
    other = figures.drawing(drawn(high=0.5))
    page = "".join(bn_figures.element(s, "wide", "A line.") for s in (svg, other))
    names = re.findall(r' id="([^"]*)"', page)
    assert len(names) == len(set(names)) > 4
    links = set(re.findall(r'(?:href="#|url\(#)([\w-]+)', page))
    assert links == set(names)
