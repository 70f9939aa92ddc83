"""Check every local link, source and anchor of the built site."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"


class Page(HTMLParser):
    """The ids of a page and the addresses that it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids and links of one element."""
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(values["id"])
        if tag == "a" and values.get("name"):
            self.ids.add(values["name"])
        for key in ("href", "src"):
            if values.get(key):
                self.links.append((self.getpos()[0], values[key]))


def broken(site: Path) -> tuple[int, list[str]]:
    """Return the number of local links and a line for each broken one."""
    pages: dict[Path, Page] = {}
    for path in sorted(site.rglob("*.html")):
        if "_static" not in path.relative_to(site).parts:
            pages[path] = Page()
            pages[path].feed(path.read_text("utf-8"))
    count, faults = 0, []
    for path, page in pages.items():
        name = path.relative_to(site)
        for line, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//") or link == "#":
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve()
            target = target if parts.path else path
            if not target.exists():
                faults.append(f"{name}, line {line}: no such file: {link}")
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].ids
            ):
                faults.append(f"{name}, line {line}: no such anchor: {link}")
    return count, faults


def main(argv: list[str] | None = None) -> int:
    names = sys.argv[1:] if argv is None else argv
    site = Path(names[0]).resolve() if names else SITE
    count, faults = broken(site)
    print(*(f"  {f}" for f in faults), sep="\n", end="\n" if faults else "")
    if faults or not count:
        print(f"Stopped: {len(faults)} of {count} local links are broken.")
        return 1
    print(f"Done: {count} local links lead somewhere.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
