"""JupyterLab's own renderer shows the run edition as it is meant."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import run_edition
from browsing import require_browser
from plain_markdown import is_raw
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.slow
PAGES = [page.rpartition("/")[2] for page in run_edition.notebook_pages()]
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
LOOK = """() => {
  const all = (what) => document.querySelectorAll(`.jp-RenderedMarkdown ${what}`);
  return {
    text: [...all('')].map((cell) => cell.innerText),
    folded: all('details').length, boxes: all('blockquote').length,
    formulas: all('mjx-container').length, wrong: all('mjx-merror').length,
    cells: document.querySelectorAll('.jp-Notebook .jp-MarkdownCell').length,
  };
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve an edition with JupyterLab and open a browser there."""
    require_browser()
    folder = tmp_path_factory.mktemp("lab") / "run"
    run_edition.build(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--allow-root", "--no-browser"]
    command += [
        f"--port={port}",
        "--ServerApp.token=",
        f"--ServerApp.root_dir={folder}",
    ]
    settings = tmp_path_factory.mktemp("settings")  # show all cells, not those in sight
    shown = (
        settings / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    )
    shown.parent.mkdir(parents=True)
    shown.write_text('{"windowingMode": "none"}', "utf-8")
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "JUPYTERLAB_SETTINGS_DIR": str(settings)},
    ) as server:  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/api", server)
            with sync_playwright() as play:
                browser = play.chromium.launch(
                    executable_path=require_browser(), args=QUIET
                )
                yield address, browser
                browser.close()
        finally:
            server.terminate()


def wait_for(address: str, server: subprocess.Popen) -> None:
    """Wait until a server answers; stop when it has ended."""
    while server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("JupyterLab ended before it answered")


@pytest.mark.parametrize("name", PAGES)
def test_a_notebook_is_shown_as_it_is_meant(lab, name):
    address, browser = lab
    page = browser.new_page()
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
    page.wait_for_selector(".jp-RenderedMarkdown h1", timeout=60_000)
    page.wait_for_function(  # cells that are not in sight are shown later
        "document.querySelectorAll('.jp-MarkdownCell').length > 3 && "
        "[...document.querySelectorAll('.jp-MarkdownCell')]"
        ".every((c) => c.querySelector('.jp-RenderedMarkdown')?.innerText)",
        timeout=20_000,
    )
    seen = page.evaluate(LOOK)
    page.close()
    assert [raw for text in seen["text"] for raw in is_raw(text)] == []
    assert seen["wrong"] == 0
    assert len(seen["text"]) >= seen["cells"] > 3
    if name[0].isdigit():
        assert seen["folded"] >= 3
    if name[0].isdigit() and not name.startswith("17"):  # the clinic has cases
        assert min(seen["boxes"], seen["formulas"]) >= 3


def test_the_still_of_a_living_figure_is_shown(lab):
    address, browser = lab
    page = browser.new_page()
    page.goto(f"{address}/lab/tree/03_transform_a_batch.ipynb?reset")
    still = page.locator(".jp-RenderedMarkdown img[alt^='Five points']")
    still.wait_for(timeout=60_000, state="attached")
    width = still.evaluate("i => i.decode().then(() => i.naturalWidth)")
    page.close()
    assert width == 640


def test_a_link_on_the_page_leads_to_its_place(lab):
    address, browser = lab
    page = browser.new_page()
    page.goto(f"{address}/lab/tree/{PAGES[4]}.ipynb?reset")
    link = page.locator(".jp-RenderedMarkdown a", has_text="Fig. 5.2").first
    link.wait_for(timeout=60_000)
    caption = page.locator(".jp-RenderedMarkdown b, .jp-RenderedMarkdown strong")
    caption = caption.filter(has_text="Fig. 5.2.").first
    link.click()
    page.wait_for_timeout(1000)
    box = caption.bounding_box()
    page.close()
    assert box is not None
    assert 0 <= box["y"] <= 720
