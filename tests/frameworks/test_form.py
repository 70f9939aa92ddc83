"""The form of the conventions page: its script must agree with bnlib.conventions."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from browsing import require_browser

from bnlib.conventions import CONVENTIONS, convert
from frameworks import pages

ROOT = Path(__file__).resolve().parents[2]
SAMPLES, POSITIONS = 12, 5
PAIRS = list(itertools.product(CONVENTIONS, CONVENTIONS))


@pytest.fixture(scope="module")
def page():
    """Return a page with the form and its script, in a headless browser."""
    path = require_browser()
    sync = pytest.importorskip("playwright.sync_api")
    script = (ROOT / "_static" / "convert.js").read_text("utf-8")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_content(f"<script>{script}</script>{pages.form()}")
        yield page
        browser.close()


def expected(source, target, momentum, eps):
    """Convert a layer with bnlib; return its settings and the variance's factor."""
    src = CONVENTIONS[source]
    state = {src.names[r]: np.full(2, 1.7) for r in ("weight", "bias", "running_mean")}
    state[src.names["running_var"]] = np.full(2, 1.7)
    if "count" in src.names:
        state[src.names["count"]] = np.array(10**9)
    settings = {src.momentum_name: momentum, src.eps_name: eps}
    shape = [SAMPLES, POSITIONS, POSITIONS]
    shape[src.axis] = 2
    shape = [SAMPLES, 2, POSITIONS] if src.axis == 1 else [SAMPLES, POSITIONS, 2]
    new = convert(state, settings, source, target, batch_shape=shape, updates=10**6)
    dst = CONVENTIONS[target]
    factor = new.state[dst.names["running_var"]][0] / 1.7
    return new.settings[dst.momentum_name], new.settings[dst.eps_name], factor


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_script_agrees_with_bnlib(page, source, target):
    src = CONVENTIONS[source]
    momentum = {"new": 0.2, "old": 0.8, "time constant": 50.0}[src.weighs]
    wanted = expected(source, target, momentum, 0.01)
    got = page.evaluate(
        """([data, s, t, momentum, eps, n, p]) => {
            const r = bnConvert(data[s], data[t], momentum, eps, n, p);
            return [r.momentum, r.eps, r.varianceFactor];
        }""",
        [pages.form_data(), source, target, momentum, 0.01, SAMPLES, POSITIONS],
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_form_shows_the_translation(page):
    page.select_option("select[name=source]", "keras")
    page.select_option("select[name=target]", "pytorch")
    shown = page.inner_text("output")
    assert "momentum = 0.01" in shown
    assert "moving_variance" in shown
    assert "multiply by 1.01695" in shown  # 60 / 59


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("momentum", "2", "from 0 to 1"),
        ("eps", "x", "from 0 on"),
        ("samples", "1.5", "whole numbers"),
        ("samples", "1", "two values"),
    ],
)
def test_form_says_what_is_wrong(page, name, value, words):
    page.select_option("select[name=source]", "keras")
    old = page.input_value(f"input[name={name}]")
    page.fill(f"input[name={name}]", value)
    assert words in page.inner_text("output")
    page.fill(f"input[name={name}]", old)


def test_data_is_json_of_every_convention():
    text = pages.form()
    found = json.loads(text.split('json">')[1].split("</script>")[0])
    assert found.keys() == CONVENTIONS.keys()
    assert "http" not in text
