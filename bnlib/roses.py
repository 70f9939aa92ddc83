"""Drawn roses: a small, honest world in which to study covariate shift.

An image shows one flat shape in front of green leaves. The shape is a *rose* (the
rhodonea curve, ``r = R |cos(p t / 2)|`` with p petals) or it is not (a disc, an
ellipse, a rectangle or a polygon). The label is the shape alone. A *domain* is a
colour: by default roses and other shapes of a domain have the same colours, so that a
change of domain moves P(x) and leaves P(y | x) in place.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnlib._check import check_rng

# Mean paint of each domain as red, green, blue in 0..1.
ROSE_COLOURS = {
    "red": (0.82, 0.08, 0.14),
    "white": (0.94, 0.93, 0.90),
    "yellow": (0.95, 0.80, 0.14),
    "pink": (0.95, 0.56, 0.68),
}
_PAINT_JITTER = 0.05  # standard deviation of a paint around its domain's mean
_LEAVES = 7
_SIDES = 6  # most sides of a polygon
_CHUNK = 256  # images drawn at once: bounds the memory, changes no pixel


class Roses(NamedTuple):
    """Drawn images with their labels.

    ``x`` (n, size, size, 3) float32 in 0..1, ready for ``imshow``; ``y`` (n,) int64, 1
    for a rose; ``colour`` (n,) the name of each image's domain; ``paint`` (n, 3)
    float32, the red, green and blue that the shape was painted with.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    colour: NDArray[np.str_]
    paint: NDArray[np.float32]

    @property
    def nchw(self) -> NDArray[np.float32]:
        """Images as (n, 3, size, size), the order that convolutions expect."""
        return np.ascontiguousarray(self.x.transpose(0, 3, 1, 2))


def _names(value: str | Sequence[str], what: str) -> list[str]:
    """Return a list of known colour names or explain which one is not."""
    names = [value] if isinstance(value, str) else list(value)
    unknown = [name for name in names if name not in ROSE_COLOURS]
    if unknown or not names:
        raise ValueError(
            f"unknown {what} {unknown[0] if unknown else value!r}, "
            f"expected one or more of {', '.join(ROSE_COLOURS)}"
        )
    return names


