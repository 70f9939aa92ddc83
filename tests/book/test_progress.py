"""What a reader has read: remembered in the browser, shown, and forgotten on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import require_browser
from check_browser import ARGUMENTS, served
from playwright.sync_api import Page, sync_playwright

SCRIPT = Path(__file__).resolve().parents[2] / "_static" / "progress.js"
CHAPTER = """<!doctype html><html data-content_root="../"><body>
<nav class="bd-links"><a href="#">1. Scale</a></nav><main><h1>Scale</h1>
<section id="first"><h2>See it<a>#</a></h2></section><div style="height:3000px"></div>
<section id="recap"><h2>Recap<a>#</a></h2></section></main>
<script src="../progress.js"></script>"""
FRONT = """<!doctype html><html data-content_root="./"><body>
<main><h1>Book</h1><p>Lead</p>
<ul class="book-map"><li><a class="map-card" data-page="chapters/01_scale"
href="chapters/01_scale.html"><span class="map-title"><span>1</span> Scale</span></a>
</li>
<li><a class="map-card" data-page="chapters/02_shift" href="#">
<span class="map-title">
<span>2</span> Shift</span></a></li></ul></main><script src="progress.js"></script>"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """Serve a book of two pages and open its front page."""
    browser = require_browser()
    (tmp_path / "chapters").mkdir()
    (tmp_path / "index.html").write_text(FRONT)
    (tmp_path / "chapters" / "01_scale.html").write_text(CHAPTER)
    (tmp_path / "progress.js").write_text(SCRIPT.read_text("utf-8"))
    with served(tmp_path) as base, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        page = chromium.new_page(base_url=base)
        page.goto("index.html")
        yield page
        chromium.close()


def test_nothing_is_offered_to_a_new_reader(page):
    assert page.locator(".go-on, .read-sign").count() == 0


def test_a_reader_goes_on_where_they_were(page):
    page.goto("chapters/01_scale.html")
    page.wait_for_timeout(200)
    assert page.locator(".read-sign").count() == 0
    page.goto("index.html")
    link = page.locator(".go-on a")
    assert link.inner_text() == "Go on with chapter 1: See it"
    assert link.get_attribute("href") == "./chapters/01_scale.html#first"
    assert "0 of 2 read" in page.locator(".go-on").inner_text()


def test_a_chapter_is_read_when_its_recap_was_seen_and_can_be_forgotten(page):
    page.goto("chapters/01_scale.html")
    page.locator("#recap h2").scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    page.goto("index.html")
    assert page.locator(".map-card .read-sign").count() == 1
    assert "1 of 2 read" in page.locator(".go-on").inner_text()
    page.get_by_role("button", name="Forget").click()
    assert page.locator(".go-on, .read-sign").count() == 0
    page.reload()
    assert page.locator(".go-on, .read-sign").count() == 0


def test_broken_memory_does_no_harm(page):
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.evaluate("localStorage.setItem('bn-book-read', '{not json')")
    page.reload()
    assert faults == []
    assert page.locator(".go-on").count() == 0
