"""The living figures: their numbers from bnlib, their still pictures, their test.

    python tools/living.py [NAME ...]     write numbers and stills again

Each folder of `explorables` holds a script `NAME.js`, the module `numbers.py` with
`states(rng)` and `answer(state)`, and what this tool writes: `numbers.json`, the
answers of bnlib to about fifty states, and the still picture, as a drawing for the page
and as a picture for Jupyter and print. Stills need a browser, see `browser.py`.

A state with `"unreachable": True` is one that no control leads to, as a huge offset:
its numbers are compared, and it is not drawn.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from browser import ARGUMENTS, find_browser
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "explorables"
SEED = 2015
MOUNT = """() => { window.change = Object.fromEntries(
  [...document.querySelectorAll('.explorable')].map(
    figure => [figure.dataset.name, window.Explorables.mount(figure)])); }"""
# In the browser: each number of a result must be the one that bnlib wrote, to 1e-9 (of
# the number, if it is over 1). Returns where it is not, with the first such case.
COMPARE = """([name, cases]) => {
  const plain = v => typeof v === 'boolean' ? Number(v) :
    typeof v === 'number' && !Number.isFinite(v) ? String(v) : v;
  const worst = {};
  const walk = (ours, right, path, i) => {
    if (right !== null && typeof right === 'object') {
      if (Object.keys(ours).length !== Object.keys(right).length && !path.length) {
        worst['number of results'] = [i, Object.keys(ours), Object.keys(right)];
      }
      for (const key of Object.keys(right)) {
        const into = Array.isArray(right) ? path : [...path, key];
        walk(ours === undefined ? ours : ours[key], right[key], into, i);
      }
      return;
    }
    const [a, b] = [plain(ours), plain(right)];
    const gap = typeof a === 'number' && typeof b === 'number' ?
      Math.abs(a - b) / Math.max(1, Math.abs(b)) : a === b ? 0 : Infinity;
    if (!(gap <= 1e-9)) worst[path.join('.')] ??= [i, a, b];
  };
  cases.forEach(({state, result}, i) => {
    walk(window.Explorables.kinds[name].compute(state), result, [], i);
  });
  return worst;
}"""


def names() -> list[str]:
    """Return the names of all living figures."""
    return sorted(path.parent.name for path in FOLDER.glob("*/numbers.py"))


def scripts(name: str) -> list[Path]:
    """Return the scripts of a figure: its data, if it has some, then the figure."""
    paths = [FOLDER / name / f"{name}{end}" for end in (".data.js", ".js")]
    return [path for path in paths if path.is_file()]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: lists, and words for nan and infinity."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return float(f"{value:.12g}") if isinstance(value, float) else value


def cases(name: str) -> list[dict[str, Any]]:
    """Return states of a figure and what bnlib answers to each."""
    module = importlib.import_module(f"explorables.{name}.numbers")
    states = module.states(np.random.default_rng(SEED))
    return [{"state": plain(s), "result": plain(module.answer(s))} for s in states]


@contextmanager
def opened(browser: str, width: int = 700, **context: Any) -> Iterator[Page]:
    """Open an empty page in which the scripts of all figures have run."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        size = {"width": width, "height": 800}
        page = chromium.new_context(viewport=size, **context).new_page()
        page.set_content(f"<!doctype html><html lang='en'>{places()}</html>")
        page.add_style_tag(path=FOLDER / "explorables.css")
        page.add_script_tag(path=FOLDER / "shared.js")
        for name in names():
            for script in scripts(name):
                page.add_script_tag(path=script)
        page.evaluate(MOUNT)
        yield page
        chromium.close()


def places() -> str:
    """Return a place for each figure, as the site makes it."""
    return "".join(
        f'<figure class="explorable" id="exp-{name}" data-name="{name}" '
        f'data-title="{name}"><div class="explorable-stage"></div></figure>'
        for name in names()
    )


def still_of(page: Page, name: str) -> str:
    """Return the still drawing of a figure."""
    return page.evaluate("name => window.Explorables.still(name)", name) + "\n"


def write(name: str, page: Page) -> None:
    """Write the numbers and the stills of a figure."""
    folder = FOLDER / name
    text = ",\n".join(json.dumps(case) for case in cases(name))
    (folder / "numbers.json").write_text(f"[\n{text}\n]\n", "utf-8")
    drawing = still_of(page, name)
    (folder / "still.svg").write_text(drawing, "utf-8")
    picture = page.context.new_page()
    picture.set_content(f'<body style="margin:0;background:white">{drawing}')
    picture.locator("svg").screenshot(path=folder / "still.png")
    picture.close()
    print(f"  {name}: {len(cases(name))} states, a still", flush=True)


def main() -> int:
    browser = find_browser()
    if browser is None:
        print("Stopped: stills need Chromium or Chrome, and none was found.")
        return 1
    sys.path.insert(0, str(ROOT))
    with opened(browser, 640) as page:
        for name in sys.argv[1:] or names():
            write(name, page)
    print("Done: the numbers and the stills are written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