def roses(
    n: int,
    colour: str | Sequence[str],
    rng: np.random.Generator,
    *,
    not_rose: str | Sequence[str] = "same",
    rose_fraction: float = 0.5,
    size: int = 32,
) -> Roses:
    """Draw n images of roses and other shapes in front of leaves.

    Parameters
    ----------
    n : int
        Number of images. Exactly ``round(n * rose_fraction)`` of them are roses.
    colour : str or sequence of str
        The domain: ``"red"``, ``"white"``, ``"yellow"``, ``"pink"``, or several,
        from which each image draws its own.
    rng : numpy.random.Generator
        Source of randomness.
    not_rose : str or sequence of str
        Colours of the shapes that are no roses. ``"same"``: as the roses of their
        domain (covariate shift). ``"other"``: any colour but that of their domain
        (a shortcut: colour alone gives the label away). Or names of colours.
    rose_fraction : float
        Part of the images that are roses, in 0..1.
    size : int
        Height and width in pixels, at least 8.

    Returns
    -------
    Roses
        ``x`` (n, size, size, 3), ``y`` (n,), ``colour`` (n,), ``paint`` (n, 3).

    Raises
    ------
    TypeError
        If `rng` is not a Generator.
    ValueError
        If a colour is unknown, or a number lies out of range.
    """
    check_rng(rng)
    if n < 1 or size < 8 or not 0 <= rose_fraction <= 1:
        raise ValueError(
            "expected n >= 1, size >= 8 and rose_fraction in 0..1, "
            f"got n={n}, size={size}, rose_fraction={rose_fraction}"
        )
    domain = rng.choice(_names(colour, "colour"), size=n).astype("U6")
    y = np.zeros(n, dtype=np.int64)
    y[: round(n * rose_fraction)] = 1
    rng.shuffle(y)

    painted = domain.copy()
    if not_rose == "other":
        for name in ROSE_COLOURS:
            rows = np.flatnonzero((domain == name) & (y == 0))
            others = [other for other in ROSE_COLOURS if other != name]
            painted[rows] = rng.choice(others, size=len(rows))
    elif not_rose != "same":
        rows = np.flatnonzero(y == 0)
        painted[rows] = rng.choice(_names(not_rose, "not_rose"), size=len(rows))
    means = np.array([ROSE_COLOURS[name] for name in painted])  # (n, 3)
    jittered = means + _PAINT_JITTER * rng.standard_normal((n, 3))
    paint = np.clip(jittered, 0, 1).astype(np.float32)

    shape = _draw_shape_numbers(n, rng)
    leaves = _draw_leaf_numbers(n, rng)
    noise = rng.standard_normal((n, size, size, 3), dtype=np.float32)
    x = np.empty((n, size, size, 3), dtype=np.float32)
    for start in range(0, n, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        x[chunk] = _paint_leaves({k: v[chunk] for k, v in leaves.items()}, size)
        part = {k: v[chunk] for k, v in shape.items()}
        _paint_shape(x[chunk], y[chunk], paint[chunk], part)
    x += 0.015 * noise
    return Roses(np.clip(x, 0, 1, out=x), y, domain, paint)


def _draw_shape_numbers(n: int, rng: np.random.Generator) -> dict[str, NDArray]:
    """Draw the numbers of each shape; roses and others share position and size."""
    numbers = {
        "cx": rng.uniform(-0.14, 0.14, n),
        "cy": rng.uniform(-0.14, 0.14, n),
        "radius": rng.uniform(0.58, 0.86, n),
        "turn": rng.uniform(0, 2 * np.pi, n),
        "petals": rng.integers(3, 7, n),  # 3 to 6
        "kind": rng.integers(0, 4, n),  # disc, ellipse, rectangle, polygon
        "sides": rng.integers(3, _SIDES + 1, n),  # 3 to 6
        "aspect": rng.uniform(0.55, 0.85, n),
    }
    return {k: v.astype(np.float32) for k, v in numbers.items()}


def _draw_leaf_numbers(n: int, rng: np.random.Generator) -> dict[str, NDArray]:
    """Draw the background: one base green and a few leaves for each image."""
    base = np.array([0.16, 0.36, 0.14]) + 0.03 * rng.standard_normal((n, 3))
    green = np.array([0.22, 0.46, 0.18]) + 0.07 * rng.standard_normal((n, _LEAVES, 1))
    green = green + 0.06 * rng.standard_normal((n, _LEAVES, 3))
    numbers = {
        "base": base,
        "green": green,
        "x": rng.uniform(-1, 1, (n, _LEAVES)),
        "y": rng.uniform(-1, 1, (n, _LEAVES)),
        "turn": rng.uniform(0, np.pi, (n, _LEAVES)),
        "long": rng.uniform(0.35, 0.75, (n, _LEAVES)),
        "wide": rng.uniform(0.12, 0.26, (n, _LEAVES)),
    }
    return {k: v.astype(np.float32) for k, v in numbers.items()}


def _grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32], np.float32]:
    """Return pixel centres x, y in -1..1 (y upwards) and the width of a pixel."""
    axis = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    return axis[None, None, :], -axis[None, :, None], np.float32(2 / size)


def _turned(x: NDArray, y: NDArray, turn: NDArray) -> tuple[NDArray, NDArray]:
    """Return the coordinates in a frame turned by `turn` (n, 1, 1)."""
    cos, sin = np.cos(turn), np.sin(turn)
    return cos * x + sin * y, cos * y - sin * x


