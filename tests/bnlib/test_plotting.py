"""Figures: the palette's measured floor, and the data that each figure holds."""

import io
import itertools

import numpy as np
import pytest

from bnlib import plotting

mpl = pytest.importorskip("matplotlib")
mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")
to_hex, to_rgb = mpl.colors.to_hex, mpl.colors.to_rgb


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        plotting.use_style()
        yield
    plt.close("all")


def rng(seed=0):
    return np.random.default_rng(seed)


# --- palette --------------------------------------------------------------------------

# Severity 1.0 of Machado, Oliveira and Fernandes (2009), on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(linear):
    """CIELAB (D65) of a colour in linear RGB."""
    xyz = TO_XYZ @ np.clip(linear, 0, 1) / (TO_XYZ @ np.ones(3))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ciede2000(one, two):
    """Colour difference of Sharma, Wu and Dalal (2005), all weights 1."""
    (l1, a1, b1), (l2, a2, b2) = one, two
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(c7 / (c7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    dh, total = h2 - h1, h1 + h2
    if c1 * c2 == 0:
        dh, mean_h = 0.0, total
    elif abs(dh) <= 180:
        mean_h = total / 2
    else:
        dh -= 360 * np.sign(dh)
        mean_h = (total + (360 if total < 360 else -360)) / 2
    dl, dc = l2 - l1, c2 - c1
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 + sum(
        k * np.cos(np.radians(n * mean_h + shift))
        for k, n, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    turn = 60 * np.exp(-(((mean_h - 275) / 25) ** 2))
    r_t = -2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)) * np.sin(np.radians(turn))
    l, c, h = dl / s_l, dc / s_c, d_hue / s_h
    return float(np.sqrt(l**2 + c**2 + h**2 + r_t * c * h))


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [  # pairs 1, 7, 17, 19, 25 of the test data of Sharma, Wu and Dalal
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (56, -27, -3), 31.9030),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ],
)
def test_the_ruler_itself(one, two, expected):
    assert ciede2000(one, two) == pytest.approx(expected, abs=1e-4)


def linear(colour):
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast_on_white(colour):
    return 1.05 / (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05)


@pytest.mark.parametrize("name", plotting.PALETTE)
def test_each_role_has_contrast_on_white(name):
    assert contrast_on_white(plotting.PALETTE[name]) >= 3.0
    assert contrast_on_white(plotting.ink(plotting.PALETTE[name])) >= 4.5


def test_roles_stay_apart_in_every_vision():
    for name, matrix in VISIONS.items():
        seen = [lab(np.array(matrix) @ linear(c)) for c in plotting.PALETTE.values()]
        floor = min(ciede2000(*pair) for pair in itertools.combinations(seen, 2))
        assert floor > 20, f"{name}: {floor:.1f}"
    grey = sorted(lab(linear(c))[0] for c in plotting.PALETTE.values())
    assert min(np.diff(grey)) > 9  # still apart in a grey print


def test_ordered_colours_have_contrast_and_order():
    colours = plotting.ordered_colours(7)
    assert min(contrast_on_white(c) for c in colours) >= 3.0
    assert (np.diff([lab(linear(c))[0] for c in colours]) > 0).all()


def test_style_sheet_agrees_with_the_palette():
    cycle = list(plt.rcParams["axes.prop_cycle"])
    for entry, name in zip(cycle, plotting.PALETTE, strict=True):
        assert to_hex(entry["color"]).upper() == plotting.PALETTE[name]
        assert entry["linestyle"] == plotting.role(name)["linestyle"]
    assert plt.rcParams["savefig.transparent"] is False


def test_unknown_role():
    with pytest.raises(
        ValueError, match="unknown role 'bn', expected one of 'batch norm"
    ):
        plotting.role("bn")


# --- label_lines ----------------------------------------------------------------------


def test_labels_do_not_collide_and_sit_at_the_line_ends():
    ax = plt.subplots()[1]
    ends = {"d": 0.52, "a": 0.1, "c": 0.5, "b": 0.49, "e": 0.9}
    for label, end in ends.items():
        ax.plot([0, 1, 2], [0, 1, end], label=label)
    ax.plot([0, 2], [1, 0], label="_hidden")
    texts = plotting.label_lines(ax)
    assert [t.get_text() for t in texts] == ["a", "b", "c", "d", "e"]
    assert [t.xy for t in texts] == [(2, ends[t.get_text()]) for t in texts]
    ax.figure.canvas.draw()
    boxes = [mpl.text.Text.get_window_extent(t) for t in texts]  # no leaders
    for low, high in itertools.pairwise(boxes):
        assert high.y0 >= low.y1 - 1
        assert min(low.x0, high.x0) > ax.transData.transform((2, 0))[0]
    moved = [abs(t.xyann[1]) > 1 for t in texts]
    assert moved == [False, True, False, True, False]


