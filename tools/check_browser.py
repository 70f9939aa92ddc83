"""Open every page of the built site in a headless browser and look for faults.

On each page: no request leaves the site, nothing is missing, no console error, all
mathematics is typeset, no accessibility fault that axe-core can see (light and dark,
desktop and phone, quizzes opened), nothing wider than a phone of 375 pixels, and a
quiz answers to the keyboard.

The browser is Chromium or Chrome of the machine (or BOOK_BROWSER=/path/to/it). Without
one the check is skipped; with CI=true that is a failure.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import axe_playwright_python
from browser import find_browser
from contract import toc_pages
from playwright.sync_api import sync_playwright

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = (1280, 900), (375, 740)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
READY = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
}"""
OPEN_QUIZZES = """() => document.querySelectorAll('details').forEach(d => {
  d.removeAttribute('name'); d.open = true; })"""
THEME = """mode => { document.documentElement.dataset.theme = mode;
  document.documentElement.dataset.mode = mode; }"""
# Text in the colour of its ground is "incomplete" to axe, not a violation: add it.
AXE = """async rules => {
  const found = await axe.run(document, {runOnly: rules, preload: false});
  const unseen = n => n.any.some(c => c.data && c.data.messageKey === 'equalRatio');
  const hidden = found.incomplete.filter(v => v.id === 'color-contrast').map(
    v => ({...v, nodes: v.nodes.filter(unseen)}));
  return [...found.violations, ...hidden].flatMap(
    v => v.nodes.slice(0, 3).map(n => `${v.impact} ${v.id}: ${n.target.join(' ')} ` +
      (n.any[0] || n.all[0] || n.none[0] || {message: v.help}).message));
}"""
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
UNSET = """() => document.querySelectorAll(
  "mjx-merror, [data-mjx-error], mjx-mtext[style*='red']").length"""


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
    page.evaluate(axe)
    for mode, viewport in (("light", DESKTOP), ("dark", DESKTOP), ("dark", PHONE)):
        page.set_viewport_size(size(viewport))
        page.evaluate(THEME, mode)
        page.evaluate(CALM)
        where = f"{mode}, {viewport[0]} px"
        found = page.evaluate(AXE, RULES) + page.evaluate(WIDE)
        faults += [f"{where}: {fault}" for fault in found]
    page.close()
    return [f"{name}: {fault}" for fault in dict.fromkeys(faults)]


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
    axe = axe_source()
    with served(SITE) as base, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        context = chromium.new_context(reduced_motion="reduce", color_scheme="light")
        for number, name in enumerate(pages, 1):
            found = check_page(context, base, name, axe)
            faults += found
            print(f"  [{number}/{len(pages)}] {name}: {len(found)} faults", flush=True)
            print(*(f"      {f}" for f in found), sep="\n", end="\n" if found else "")
        chromium.close()
    if faults:
        print(f"Stopped: {len(faults)} faults in the browser; the first: {faults[0]}")
        return 1
    print(f"Done: {len(pages)} pages opened in the browser without a fault.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
