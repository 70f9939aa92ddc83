"""The look of the book: its style sheet, a colour and a line per role, line labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "LINES",
    "PALETTE",
    "ink",
    "label_lines",
    "luminance",
    "ordered_colours",
    "role",
    "use_style",
]

STYLE_FILE = Path(__file__).parent / "style" / "bnbook.mplstyle"

PALETTE = {
    "batch norm": "#3F77D8",  # blue
    "none": "#D87A3F",  # orange: no normalization, the baseline
    "layer norm": "#075013",  # green: also any second method
    "group norm": "#84476A",  # plum: also any third method
    "reference": "#1A1A1A",  # ink: theory, target, PyTorch
}
LINES: dict[str, Any] = {
    "batch norm": "-",
    "none": "--",
    "layer norm": "-.",
    "group norm": ":",
    "reference": (0, (5, 1, 1, 1, 1, 1)),
}
GREY = "#8C8C8C"


def use_style() -> None:
    """Switch matplotlib to the style of the book."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    plt.style.use(STYLE_FILE)


def role(name: str) -> dict[str, Any]:
    """Return the colour and line style of a role, ready for ``ax.plot(**role(...))``.

    Parameters
    ----------
    name : {"batch norm", "none", "layer norm", "group norm", "reference"}
        What the line shows. The same role looks the same in every chapter.

    Returns
    -------
    dict
        With the keys ``color`` and ``linestyle``.

    Raises
    ------
    ValueError
        If the role is unknown.
    """
    if name not in PALETTE:
        known = ", ".join(repr(key) for key in PALETTE)
        raise ValueError(f"unknown role {name!r}, expected one of {known}")
    return {"color": PALETTE[name], "linestyle": LINES[name]}


def ordered_colours(n: int) -> NDArray[np.float64]:
    """Return n colours (n, 4) for an ordered series such as depth or training step.

    They are the dark part of cividis, which keeps a contrast of 3 to 1 on white.
    """
    import matplotlib as mpl  # noqa: PLC0415

    return mpl.colormaps["cividis"](np.linspace(0, 0.6, n))


def luminance(rgb: ArrayLike) -> float:
    """Return the relative luminance of an sRGB colour in 0..1 (WCAG 2)."""
    c = np.asarray(rgb, dtype=float)[:3]
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def ink(colour: Any) -> tuple[float, ...]:
    """Darken a colour until text in it has a contrast of 4.5 to 1 on white."""
    from matplotlib.colors import to_rgb  # noqa: PLC0415

    rgb = np.array(to_rgb(colour))
    while 1.05 / (luminance(rgb) + 0.05) < 4.5:
        rgb = rgb * 0.97
    return tuple(float(c) for c in rgb)


def _spread(wanted: NDArray, gap: float, low: float, high: float) -> NDArray:
    """Move sorted positions as little as needed so that neighbours are `gap` apart."""
    n = len(wanted)
    steps = gap * np.arange(n)
    # Pool neighbours that collide, each pool around its mean (isotonic regression).
    pools: list[list[float]] = []
    for value in wanted - steps:
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    return np.clip(level, low, max(low, high - steps[-1])) + steps


def label_lines(
    ax: Any, lines: Sequence[Any] | None = None, *, gap: float = 13
) -> list:
    """Write each line's label at its right end, in its colour, without collisions.

    Call it last, when the data and the limits of the axes are set.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes with labelled lines. Labels that start with an underscore are skipped.
    lines : sequence of Line2D, optional
        The lines to label. Default: all lines of the axes.
    gap : float
        Least distance between two labels, in points.

    Returns
    -------
    list of matplotlib.text.Annotation
        From the lowest label to the highest.
    """
    ax.figure.draw_without_rendering()  # settles the layout
    points = 72 / ax.figure.dpi
    bottom, top = (edge * points for edge in ax.bbox.intervaly)
    ends = []
    for line in ax.get_lines() if lines is None else lines:
        x, y = (np.asarray(v, dtype=float) for v in line.get_data())
        finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        if line.get_label().startswith("_") or len(finite) == 0:
            continue
        x, y = x[finite], y[finite]
        inside = np.flatnonzero((x >= min(ax.get_xlim())) & (x <= max(ax.get_xlim())))
        i = inside[-1] if len(inside) else -1
        height = float(ax.transData.transform((x[i], y[i]))[1]) * points
        ends.append((float(np.clip(height, bottom, top)), x[i], y[i], line))
    if not ends:
        return []
    ends.sort(key=lambda end: end[0])
    heights = np.array([end[0] for end in ends])
    moves = _spread(heights, gap, bottom + 5, top) - heights
    moves[np.abs(moves) < 1] = 0
    indent = 16 if moves.any() else 7  # room for the leaders, if there are any
    y_low, y_high = sorted(ax.get_ylim())
    leader = {"arrowstyle": "-", "color": GREY, "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
    leader["relpos"] = (0, 0.5)
    texts = []
    for move, (_, x, y, line) in zip(moves, ends, strict=True):
        text = ax.annotate(
            line.get_label(),
            (x, float(np.clip(y, y_low, y_high))),
            xytext=(indent, float(move)),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=ink(line.get_color()),
            annotation_clip=False,
            arrowprops=leader if indent > 7 else None,
        )
        texts.append(text)
    return texts
