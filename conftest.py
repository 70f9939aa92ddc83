"""Help pytest with notebooks: figures, cells without torch, places of failures."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

NO_TORCH = importlib.util.find_spec("torch") is None and os.environ.get("CI") != "true"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def pytest_configure(config: pytest.Config) -> None:
    """Where notebooks are run, let their kernels tell what each figure holds."""
    if config.getoption("nbval", default=False):
        from figure_records import compare_figures  # noqa: PLC0415
        from figures import startup_folder  # noqa: PLC0415
        from nbval.plugin import IPyNbCell  # noqa: PLC0415

        os.environ["IPYTHONDIR"] = startup_folder()
        compare_figures(IPyNbCell)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let nbval skip the cells tagged torch where torch is missing (never in CI)."""
    for item in items:
        cell = getattr(item, "cell", None)
        if NO_TORCH and cell and "torch" in cell.metadata.get("tags", []):
            item.options["skip"] = True


def failed_cells(terminalreporter) -> Iterator[str]:
    """Say page, cell and line of each notebook cell that failed."""
    for report in terminalreporter.stats.get("failed", []):
        found = re.match(r"(.+\.ipynb)::Cell (\d+)$", report.nodeid)
        if not found:
            continue
        import nbformat  # noqa: PLC0415 - bnlib's own tests need no notebooks

        path, count = found[1], int(found[2])
        nb = nbformat.read(Path(terminalreporter.config.rootpath) / path, as_version=4)
        numbers = [i for i, c in enumerate(nb.cells, 1) if c.cell_type == "code"]
        text = ANSI.sub("", report.longreprtext)
        line = re.search(r"Cell In\[\d+\], line (\d+)", text)
        errors = re.findall(r"^(\w*(?:Error|Exception|Interrupt)\b.*)$", text, re.M)
        figure = re.search(r"^The figure differs: .*$", text, re.M)
        what = "its output is not the stored one"
        what = errors[-1] if errors else figure[0] if figure else what
        if "Timeout of" in text:
            what = "it took too long"
        place = f"{path}, cell {numbers[count]}, line {line[1] if line else 1}"
        yield f"{place}: {what}"


def pytest_terminal_summary(terminalreporter) -> None:
    """List the failing cells in words, cells counted from 1, text cells included."""
    places = list(failed_cells(terminalreporter))
    if places:
        terminalreporter.section("failing cells")
        for place in places:
            terminalreporter.line(place)
