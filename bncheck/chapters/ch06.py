"""Exercises of chapter 6: convolutional layers."""

import numpy as np

from bncheck.chapters import choice, function, number, sentences
from bncheck.form import Question
from bncheck.spec import Right
from bncheck.spec import mistake as M

SAYS = sentences("ch06")


def normalize_sounds(x, lengths, eps):
    """Normalize each channel over the real positions of the batch."""
    real = (np.arange(x.shape[2]) < lengths[:, None])[:, None]
    count = lengths.sum()
    mean = (x * real).sum((0, 2), keepdims=True) / count
    away = (x - mean) * real
    var = (away**2).sum((0, 2), keepdims=True) / count
    return away / np.sqrt(var + eps)


REAL, COUNT = "(np.arange(x.shape[2]) < lengths[:, None])[:, None]", "lengths.sum()"
MEAN = "(x * real).sum((0, 2), keepdims=True) / count"
AWAY, VAR = "(x - mean) * real", "(away**2).sum((0, 2), keepdims=True) / count"
ROOT, OUT = "np.sqrt(var + eps)", "away / np.sqrt(var + eps)"
EACH = "(x * real).sum(2, keepdims=True) / lengths[:, None, None]"
EACH_VAR = "(away**2).sum(2, keepdims=True) / lengths[:, None, None]"
SOUNDS = Right(normalize_sounds, says=SAYS["6.2"], mistakes=[
    M("no-mask", REAL, "np.ones((len(x), 1, x.shape[2]))", COUNT, "x[:, 0].size"),
    M("padding-kept", OUT, f"(x - mean) / {ROOT}", near=True),
    M("divisor", COUNT, "x[:, 0].size"),
    M("each-sound", MEAN, EACH, VAR, EACH_VAR),
    M("mean-of-means", MEAN, f"({EACH}).mean(0, keepdims=True)"),
    M("mean-of-means-both", MEAN, f"({EACH}).mean(0, keepdims=True)",
      VAR, f"({EACH_VAR}).mean(0, keepdims=True)", of="mean-of-means"),
    M("mean-of-means-own", MEAN, f"({EACH}).mean(0, keepdims=True)", VAR,
      f"(((x - {EACH}) * real) ** 2 / lengths[:, None, None])"
      ".sum(2, keepdims=True).mean(0, keepdims=True)", of="mean-of-means"),
    M("all-channels", MEAN, "(x * real).sum() / (count * x.shape[1])",
      VAR, "(away**2).sum() / (count * x.shape[1])"),
    M("variance-of-padding", AWAY, "x * real - mean", OUT,
      f"(x - mean) * real / {ROOT}"),
    M("no-eps", ROOT, "np.sqrt(var)", near=True),
    M("sample-variance", VAR, f"{VAR} * count / (count - 1)", near=True),
])  # fmt: skip


def sounds():
    """Draw the inputs of 6.2: junk in the padding, one sound of full length."""
    rng = np.random.default_rng(62)
    calls = []
    for lengths, shape, eps in (((2, 6, 3), (3, 4, 6), 0.1), ((5, 1), (2, 3, 5), 0.5)):
        x = rng.normal(3, 2, shape) * np.linspace(0.5, 3, shape[1])[:, None]
        calls.append((x, np.array(lengths), eps))
    return calls


def one_convolution(weight, s1, c1, s2, c2):
    """Return one convolution for a normalized convolution plus a normalized input."""
    channels = range(len(s1))
    total = s1[:, None, None, None] * weight
    total[channels, channels, 1, 1] += s2
    return total, c1 + c2


SCALED, MIDDLE = (
    "s1[:, None, None, None] * weight",
    "total[channels, channels, 1, 1] += s2",
)
BRANCHES = Right(one_convolution, says=SAYS["6.3"], mistakes=[
    M("no-second", MIDDLE, "pass"),
    M("all-channels", MIDDLE, "total[:, :, 1, 1] += s2[:, None]"),
    M("all-places", MIDDLE, "total[channels, channels] += s2[:, None, None]"),
    M("corner", MIDDLE, "total[channels, channels, 0, 0] += s2"),
    M("both-scaled", MIDDLE, "total[channels, channels, 1, 1] += s1 * s2"),
    M("set", MIDDLE, "total[channels, channels, 1, 1] = s2"),
    M("slope-of-one", MIDDLE, "total[channels, channels, 1, 1] += 1"),
    M("input-channels", SCALED, "s1[None, :, None, None] * weight"),
    M("one-offset", "c1 + c2", "c1 + 0 * c2", near=True),
    M("offset-scaled", "c1 + c2", "c1 + s2 * c2", near=True),
])  # fmt: skip


def branches():
    """Draw the input of 6.3."""
    rng = np.random.default_rng(63)
    return [(rng.normal(size=(4, 4, 3, 3)), *rng.normal(size=(4, 4)))]


def exercises() -> dict[str, Question]:
    """Return the exercises of the chapter."""
    positions, worth = 20 * 20, 25
    return {
        "6.1": number(SAYS["6.1"], np.sqrt(positions / worth), rtol=5e-3, known={
            "variance": positions / worth, "turned": np.sqrt(worth / positions),
            "batch": np.sqrt(positions), "turned-variance": worth / positions}),
        "6.2": function(SOUNDS, ("output",), sounds()),
        "6.3": function(BRANCHES, ("weight", "bias"), branches()),
        "6.4": choice(SAYS["6.4"], "a"),
    }  # fmt: skip
