"""Build everything for publishing: ``make site``.

The book, strictly, with the run edition, as ``make book`` does it; and the problem sets
as students get them, to look at and to work through alone. A class gets its own with a
key of its own, so the key of these is public. No solution may be in them.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import book
import check_links

ROOT = Path(__file__).resolve().parent.parent
PUBLIC_KEY = hashlib.sha256(b"the edition that everybody may see").digest()
FOLDER = "coursework"
PAGE = "appendix/teach.html"
PLACE = '<div class="downloads docutils">'  # of the page, where the links go
MARKS = (b"BEGIN SOLUTION", b"END SOLUTION", b"BEGIN HIDDEN", b"instructor")


def offer_sets(site: Path, names: tuple[str, ...] = ()) -> list[str]:
    """Lay problem sets, all or some, into the site; link them; return what is wrong."""
    sys.path.insert(0, str(ROOT))
    from coursework import build, sources  # noqa: PLC0415

    out = site / FOLDER
    out.mkdir(exist_ok=True)
    faults, links = [], []
    for name in names or sources.NAMES:
        files = build.set_files(name, PUBLIC_KEY) | {"README.txt": build.STUDENT}
        build.write_zip(out / f"{name}.zip", files)
        faults += [f"{name}.zip, {where}" for where in secrets_in(files)]
        kilobytes = (out / f"{name}.zip").stat().st_size / 1000
        links.append(
            f'<a href="../{FOLDER}/{name}.zip">{name}</a> ({kilobytes:.0f} kB)'
        )
    page = site / PAGE
    text = page.read_text("utf-8")
    if text.count(PLACE) != 1:
        return [*faults, f"{PAGE}: expected one place for the downloads: {PLACE}"]
    text = text.replace(PLACE, f"{PLACE}<p>Here they are: {', '.join(links)}.</p>")
    page.write_text(text, "utf-8", newline="\n")
    return faults


def secrets_in(files: dict[str, str | bytes], under: str = "") -> list[str]:
    """Return the names of files, also inside zips, that hold what students must not."""
    found = []
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as inner:
                inside = {n: inner.read(n) for n in inner.namelist()}
            found += secrets_in(inside, f"{under}{name}/")
        elif any(mark in data for mark in MARKS):
            found.append(f"{under}{name}")
    return found


def main() -> int:
    if code := book.main():
        return code
    faults = offer_sets(book.SITE)
    if faults:
        print(*(f"  {fault}" for fault in faults), sep="\n")
        print(f"Stopped: {faults[0]}")
        return 1
    if code := check_links.main([str(book.SITE)]):
        return code
    print(f"Done: {book.SITE.relative_to(ROOT)} is ready to be published.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
