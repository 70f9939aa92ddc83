"""Open every page of the built site in a headless browser and look for faults.

On each page: no request leaves the site, nothing is missing, no console error, all
mathematics is typeset, no page is heavier than it may be, the search finds what
people ask for, no accessibility fault that axe-core can see (light and dark,
desktop and phone, quizzes opened), nothing wider than a phone of 375 pixels, and a
quiz answers to the keyboard.

Most of the time goes into contrast, most of that into thousands of spans of coloured
code. So each pair of colours in code is looked at once, in both modes, by a script of
our own; then code is made plain text, and axe sees the rest. What a mode changes is
colour, what a phone changes is the rest: dark desktop gets the rules of colour, the
phone all others.

The browser is Chromium or Chrome of the machine (or BOOK_BROWSER=/path/to/it). Without
one the check is skipped; with CI=true that is a failure.
"""

from __future__ import annotations

import functools
import gzip
import os
import sys
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import axe_playwright_python
from browser import ARGUMENTS, find_browser
from contract import toc_pages
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import sync_playwright

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"
WORKERS = min(os.cpu_count() or 1, 4)
ANSWERS = Path(__file__).with_name("answers.toml")
FIRST, NEXT = 450_000, 200_000  # bytes, compressed, of a page opened first or next
PACKED = (".woff2", ".png", ".webp", ".jpg")  # kinds of file that are compressed
DESKTOP, PHONE = (1280, 900), (375, 740)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = ["color-contrast", "link-in-text-block"]
ALL = {"runOnly": {"type": "tag", "values": RULES}}
ONLY_COLOURS = {"runOnly": {"type": "rule", "values": COLOURS}}
BUT_COLOURS = ALL | {"rules": {rule: {"enabled": False} for rule in COLOURS}}
RUNS = (
    ("light", DESKTOP, ALL),
    ("dark", DESKTOP, ONLY_COLOURS),
    ("dark", PHONE, BUT_COLOURS),
)
READY = """async () => {
  await document.fonts.ready;
}"""
OPEN_QUIZZES = """() => document.querySelectorAll('details').forEach(d => {
  d.removeAttribute('name'); d.open = true; })"""
THEME = """mode => { document.documentElement.dataset.theme = mode;
  document.documentElement.dataset.mode = mode; }"""
# Text in the colour of its ground is "incomplete" to axe, not a violation: add it.
AXE = """async options => {
  const found = await axe.run(document, {
    ...options, preload: false, resultTypes: ['violations', 'incomplete']});
  const unseen = n => n.any.some(c => c.data && c.data.messageKey === 'equalRatio');
  const hidden = found.incomplete.filter(v => v.id === 'color-contrast').map(
    v => ({...v, nodes: v.nodes.filter(unseen)}));
  return [...found.violations, ...hidden].flatMap(
    v => v.nodes.slice(0, 3).map(n => `${v.impact} ${v.id}: ${n.target.join(' ')} ` +
      (n.any[0] || n.all[0] || n.none[0] || {message: v.help}).message));
}"""
CODE_CONTRAST = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const light = c => {
    const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const seen = new Map();
  for (const pre of document.querySelectorAll('.highlight pre')) {
    for (const e of [pre, ...pre.querySelectorAll('span')]) {
      if (!e.textContent.trim()) continue;
      const own = e === pre || e.style.background || e.classList.contains('hll');
      const key = getComputedStyle(e).color + ' on ' + ground(own ? e : pre).join();
      if (!seen.has(key)) seen.set(key, [e, ground(own ? e : pre)]);
    }
  }
  return [...seen].flatMap(([key, [e, below]]) => {
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    return ratio >= 4.5 ? [] : [`serious color-contrast in code: ${key} is ` +
      `${ratio.toFixed(2)}:1, as in "${e.textContent.trim().slice(0, 20)}"`];
  });
}"""
PLAIN_CODE = """() => document.querySelectorAll('.highlight pre').forEach(
  pre => { pre.textContent = pre.textContent; })"""
CALM = """async () => {
  await new Promise(done => setTimeout(done, 100));
  await Promise.allSettled(document.getAnimations().map(a => a.finished));
}"""
WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const wide = [...document.querySelectorAll('main *')].filter(
    e => e.getBoundingClientRect().right > width + 1);
  return [`${document.documentElement.scrollWidth} px wide: ` +
    wide.slice(0, 3).map(e => e.tagName + '.' + e.className).join(', ')];
}"""
CUT = """() => {
  const parts = document.querySelectorAll('main pre, main div.math, main .drawing');
  const cut = [...parts].filter(
    e => e.scrollWidth > e.clientWidth + 1 && e.offsetParent);
  return cut.slice(0, 3).map(e => (e.matches('pre') ? 'code' :
    e.matches('.math') ? 'an equation' : 'a figure') + ' is cut: ' +
    e.textContent.trim().slice(-60));
}"""
SMALL = """() => {
  const texts = [...document.querySelectorAll('main .drawing .narrow text')];
  const high = e => {
    const {a, b} = e.getScreenCTM();  // text may be turned
    return parseFloat(getComputedStyle(e).fontSize) * Math.hypot(a, b);
  };
  const small = texts.filter(e => e.getBoundingClientRect().width && high(e) < 9.95);
  return small.slice(0, 3).map(
    e => `text of ${high(e).toFixed(1)} px in a figure: ${e.textContent.trim()}`);
}"""
TABLES = """() => [...document.querySelectorAll('main table')].filter(t =>
  innerWidth < 600 && t.rows[0] && t.rows[0].cells.length > 2 &&
  getComputedStyle(t).display === 'table').slice(0, 1).map(
    t => `a table is no list: ${t.textContent.trim().slice(0, 60)}`)"""
