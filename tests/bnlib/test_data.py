"""Data: shapes, ranges, fixed splits, checksums, batches, and what the errors say."""

import hashlib
import http.server
import importlib.util
import io
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bnlib import data

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"train": 7000, "validation": 1000, "test": 2000}


def rng(seed=0):
    return np.random.default_rng(seed)


# --- embedded MNIST -------------------------------------------------------------------


@pytest.mark.parametrize(("split", "n"), SIZES.items())
def test_mnist10k_split(split, n):
    x, y = data.load_mnist10k(split)
    assert x.shape == (n, 784)
    assert x.dtype == np.float32
    assert y.shape == (n,)
    assert y.dtype == np.int64
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert np.bincount(y).min() > 0.07 * n  # every class is there in each split


def test_mnist10k_splits_are_disjoint_and_complete():
    parts = [data.load_mnist10k(split) for split in SIZES]
    counts = sum(np.bincount(part.y, minlength=10) for part in parts)
    assert counts.tolist() == [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]
    rows = {image.tobytes() for part in parts for image in part.x}
    assert len(rows) == 10_000


def test_mnist10k_order_is_the_documented_one():
    images, _ = data._read_mnist10k(data.MNIST10K_FILE)
    np.testing.assert_array_equal(data.fixed_order(images[:500]), np.arange(500))


def test_mnist10k_that_is_kept_cannot_be_changed():
    for array in data._read_mnist10k(data.MNIST10K_FILE):
        assert not array.flags.writeable


def test_mnist10k_shapes_types_and_copies():
    maps = data.load_mnist10k("test", flat=False, dtype=np.float64)
    assert maps.x.shape == (2000, 1, 28, 28)
    assert maps.x.dtype == np.float64
    np.testing.assert_array_equal(np.rint(255 * maps.x), 255 * maps.x)
    maps.x[:] = 7  # a fresh copy: the next caller sees the images
    maps.y[:] = 7
    again = data.load_mnist10k("test", flat=False)
    assert again.x.max() == 1
    assert set(again.y) == set(range(10))


@pytest.mark.parametrize("flat", [True, False])
def test_labels_fit_the_images(flat):
    """The mean image of a class is closer to its own test images than to others."""
    train, test = (data.load_mnist10k(s, flat=flat) for s in ("train", "test"))
    means = np.stack([train.x[train.y == k].mean(axis=0).ravel() for k in range(10)])
    distance = ((test.x.reshape(2000, 1, -1) - means) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == test.y).mean() > 0.75


def test_mnist10k_licence_names_hashes_and_authors():
    text = (data.MNIST10K_FILE.parent / "LICENSE-MNIST.md").read_text("utf-8")
    for word in ("CC BY-SA 3.0", "LeCun", "Cortes", "Burges", data.SPLIT_SEED):
        assert word in text
    for digest in data.MNIST10K_SHA256.values():
        assert digest in text


