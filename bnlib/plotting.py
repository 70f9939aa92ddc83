"""Figures of the book: one function per recurring figure.

Call `use_style` once at the top of a notebook. Every figure function takes ``ax=None``,
draws into a new figure if there is none, and returns the axes. matplotlib is imported
only when a function needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "LINES",
    "PALETTE",
    "contour_path",
    "decision_line",
    "heat",
    "histograms",
    "image_grid",
    "ink",
    "label_lines",
    "luminance",
    "ordered_colours",
    "percentile_bands",
    "role",
    "seed_lines",
    "two_classes",
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
ON_DARK, ON_LIGHT = "#FEFEFE", "#101010"  # text on an image: the same in the dark


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


def _axes(ax: Any, **figure: Any) -> Any:
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # noqa: PLC0415

    return plt.subplots(**figure)[1]


def seed_lines(
    x: ArrayLike,
    runs: ArrayLike,
    name: str,
    label: str | None = None,
    *,
    ax: Any = None,
) -> Any:
    """Draw a thin line for each seed and their median as a thick line.

    Parameters
    ----------
    x : array_like of shape (t,)
        For example the number of updates.
    runs : array_like of shape (seeds, t)
        One row for each seed.
    name : str
        A role, see `role`.
    label : str, optional
        Label of the median. Default: the role's name.
    ax : Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Its last line is the median.
    """
    x, runs = np.asarray(x), np.atleast_2d(np.asarray(runs, dtype=float))
    if runs.shape[1:] != x.shape:
        raise ValueError(f"runs must have shape (seeds, {len(x)}), got {runs.shape}")
    look, ax = role(name), _axes(ax)
    thin = {"color": look["color"], "linewidth": 0.7, "alpha": 0.45}
    ax.plot(x, runs.T, linestyle="-", label="_seed", **thin)
    label = name if label is None else label
    ax.plot(x, np.median(runs, axis=0), linewidth=2.2, label=label, **look)
    return ax


def percentile_bands(
    step: ArrayLike,
    percentiles: ArrayLike,
    name: str,
    label: str | None = None,
    *,
    ax: Any = None,
) -> Any:
    """Draw a band between a low and a high percentile, with the median in it.

    Parameters
    ----------
    step : array_like of shape (t,)
        Positions on the horizontal axis.
    percentiles : array_like of shape (t, 3)
        Low, middle and high, for example the 15th, 50th and 85th percentile.
    name, label, ax
        As in `seed_lines`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    step, values = np.asarray(step), np.asarray(percentiles, dtype=float)
    if values.shape != (len(step), 3):
        raise ValueError(
            f"percentiles must have shape ({len(step)}, 3), got {values.shape}"
        )
    look, ax = role(name), _axes(ax)
    low, middle, high = values.T
    ax.fill_between(step, low, high, color=look["color"], alpha=0.18, linewidth=0)
    thin = {"color": look["color"], "linewidth": 0.9, "label": "_edge"}
    ax.plot(step, low, linestyle="-", **thin)
    ax.plot(step, high, linestyle="-", **thin)
    ax.plot(step, middle, label=name if label is None else label, **look)
    return ax