def _paint_leaves(leaves: dict[str, NDArray], size: int) -> NDArray[np.float32]:
    """Return the background (n, size, size, 3): leaves with a light midrib."""
    x, y, pixel = _grid(size)
    image = np.empty((len(leaves["base"]), size, size, 3), dtype=np.float32)
    image[:] = leaves["base"][:, None, None, :]
    for i in range(_LEAVES):
        at = {k: v[:, i, None, None] for k, v in leaves.items() if k != "base"}
        along, across = _turned(x - at["x"], y - at["y"], at["turn"])
        # A leaf is a lens: its half width falls to zero at both tips.
        inside = at["wide"] * (1 - (along / at["long"]) ** 2) - np.abs(across)
        cover = np.clip(inside / pixel + 0.5, 0, 1)  # (n, size, size)
        light = 1 + 0.25 * (np.abs(across) < 0.4 * pixel)
        colour = leaves["green"][:, i, None, None, :] * light[..., None]
        image += cover[..., None] * (colour - image)
    return image


def _paint_shape(
    image: NDArray, y: NDArray, paint: NDArray, shape: dict[str, NDArray]
) -> None:
    """Paint each image's shape over it, in place."""
    gx, gy, pixel = _grid(image.shape[1])
    at = {k: v[:, None, None] for k, v in shape.items()}
    u, v = _turned(gx - at["cx"], gy - at["cy"], at["turn"])  # (n, size, size)
    r = np.hypot(u, v)
    rose = at["radius"] * np.abs(np.cos(at["petals"] / 2 * np.arctan2(v, u))) - r
    inside = np.where(y[:, None, None] == 1, rose, _other_shape(u, v, r, at))
    cover = np.clip(inside / pixel + 0.5, 0, 1)
    light = 0.72 + 0.28 * np.minimum(r / at["radius"], 1)  # darker in the middle
    colour = paint[:, None, None, :] * light[..., None]
    image += cover[..., None] * (colour - image)


def _other_shape(
    u: NDArray, v: NDArray, r: NDArray, at: dict[str, NDArray]
) -> NDArray[np.float32]:
    """Return the signed distance, positive inside, of the shape that is no rose.

    Sizes are such that a shape covers about as much of the image as a rose does.
    """
    radius, aspect = 0.71 * at["radius"], at["aspect"]
    long, short = radius / np.sqrt(aspect), radius * np.sqrt(aspect)
    disc = radius - r
    ellipse = (1 - np.hypot(u / long, v / short)) * short
    rectangle = np.minimum(0.886 * long - np.abs(u), 0.886 * short - np.abs(v))
    # A regular polygon: the nearest of its sides decides. Same area as the disc.
    angle = np.pi / at["sides"]
    sector = np.arctan2(v, u) % (2 * angle) - angle
    polygon = radius * np.sqrt(angle / np.tan(angle)) - r * np.cos(sector)
    kind = at["kind"]
    return np.where(
        kind < 2,
        np.where(kind < 1, disc, ellipse),
        np.where(kind < 3, rectangle, polygon),
    )


def rose_features(images: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return two hand-made features of each image: how much red, how much edge.

    Both look at the redness R - (G + B) / 2 of each pixel. The first feature is the
    mean distance of the redness from its median over the image. The second is the mean
    length of its gradient. A rose has more edge for the same amount of red.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, 3)
        Images in 0..1, such as ``roses(...).x``.

    Returns
    -------
    ndarray of shape (n, 2)
        Spread of the redness, and mean gradient of the redness.

    Raises
    ------
    ValueError
        If `images` has another shape.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"images must have shape (n, height, width, 3), got {images.shape}"
        )
    redness = images[..., 0] - (images[..., 1] + images[..., 2]) / 2  # (n, h, w)
    median = np.median(redness, axis=(1, 2), keepdims=True)
    down, right = np.gradient(redness, axis=(1, 2))
    spread = np.abs(redness - median).mean(axis=(1, 2), dtype=np.float64)
    edge = np.hypot(down, right).mean(axis=(1, 2), dtype=np.float64)
    return np.column_stack([spread, edge])  # (n, 2)