def test_labels_keep_the_colour_but_darker():
    ax = plt.subplots()[1]
    ax.plot([0, 1], [0, 1], label="plain", **plotting.role("none"))
    (text,) = plotting.label_lines(ax)
    assert contrast_on_white(text.get_color()) >= 4.5
    assert text.get_color()[0] > 2 * text.get_color()[2]  # still orange


def test_label_of_a_line_that_breaks_off():
    ax = plt.subplots()[1]
    ax.plot([0, 1, 2, 3], [0, 1, np.nan, np.inf], label="diverged")
    ax.plot([0, 3], [np.nan, np.nan], label="nothing")
    (text,) = plotting.label_lines(ax)
    assert text.xy == (1, 1)
    assert plotting.label_lines(plt.subplots()[1]) == []


def test_spread_moves_as_little_as_needed():
    spread = plotting._spread
    free = np.array([0.0, 20.0, 45.0])
    np.testing.assert_allclose(spread(free, 10, 0, 100), free)
    np.testing.assert_allclose(spread(np.array([50.0, 50.0]), 10, 0, 100), [45, 55])
    np.testing.assert_allclose(
        spread(np.array([0.0, 0.0, 99.0]), 10, 0, 100), [0, 10, 99]
    )


# --- figures --------------------------------------------------------------------------


def test_seed_lines():
    x, runs = np.arange(6), rng().random((5, 6))
    ax = plotting.seed_lines(x, runs, "batch norm", "with batch norm")
    *thin, bold = ax.get_lines()
    assert len(thin) == 5
    for line, run in zip(thin, runs, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), run)
        assert line.get_label().startswith("_")
    np.testing.assert_allclose(bold.get_ydata(), np.median(runs, axis=0))
    assert bold.get_linewidth() > 2 * thin[0].get_linewidth()
    assert bold.get_label() == "with batch norm"
    assert plotting.seed_lines(x, runs[0], "none", ax=ax) is ax
    with pytest.raises(ValueError, match=r"\(seeds, 6\), got \(5, 4\)"):
        plotting.seed_lines(x, runs[:, :4], "none")


def test_percentile_bands():
    values = np.sort(rng().standard_normal((4, 3)), axis=1)
    ax = plotting.percentile_bands([1, 2, 3, 4], values, "none")
    low, high, middle = (line.get_ydata() for line in ax.get_lines())
    np.testing.assert_array_equal(np.column_stack([low, middle, high]), values)
    (band,) = ax.collections
    extents = band.get_datalim(ax.transData)
    assert (extents.y0, extents.y1) == (values[:, 0].min(), values[:, 2].max())
    with pytest.raises(ValueError, match=r"shape \(4, 3\), got \(4, 2\)"):
        plotting.percentile_bands([1, 2, 3, 4], values[:, :2], "none")


def test_histograms_share_bins_and_have_area_one():
    groups = {"before": rng().normal(3, 2, 500), "after": rng().normal(0, 1, (50, 10))}
    ax = plotting.histograms(groups, bins=25)
    outlines = ax.patches[1::2]
    assert [o.get_label() for o in outlines] == ["before", "after"]
    edges = [o.get_data().edges for o in outlines]
    np.testing.assert_array_equal(*edges)
    for outline, values in zip(outlines, groups.values(), strict=True):
        heights, e = outline.get_data().values, outline.get_data().edges
        assert np.sum(heights * np.diff(e)) == pytest.approx(1)
        expected = np.histogram(values, e, density=True)[0]
        np.testing.assert_allclose(heights, expected)
    with pytest.raises(ValueError, match="1 to 4 groups, got 0"):
        plotting.histograms({})