def histograms(
    groups: Mapping[str, ArrayLike],
    *,
    roles: Sequence[str] = ("none", "batch norm", "layer norm", "group norm"),
    bins: int = 40,
    limits: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Draw histograms of several groups over the same bins, such as before and after.

    Parameters
    ----------
    groups : mapping of label to array_like
        At most four groups of values.
    roles : sequence of str
        The role of each group, in order.
    bins : int
        Number of bins.
    limits : (low, high), optional
        Range of the bins. Default: from the smallest value to the largest.
    ax : Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The area under each histogram is 1.
    """
    values = {label: np.ravel(np.asarray(v)) for label, v in groups.items()}
    if not 1 <= len(values) <= len(roles):
        raise ValueError(f"expected 1 to {len(roles)} groups, got {len(values)}")
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins, limits)
    ax = _axes(ax)
    for (label, v), name in zip(values.items(), roles, strict=False):
        look = role(name)
        density = np.histogram(v, edges, density=True)[0]
        ax.stairs(density, edges, fill=True, color=look["color"], alpha=0.22)
        ax.stairs(density, edges, linewidth=1.6, label=label, **look)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("density")
    if len(values) > 1:
        ax.legend()
    return ax


def image_grid(
    images: ArrayLike,
    *,
    columns: int = 10,
    titles: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    cmap: str = "gray_r",
    ax: Any = None,
) -> Any:
    """Draw images side by side in one axes, row by row.

    Parameters
    ----------
    images : array_like of shape (n, h, w) or (n, h, w, 3)
        Grey or coloured images in 0..1. ``x.reshape(-1, 28, 28)`` makes grey images of
        flat rows.
    columns : int
        Images in a row.
    titles : sequence of str, optional
        A short text above each image.
    rows : sequence of str, optional
        A label at the left of each row.
    cmap : str
        Colour map of grey images. The default is ink on paper.
    ax : Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    images = np.asarray(images)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] != 3):
        raise ValueError(
            f"images must have shape (n, h, w) or (n, h, w, 3), got {images.shape}"
        )
    n, height, width = images.shape[:3]
    columns = min(columns, n)
    lines = -(-n // columns)
    across, tall = 1.08, height / width
    down = tall + (0.08 if titles is None else 0.34)
    ax = _axes(ax, figsize=(6.4, max(0.8, 6.4 * lines * down / (columns * across))))
    for i, image in enumerate(images):
        left, top = (i % columns) * across, -(i // columns) * down
        box = (left, left + 1, top - tall, top)
        ax.imshow(image, extent=box, cmap=cmap, vmin=0, vmax=1)
        if titles is not None:
            ax.text(left + 0.5, top + 0.05, titles[i], ha="center", fontsize=9)
    ax.set_xlim(-0.02, columns * across - 0.06)
    ax.set_ylim(-(lines - 1) * down - tall - 0.02, 0.02 if titles is None else 0.28)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    if rows is not None:
        ax.set_yticks([-i * down - tall / 2 for i in range(len(rows))], rows)
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def two_classes(
    points: ArrayLike,
    y: ArrayLike,
    names: tuple[str, str] = ("not a rose", "rose"),
    *,
    ax: Any = None,
) -> Any:
    """Scatter two classes: open green squares for class 0, full plum discs for class 1.

    Parameters
    ----------
    points : array_like of shape (n, 2)
        Positions.
    y : array_like of shape (n,)
        Classes, 0 or 1.
    names : (str, str)
        Labels of class 0 and class 1.
    ax : Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    points, y = np.asarray(points), np.asarray(y)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) != len(y):
        raise ValueError(
            f"expected points (n, 2) and y (n,), got {points.shape} and {y.shape}"
        )
    ax = _axes(ax, figsize=(4.2, 4.2))
    green, plum = PALETTE["layer norm"], PALETTE["group norm"]
    looks = (
        {"marker": "s", "s": 15, "facecolor": "none", "edgecolor": green},
        {"marker": "o", "s": 17, "facecolor": plum, "edgecolor": "white"},
    )
    for value, name, look in zip((0, 1), names, looks, strict=True):
        width = 0.9 if value == 0 else 0.3
        ax.scatter(*points[y == value].T, linewidth=width, label=name, **look)
    return ax


def decision_line(
    w: ArrayLike,
    b: float,
    *,
    name: str = "reference",
    label: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw the line where ``w @ x + b`` is 0, over points that are there already.

    Parameters
    ----------
    w : array_like of shape (2,)
        Weights of the two features; not both zero.
    b : float
        Bias.
    name : str
        A role, see `role`.
    label : str, optional
        Label for a legend.
    ax : Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With the limits it had.
    """
    w = np.asarray(w, dtype=float).ravel()
    if w.shape != (2,) or not np.any(w):
        raise ValueError(f"w must hold two numbers that are not both 0, got {w}")
    ax = _axes(ax)
    xlim, ylim = ax.get_xlim(), ax.get_ylim()
    # The point of the line closest to the middle of the axes, and a step along it.
    middle = np.array([np.mean(xlim), np.mean(ylim)])
    size = np.array([np.ptp(xlim), np.ptp(ylim)])
    scaled = w * size
    start = middle - size * scaled * (w @ middle + b) / (scaled @ scaled)
    along = np.array([-scaled[1], scaled[0]]) / np.hypot(*scaled) * size
    ax.axline(start, start + along, label=label, **role(name))
    ax.set_xlim(xlim)
    ax.set_ylim(ylim)
    return ax


def contour_path(
    loss: Callable[[NDArray, NDArray], NDArray],
    paths: ArrayLike | Mapping[str, ArrayLike],
    *,
    roles: Sequence[str] = ("none", "batch norm", "layer norm", "group norm"),
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    levels: int = 12,
    ax: Any = None,
) -> Any:
    """Draw the level lines of a loss of two weights and paths of gradient descent.

    Parameters
    ----------
    loss : callable
        ``loss(w1, w2)`` for arrays of one shape gives the losses, same shape.
    paths : array_like of shape (t, 2), or mapping of label to such arrays
        Weights step by step. A ring marks the start, a disc the end.
    roles : sequence of str
        The role of each path, in order.
    xlim, ylim : (low, high), optional
        Limits. Default: around all paths.
    levels : int
        Number of level lines; neighbours differ by a constant factor of the loss above
        the smallest loss in view.
    ax : Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    named = paths if isinstance(paths, Mapping) else {"_path": paths}
    lines = {label: np.asarray(path, dtype=float) for label, path in named.items()}
    for path in lines.values():
        if path.ndim != 2 or path.shape[1] != 2:
            raise ValueError(f"a path must have shape (t, 2), got {path.shape}")
    every = np.concatenate(list(lines.values()))
    pad = 0.12 * np.ptp(every, axis=0) + 1e-9
    low, high = every.min(axis=0) - pad, every.max(axis=0) + pad
    xlim, ylim = xlim or (low[0], high[0]), ylim or (low[1], high[1])
    w1, w2 = np.meshgrid(np.linspace(*xlim, 201), np.linspace(*ylim, 201))
    height = loss(w1, w2)
    above = height - height.min()
    least, most = np.quantile(above[above > 0], [0.002, 1])
    ax = _axes(ax, figsize=(4.2, 4.2))
    edges = np.geomspace(least, most, levels)
    ax.contour(w1, w2, above, edges, colors="#B3B3B3", linewidths=0.8)
    for (label, path), name in zip(lines.items(), roles, strict=False):
        look = role(name)
        ax.plot(*path.T, linewidth=1.4, label=label, **look)
        ax.plot(*path.T, ".", markersize=4, color=look["color"], label="_steps")
        ends = {"linestyle": "none", "color": look["color"], "label": "_end"}
        ax.plot(*path[0], marker="o", markerfacecolor="white", markersize=7, **ends)
        ax.plot(*path[-1], marker="o", markersize=7, **ends)
    ax.set(xlim=xlim, ylim=ylim)
    ax.grid(False)
    return ax


def heat(
    matrix: ArrayLike,
    *,
    limit: float | None = None,
    values: str | None = None,
    colorbar: bool = True,
    ax: Any = None,
) -> Any:
    """Draw a signed matrix: orange below zero, white at zero, purple above.

    Parameters
    ----------
    matrix : array_like of shape (rows, columns)
        The numbers.
    limit : float, optional
        Ends of the symmetric colour scale. Default: the largest absolute value.
    values : str, optional
        A format such as ``".2f"`` to write each number into its cell.
    colorbar : bool
        Whether to draw the colour scale.
    ax : Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.images[0]`` is the image.
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2:
        raise ValueError(f"matrix must have shape (rows, columns), got {matrix.shape}")
    limit = float(np.abs(matrix).max()) if limit is None else float(limit)
    limit = limit or 1.0
    ax = _axes(ax, figsize=(4.2, 4.2))
    image = ax.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit)
    ax.grid(False)
    if values is not None:
        for (i, j), number in np.ndenumerate(matrix):
            dark = luminance(image.cmap(image.norm(number))) < 0.18
            colour = ON_DARK if dark else ON_LIGHT
            text = format(number + 0.0, values)
            if not text.strip("-0."):
                text = text.lstrip("-")  # no minus before a zero
            text = text.replace("-", "\N{MINUS SIGN}")
            ax.text(j, i, text, ha="center", va="center", color=colour)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax
