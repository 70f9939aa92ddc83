"""Data for the book: real digits, toy scales and batch samplers, all without a network.

Nothing here downloads unless you call `load_mnist`. NumPy is enough for all but it and
`load_digits`, whose images come with scikit-learn. Every image is scaled to 0..1, every
label is an integer, and every split is fixed: two readers see the same numbers.
The drawn roses (`bnlib.roses`) can be imported from here as well.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from bnlib._check import check_rng
from bnlib.roses import ROSE_COLOURS, Roses, rose_features, roses

__all__ = [
    "ROSE_COLOURS",
    "Roses",
    "Split",
    "ToyScales",
    "TrainTest",
    "batches",
    "endless_batches",
    "fixed_order",
    "load_digits",
    "load_mnist",
    "load_mnist10k",
    "rose_features",
    "roses",
    "toy_scales",
]

# Part of every fingerprint that decides the fixed order of the images.
SPLIT_SEED = "batch normalization, 2015"
DIGITS_TRAIN = 1400

MNIST10K_FILE = Path(__file__).parent / "data_files" / "mnist10k.npz"
MNIST10K_SPLITS = {
    "train": slice(0, 7000),
    "validation": slice(7000, 8000),
    "test": slice(8000, 10000),
}
# SHA-256 of the bytes of each array (uint8, C order), not of the zip around them.
MNIST10K_SHA256 = {
    "images": "6303e878794ef6c00c2d25181c879385cfbb97dbd3d3d8b641adecf318558938",
    "labels": "79a1a802c3b0ad0f47462373999e8f4bbf7d8eca1fb33a7dbac6966d62f5d48e",
}

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
_SUBSET_HINT = (
    "Without a network, use load_mnist10k(): 10,000 MNIST images come with bnlib."
)


class Split(NamedTuple):
    """Images and labels: ``x`` of shape (n, ...) in 0..1, ``y`` (n,) of int64."""

    x: NDArray[np.floating]
    y: NDArray[np.int64]


class TrainTest(NamedTuple):
    """Two splits, so that ``train, test = load_digits()`` reads well."""

    train: Split
    test: Split


class ToyScales(NamedTuple):
    """A least-squares problem: ``y = x @ weight + bias + noise``."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: float


def fixed_order(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the order in which the fixed splits visit the images.

    Each image gets a fingerprint: the SHA-256 of `SPLIT_SEED` and its bytes.
    Sorting by fingerprint shuffles the images in a way that no release of NumPy
    and no order of the source can change.

    Parameters
    ----------
    images : ndarray of shape (n, ...)
        Images as uint8.

    Returns
    -------
    ndarray of shape (n,)
        A permutation of 0..n-1. Identical images keep their relative order.
    """
    seed = SPLIT_SEED.encode()
    prints = [
        hashlib.sha256(seed + np.ascontiguousarray(image).tobytes()).digest()
        for image in images
    ]
    order = sorted(range(len(prints)), key=prints.__getitem__)
    return np.asarray(order, dtype=np.int64)


def _split(
    images: NDArray, labels: NDArray, top: int, flat: bool, dtype: DTypeLike
) -> Split:
    """Scale integer images 0..top to 0..1 and give them the asked shape."""
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise TypeError(f"dtype must be a float type, got {dtype}")
    n, height, width = images.shape
    x = images.astype(dtype) / dtype.type(top)
    x = x.reshape(n, height * width) if flat else x[:, None]  # (n, d) or (n, 1, h, w)
    return Split(x, labels.astype(np.int64))


def load_digits(*, flat: bool = True, dtype: DTypeLike = np.float32) -> TrainTest:
    """Load scikit-learn's 1,797 digits of 8 x 8 pixels, split once and for all.

    Parameters
    ----------
    flat : bool
        True gives rows of 64 pixels, False gives maps of shape (n, 1, 8, 8).
    dtype : dtype
        A float type for the pixels, which lie in 0..1.

    Returns
    -------
    TrainTest
        ``train`` holds 1,400 images and ``test`` 397, in the order of `fixed_order`.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    TypeError
        If `dtype` is not a float type.
    """
    try:
        from sklearn.datasets import load_digits as sklearn_digits  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "load_digits needs scikit-learn, which is not installed; "
            "load_mnist10k() needs only NumPy"
        ) from error
    bunch = sklearn_digits()
    order = fixed_order(bunch.images.astype(np.uint8))
    images, labels = bunch.images[order], bunch.target[order]
    return TrainTest(
        _split(images[:DIGITS_TRAIN], labels[:DIGITS_TRAIN], 16, flat, dtype),
        _split(images[DIGITS_TRAIN:], labels[DIGITS_TRAIN:], 16, flat, dtype),
    )


@lru_cache(maxsize=2)
def _read_mnist10k(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the embedded file once and check the SHA-256 of both arrays."""
    if not path.is_file():
        raise FileNotFoundError(
            f"the embedded MNIST subset is missing: expected {path.name} in "
            f"{path.parent}; reinstall bnlib or run tools/make_mnist10k.py"
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in MNIST10K_SHA256}
    except Exception as error:
        raise ValueError(
            f"{path.name} cannot be read ({error}); reinstall bnlib"
        ) from error
    for name, expected in MNIST10K_SHA256.items():
        found = hashlib.sha256(arrays[name].tobytes()).hexdigest()
        if found != expected:
            raise ValueError(
                f"{path.name} is damaged: SHA-256 of {name} is {found}, "
                f"expected {expected}; reinstall bnlib"
            )
        arrays[name].flags.writeable = False
    return arrays["images"], arrays["labels"]


def load_mnist10k(
    split: str = "train", *, flat: bool = True, dtype: DTypeLike = np.float32
) -> Split:
    """Load a split of the 10,000 MNIST digits that come with bnlib.

    The images are the first 10,000 of MNIST's training file, shuffled once by
    `fixed_order`. No image of the official test file is among them.

    Parameters
    ----------
    split : {"train", "validation", "test"}
        7,000 images to train, 1,000 to choose settings, 2,000 to report.
    flat : bool
        True gives rows of 784 pixels, False gives maps of shape (n, 1, 28, 28).
    dtype : dtype
        A float type for the pixels, which lie in 0..1.

    Returns
    -------
    Split
        A fresh ``x`` and ``y``, yours to change.

    Raises
    ------
    ValueError
        If `split` is unknown, or if the file is damaged (SHA-256 is checked).
    FileNotFoundError
        If the embedded file is missing.

    Notes
    -----
    The images are licensed under CC BY-SA 3.0: see ``data_files/LICENSE-MNIST.md``.
    """
    if split not in MNIST10K_SPLITS:
        known = ", ".join(repr(name) for name in MNIST10K_SPLITS)
        raise ValueError(f"unknown split {split!r}, expected one of {known}")
    images, labels = _read_mnist10k(MNIST10K_FILE)
    part = MNIST10K_SPLITS[split]
    return _split(images[part], labels[part], 255, flat, dtype)


def load_mnist(
    cache_dir: str | os.PathLike | None = None,
    *,
    flat: bool = True,
    dtype: DTypeLike = np.float32,
    url: str = MNIST_URL,
    sha256: str = MNIST_SHA256,
) -> TrainTest:
    """Load full MNIST, downloading 11 MB the first time.

    The file is written only after its SHA-256 is right. Later calls read the cache.

    Parameters
    ----------
    cache_dir : path, optional
        Folder of the cache. Default: the environment variable ``BNLIB_DATA``,
        else the user's cache folder.
    flat, dtype
        As in `load_mnist10k`.
    url, sha256 : str
        Address and checksum of an ``npz`` file with the arrays ``x_train``,
        ``y_train``, ``x_test`` and ``y_test``.

    Returns
    -------
    TrainTest
        60,000 training images and the 10,000 official test images.

    Raises
    ------
    ImportError
        If pooch is not installed.
    ConnectionError
        If the file is not cached and cannot be downloaded.
    ValueError
        If the downloaded file has another SHA-256.
    """
    try:
        import pooch  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            f"load_mnist needs pooch, which is not installed. {_SUBSET_HINT}"
        ) from error
    folder = cache_dir or os.environ.get("BNLIB_DATA") or pooch.os_cache("bnlib")
    try:
        path = pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", fname="mnist.npz", path=folder
        )
    except ValueError as error:
        raise ValueError(f"{error} Nothing was stored. {_SUBSET_HINT}") from error
    except OSError as error:  # requests' errors are OSErrors too
        raise ConnectionError(
            f"could not download {url} ({type(error).__name__}). {_SUBSET_HINT}"
        ) from error
    with np.load(path, allow_pickle=False) as archive:
        return TrainTest(
            _split(archive["x_train"], archive["y_train"], 255, flat, dtype),
            _split(archive["x_test"], archive["y_test"], 255, flat, dtype),
        )


def toy_scales(n: int, rng: np.random.Generator, *, noise: float = 0.1) -> ToyScales:
    """Draw a least-squares problem whose two features have very different ranges.

    The first feature is uniform on 0..1, the second on 1..1000. Both move the target
    by about the same amount: ``y = 2 x1 - 0.002 x2 + 1 + noise``.

    Parameters
    ----------
    n : int
        Number of rows.
    rng : numpy.random.Generator
        Source of randomness.
    noise : float
        Standard deviation of the Gaussian noise in the target.

    Returns
    -------
    ToyScales
        ``x`` (n, 2), ``y`` (n,), ``weight`` (2,) and ``bias`` in float64.
    """
    check_rng(rng)
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    x = np.column_stack([rng.uniform(0, 1, n), rng.uniform(1, 1000, n)])  # (n, 2)
    weight, bias = np.array([2.0, -0.002]), 1.0
    y = x @ weight + bias + noise * rng.standard_normal(n)
    return ToyScales(x, y, weight, bias)


