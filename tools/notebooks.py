"""Execute the book's notebooks in place, so that a second run changes no byte.

    python tools/notebooks.py                         the book and the problem sets
    python tools/notebooks.py chapters/03_*.ipynb     these only
    python tools/notebooks.py --from draft.md chapters/03_x.ipynb
                                                      text draft (jupytext) to notebook

Each notebook runs in a fresh kernel in its own folder. Timestamps and machine-dependent
metadata are left out, cell ids come from the cell's source, and the file is replaced
only when every cell has succeeded. The cell for Colab is written here, from the address
in _config.yml.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import jupytext
import nbformat
import yaml
from figures import startup_folder
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("chapters", "appendix")
SETS = (
    "coursework/sets"  # problem sets: no page of the site, but stored in the same way
)
KEPT = ("mystnb", "tags", "answer", "variant", "listing")
CELL_TIMEOUT = 300  # seconds; a whole chapter is meant to take less than 90
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}
COLAB = """\
# On Colab this cell fetches the book's files. Anywhere else it does nothing.
import os
import subprocess
import sys

if "google.colab" in sys.modules and not os.path.isdir("../bnlib"):
    address = "{url}"
    subprocess.run(["git", "clone", "--depth=1", address, "book"], check=True)
    os.chdir("book/{folder}")
    sys.path.insert(0, os.path.abspath(".."))"""


class CellFailedError(Exception):
    """A cell of a notebook did not run to its end."""


def all_notebooks(root: Path = ROOT) -> list[Path]:
    """List the notebooks of the book in reading order of their names."""
    return [p for folder in FOLDERS for p in sorted((root / folder).glob("*.ipynb"))]


def problem_sets(root: Path = ROOT) -> list[Path]:
    """List the notebooks of the coursework, with their solutions."""
    return sorted((root / SETS).glob("*.ipynb"))


def book_address(root: Path = ROOT) -> str:
    """Read the repository's address from the one place where it stands."""
    return yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"][
        "url"
    ]


def tags(cell) -> list[str]:
    return cell.get("metadata", {}).get("tags", [])


def set_colab_cell(nb, url: str, folder: str) -> None:
    """Put the generated Colab cell right after the title, replacing an older one."""
    nb.cells = [c for c in nb.cells if "colab" not in tags(c)]
    if not any(c.cell_type == "code" for c in nb.cells):
        return
    cell = nbformat.v4.new_code_cell(COLAB.format(url=url, folder=folder))
    cell.metadata["tags"] = ["colab", "remove-cell"]
    first = nb.cells[0] if nb.cells else None
    nb.cells.insert(1 if first and first.cell_type == "markdown" else 0, cell)


def set_ids(nb) -> None:
    """Give each cell an id made of its source and its place among equal cells."""
    seen: Counter[str] = Counter()
    for cell in nb.cells:
        text = f"{cell.cell_type}\n{cell.source}"
        key = hashlib.sha256(text.encode()).hexdigest()[:8]
        seen[key] += 1
        cell["id"] = key if seen[key] == 1 else f"{key}-{seen[key]}"


def tidy(nb) -> None:
    """Keep the sources and the metadata that the book uses; drop all the rest."""
    nb.metadata = nbformat.from_dict(METADATA)
    nb.nbformat, nb.nbformat_minor = 4, 5
    for cell in nb.cells:
        cell.source = cell.source.strip("\n")
        kept = {k: cell.metadata[k] for k in KEPT if k in cell.metadata}
        cell.metadata = nbformat.from_dict(kept)
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None


def tidy_outputs(outputs: list) -> list:
    """Join the pieces of each stream, which arrive cut at chance places."""
    kept: list = []
    for out in outputs:
        last = kept[-1] if kept else None
        if (
            last is not None
            and out.output_type == last.output_type == "stream"
            and out.name == last.name
        ):
            last.text += out.text
            continue
        if "metadata" in out:
            out.metadata = nbformat.from_dict({})
        kept.append(out)
    return kept


def failing_line(traceback: str) -> str:
    """Find the line of the cell in a traceback, as ", line 3" or as nothing."""
    found = re.search(r"Cell In\[\d+\], line (\d+)", traceback)
    return f", line {found[1]}" if found else ""


def run_cells(nb, folder: Path, name: str, progress=print) -> None:
    """Run every code cell in one fresh kernel, in order."""
    client = NotebookClient(
        nb,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(folder)}},
    )
    with client.setup_kernel(env=dict(os.environ, IPYTHONDIR=startup_folder())):
        for number, cell in enumerate(nb.cells, start=1):
            if cell.cell_type != "code":
                continue
            try:
                client.execute_cell(cell, number - 1)
            except CellExecutionError as error:
                trace = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)
                where = f"{name}, cell {number}{failing_line(trace)}"
                what = f"{error.ename}: {error.evalue}"
                raise CellFailedError(f"{where}: {what}\n{trace.strip()}") from None
            except (CellTimeoutError, DeadKernelError) as error:
                what = str(error).strip().splitlines()[0]
                raise CellFailedError(f"{name}, cell {number}: {what}") from None
            cell.outputs = tidy_outputs(cell.outputs)


def write(nb, path: Path) -> bool:
    """Write a notebook whole or not at all; say whether a byte changed."""
    nbformat.validate(nb)
    text = nbformat.writes(nb, version=4) + "\n"
    if path.exists() and path.read_text("utf-8") == text:
        return False
    part = path.with_suffix(".ipynb.part")
    part.write_text(text, "utf-8", newline="\n")
    os.replace(part, path)
    return True


def execute(path: Path, root: Path = ROOT, draft: Path | None = None) -> bool:
    """Execute one notebook (or a text draft of it) and store it at `path`."""
    nb = jupytext.read(draft) if draft else nbformat.read(path, as_version=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        name = path.resolve().relative_to(root).as_posix()
    except ValueError:
        name = path.name
    tidy(nb)
    if not name.startswith(f"{SETS}/"):
        set_colab_cell(nb, book_address(root), path.resolve().parent.name)
    set_ids(nb)
    run_cells(nb, path.parent, name)
    return write(nb, path)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--from", dest="draft", type=Path, metavar="DRAFT")
    args = parser.parse_args(argv)
    if args.draft and len(args.notebooks) != 1:
        parser.error("--from needs the name of exactly one notebook")
    paths = args.notebooks or [*all_notebooks(), *problem_sets()]
    for name in THREADS:
        os.environ.setdefault(name, "1")
    if any(path.resolve().is_relative_to(ROOT / "coursework") for path in paths):
        cases = [sys.executable, "-m", "coursework.grader.public"]
        subprocess.run(cases, cwd=ROOT, check=True)  # what their checks compare with
    changed = 0
    for number, path in enumerate(paths, start=1):
        print(f"[{number}/{len(paths)}] {path} ", end="", flush=True)
        start = time.perf_counter()
        try:
            new = execute(path, draft=args.draft)
        except CellFailedError as error:
            print("FAILED")
            print(error)
            print(f"Stopped: {str(error).splitlines()[0]}. {path} was left as it was.")
            return 1
        changed += new
        seconds = time.perf_counter() - start
        print(f"{'changed' if new else 'unchanged'}, {seconds:.0f} s", flush=True)
    print(f"Done: {len(paths)} notebooks executed, {changed} changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
