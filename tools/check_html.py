"""Read each page of the built site as a strict HTML parser does, and look for faults.

A fault is what the HTML standard calls a parse error, or an id that stands twice on a
page. `KNOWN` lists those of Sphinx itself.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import html5lib
from check_links import SITE

# Sphinx lays the list of several returned values into a paragraph.
KNOWN = {("appendix/library.html", "unexpected-end-tag: p"),
         ("appendix/pytorch.html", "unexpected-end-tag: p")}  # fmt: skip


def faults_of(text: str) -> list[str]:
    """Return the faults of a page, each once."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    tree = parser.parse(text)
    found = [
        f"{code}: {details['name']}" if "name" in details else code
        for _, code, details in parser.errors
    ]
    ids = Counter(e.get("id") for e in tree.iter() if e.get("id"))
    found += [f"id {name!r} stands {n} times" for name, n in ids.items() if n > 1]
    return list(dict.fromkeys(found))


def faults(site: Path) -> tuple[int, list[str]]:
    """Return the number of pages of a site and a line for each fault."""
    pages = [p for p in sorted(site.rglob("*.html")) if "_static" not in p.parts]
    told = []
    for path in pages:
        name = path.relative_to(site).as_posix()
        for fault in faults_of(path.read_text("utf-8")):
            if (name, fault) not in KNOWN:
                told.append(f"{name}: {fault}")
    return len(pages), told


def main() -> int:
    count, told = faults(SITE)
    print(*(f"  {line}" for line in told), sep="\n", end="\n" if told else "")
    if told or not count:
        print(f"Stopped: {len(told)} faults in the HTML of {count} pages.")
        return 1
    print(f"Done: the HTML of {count} pages is valid, but for known faults of Sphinx.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
