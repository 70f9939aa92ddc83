"""Make the cards of the chapters from their own figures: ``make cards``.

For each line of the map on the front page: `_static/cards/NN-small.webp`, the figure
alone, for the map; and `_static/cards/NN.png`, which social networks show beside a link
to the chapter. The figure is a label of the chapter, the name of a living figure,
or "mark". Needs a browser.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import sys
from pathlib import Path

import nbformat
from bn_map import Line, head_of, map_of_the_book
from browser import ARGUMENTS, find_browser
from figures import MIME, SVG
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "_static" / "cards"
MARK = ROOT / "_static" / "favicon.svg"  # for a page without a figure
LARGE, SMALL = (1200, 630), (640, 360)
SMALL_PAGE = """<body style="margin:0;background:#fff"><div style="width:640px;
height:360px;display:flex;align-items:center;justify-content:center">{figure}</div>
<style>svg{{max-width:600px;max-height:330px;width:600px;height:330px}}</style>"""
LARGE_PAGE = """<body style="margin:0"><style>
@font-face{{font-family:Sans;src:url(data:font/woff2;base64,{font});
font-weight:400 700}}
body{{width:1200px;height:630px;background:#f4f1ea;font-family:Sans,sans-serif;
color:#17365d;display:flex}}
.words{{width:470px;padding:54px 20px 48px 60px;box-sizing:border-box;display:flex;
flex-direction:column}}
.book{{font-size:25px}}
.number{{font-size:96px;font-weight:700;color:#8a4310;line-height:1}}
.title{{font-size:46px;font-weight:650;line-height:1.12;margin:10px 0 22px}}
.claim{{font-size:26px;line-height:1.35;color:#22262b}}
.figure{{flex:1;background:#fff;margin:48px 48px 48px 20px;border-radius:14px;
display:flex;align-items:center;justify-content:center}}
svg{{width:590px;height:480px}}</style>
<div class="words"><div class="book">Batch Normalization</div><div style="flex:1"></div>
<div class="number">{number}</div><div class="title">{title}</div>
<div class="claim">{claim}</div></div><div class="figure">{figure}</div>"""


def figure_of(line: Line) -> str:
    """Return the drawing of a chapter's figure, or the still of a living one."""
    if line.figure == "mark":
        return MARK.read_text("utf-8")
    still = ROOT / "explorables" / line.figure / "still.svg"
    if still.is_file():
        return still.read_text("utf-8")
    for cell in nbformat.read(ROOT / "chapters" / f"{line.page}.ipynb", 4).cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if figure.get("name") == line.figure:
            return next(
                o["data"][SVG] for o in cell.outputs if MIME in o.get("data", {})
            )
    raise ValueError(
        f"{line.page} has no figure {line.figure!r}, nor is it a living one"
    )


def source_of(line: Line) -> str:
    """Return what a card is made of, as a short hash: it tells when a card is old."""
    head = head_of(line.page)
    text = "\n".join([figure_of(line), str(head.number), head.title, line.claim])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shot(page: Page, text: str, size: tuple[int, int]) -> Image.Image:
    """Return a picture of a page of a size."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.set_content(text)
    page.evaluate("document.fonts.ready")
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def large(page: Page, path: Path, source: str, **words: str) -> None:
    """Write a large card."""
    font = ROOT / "_vendor" / "fonts" / "source-sans-3-latin-wght-normal.woff2"
    encoded = base64.b64encode(font.read_bytes()).decode()
    picture = shot(page, LARGE_PAGE.format(font=encoded, **words), LARGE)
    note = PngInfo()
    note.add_text("source", source)
    few = picture.quantize(64, dither=Image.Dither.NONE)
    few.save(path, optimize=True, pnginfo=note)


def make(line: Line, page: Page) -> None:
    """Write both cards of a chapter."""
    head, figure, stem = head_of(line.page), figure_of(line), OUT / line.page[:2]
    small = shot(page, SMALL_PAGE.format(figure=figure), SMALL)
    small.save(f"{stem}-small.webp", quality=60, method=6)
    words = {"title": html.escape(head.title), "claim": html.escape(line.claim)}
    path = Path(f"{stem}.png")
    large(page, path, source_of(line), number=str(head.number), figure=figure, **words)


def front() -> tuple[str, str]:
    """Return the title of the front page and its first sentence."""
    text = (ROOT / "index.md").read_text("utf-8")
    return re.search(r"^# (.+)\n\n(.+?\.)(?:\s|$)", text, re.M).groups()


def source_of_front() -> str:
    """Return what the card of the front page is made of, as a short hash."""
    text = "\n".join([*front(), MARK.read_text("utf-8")])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_front(page: Page) -> None:
    """Write the card of the front page, with the mark of the book."""
    title, claim = map(html.escape, front())
    mark, path = MARK.read_text("utf-8"), OUT / "book.png"
    words = {"number": "", "title": title, "claim": claim, "figure": mark}
    large(page, path, source_of_front(), **words)


def main() -> int:
    browser = find_browser()
    if browser is None:
        print("Stopped: cards need Chromium or Chrome, and none was found.")
        return 1
    OUT.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        page = chromium.new_page()
        make_front(page)
        for _, lines in map_of_the_book():
            for line in lines:
                make(line, page)
                print(f"  {line.page}", flush=True)
        chromium.close()
    print("Done: the cards are made.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