def test_mnist10k_tool_packs_without_clock_or_machine(tmp_path):
    path = ROOT / "tools" / "make_mnist10k.py"
    spec = importlib.util.spec_from_file_location("make_mnist10k", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with np.load(data.MNIST10K_FILE, allow_pickle=False) as archive:
        arrays = {name: archive[name][:300] for name in archive.files}
    assert list(arrays) == ["images", "labels"]
    content = tool.pack(arrays)
    assert content == tool.pack(arrays)
    for source in (io.BytesIO(content), data.MNIST10K_FILE):
        for info in zipfile.ZipFile(source).infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.create_system == 3
    assert data.MNIST10K_FILE.stat().st_size < 1_700_000


def write_npz(path, **changes):
    with np.load(data.MNIST10K_FILE) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    arrays.update(changes)
    np.savez(path, **arrays)


def test_mnist10k_damage_is_found(tmp_path, monkeypatch):
    images = data._read_mnist10k(data.MNIST10K_FILE)[0].copy()
    images[1234, 14, 14] ^= 1  # one bit
    bad = tmp_path / "mnist10k.npz"
    write_npz(bad, images=images)
    monkeypatch.setattr(data, "MNIST10K_FILE", bad)
    with pytest.raises(ValueError, match=r"damaged: SHA-256 of images is .* expected"):
        data.load_mnist10k()


def test_mnist10k_truncated_or_missing(tmp_path, monkeypatch):
    cut = tmp_path / "mnist10k.npz"
    cut.write_bytes(data.MNIST10K_FILE.read_bytes()[:100_000])
    monkeypatch.setattr(data, "MNIST10K_FILE", cut)
    with pytest.raises(ValueError, match="cannot be read"):
        data.load_mnist10k()
    monkeypatch.setattr(data, "MNIST10K_FILE", tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match=r"missing: expected nowhere\.npz"):
        data.load_mnist10k()


def test_unknown_split_and_type():
    with pytest.raises(ValueError, match="unknown split 'valid', expected one of"):
        data.load_mnist10k("valid")
    with pytest.raises(TypeError, match="float type, got int64"):
        data.load_mnist10k(dtype=np.int64)


# --- scikit-learn's digits ------------------------------------------------------------


def test_digits():
    pytest.importorskip("sklearn")
    train, test = data.load_digits()
    assert train.x.shape == (1400, 64)
    assert test.x.shape == (397, 64)
    assert train.x.dtype == np.float32
    assert (train.x.min(), train.x.max()) == (0.0, 1.0)
    assert np.bincount(train.y).min() > 125
    assert np.bincount(test.y).min() > 30
    rows = [{image.tobytes() for image in part.x} for part in (train, test)]
    assert not rows[0] & rows[1]
    assert data.load_digits(flat=False).test.x.shape == (397, 1, 8, 8)
    # The split is part of the book's numbers: a new order must not go unseen.
    assert train.y[:12].tolist() == [5, 6, 8, 8, 8, 9, 0, 6, 6, 4, 0, 7]


# --- full MNIST -----------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    """Serve a tiny stand-in for full MNIST on the loopback interface."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        x_train=rng().integers(0, 256, (6, 28, 28), dtype=np.uint8),
        y_train=np.arange(6, dtype=np.uint8),
        x_test=rng().integers(0, 256, (2, 28, 28), dtype=np.uint8),
        y_test=np.arange(2, dtype=np.uint8),
    )
    content = buffer.getvalue()

    class Handler(http.server.BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self):
            type(self).asked += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{httpd.server_port}/mnist.npz"
    yield url, hashlib.sha256(content).hexdigest(), Handler
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def loopback(monkeypatch):
    pytest.importorskip("pooch")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")


@pytest.mark.usefixtures("loopback")
def test_full_mnist_is_cached(server, tmp_path, monkeypatch):
    url, digest, handler = server
    monkeypatch.setenv("BNLIB_DATA", str(tmp_path / "from environment"))
    for _ in range(2):
        full = data.load_mnist(url=url, sha256=digest)
    assert handler.asked == 1  # the second call reads the cache
    assert (tmp_path / "from environment" / "mnist.npz").is_file()
    assert full.train.x.shape == (6, 784)
    assert full.test.y.tolist() == [0, 1]
    data.load_mnist(tmp_path / "given", url=url, sha256=digest)
    assert (tmp_path / "given" / "mnist.npz").is_file()


