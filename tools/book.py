"""Build the site strictly and check that every page of the contents is there.

Every warning is an error, shown with its page; in a notebook also with the cell
(counted from 1, text cells included) and the line. The whole site is built anew each
time, in seconds: a page that has not changed cannot hide a warning.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import run_edition
from contract import check_toc, toc_pages

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
CELL = 10_000  # myst-nb reports line 3 of cell 2 as line 20003
WHERE = re.compile(r"^(?P<page>.+?\.(?:ipynb|md|py|bib))\S*?:(?P<line>\d+)?:? ?")
LEVEL = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def name_place(line: str, root: Path = ROOT) -> str:
    """Say page, cell and line in words at the start of a Sphinx message."""
    line = line.replace(f"{root}{os.sep}", "")
    found = WHERE.match(line)
    if not found:
        return line
    place, number = found["page"], int(found["line"] or 0)
    if place.endswith(".ipynb") and number >= CELL:
        place += f", cell {number // CELL}"
        number %= CELL
    if number:
        place += f", line {number}"
    return f"{place}: {line[found.end() :]}"


def run_sphinx(site: Path = SITE) -> tuple[int, list[str]]:
    """Build into a fresh folder; show progress; return messages with their places."""
    shutil.rmtree(site.parent, ignore_errors=True)
    start = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", ".", "--all"]
    command += ["-W", "-n", "--keep-going"]
    messages: list[str] = []
    environment = dict(os.environ, PYTHONWARNINGS="ignore")
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output: list[str] = []
        for raw in process.stdout:
            line = ANSI.sub("", raw).rstrip()
            output.append(line)
            if LEVEL.search(line):
                messages.append(name_place(line))
                print(f"  {messages[-1]}", flush=True)
            elif re.match(r"(reading sources|writing output)\.\.\. \[100%\]", line):
                print(f"  {line.split('...')[0]}: done", flush=True)
    if process.returncode and not messages:
        print("\n".join(output[-40:]))
    return process.returncode, messages


def missing_pages(site: Path = SITE) -> list[str]:
    """List the pages of the contents that the build did not write."""
    return [page for page in toc_pages() if not (site / f"{page}.html").is_file()]


def misnumbered_pages(site: Path = SITE) -> list[str]:
    """List the chapters whose number on the page is not that of their file."""
    wrong = []
    for page in toc_pages():
        name = re.match(r"chapters/0*(\d+)_", page)
        path = site / f"{page}.html"
        if name and path.is_file():
            heading = re.search(
                r'<h1>.*?section-number">([\d.]+)', path.read_text("utf-8")
            )
            if not heading or heading[1] != f"{name[1]}.":
                wrong.append(page)
    return wrong


def offer_run_edition(site: Path = SITE) -> list[str]:
    """Let the buttons of each page give its notebook in the run edition.

    Returns the figures and equations that have another number there.
    """
    run_edition.build(site / "run")
    for page in run_edition.notebook_pages():
        name = f"{Path(page).name}.ipynb"
        shutil.copy(site / "run" / name, site / "_sources" / f"{page}.ipynb")
        path = site / f"{page}.html"
        text = path.read_text("utf-8")
        folder = Path(page).parent.as_posix()
        for old, new in (
            (f"/blob/main/{folder}/{name}", f"/blob/{run_edition.BRANCH}/{name}"),
            (
                f"/main?urlpath=lab/tree/{folder}/{name}",
                f"/{run_edition.BRANCH}?urlpath=lab/tree/{name}",
            ),
        ):
            if old not in text:
                return [f"{page}: expected a button that leads to {old}"]
            text = text.replace(old, new)
        path.write_text(text, "utf-8", newline="\n")
    return run_edition.differing_numbers(site)


def leaked_solutions(site: Path = SITE) -> list[str]:
    """List the files of the site that hold a solution of the coursework."""
    texts = (".html", ".ipynb", ".md", ".txt", ".js", ".json")
    return [
        str(path.relative_to(site))
        for path in sorted(site.rglob("*"))
        if path.suffix in texts
        and re.search(rb"(BEGIN|END) SOLUTION", path.read_bytes())
    ]


def main() -> int:
    start = time.perf_counter()
    pages = toc_pages()
    print(f"Building {len(pages)} pages; a warning is an error.", flush=True)
    faults = check_toc()
    if faults:
        print(*(f"  {f}" for f in faults), sep="\n")
        print(f"Stopped: {faults[0]}")
        return 1
    code, messages = run_sphinx()
    missing = missing_pages()
    for page in missing:
        print(f"  {page}: in _toc.yml, but not built")
    misnumbered, leaked = misnumbered_pages(), leaked_solutions()
    edition = [] if code or missing else offer_run_edition()
    if code or messages or missing or misnumbered or leaked or edition:
        faults = messages + [f"{page} was not built" for page in missing] + edition
        faults += [f"{page} has another number on its page" for page in misnumbered]
        faults += [f"{page} holds a solution of the coursework" for page in leaked]
        first = faults[0] if faults else "see above"
        count = len(faults)
        print(f"Stopped: {count} problems in the pages; the first: {first}")
        return 1
    seconds = time.perf_counter() - start
    index = SITE.relative_to(ROOT) / "index.html"
    print(
        f"Done: {len(pages)} pages built without a warning in {seconds:.0f} s. "
        f"Open {index}, or run `make serve`."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