def test_image_grid():
    images = rng().random((7, 5, 4))
    titles = list("abcdefg")
    ax = plotting.image_grid(images, columns=3, titles=titles, rows=["x", "y", "z"])
    assert len(ax.images) == 7
    for shown, image in zip(ax.images, images, strict=True):
        np.testing.assert_array_equal(shown.get_array(), image)
    left, right, bottom, top = np.array([im.get_extent() for im in ax.images]).T
    np.testing.assert_allclose((top - bottom) / (right - left), 5 / 4)
    assert (left[:3] == left[3:6]).all()  # columns
    assert top[3] < bottom[0]  # the second row is below
    assert [t.get_text() for t in ax.texts] == titles
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "y", "z"]
    assert ax.get_xlim()[1] >= right.max()
    assert len(plotting.image_grid(rng().random((2, 4, 4, 3))).images) == 2
    with pytest.raises(ValueError, match=r"got \(3, 784\)"):
        plotting.image_grid(np.zeros((3, 784)))


def test_two_classes():
    points, y = rng().random((9, 2)), np.array([0, 1, 1, 0, 1, 0, 0, 1, 1])
    ax = plotting.two_classes(points, y, ("no", "yes"))
    for value, cloud in enumerate(ax.collections):
        np.testing.assert_array_equal(cloud.get_offsets(), points[y == value])
    assert [c.get_label() for c in ax.collections] == ["no", "yes"]
    with pytest.raises(ValueError, match=r"got \(9, 2\) and \(3,\)"):
        plotting.two_classes(points, y[:3])


@pytest.mark.parametrize(
    ("w", "b"), [((1, 2), -1), ((3, 0), -1), ((0, -2), 1), ((1e-3, 5), -2)]
)
def test_decision_line_is_where_the_score_is_zero(w, b):
    ax = plt.subplots()[1]
    ax.set(xlim=(-1, 3), ylim=(0, 0.5))
    plotting.decision_line(w, b, ax=ax)
    (line,) = ax.get_lines()
    for point in (line.get_xy1(), line.get_xy2()):
        assert np.dot(w, point) + b == pytest.approx(0, abs=1e-9)
    assert tuple(line.get_xy1()) != tuple(line.get_xy2())
    assert ax.get_xlim() == (-1, 3)
    assert ax.get_ylim() == (0, 0.5)
    with pytest.raises(ValueError, match="not both 0"):
        plotting.decision_line([0, 0], b, ax=ax)


def test_contour_path():
    def loss(u, v):
        return 0.5 * (u**2 + 9 * v**2)

    path = np.array([[2.0, 1.0], [1.0, -0.5], [0.1, 0.0]])
    other = path[::-1]
    ax = plotting.contour_path(loss, {"raw": path, "scaled": other}, levels=9)
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["raw"].get_xydata(), path)
    np.testing.assert_array_equal(lines["scaled"].get_xydata(), other)
    assert to_hex(lines["raw"].get_color()).upper() == plotting.PALETTE["none"]
    (contours,) = ax.collections
    levels = contours.levels
    assert len(levels) == 9
    np.testing.assert_allclose(levels[1:] / levels[:-1], levels[1] / levels[0])
    bottom = loss(
        *np.meshgrid(*(np.linspace(*f(), 201) for f in (ax.get_xlim, ax.get_ylim)))
    )
    for level, drawn in zip(levels, contours.get_paths(), strict=True):
        heights = loss(*drawn.vertices.T) - bottom.min()
        np.testing.assert_allclose(heights, level, rtol=0.05, atol=0.01)
    with pytest.raises(ValueError, match=r"shape \(t, 2\), got \(3, 3\)"):
        plotting.contour_path(loss, np.zeros((3, 3)))


def test_heat_is_symmetric_around_zero():
    matrix = np.array([[-0.2, 3.0], [0.004, -0.004]])
    ax = plotting.heat(matrix, values=".1f")
    (image,) = ax.images
    assert image.get_clim() == (-3, 3)
    np.testing.assert_array_equal(image.get_array(), matrix)
    assert image.cmap.name == "PuOr"
    minus = "\N{MINUS SIGN}"
    assert [t.get_text() for t in ax.texts] == [f"{minus}0.2", "3.0", "0.0", "0.0"]
    assert ax.texts[1].get_color() == plotting.ON_DARK  # readable on dark purple
    assert plotting.heat(np.zeros((2, 2)), limit=2).images[0].get_clim() == (-2, 2)
    with pytest.raises(ValueError, match=r"\(rows, columns\), got \(3,\)"):
        plotting.heat(np.zeros(3))


def test_a_figure_is_the_same_bytes_twice():
    def png():
        ax = plotting.seed_lines(np.arange(9), rng().random((3, 9)), "batch norm")
        plotting.label_lines(ax)
        out = io.BytesIO()
        ax.figure.savefig(out, format="png")
        plt.close(ax.figure)
        return out.getvalue()

    assert png() == png()