@pytest.mark.usefixtures("loopback")
def test_full_mnist_with_a_wrong_checksum_stores_nothing(server, tmp_path):
    url, _, _ = server
    with pytest.raises(ValueError, match=r"Nothing was stored.*load_mnist10k"):
        data.load_mnist(tmp_path, url=url, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("loopback")
def test_full_mnist_offline_names_the_embedded_subset(tmp_path):
    url = "http://127.0.0.1:9/mnist.npz"  # the discard port: nobody answers
    with pytest.raises(ConnectionError, match=r"could not download.*load_mnist10k\(\)"):
        data.load_mnist(tmp_path, url=url)
    assert list(tmp_path.iterdir()) == []


# --- toy scales -----------------------------------------------------------------------


def test_toy_scales():
    toy = data.toy_scales(5000, rng())
    assert toy.x.shape == (5000, 2)
    assert toy.x.dtype == np.float64
    low, high = toy.x.min(axis=0), toy.x.max(axis=0)
    assert (low >= [0, 1]).all()
    assert (high <= [1, 1000]).all()
    assert (high - low > [0.99, 990]).all()
    design = np.column_stack([toy.x, np.ones(5000)])
    found = np.linalg.lstsq(design, toy.y)[0]
    np.testing.assert_allclose(found, [*toy.weight, toy.bias], rtol=0.02)
    exact = data.toy_scales(9, rng(1), noise=0)
    np.testing.assert_allclose(exact.x @ exact.weight + exact.bias, exact.y)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        data.toy_scales(0, rng())


def test_toy_scales_condition_number():
    """The number that chapter 1 starts from: raw is in the millions, scaled near 1."""
    x = data.toy_scales(200, rng()).x

    def condition(features):
        design = np.column_stack([features, np.ones(len(features))])
        return np.linalg.cond(design.T @ design / len(features))

    assert 1e6 < condition(x) < 2e7
    assert condition((x - x.mean(axis=0)) / x.std(axis=0)) < 2


# --- batches --------------------------------------------------------------------------

LABELS = np.repeat([0, 1, 2], [23, 10, 17])[rng(9).permutation(50)]


@pytest.mark.parametrize("kind", ["mixed", "sorted", "one class"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_visit_each_example_at_most_once(kind, drop_last):
    parts = list(data.batches(LABELS, 8, rng(), kind=kind, drop_last=drop_last))
    assert all(part.dtype == np.int64 for part in parts)
    sizes = [len(part) for part in parts]
    seen = np.concatenate(parts)
    assert len(np.unique(seen)) == len(seen)
    assert seen.max() < 50
    if drop_last:
        assert set(sizes) == {8}
        assert len(parts) == {"mixed": 6, "sorted": 6, "one class": 5}[kind]
    else:
        assert sorted(seen) == list(range(50))
        assert max(sizes) == 8


def test_kinds_of_batches():
    mixed = [set(LABELS[i]) for i in data.batches(LABELS, 10, rng())]
    assert max(map(len, mixed)) == 3
    in_order = np.concatenate(list(data.batches(LABELS, 10, rng(), kind="sorted")))
    assert (np.diff(LABELS[in_order]) >= 0).all()
    pure = [set(LABELS[i]) for i in data.batches(LABELS, 4, rng(), kind="one class")]
    assert set(map(len, pure)) == {1}
    firsts = [next(iter(classes)) for classes in pure]
    assert firsts != sorted(firsts)  # the classes take turns


@pytest.mark.parametrize("kind", ["mixed", "sorted", "one class"])
def test_batches_follow_the_seed(kind):
    def epoch(seed):
        return [i.tolist() for i in data.batches(LABELS, 8, rng(seed), kind=kind)]

    assert epoch(1) == epoch(1)
    assert epoch(1) != epoch(2)


def test_endless_batches():
    source = data.endless_batches(10, 3, rng())
    taken = [next(source) for _ in range(30)]
    assert {len(part) for part in taken} == {3}
    epochs = [np.concatenate(taken[i : i + 3]) for i in range(0, 30, 3)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


@pytest.mark.parametrize("sampler", [data.batches, data.endless_batches])
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"y": 0}, ValueError, "no examples"),
        ({"y": -4}, ValueError, "no examples"),
        ({"y": 2.5}, TypeError, "labels or an integer, got 2.5"),
        ({"y": np.zeros((4, 1))}, ValueError, r"shape \(n,\), got \(4, 1\)"),
        ({"batch_size": 0}, ValueError, r"1\.\.50 \(n is 50\), got 0"),
        ({"batch_size": 51}, ValueError, r"1\.\.50 \(n is 50\), got 51"),
        ({"batch_size": 2.0}, TypeError, "must be an integer, got 2.0"),
        ({"kind": "shuffled"}, ValueError, "unknown kind 'shuffled', expected 'mixed'"),
        (
            {"y": 50, "kind": "sorted"},
            ValueError,
            "needs the labels, got the number 50",
        ),
        ({"rng": None}, TypeError, "got NoneType"),
        (
            {"batch_size": 24, "kind": "one class", "drop_last": True},
            ValueError,
            "no class has 24 examples",
        ),
    ],
)
def test_sampler_errors_come_with_the_call(sampler, arguments, error, words):
    call = {"y": LABELS, "batch_size": 8, "rng": rng()} | arguments
    with pytest.raises(error, match=words):
        sampler(**call)


# --- imports --------------------------------------------------------------------------


def test_import_needs_only_numpy():
    code = (
        "import sys, bnlib.data, bnlib.plotting\n"
        "bnlib.data.load_mnist10k('test')\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'scipy', 'pooch', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]", out.stdout + out.stderr


@pytest.mark.parametrize(
    ("module", "call"), [("sklearn.datasets", "load_digits"), ("pooch", "load_mnist")]
)
def test_missing_library_is_named(module, call, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # makes its import fail
    with pytest.raises(ImportError, match=r"not installed.*load_mnist10k\(\)"):
        getattr(data, call)()
