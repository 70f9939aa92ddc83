"""Everything random in grading comes from one secret key: inputs, variants, mutants."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import numpy as np

SHORTEST = 16  # bytes
VARIANTS = {
    "ps1": ("ghost", "weighted", "clipped", "startup"),
    "ps2": ("ghost", "weighted", "clipped"),
    "ps4": ("unequal", "masked"),
}


def read_key(path: Path) -> bytes:
    """Read a key file.

    Parameters
    ----------
    path : Path
        A file with at least 16 bytes; white space at its ends does not count.

    Returns
    -------
    key : bytes
        The key.

    Raises
    ------
    ValueError
        The file is not there, or too short.
    """
    if not path.is_file():
        raise ValueError(
            f"expected a key file, found none at {path}. Make one: "
            "python -c 'import secrets; print(secrets.token_hex(32))' > term.key"
        )
    key = path.read_bytes().strip()
    if len(key) < SHORTEST:
        raise ValueError(
            f"expected a key of at least {SHORTEST} bytes in {path}, got {len(key)}"
        )
    return key


def digest(key: bytes, *names: str) -> bytes:
    """Return 32 bytes that only the key's owner can compute for these names."""
    return hmac.new(key, "\x1f".join(names).encode(), hashlib.sha256).digest()


def rng(key: bytes, *names: str) -> np.random.Generator:
    """Return a generator for a purpose and a student.

    Parameters
    ----------
    key : bytes
        The secret key.
    *names : str
        Purpose, set, student: each combination has a stream of its own.

    Returns
    -------
    rng : Generator
        Seeded by `digest`.
    """
    return np.random.default_rng(int.from_bytes(digest(key, *names), "big"))


def variant(key: bytes, set_name: str) -> str:
    """Return the term's variant of a set, or an empty text where there is none."""
    choices = VARIANTS.get(set_name)
    if not choices:
        return ""
    return choices[
        int.from_bytes(digest(key, "variant", set_name)[:8], "big") % len(choices)
    ]


def fingerprint(key: bytes, *names: str) -> str:
    """Return 16 hexadecimal digits that name a seed without telling it."""
    return digest(key, "fingerprint", *names).hex()[:16]
