"""The claims ledger's form, in a browser: it filters, sorts, and says how many."""

from pathlib import Path

import bn_site
import check_browser
import pytest
from browsing import require_browser

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = [  # verdict, chapter, source, words
    ("partly", "Chapter B", "Zed (2020)", "noise helps"),
    ("reproduced", "Chapter A", "Ada (2015)", "faster with noise"),
    ("not-here", "Chapter B", "Bo (2018)", "smoother"),
    ("reproduced", "Chapter B", "Cy (2019)", "deeper"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    site = tmp_path_factory.mktemp("ledger")
    claims = "".join(
        f"<div class='claim claim-{verdict}'><p>{number}. {words}</p><ul>"
        f"<li><p>Source: {source}</p></li><li><p>Chapter: {chapter}</p></li></ul></div>"
        for number, (verdict, chapter, source, words) in enumerate(CLAIMS, 1)
    )
    script = (ROOT / "_static" / "ledger.js").read_text("utf-8")
    (site / "index.html").write_text(f"<main>{claims}</main><script>{script}</script>")
    with (
        check_browser.served(site) as base,
        check_browser.sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(
            executable_path=require_browser(), args=check_browser.ARGUMENTS
        )
        page = chromium.new_page()
        page.goto(base)
        yield page
        chromium.close()


def shown(page):
    """Return the numbers of the claims that are seen, in their order."""
    texts = page.locator(".claim:visible p:first-child").all_inner_texts()
    return [int(text.split(".")[0]) for text in texts if text[0].isdigit()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "verdict", "chapter", "order", "numbers"),
    [
        ("", "all", "all", "by number", [1, 2, 3, 4]),
        ("NOISE", "all", "all", "by number", [1, 2]),
        ("noise faster", "all", "all", "by number", [2]),
        ("", "reproduced", "all", "by number", [2, 4]),
        ("", "all", "Chapter B", "by number", [1, 3, 4]),
        ("", "reproduced", "Chapter B", "by number", [4]),
        ("", "all", "all", "by verdict", [2, 4, 1, 3]),
        ("", "all", "all", "by source", [2, 3, 4, 1]),
        ("nobody", "all", "all", "by number", []),
    ],
)
def test_the_list_is_filtered_and_sorted(page, words, verdict, chapter, order, numbers):
    page.get_by_label("Words").fill(words)
    page.get_by_label("Verdict").select_option(label=verdict)
    page.get_by_label("Chapter").select_option(label=chapter)
    page.get_by_label("Order").select_option(label=order)
    assert shown(page) == numbers
    status = page.get_by_role("status").inner_text()
    assert status == f"{len(numbers)} of {len(CLAIMS)} claims"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("appendix/claims", ["book.js", "ledger.js"]),
        ("appendix/conventions", ["book.js", "convert.js"]),
        ("chapters/01_scale_the_inputs", ["book.js"]),
    ],
)
def test_a_script_of_one_page_is_loaded_there_only(name, kept):
    context = {"script_files": ["book.js", "ledger.js", "convert.js", "search.js"]}
    bn_site.keep_own_scripts(None, name, "", context, None)
    assert context["script_files"] == kept
