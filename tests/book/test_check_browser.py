"""The check of the pages in a browser finds each kind of fault, planted in a page."""

import re

import check_browser
import numpy as np
import pytest
from browsing import require_browser

pytestmark = pytest.mark.slow

PAGE = """<!doctype html><html lang="en"><head><title>A page</title>
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  html, pre, a, h1 {{ color: #111; background: #fff; }}
  html[data-theme=dark], html[data-theme=dark] :is(pre, a, h1) {{
    color: #eee; background: #111; }}
  .k {{ color: #00457d; }}
  html[data-theme=dark] .k {{ color: #9cd0ff; }}
</style></head><body><main><h1>A page</h1>
<div class="highlight"><pre><span class="k">def</span> f(): pass</pre></div>
{body}</main></body></html>"""
QUIZ = "<details class='quiz-option'><summary>Is it?</summary>Yes.</details>"
HEAVY = np.random.default_rng(0).bytes(check_browser.FIRST).hex()
FAULTS = {  # what is planted, and what must be said of it
    "clean": ("<p>Nothing is wrong.</p>" + QUIZ, None),
    "outside": ("<img alt='' src='http://127.0.0.2:9/a.png'>", "leaves the site"),
    "missing": ("<img alt='a graph' src='gone.png'>", "404: gone.png"),
    "console": ("<script>console.error('broken')</script>", "console: broken"),
    "script": ("<script>throw new Error('bad')</script>", "script: bad"),
    "formula": ("<div class='math'>$x$</div>", "1 formulas are not typeset"),
    "quiz": (QUIZ.replace("<summary>", "<summary onclick='return false'>"), "Enter"),
    "alt": ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>", "image-alt"),
    "order": ("<h4>Too deep</h4>", "heading-order"),
    "pale": ("<p style='color: #ccc; background: #fff'>pale</p>", "light, 1280 px: "
             "serious color-contrast"),
    "dim": ("<style>html[data-theme=dark] p { color: #333 }</style><p>dim</p>",
            "dark, 1280 px: serious color-contrast"),
    "pale code": ("<div class=highlight><pre><span style='color: #aaa'>x = 1</span>"
                  "</pre></div>", "light: serious color-contrast in code"),
    "dim code": ("<style>html[data-theme=dark] .k { color: #222 }</style>",
                 "dark: serious color-contrast in code"),
    "code ground": ("<div class=highlight><pre><span class=hll style='background: "
                    "#003'>x = 1</span></pre></div>", "in code"),
    "wide": ("<p style='width: 500px'>wide</p>", "375 px: 5"),
    "cut": (f"<pre style='overflow: auto'>{'x' * 80}</pre>", "375 px: code is cut"),
    "cut equation": ("<div class=math style='overflow: auto'><p class=katex "
                     "style='width: 500px'>x</p></div>", "375 px: an equation is cut"),
    "cut figure": ("<div class=drawing style='overflow: auto'><p style='width: 500px'>"
                   "x</p></div>", "375 px: a figure is cut"),
    "small text": ("<div class=drawing><svg class=narrow viewBox='0 0 400 90' role=img "
                   "aria-label='A word'><text y=50 font-size=9>word</text></svg></div>",
                   "375 px: text of 8"),
    "table": ("<table><tr><th>a</th><th>b</th><th>c</th></tr></table>",
              "375 px: a table is no list"),
    "card": ("<style>html[data-theme=dark] svg { background: #fff }</style><div class="
             "drawing><svg role=img aria-label='A line'></svg></div>",
             "dark: a figure stands on a card"),
    "heavy": (f"<!-- {HEAVY} -->", "bytes as the first page"),
    "phone": ("<style>@media (min-width: 600px) { #p { display: none } }</style>"
              "<div id=p><a href='#'></a></div>", "dark, 375 px: serious link-name"),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    browser = require_browser()
    site = tmp_path_factory.mktemp("site")
    for name, (body, _) in FAULTS.items():
        (site / f"{name}.html").write_text(PAGE.format(body=body), "utf-8")
    (site / "index.html").write_text(PAGE.format(body=""), "utf-8")
    return check_browser.check_pages(browser, list(FAULTS), site)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(found, name):
    said = [f.removeprefix(f"{name}: ") for f in found if f.startswith(f"{name}: ")]
    wanted = FAULTS[name][1]
    if wanted is None:
        assert said == []
    else:
        assert any(wanted in fault for fault in said), said


def test_pages_are_dealt_in_equal_hands():
    pages = [str(n) for n in range(7)]
    hands = check_browser.dealt(pages, 2)
    assert hands == [["0", "3", "4"], ["1", "2", "5", "6"]]
    assert check_browser.dealt(pages[:1], 2) == [["0"]]


def test_a_page_that_is_not_there_is_a_fault(tmp_path):
    faults = check_browser.check_pages(require_browser(), ["gone"], tmp_path)
    assert any(re.search(r"404: gone\.html", f) for f in faults)


@pytest.mark.parametrize(
    ("first", "text", "wanted"),
    [
        ("a.html#one", "Fifty letters and more of an excerpt that can be read.", None),
        ("b.html", "Fifty letters and more of an excerpt that can be read.", "b first"),
        ("a.html#one", r"The sum $\\frac{1}{m}$ is an excerpt that nobody can read.",
         "unreadable"),
        (None, "", "nothing is found"),
    ],
)  # fmt: skip
def test_a_search_that_fails_is_a_fault(tmp_path, first, text, wanted):
    item = f"<ol class=search-found><li><a href='{first}'>A</a><p>{text}</p></li></ol>"
    (tmp_path / "search.html").write_text(item if first else "<p>Nothing.</p>")
    answers = [{"question": "running_var", "section": "a#one"}]
    with (
        check_browser.served(tmp_path) as base,
        check_browser.sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(
            executable_path=require_browser(), args=check_browser.ARGUMENTS
        )
        faults = check_browser.check_search(chromium.new_context(), base, answers)
        chromium.close()
    assert len(faults) == (wanted is not None)
    assert all(wanted in fault for fault in faults)