BOXED = """() => [...document.querySelectorAll('main .drawing *')].filter(e => {
  const {backgroundColor: c, filter} = getComputedStyle(e);
  return e.matches('img, svg') && (filter !== 'none' || !/^rgba.* 0\\)$/.test(c));
}).slice(0, 1).map(e => `a figure stands on a card: ${e.outerHTML.slice(0, 80)}`)"""
UNSET = """() => {
  const left = document.querySelectorAll('.katex-error').length;
  const raw = [...document.querySelectorAll('.math')].filter(
    e => !e.querySelector('.katex')).length;
  return left + raw;
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line of log for each."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine and give its address."""
    handler = functools.partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def axe_source() -> str:
    """Return the script of axe-core that the Python package brings along."""
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


def size(width_and_height: tuple[int, int]) -> dict[str, int]:
    return dict(zip(("width", "height"), width_and_height, strict=True))


def check_page(context, base: str, name: str, axe: str) -> list[str]:
    """Return the faults of one page, each as a line."""
    faults: list[str] = []
    page = context.new_page()
    page.set_viewport_size(size(DESKTOP))

    def on_request(request) -> None:
        if not request.url.startswith((base, "data:", "blob:")):
            faults.append(f"request leaves the site: {request.url}")

    def on_response(response) -> None:
        if response.status >= 400:
            faults.append(f"{response.status}: {response.url.removeprefix(base)}")

    def on_console(message) -> None:
        if message.type == "error":
            faults.append(f"console: {message.text[:200]}")

    page.on("request", on_request)
    page.on("response", on_response)
    page.on("console", on_console)
    page.on("pageerror", lambda error: faults.append(f"script: {str(error)[:200]}"))
    page.goto(f"{base}{name}.html", wait_until="load")
    page.evaluate(READY)
    unset = page.evaluate(UNSET)
    if unset:
        faults.append(f"{unset} formulas are not typeset")
    quiz = page.locator("details.quiz-option summary")
    if quiz.count():
        quiz.first.focus()
        page.keyboard.press("Enter")
        if not page.locator("details.quiz-option").first.evaluate("d => d.open"):
            faults.append("the quiz does not answer to the Enter key")
    page.evaluate(OPEN_QUIZZES)
    for mode in ("dark", "light"):
        page.evaluate(THEME, mode)
        page.evaluate(CALM)
        seen = page.evaluate(CODE_CONTRAST) + page.evaluate(BOXED)
        faults += [f"{mode}: {fault}" for fault in seen]
    wide = []
    for viewport in (PHONE, DESKTOP):
        page.set_viewport_size(size(viewport))
        found = [f for look in (WIDE, CUT, SMALL, TABLES) for f in page.evaluate(look)]
        wide += [f"{viewport[0]} px: {fault}" for fault in found]
    page.evaluate(PLAIN_CODE)
    page.evaluate(axe)
    for mode, viewport, rules in RUNS:
        page.set_viewport_size(size(viewport))
        page.evaluate(THEME, mode)
        page.evaluate(CALM)
        where = f"{mode}, {viewport[0]} px"
        faults += [f"{where}: {fault}" for fault in page.evaluate(AXE, rules)]
    faults += wide
    page.close()
    return [f"{name}: {fault}" for fault in dict.fromkeys(faults)]


