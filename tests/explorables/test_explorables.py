"""The living figures: numbers as bnlib's, light, whole, and reached in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import living as tool
import pytest
from browsing import require_browser
from playwright.sync_api import Page

NAMES = tool.names()
HEAVIEST = 15_000  # bytes of a script
# In the browser: draw a state, return what is wrong with the drawing.
DRAW = """([name, state]) => {
  const figure = document.querySelector(`#exp-${name}`);
  window.change[name](state);
  const svg = figure.querySelector('svg');
  const faults = [];
  if (/NaN|undefined/.test(svg.outerHTML)) faults.push('NaN or undefined drawn');
  const frame = svg.getBoundingClientRect();
  for (const text of svg.querySelectorAll('text')) {
    const box = text.getBoundingClientRect();
    if (box.left < frame.left - 3 || box.right > frame.right + 3 ||
        box.bottom > frame.bottom + 3) faults.push(`cut: ${text.textContent}`);
    if (parseFloat(getComputedStyle(text).fontSize) < 12) {
      faults.push(`small: ${text.textContent}`);
    }
  }
  for (const handle of svg.querySelectorAll('.explorable-handle')) {
    if (!handle.getAttribute('aria-label') || !handle.getAttribute('aria-valuetext')) {
      faults.push('a handle without a name or a value');
    }
  }
  const {start, compute, say} = window.Explorables.kinds[name];
  const whole = {...start, ...state};
  const text = say(whole, compute(whole));
  if (text.length < 20 || /NaN|undefined|null/.test(text)) faults.push(`says: ${text}`);
  return faults;
}"""
SHOWN = """name => { const f = document.querySelector(`#exp-${name}`);
  return f.querySelector('svg').outerHTML +
    [...f.querySelectorAll('output')].map(o => o.textContent).join(); }"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Give a page with all figures, on a phone with touch."""
    browser = require_browser()
    with tool.opened(browser, 375, has_touch=True, reduced_motion="reduce") as page:
        yield page


def numbers(name: str) -> list[dict]:
    """Return the stored states and answers of a figure."""
    return json.loads((tool.FOLDER / name / "numbers.json").read_text("utf-8"))


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return the numbers and words inside lists and dictionaries, by their path."""
    if not isinstance(value, dict | list):
        return {path: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = [leaves(part, f"{path}/{key}") for key, part in pairs]
    return {key: leaf for part in found for key, leaf in part.items()}


def test_there_are_figures():
    assert "dragged_point" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_whole_and_light(name):
    folder = tool.FOLDER / name
    files = {f"{name}.js", "still.svg", "still.png", "numbers.json"}
    assert files <= {path.name for path in folder.iterdir()}
    for scripts in ([tool.FOLDER / "shared.js"], tool.scripts(name)):
        assert sum(path.stat().st_size for path in scripts) < HEAVIEST
    assert len(numbers(name)) >= 50


@pytest.mark.parametrize("name", NAMES)
def test_stored_numbers_are_those_that_bnlib_gives_now(name):
    try:
        now, stored = leaves(tool.cases(name)), leaves(numbers(name))
    except ModuleNotFoundError as error:  # the ledger's claims need torch
        if error.name != "torch":
            raise
        pytest.skip("torch is not installed")
    assert now.keys() == stored.keys()
    words = {k for k, v in stored.items() if isinstance(v, str)}
    assert {k: now[k] for k in words} == {k: stored[k] for k in words}
    got, right = (
        [part[k] for k in sorted(now.keys() - words)] for part in (now, stored)
    )
    assert got == pytest.approx(right, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_script_computes_what_bnlib_computes(page, name):
    assert page.evaluate(tool.COMPARE, [name, numbers(name)]) == {}


@pytest.mark.parametrize("name", NAMES)
def test_each_state_can_be_drawn_and_told(page, name):
    for width in (375, 900):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(50)
        for case in numbers(name):
            if case["state"].get("unreachable"):  # only its numbers count
                continue
            assert page.evaluate(DRAW, [name, case["state"]]) == [], case["state"]


@pytest.mark.parametrize("name", NAMES)
def test_the_still_is_the_first_picture(page, name):
    stored = (tool.FOLDER / name / "still.svg").read_text("utf-8")
    assert tool.still_of(page, name) == stored


@pytest.mark.parametrize("name", NAMES)
def test_every_control_answers_to_the_keyboard(page, name):
    figure = page.locator(f"#exp-{name}")
    figure.get_by_role("button", name="Start again").press("Enter")
    for control in figure.locator("input, select, .explorable-handle").all():
        before = page.evaluate(SHOWN, name)
        control.focus()
        kind = control.evaluate("e => e.type || 'handle'")
        keys = {"checkbox": ["Space"], "number": ["ArrowUp"]}
        for key in keys.get(kind, ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]):
            control.press(key)
            if page.evaluate(SHOWN, name) != before:
                break
        else:
            pytest.fail(
                f"nothing changes: {control.evaluate('e => e.outerHTML')[:200]}"
            )


@pytest.mark.parametrize("name", NAMES)
def test_handles_follow_a_finger(page, name):
    figure = page.locator(f"#exp-{name}")
    figure.get_by_role("button", name="Start again").tap()
    cdp = page.context.new_cdp_session(page)
    for handle in figure.locator(".explorable-handle").all():
        handle.scroll_into_view_if_needed()
        box, before = handle.bounding_box(), handle.get_attribute("transform")
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind, way in (("Start", 0), ("Move", 15), ("Move", 30)):
            point = {"x": x + (way if x < 180 else -way), "y": y - way / 2}
            event = {"type": f"touch{kind}", "touchPoints": [point]}
            cdp.send("Input.dispatchTouchEvent", event)
            page.wait_for_timeout(30)  # a browser hands moves over once a frame
        cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert handle.get_attribute("transform") != before


def test_a_wrong_number_is_seen(page):
    name = "dragged_point"
    cases = numbers(name)
    cases[3]["result"]["y"][2] += 1e-8
    assert page.evaluate(tool.COMPARE, [name, cases]).keys() == {"y"}
