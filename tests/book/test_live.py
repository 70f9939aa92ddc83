"""Cells that run in the reader's browser: Pyodide's own files, without a network."""

from __future__ import annotations

import html
import shutil
from collections.abc import Iterator
from pathlib import Path

import bn_live
import nbformat
import pytest
from browsing import require_browser
from check_browser import ARGUMENTS, served
from notebooks import tags
from playwright.sync_api import Browser, Page, Route, sync_playwright
from pyodide_files import find
from run_edition import build_wheel, make_index

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
}
KINDS |= {".json": "application/json"}
CELLS = [
    ("", "import matplotlib.pyplot as plt\nimport numpy as np\n\nx = np.arange(4.0)"),
    ("", "print('mean', x.mean())\nx.var()"),
    ("", "plt.plot(x)\nplt.show()\nprint('drawn')"),
    ("tag_exercise", "answer = None\nx_of_mine = missing"),
    ("tag_torch", "import torch"),
    ("", "from bnlib.data import load_digits\n\nprint(load_digits()[0].x.shape)"),
    ("tag_exercise", "answer_3_1 = None"),
    ("tag_check", 'from bncheck import check\n\ncheck("3.1", answer_3_1)'),
    ("", "while x.size:\n    pass"),
]
DONE = """i => /Done|Stopped|could not/.test(document.querySelectorAll('.live-bar')[i]
  .querySelector('[role=status]').textContent)"""


def cell_markup(kind: str, code: str) -> str:
    """Return a cell as the site has it."""
    return (
        f'<div class="cell {kind}"><div class="cell_input"><div class="highlight"><pre>'
        f"{html.escape(code)}\n</pre></div></div></div>"
    )


def page_of(cells: list[tuple[str, str]]) -> str:
    """Return a page with cells, which loads the script as the site does."""
    body = "".join(cell_markup(kind, code) for kind, code in cells)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<script defer src="live.js" '
        f'data-pyodide="{bn_live.PYODIDE}" data-wheel="book.whl" '
        f'data-digits="{bn_live.DIGITS.name}" data-worker="worker.js"></script>'
        f"</head><body><main>{body}</main></body></html>"
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Lay out a small site with the book's wheel."""
    if find() is None:
        pytest.skip("Pyodide's files are not here: python tools/pyodide_files.py")
    folder = tmp_path_factory.mktemp("live")
    for path in [*(ROOT / "live" / name for name in bn_live.FILES), bn_live.DIGITS]:
        shutil.copy(path, folder)
    wheel = build_wheel(folder / "wheel", make_index())
    shutil.copy(wheel, folder / "book.whl")
    (folder / "page.html").write_text(page_of(CELLS), "utf-8")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = require_browser()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, site: Path) -> Iterator[Page]:
    """Open the page in a browser that gets Pyodide from this machine."""

    def give(route: Route) -> None:
        path = find() / route.request.url.split("/")[-1]
        headers = {"access-control-allow-origin": "*"}
        kind = KINDS.get(path.suffix, "application/octet-stream")
        route.fulfill(path=path, content_type=kind, headers=headers)

    with served(site) as base:
        context = browser.new_context(base_url=base)
        context.route(f"{bn_live.PYODIDE}**", give)
        page = context.new_page()
        page.goto("page.html")
        yield page
        context.close()


def press(page: Page, cell: int, button: str = "Run", wait: bool = True) -> str:
    """Press a button of a cell; return what stands below it in the end."""
    bar = page.locator(".live-bar").nth(cell)
    bar.get_by_role("button", name=button).click()
    if wait:
        page.wait_for_function(DONE, arg=cell, timeout=60_000)
    return page.locator(".live-output").nth(cell).inner_text()


def write(page: Page, cell: int, code: str) -> None:
    """Write a cell anew."""
    bar = page.locator(".live-bar").nth(cell)
    if bar.get_by_role("button", name="Edit").is_visible():
        bar.get_by_role("button", name="Edit").click()
    page.locator(".live-edit").nth(cell).fill(code)


