"""Check every local link, source and anchor of the built site.

``--outside`` asks the addresses of other sites instead, each once: a weekly job, since
a test that needs other people's servers proves nothing about this book.
"""

from __future__ import annotations

import argparse
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"
SECONDS = 20
GONE = (404, 410)  # others, such as 403 and 429, are what servers tell programs


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


def read_pages(site: Path) -> dict[Path, Page]:
    """Return the pages of a site by their paths."""
    pages: dict[Path, Page] = {}
    for path in sorted(site.rglob("*.html")):
        if "_static" not in path.relative_to(site).parts:
            pages[path] = Page()
            pages[path].feed(path.read_text("utf-8"))
    return pages


def broken(site: Path) -> tuple[int, list[str]]:
    """Return the number of local links and a line for each broken one."""
    pages = read_pages(site)
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


def answer(address: str) -> str:
    """Return what is wrong with an address of another site, or nothing."""
    request = urllib.request.Request(address, headers={"User-Agent": "link check"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        return f"answers {error.code}" if error.code in GONE else ""
    except (OSError, ValueError) as error:
        return f"does not answer: {error}"


def silent(site: Path) -> tuple[int, list[str]]:
    """Return the number of addresses outside and a line for each that is gone."""
    wanted: dict[str, str] = {}
    for path, page in read_pages(site).items():
        for line, link in page.links:
            if urlsplit(link).scheme in ("http", "https"):
                where = f"{path.relative_to(site)}, line {line}"
                wanted.setdefault(urldefrag(link).url, where)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, wanted))
    told = zip(wanted.items(), answers, strict=True)
    return len(wanted), [f"{where}: {a} {what}" for (a, where), what in told if what]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=SITE)
    parser.add_argument("--outside", action="store_true", help="ask other sites")
    chosen = parser.parse_args(argv)
    look, kind = (silent, "outside") if chosen.outside else (broken, "local")
    count, faults = look(chosen.site.resolve())
    print(*(f"  {f}" for f in faults), sep="\n", end="\n" if faults else "")
    if faults or not count:
        print(f"Stopped: {len(faults)} of {count} {kind} links are broken.")
        return 1
    print(f"Done: {count} {kind} links lead somewhere.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
