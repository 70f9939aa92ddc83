"""Sphinx extension of the book: NumPy cells that run in the reader's browser.

The pages of chapters 1 to 7 load `live/live.js`, which puts buttons under the cells.
Only when one is pressed does a worker fetch Pyodide from `PYODIDE`, and from the site
itself the wheel of the run edition and the digits of scikit-learn.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import sklearn
from run_edition import wheel_name
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
FILES = ("live.js", "live.css", "worker.js")
PAGES = re.compile(r"chapters/0[1-7]_")
PYODIDE = "https://cdn.jsdelivr.net/pyodide/v0.27.7/full/"
DIGITS = Path(sklearn.__file__).parent / "datasets" / "data" / "digits.csv.gz"


def load_script(app: Sphinx, page: str, template: str, context: dict, tree) -> None:
    """Let the pages of chapters 1 to 7 load the script; addresses go with it."""
    if not PAGES.match(page):
        return
    app.add_css_file("live/live.css")
    addresses = {
        "data-pyodide": PYODIDE,
        "data-wheel": f"../../run/{wheel_name()}",
        "data-digits": DIGITS.name,
        "data-worker": "worker.js",
    }
    app.add_js_file("live/live.js", loading_method="defer", **addresses)


def copy_files(app: Sphinx, error: Exception | None) -> None:
    """Lay the scripts and the digits into the site."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir) / "_static" / "live"
    out.mkdir(parents=True, exist_ok=True)
    for path in [*(ROOT / "live" / name for name in FILES), DIGITS]:
        shutil.copy(path, out / path.name)


def setup(app: Sphinx) -> dict[str, object]:
    """Register everything with Sphinx."""
    app.connect("html-page-context", load_script, priority=800)
    app.connect("build-finished", copy_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