def batches(
    y: int | ArrayLike,
    batch_size: int,
    rng: np.random.Generator,
    *,
    kind: str = "mixed",
    drop_last: bool = False,
) -> Iterator[NDArray[np.int64]]:
    """Cut one epoch into mini-batches and return an iterator over index arrays.

    Parameters
    ----------
    y : int or array_like of shape (n,)
        The labels, or for ``kind="mixed"`` the number of examples will do.
    batch_size : int
        Examples in a mini-batch.
    rng : numpy.random.Generator
        Source of randomness.
    kind : {"mixed", "sorted", "one class"}
        ``"mixed"`` shuffles everything. ``"sorted"`` visits the classes one after
        the other, so most mini-batches hold one class and a few hold two.
        ``"one class"`` never mixes classes, and shuffles the mini-batches.
        Examples of a class are shuffled in each of the three.
    drop_last : bool
        Drop the mini-batches that are not full. A rest of one example is an error
        for a batch-norm layer in training.

    Yields
    ------
    ndarray of shape (batch_size,) or shorter
        Indices of int64; an epoch visits each example at most once.

    Raises
    ------
    TypeError
        If `rng` is not a Generator, or `batch_size` is not an integer.
    ValueError
        If the sizes do not fit, `kind` is unknown, or labels are needed and missing.
    """
    labels, n = _check_batches(y, batch_size, rng, kind, drop_last)
    return _epoch(labels, n, int(batch_size), rng, kind, drop_last)


def endless_batches(
    y: int | ArrayLike,
    batch_size: int,
    rng: np.random.Generator,
    *,
    kind: str = "mixed",
    drop_last: bool = True,
) -> Iterator[NDArray[np.int64]]:
    """Return an iterator that starts a new epoch of `batches` whenever one ends.

    Parameters are those of `batches`, but `drop_last` is True by default, so that
    every step sees a full mini-batch. Give it to ``fit(..., batches=...)``.
    """
    labels, n = _check_batches(y, batch_size, rng, kind, drop_last)

    def forever() -> Iterator[NDArray[np.int64]]:
        while True:
            yield from _epoch(labels, n, int(batch_size), rng, kind, drop_last)

    return forever()


def _check_batches(
    y: int | ArrayLike,
    batch_size: int,
    rng: np.random.Generator,
    kind: str,
    drop_last: bool,
) -> tuple[NDArray, int]:
    """Check the arguments of a sampler and return the labels and their number."""
    check_rng(rng)
    if kind not in ("mixed", "sorted", "one class"):
        raise ValueError(
            f"unknown kind {kind!r}, expected 'mixed', 'sorted' or 'one class'"
        )
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
        raise TypeError(f"batch_size must be an integer, got {batch_size!r}")
    labels = np.asarray(y)
    if labels.ndim == 0:
        if kind != "mixed":
            raise ValueError(f"kind {kind!r} needs the labels, got the number {labels}")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"y must be labels or an integer, got {y!r}")
        labels = np.zeros(max(int(labels), 0), dtype=np.int64)
    if labels.ndim != 1:
        raise ValueError(f"y must have shape (n,), got {labels.shape}")
    n = len(labels)
    if n == 0:
        raise ValueError("there are no examples to draw from (n is 0)")
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch_size must lie in 1..{n} (n is {n}), got {batch_size}")
    if kind == "one class" and drop_last:
        largest = int(np.unique(labels, return_counts=True)[1].max())
        if batch_size > largest:
            raise ValueError(
                f"no class has {batch_size} examples (the largest has {largest}), "
                "so drop_last=True would leave nothing"
            )
    return labels, n


def _epoch(
    labels: NDArray,
    n: int,
    batch_size: int,
    rng: np.random.Generator,
    kind: str,
    drop_last: bool,
) -> Iterator[NDArray[np.int64]]:
    """Yield the mini-batches of one epoch."""
    order = rng.permutation(n).astype(np.int64)
    groups = [order]
    if kind != "mixed":
        order = order[np.argsort(labels[order], kind="stable")]
        groups = [order]
    if kind == "one class":
        edges = np.flatnonzero(np.diff(labels[order])) + 1
        groups = np.split(order, edges)
    parts = [
        group[start : start + batch_size]
        for group in groups
        for start in range(0, len(group), batch_size)
    ]
    if drop_last:
        parts = [part for part in parts if len(part) == batch_size]
    if kind == "one class":
        parts = [parts[i] for i in rng.permutation(len(parts))]
    yield from parts