def test_a_cell_runs_after_those_above_it_and_shows_its_last_value(page):
    assert press(page, 1).split() == ["mean", "1.5", "1.25"]
    assert page.locator(".live-output").first.is_hidden()
    assert press(page, 1).split() == ["mean", "1.5", "1.25"]


def test_nothing_is_asked_for_before_a_reader_presses_run(browser, site):
    asked = []
    with served(site) as base:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{base}page.html", wait_until="networkidle")
        assert page.locator(".live-bar").count() == len(CELLS) - 1  # torch has none
        page.close()
    names = {url.split("/")[-1] for url in asked}
    assert names <= {"page.html", "live.js", "favicon.ico"}


def test_a_figure_is_drawn_when_it_is_asked_for(page):
    assert "drawn" in press(page, 2)
    picture = page.locator(".live-output").nth(2).locator("img")
    assert picture.evaluate("i => i.decode().then(() => i.naturalWidth)") > 300


def test_the_digits_are_there_and_an_unfinished_exercise_above_is_passed_over(page):
    assert press(page, 4).strip() == "(1400, 64)"


def test_an_error_is_told_from_the_readers_lines_on(page):
    write(page, 1, "y = x\nprint(1 / 0)")
    text = press(page, 1)
    assert "line 2" in text
    assert text.strip().endswith("ZeroDivisionError: division by zero")
    assert "pyodide" not in text


def test_a_run_can_be_stopped_and_the_next_one_works(page):
    press(page, 7, wait=False)
    page.wait_for_function(
        "document.querySelectorAll('.live-bar')[7].textContent.includes('Running …')",
        timeout=40_000,
    )
    press(page, 7, "Stop")
    assert "starts Python anew" in page.locator(".live-status").nth(7).inner_text()
    assert press(page, 1).split() == ["mean", "1.5", "1.25"]


def test_what_a_reader_wrote_is_kept_and_can_be_reset(page):
    write(page, 1, "print('mine')")
    page.reload()
    assert page.locator(".live-edit").nth(1).input_value() == "print('mine')"
    assert press(page, 1).strip() == "mine"
    press(page, 1, "Reset", wait=False)
    assert page.locator(".live-edit").nth(1).is_hidden()
    page.reload()
    assert page.locator(".live-edit").nth(1).is_hidden()


def test_an_exercise_is_checked_as_in_the_notebook(page):
    assert "nothing yet" in press(page, 6, "Check")
    write(page, 5, "answer_3_1 = 3.0")
    assert "nothing yet" not in press(page, 6, "Check")


def test_without_a_network_a_reader_is_told_and_nothing_is_lost(page):
    page.context.unroute(f"{bn_live.PYODIDE}**")
    page.context.route(f"{bn_live.PYODIDE}**", lambda route: route.abort())
    write(page, 1, "print('mine')")
    press(page, 1)
    status = page.locator(".live-status").nth(1).inner_text()
    assert "could not be loaded" in status
    assert "press Run to try again" in status
    assert page.locator(".live-edit").nth(1).input_value() == "print('mine')"


def test_a_chapter_prints_in_the_browser_what_its_notebook_stores(page, site):
    name, rounding = "03_transform_a_batch", "def one_pass"  # shows rounding errors
    cells = nbformat.read(ROOT / "chapters" / f"{name}.ipynb", 4).cells
    cells = [c for c in cells if c.cell_type == "code" and "colab" not in tags(c)]
    kinds = [" ".join(f"tag_{tag}" for tag in tags(c)) for c in cells]
    markup = [(k, c.source) for k, c in zip(kinds, cells, strict=True)]
    (site / f"{name}.html").write_text(page_of(markup), "utf-8")
    page.goto(f"{name}.html")
    compared = 0
    for i, cell in enumerate(c for c in cells if "torch" not in tags(c)):
        stored = "".join(o["text"] for o in cell.outputs if o.output_type == "stream")
        ignored = "nbval-ignore-output" in tags(cell) or rounding in cell.source
        if stored and "plt.show(" not in cell.source and not ignored:
            button = "Check" if "check" in tags(cell) else "Run"
            assert press(page, i, button).strip() == stored.strip(), cell.source
            compared += 1
    assert compared > 15