def check_search(context, base: str, answers: list[dict[str, str]]) -> list[str]:
    """Ask each question of the search page; its section must come first."""
    faults, page = [], context.new_page()
    for answer in answers:
        question = answer["question"]
        page.goto(f"{base}search.html?q={quote(question)}", wait_until="load")
        try:
            first = page.locator(".search-found li").first
            link = first.locator("a").get_attribute("href", timeout=5000)
            excerpt = first.locator("p").inner_text()
        except BrowserError:
            faults.append(f"search: nothing is found for {question!r}")
            continue
        found = link.removeprefix("./").replace(".html", "")
        if found != answer["section"]:
            wanted = answer["section"]
            faults.append(f"search: {question!r} finds {found} first, not {wanted}")
        if len(excerpt) < 40 or set(excerpt) & set("$\\{}"):
            faults.append(f"search: {question!r} has an unreadable excerpt: {excerpt}")
    page.close()
    return faults


def weight(site: Path, address: str) -> int:
    """Return the bytes of a file of the site as a server would send them."""
    path = site / address.partition("?")[0].partition("#")[0]
    if not path.is_file():
        return 0
    body = path.read_bytes()
    return len(body) if path.suffix in PACKED else len(gzip.compress(body))


def check_weights(context, base: str, pages: list[str], site: Path) -> list[str]:
    """Count the bytes of each page, opened first of all and opened as the next one."""
    faults: list[str] = []
    shared = loaded(context, base, "index")
    for name in pages:
        addresses = loaded(context, base, name)
        cold = sum(weight(site, address) for address in addresses)
        then = sum(weight(site, address) for address in addresses - shared)
        for what, got, most in (("first", cold, FIRST), ("next", then, NEXT)):
            if got > most:
                faults.append(f"{name}: {got} bytes as the {what} page, at most {most}")
        print(f"  {name}: {cold / 1000:.0f} kB first, {then / 1000:.0f} kB next")
    return faults


def loaded(context, base: str, name: str) -> set[str]:
    """Return the addresses that a page asks for before a reader scrolls."""
    page = context.new_page()
    page.set_viewport_size(size(DESKTOP))
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url.removeprefix(base)))
    page.goto(f"{base}{name}.html", wait_until="networkidle")
    page.close()
    return asked


def check_pages(browser: str, pages: list[str], site: Path = SITE) -> list[str]:
    """Check pages one after the other in a browser of their own."""
    axe, faults = axe_source(), []
    with served(site) as base, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        context = chromium.new_context(reduced_motion="reduce", color_scheme="light")
        for name in pages:
            found = check_page(context, base, name, axe)
            faults += found
            lines = "".join(f"\n      {fault}" for fault in found)
            print(f"  {name}: {len(found)} faults{lines}", flush=True)
        faults += check_weights(context, base, pages, site)
        if "search" in pages:
            faults += check_search(context, base, frequent_questions())
        chromium.close()
    return faults


def frequent_questions() -> list[dict[str, str]]:
    """Return the questions that the search must answer, with their sections."""
    return tomllib.loads(ANSWERS.read_text("utf-8"))["answer"]


def page_size(name: str) -> int:
    """Return the bytes of a page; 0 if it is not there, which its check reports."""
    path = SITE / f"{name}.html"
    return path.stat().st_size if path.exists() else 0


def dealt(pages: list[str], hands: int) -> list[list[str]]:
    """Deal pages out, there and back, so that each hand gets large and small ones."""
    piles: list[list[str]] = [[] for _ in range(hands)]
    for i, name in enumerate(pages):
        there, place = divmod(i, hands)
        piles[hands - 1 - place if there % 2 else place].append(name)
    return [pile for pile in piles if pile]


def main(argv: list[str] | None = None) -> int:
    pages = (sys.argv[1:] if argv is None else argv) or [*toc_pages(), "search"]
    browser = find_browser()
    if browser is None:
        strict = os.environ.get("CI") == "true"
        print(
            f"{'Stopped' if strict else 'Skipped'}: no Chromium or Chrome was found, "
            "so no page was opened (BOOK_BROWSER=/path/to/it names one)."
        )
        return int(strict)
    faults: list[str] = []
    # The largest pages first, so that both browsers end at about the same time.
    pages = sorted(pages, key=page_size, reverse=True)
    with ProcessPoolExecutor(WORKERS) as pool:
        parts = [pool.submit(check_pages, browser, p) for p in dealt(pages, WORKERS)]
        for part in as_completed(parts):
            faults += part.result()
    if faults:
        print(f"Stopped: {len(faults)} faults in the browser; the first: {faults[0]}")
        return 1
    print(f"Done: {len(pages)} pages opened in the browser without a fault.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
