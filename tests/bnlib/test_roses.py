"""Drawn roses: shapes, colours, domains, features, and what the errors say."""

import numpy as np
import pytest

from bnlib.roses import ROSE_COLOURS, rose_features, roses


def rng(seed=0):
    return np.random.default_rng(seed)


def test_roses_shapes_and_determinism():
    a, b = (roses(60, "red", rng(3)) for _ in range(2))
    for one, two in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, two)
    assert a.x.shape == (60, 32, 32, 3)
    assert a.x.dtype == np.float32
    assert a.x.min() >= 0
    assert a.x.max() <= 1
    assert a.y.sum() == 30
    assert a.nchw.shape == (60, 3, 32, 32)
    np.testing.assert_array_equal(a.nchw[7, 2], a.x[7, :, :, 2])
    assert not np.array_equal(a.x, roses(60, "red", rng(4)).x)
    assert roses(10, "pink", rng(), rose_fraction=1).y.all()


def test_roses_in_chunks_are_the_same(monkeypatch):
    whole = roses(9, ("red", "white"), rng()).x
    monkeypatch.setattr("bnlib.roses._CHUNK", 4)
    np.testing.assert_array_equal(roses(9, ("red", "white"), rng()).x, whole)


def seen_colour(drawn):
    """Mean colour of the middle of each image's brightest shape pixels."""
    green = np.array([0.18, 0.40, 0.16], dtype=np.float32)
    far = np.abs(drawn.x - green).sum(axis=3)  # (n, h, w)
    shape = far >= np.quantile(far, 0.92, axis=(1, 2), keepdims=True)
    return (drawn.x * shape[..., None]).sum(axis=(1, 2)) / shape.sum(axis=(1, 2))[
        :, None
    ]


@pytest.mark.parametrize("colour", ROSE_COLOURS)
def test_roses_and_others_of_a_domain_share_their_colours(colour):
    drawn = roses(600, colour, rng(1))
    for colours, near in ((drawn.paint, 0.015), (seen_colour(drawn), 0.05)):
        rose, other = colours[drawn.y == 1], colours[drawn.y == 0]
        assert np.abs(rose.mean(axis=0) - other.mean(axis=0)).max() < near
    assert np.abs(drawn.paint.std(axis=0) - 0.045).max() < 0.02
    assert set(drawn.colour) == {colour}


def test_shortcut_variant_gives_the_label_away():
    drawn = roses(600, "red", rng(1), not_rose="other")
    red = np.array(ROSE_COLOURS["red"])
    for colours, limit in ((drawn.paint, 0.4), (seen_colour(drawn), 0.5)):
        looks_red = np.abs(colours - red).sum(axis=1) < limit
        assert (looks_red == (drawn.y == 1)).mean() > 0.99
    swapped = roses(300, "white", rng(2), not_rose="red")
    assert np.abs(swapped.paint[swapped.y == 0].mean(axis=0) - red).max() < 0.02


def test_mixed_domains_draw_each_colour():
    drawn = roses(400, ("white", "yellow", "pink"), rng())
    names, counts = np.unique(drawn.colour, return_counts=True)
    assert names.tolist() == ["pink", "white", "yellow"]
    assert counts.min() > 90
    for name in names:
        mean = drawn.paint[drawn.colour == name].mean(axis=0)
        assert np.abs(mean - ROSE_COLOURS[name]).max() < 0.02


def test_rose_features_tell_roses_and_scale_with_contrast():
    drawn = roses(300, "red", rng(5))
    features = rose_features(drawn.x)
    assert features.shape == (300, 2)
    ratio = features[:, 1] / features[:, 0]  # edge for a given amount of red
    cut = np.median(ratio)
    assert ((ratio > cut) == (drawn.y == 1)).mean() > 0.9
    np.testing.assert_allclose(rose_features(drawn.x / 2), features / 2, rtol=1e-5)
    np.testing.assert_allclose(
        rose_features(drawn.x * [1, 0, 0] * 0 + 0.3), 0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"colour": "blue"}, ValueError, "unknown colour 'blue', expected one or more"),
        ({"not_rose": ["red", "sky"]}, ValueError, "unknown not_rose 'sky'"),
        ({"n": 0}, ValueError, "n=0"),
        ({"rose_fraction": 1.5}, ValueError, "rose_fraction=1.5"),
        ({"rng": 3}, TypeError, "numpy.random.Generator .* got int"),
    ],
)
def test_roses_errors(arguments, error, words):
    call = {"n": 4, "colour": "red", "rng": rng()} | arguments
    with pytest.raises(error, match=words):
        roses(**call)


def test_rose_features_error():
    with pytest.raises(
        ValueError, match=r"\(n, height, width, 3\), got \(2, 3, 8, 8\)"
    ):
        rose_features(np.zeros((2, 3, 8, 8)))
