"""What a figure of the book holds, and the two forms in which it is stored.

While the book's notebooks are executed, the kernel shows each figure in three parts:
a drawing for wide pages, a record of what the figure holds (limits, scales, labels, the
numbers of its lines, points, areas and images), and in that record a drawing for
narrow screens. The record is stored with the notebook and compared on every run; the
drawings are not compared.

The kernel finds this file through `startup_folder`. A reader's own kernel knows nothing
of it and shows its figures as it likes.
"""

from __future__ import annotations

import atexit
import io
import json
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

MIME = "text/vnd.bnbook.figure"
SVG = "image/svg+xml"
DPI = 130  # of pictures inside a drawing
NARROW = 3.9  # inches: there text of 9 points is 10 pixels high on a phone
SAMPLES = 40  # of a long row of numbers so many are kept, and its mean and spread
HEAVY = 6000  # points; what has more is a picture inside the drawing
SMALLEST = 9  # points: the smallest text of a narrow drawing
STARTUP = """\
import sys
sys.path.insert(0, {tools!r})
import figures
sys.path.remove({tools!r})
figures.install(get_ipython())
del figures, sys
"""


def startup_folder() -> str:
    """Make a folder that tells IPython to store figures in the book's way.

    Its name goes into the variable IPYTHONDIR of whoever starts a kernel. The folder is
    gone when this process ends.
    """
    folder = Path(tempfile.mkdtemp(prefix="bnbook-ipython-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True)
    tools = str(Path(__file__).resolve().parent)
    (startup / "00-figures.py").write_text(STARTUP.format(tools=tools), "utf-8")
    return str(folder)


def install(shell: Any) -> None:
    """Let a kernel show figures as drawings with a record, and as nothing else."""
    from IPython.core.formatters import BaseFormatter  # noqa: PLC0415
    from matplotlib_inline.config import InlineBackend  # noqa: PLC0415
    from traitlets import ObjectName, Unicode  # noqa: PLC0415

    class FigureFormatter(BaseFormatter):
        """Shows what `make` makes of a figure, and leaves other objects alone."""

        print_method = ObjectName("_no_such_method_")
        _return_type = (str, dict)

        def __init__(self, mime: str, make: Any, **more: Any) -> None:
            super().__init__(**more)
            self.format_type, self.make = mime, make

        format_type = Unicode("")

        def __call__(self, shown: object) -> object:
            figure = sys.modules.get("matplotlib.figure")
            is_figure = figure and isinstance(shown, figure.Figure)
            return self.make(shown) if is_figure else original(self, shown)

    def original(self: BaseFormatter, shown: object) -> object:
        return BaseFormatter.__call__(self, shown)

    InlineBackend.instance(parent=shell).figure_formats = set()
    formatters = shell.display_formatter.formatters
    for mime, make in ((SVG, on_paper), (MIME, record)):
        formatters[mime] = FigureFormatter(mime, make, parent=shell)
    shell.display_formatter.active_types = [*formatters]


# --- the drawings ---------------------------------------------------------------------


def drawing(fig: Any) -> str:
    """Return a figure as SVG without a ground; text in it is text."""
    import matplotlib as mpl  # noqa: PLC0415

    for ax in every_axes(fig):
        for artist in (*ax.collections, *ax.lines):
            artist.set_rasterized(points_of(artist) > HEAVY)
    file = io.StringIO()
    look = {"svg.fonttype": "none", "svg.hashsalt": "bnbook"}
    with mpl.rc_context(look), formulas_as_shapes():
        fig.savefig(
            file,
            format="svg",
            dpi=DPI,
            transparent=True,
            bbox_inches="tight",
            pad_inches=0.05,
            metadata={"Date": None, "Creator": None},
        )
    return shorter(file.getvalue())


@contextmanager
def formulas_as_shapes() -> Iterator[None]:
    """Let formulas be drawn as outlines: readers lack the fonts of mathematics."""
    from matplotlib.backends.backend_svg import RendererSVG  # noqa: PLC0415

    plain = RendererSVG.draw_text

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        way = RendererSVG._draw_text_as_path if ismath else plain
        way(self, gc, x, y, s, prop, angle, ismath, mtext)

    RendererSVG.draw_text = draw_text
    try:
        yield
    finally:
        RendererSVG.draw_text = plain


def shorter(svg: str) -> str:
    """Leave out of an SVG what no browser needs; round its coordinates."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.S)
    placed = re.compile(r'(?<= )(d|x|y|points|viewBox|width|height)="[^"]*"')
    svg = placed.sub(lambda found: re.sub(r"(?<=\d\.\d\d)\d+", "", found[0]), svg)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # nothing refers to groups
    svg = re.sub(r" ?\n(?=[A-Zz])", " ", svg)  # the parts of a path
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    return re.sub(r"\n\s*", "\n", svg).strip() + "\n"


def on_paper(fig: Any) -> str:
    """Return the wide drawing on white, as it is stored in the notebook."""
    return drawing(fig).replace("<svg ", '<svg style="background: white" ', 1)


def off_paper(svg: str) -> str:
    """Return a stored drawing without its white ground."""
    return svg.replace('<svg style="background: white" ', "<svg ", 1)


def narrow(fig: Any) -> str:
    """Return a figure as SVG for a phone: panels below each other, text kept large.

    The figure itself is changed: call this last.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.legend import Legend  # noqa: PLC0415

    if hasattr(fig, "draw_narrow"):  # it brings a form of its own
        other = Figure(figsize=(NARROW, 1.5 * NARROW), layout="none")
        fig.draw_narrow(other.add_axes((0, 0, 1, 1)))
        return drawing(with_large_text(other))
    panels = side_by_side(fig)
    width, height = fig.get_size_inches()
    if panels:
        restack(fig, panels)
        rows = fig.axes[0].get_subplotspec().get_gridspec().nrows
        height *= rows if len(panels) == rows else rows * 0.75
    fig.set_size_inches(min(NARROW, width), height)
    with_large_text(fig)
    for ax in fig.axes:
        ax.set_xlabel(textwrap.fill(ax.get_xlabel(), 40))
    for legend in fig.findobj(Legend):
        if legend._ncols > 1:
            words = [text.get_text() for text in legend.get_texts()]
            handles, axes = legend.legend_handles, legend.axes
            if axes is not None:
                axes.legend(handles, words, loc="lower left", bbox_to_anchor=(0, 1))
            else:
                legend.remove()
                fig.legend(handles, words, loc="outside upper left")
    return drawing(fig)


def with_large_text(fig: Any) -> Any:
    """Let no text of a figure be smaller than a phone can show."""
    for text in fig.findobj(lambda artist: hasattr(artist, "get_fontsize")):
        text.set_fontsize(max(text.get_fontsize(), SMALLEST))
    return fig


def side_by_side(fig: Any) -> list[Any]:
    """Return the panels of a figure that stand in one row, if there are several."""
    specs = [(ax, ax.get_subplotspec()) for ax in fig.axes]
    panels = [(ax, spec) for ax, spec in specs if spec is not None]
    grids = {id(spec.get_gridspec()): spec.get_gridspec() for _, spec in panels}
    if len(panels) < 2 or len(grids) != 1:
        return []
    return [ax for ax, _ in panels] if next(iter(grids.values())).nrows == 1 else []


def restack(fig: Any, panels: list[Any]) -> None:
    """Put panels below each other (four: two and two), each with its own labels."""
    columns = 2 if len(panels) == 4 else 1
    grid = fig.add_gridspec(-(-len(panels) // columns), columns)
    first = panels[0]
    for i, ax in enumerate(panels):
        ax.set_subplotspec(grid[i // columns, i % columns])
        if (
            ax is not first
            and columns == 1
            and ax.get_shared_y_axes().joined(ax, first)
        ):
            ax.tick_params(
                labelleft=first.yaxis.get_tick_params().get("labelleft", True)
            )
            ax.set_ylabel(ax.get_ylabel() or first.get_ylabel())


def points_of(artist: Any) -> int:
    """Return how many points an artist draws."""
    if hasattr(artist, "get_offsets") and len(artist.get_offsets()) > 1:
        return len(artist.get_offsets())
    if hasattr(artist, "get_paths"):
        return sum(len(path.vertices) for path in artist.get_paths())
    return len(artist.get_xydata()) if hasattr(artist, "get_xydata") else 0


# --- the record -----------------------------------------------------------------------


def record(fig: Any) -> str:
    """Return what a figure holds, a panel on each line, and then its narrow drawing."""
    fig.canvas.draw()
    held = [json.dumps(holds(ax), ensure_ascii=False) for ax in every_axes(fig)]
    return "\n".join([*held, narrow(fig)])


def holds_of(stored: str) -> list[dict[str, Any]]:
    """Return the panels of a stored record."""
    return [json.loads(line) for line in stored[: stored.index("<svg ")].splitlines()]


def narrow_of(stored: str) -> str:
    """Return the narrow drawing of a stored record."""
    return stored[stored.index("<svg ") :]


def every_axes(fig: Any) -> Iterator[Any]:
    """Yield the axes of a figure, insets too."""
    for ax in fig.axes:
        yield ax
        yield from ax.child_axes


def holds(ax: Any) -> dict[str, Any]:
    """Return limits, scales, labels and all that is drawn in one axes."""
    made = [artist_holds(ax, artist) for artist in ax.get_children()]
    titles = [ax.get_title(loc) for loc in ("left", "center", "right")]
    legend = ax.get_legend()
    return {
        "title": " ".join(filter(None, titles)),
        "x": axis_holds(ax.xaxis),
        "y": axis_holds(ax.yaxis),
        "legend": [t.get_text() for t in legend.get_texts()] if legend else [],
        "artists": [what for what in made if what],
    }


def axis_holds(axis: Any) -> dict[str, Any]:
    """Return what one axis says."""
    return {
        "label": axis.get_label_text(),
        "scale": axis.get_scale(),
        "limits": rounded(axis.get_view_interval()),
        "ticks": [t.get_text() for t in axis.get_ticklabels() if t.get_text()],
    }


def artist_holds(ax: Any, artist: Any) -> dict[str, Any] | None:
    """Return kind, label, colours and numbers of one artist; None for furniture."""
    from matplotlib import collections, image, lines, patches, text  # noqa: PLC0415

    if artist is ax.patch or not artist.get_visible():
        return None
    numbers: dict[str, Any]
    if isinstance(artist, lines.Line2D):
        kind, colours = "line", [artist.get_color()]
        x, y = in_data(ax, artist, artist.get_xydata())
        numbers = {"x": row(x), "y": row(y)}
    elif isinstance(artist, text.Text):
        return text_holds(ax, artist)
    elif isinstance(artist, image.AxesImage):
        kind, colours = "image", []
        array = np.ma.filled(artist.get_array().astype(float), np.nan)
        numbers = {"values": row(array), "extent": rounded(artist.get_extent())}
        if array.ndim == 2:
            numbers["colour limits"] = rounded(artist.get_clim())
    elif isinstance(artist, collections.Collection):
        kind, colours = "points", [*artist.get_facecolor(), *artist.get_edgecolor()]
        points = np.asarray(artist.get_offsets(), dtype=float)
        if len(points) > 1 or isinstance(artist, collections.PathCollection):
            x, y = in_data(ax, artist, points, artist.get_offset_transform())
        else:
            kind = "area"
            parts = [path.vertices for path in artist.get_paths()] or [np.empty((0, 2))]
            x, y = in_data(ax, artist, np.concatenate(parts))
        numbers = {"x": row(x), "y": row(y)}
        if artist.get_array() is not None:
            numbers["values"] = row(artist.get_array())
    elif isinstance(artist, patches.Patch):
        kind, colours = "shape", [artist.get_facecolor(), artist.get_edgecolor()]
        x, y = in_data(ax, artist, artist.get_path().vertices)
        numbers = {"x": row(x), "y": row(y)}
    else:
        return None
    label = str(artist.get_label())
    name = f"{kind} {label!r}" if label and not label.startswith("_") else kind
    return {"name": name, "colours": distinct(colours), "numbers": numbers}


def text_holds(ax: Any, artist: Any) -> dict[str, Any] | None:
    """Return the words of a text and the point where it stands."""
    words = artist.get_text()
    if not words or artist in (ax.title, ax._left_title, ax._right_title):
        return None
    place = artist.xy if hasattr(artist, "xy") else artist.get_position()
    coords = getattr(artist, "xycoords", None)
    how = ax.transData if coords == "data" else artist.get_transform()
    if coords not in (None, "data"):
        return {"name": f"text {words!r}", "colours": [], "numbers": {}}
    x, y = in_data(ax, artist, [place], how)
    return {
        "name": f"text {words!r}",
        "colours": distinct([artist.get_color()]),
        "numbers": {"x": row(x), "y": row(y)},
    }


def in_data(ax: Any, artist: Any, points: Any, how: Any = None) -> Any:
    """Return points of an artist in the units of the axes, as x and y."""
    points = np.asarray(points, dtype=float).reshape(-1, 2)
    how = artist.get_transform() if how is None else how
    if how != ax.transData:
        with np.errstate(all="ignore"):
            points = ax.transData.inverted().transform(how.transform(points))
    return points.T


def distinct(colours: list[Any]) -> list[str]:
    """Return colours as hexadecimal words, each once, in order."""
    from matplotlib.colors import to_hex  # noqa: PLC0415

    return list(dict.fromkeys(to_hex(colour, keep_alpha=True) for colour in colours))[
        :8
    ]


def rounded(values: Any) -> list[float | None]:
    """Return numbers with four digits; None stands for no number."""
    return [
        float(f"{value:.4g}") if np.isfinite(value) else None
        for value in np.asarray(values, dtype=float).ravel()
    ]


def row(values: Any) -> dict[str, Any]:
    """Return how many numbers there are, some of them, and their mean and spread."""
    values = np.asarray(np.ma.filled(values, np.nan), dtype=float).ravel()
    chosen = np.linspace(0, len(values) - 1, min(len(values), SAMPLES)).astype(int)
    known = values[np.isfinite(values)]
    middle = [known.mean(), known.std()] if len(known) else []
    return {
        "count": len(values),
        "some": rounded(values[chosen]),
        "mean and spread": rounded(middle),
    }
