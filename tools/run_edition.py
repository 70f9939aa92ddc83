"""Make the run edition: the chapters as notebooks that read well in plain Jupyter.

    python tools/run_edition.py                    into _build/run
    python tools/run_edition.py --out FOLDER       somewhere else
    python tools/run_edition.py --no-solutions     for readers who want a clean sheet

The sources are the book's own notebooks, with their stored outputs. Beside them stands
`bnbook`, a wheel with `bnlib`, `bncheck` and the tables that pages read, so that one
notebook and that file are enough.
"""

from __future__ import annotations

import argparse
import ast
import base64
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml
from contract import toc_pages
from figures import MIME
from notebooks import METADATA, set_ids, tags
from plain_markdown import Index, PlainText, folded
from pybtex.database import Person, parse_file

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "_build" / "run"
PACKAGE = "bnbook"
BRANCH = "run"  # of the repository: Colab and Binder open the edition from there
IMPORTED = ("numpy", "matplotlib", "scikit-learn", "pooch")  # by the pages
READ_BY_PAGES = ("experiments", "frameworks")
GONE = ("colab",)  # the edition has a cell of its own for that
FOLDED_CODE = ("hide-input", "hide-cell")
GUESS = re.compile(r"^:::\{admonition\} Predict first\n.*?(?=\n:::$)", re.S | re.M)
ATTACHED = re.compile(r"\(attachment:(\w+)\.png\)")
AFTER_IT = re.compile(r"^(\*\*What to notice|#+ )", re.M)  # the answer is told there
ASKED = "Guess first. Then run the cells below: their outputs are left out here."
TEX = {r"\beta": "β", r"\gamma": "γ", r"\eta": "η", r"\rho": "ρ", r"\,": " ", "'": "′"}
SETUP = """\
# Run this cell first: it finds the book's packages, or installs them.
import importlib.util
import subprocess
import sys
from pathlib import Path

WHEEL = "{wheel}"
ADDRESS = "{address}"
if not all(map(importlib.util.find_spec, ("bnlib", "bncheck", "bnbook"))):
    beside = [p for p in (Path(WHEEL), Path("..", WHEEL)) if p.exists()]
    source = str(beside[0]) if beside else f"{{ADDRESS}}/{{WHEEL}}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", source]
    if subprocess.run(command).returncode:
        print(f"No network? Lay {{WHEEL}} beside this notebook, and run this again.")
    importlib.invalidate_caches()
import bnbook  # lets the page find its tables"""
GUARD = """\
try:
    import torch
except ModuleNotFoundError:
    print("PyTorch is not installed, so this cell is left out.")
else:
"""
README = """\
# {title}: the run edition

Open `{first}` first, and run its cells from the top.
Each notebook runs by itself. Exercises have their check under them; hints unfold.
Under "Predict first" the outputs are left out: guess, then run the cells.
What you write is yours: a new edition is laid beside it and never over it.

Beside the chapters, in reading order:

{pages}
The glossary stands in the text: rest the mouse on an underlined word.
Notation, the pages on `bnlib` and the list of sources are on the site only.

To run them you need Python 3.11 or newer and Jupyter:

    pip install jupyterlab {wheel}
    jupyter lab

The book itself, with everything linked: {site}
"""


def numbered(page: str) -> str:
    """Return the chapter's number with a point, or nothing for an appendix."""
    found = re.match(r"chapters/0*(\d+)_", page)
    return f"{found[1]}." if found else ""


def cells_of(page: str) -> list[nbformat.NotebookNode]:
    """Return the cells of a page; a text page is one cell."""
    path = ROOT / f"{page}.ipynb"
    if path.exists():
        return nbformat.read(path, as_version=4).cells
    text = (ROOT / f"{page}.md").read_text("utf-8")
    return [nbformat.v4.new_markdown_cell(text)]


def site_address() -> str:
    """Return the address of the published book, from the one place where it stands."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    return config["html"]["baseurl"].rstrip("/")


def place_of(page: str) -> str:
    """Return where links to a page lead: a notebook beside it, or the site."""
    if (ROOT / f"{page}.ipynb").exists():
        return f"{Path(page).name}.ipynb"
    return f"{site_address()}/{page}.html"


def make_index() -> Index:
    """Read from all pages what their names stand for."""
    index = Index()
    for page in toc_pages():
        place, figures, equations = place_of(page), 0, 0
        for cell in cells_of(page):
            if figure := cell.metadata.get("mystnb", {}).get("figure", {}).get("name"):
                figures += 1
                index.numbers[figure] = [place, f"Fig. {numbered(page)}{figures}"]
            if cell.cell_type != "markdown":
                continue
            for label in re.findall(r"^\$\$ \(([\w-]+)\)$", cell.source, re.M):
                equations += 1
                index.numbers[label] = [place, f"Eq. {numbered(page)}{equations}"]
            heads = re.findall(r"^\(([\w-]+)\)=\n+#+ (.+)$", cell.source, re.M)
            index.labels |= {label: [place, title] for label, title in heads}
    index.terms = dict(glossary())
    index.sources = dict(bibliography())
    return index


def glossary() -> Iterator[tuple[str, str]]:
    """Yield each word of the glossary and its definition in plain text."""
    text = (ROOT / "appendix" / "glossary.md").read_text("utf-8")
    text = re.sub(r" See (\{ref\}`[^`]+`(, | and )?)+\.", "", text)
    text = re.sub(r"\{term\}`([^`<]+?)(?: <[^`]+>)?`", r"\1", text)
    text = re.sub(r"\{[\w:]+\}`[^`]+`", "", text)
    body = re.search(r"^:::\{glossary\}\n(.*?)^:::$", text, re.S | re.M)
    if not body:
        raise ValueError("expected a glossary in appendix/glossary.md, found none")
    for entry in re.split(r"\n\s*\n", body[1].strip()):
        words, _, meaning = entry.partition("\n  ")
        for word in words.split("\n"):
            yield word.strip().lower(), without_tex(" ".join(meaning.split()))


def without_tex(text: str) -> str:
    """Write the formulas of a definition in plain characters, for a tooltip."""

    def plain(found: re.Match[str]) -> str:
        made = re.sub(r"\\sqrt\{(.*)\}", r"√(\1)", found[1])
        made = re.sub(r"\\text\{([^{}]*)\}", r"\1", made)
        for tex, character in TEX.items():
            made = made.replace(tex, character)
        if re.search(r"[\\{}^_]", made):
            raise ValueError(f"no plain characters for ${found[1]}$ in the glossary")
        return made.replace("-", "−")

    return re.sub(r"\$([^$]+)\$", plain, text)


def bibliography() -> Iterator[tuple[str, list[str]]]:
    """Yield key, authors, year and address of each source."""
    for key, entry in parse_file(ROOT / "references.bib").entries.items():
        names = [surname(person) for person in entry.persons["author"]]
        two = len(names) == 2
        authors = (
            " and ".join(names) if two else names[0] + " et al." * (len(names) > 2)
        )
        yield key, [authors, entry.fields.get("year", ""), entry.fields.get("url", "")]


def surname(person: Person) -> str:
    """Return the name under which a person is cited."""
    parts = [*person.prelast_names, *person.last_names]
    return " ".join(parts).replace("{", "").replace("}", "")


def differing_numbers(site: Path) -> list[str]:
    """Return the figures and equations that have another number on the built site."""
    faults, index = [], make_index()
    for page in notebook_pages():
        text = (site / f"{page}.html").read_text("utf-8")
        numbers = index.numbers.items()
        own = {name: n for name, (place, n) in numbers if place == place_of(page)}
        for label, number in own.items():
            told = rf'id="{label}".*?caption-number">([^<]*?)\s*<'
            if number.startswith("Eq."):
                told = rf'eqno">\(([\d.]+)\)<a[^>]*href="#equation-{label}"'
            found = re.search(told, text, re.S)
            if not found or found[1].strip() != number.removeprefix("Eq. "):
                there = found[1].strip() if found else "none"
                faults.append(f"{page}, {label}: {number}, on the site {there}")
    return faults


# --- a notebook -----------------------------------------------------------------------


def convert(page: str, index: Index, solutions: bool = True) -> nbformat.NotebookNode:
    """Return the notebook of a page in the run edition."""
    plain = PlainText(index, place_of(page), solutions)
    made = nbformat.v4.new_notebook(metadata=METADATA)
    started = guessing = False
    for cell in cells_of(page):
        if set(GONE) & set(tags(cell)):
            continue
        if cell.cell_type == "markdown":
            guessing = asks_for_a_guess(cell.source, guessing)
            source = GUESS.sub(lambda box: f"{box[0]}\n\n{ASKED}", cell.source)
            if text := plain(source):
                made.cells.append(with_pictures(nbformat.v4.new_markdown_cell(text)))
            continue
        if any("text/html" in out.get("data", {}) for out in cell.outputs):
            made.cells.append(nbformat.v4.new_markdown_cell(on_the_site(page)))
            continue
        if not started:
            started = True
            made.cells.append(setup_cell())
        new = code_cells(cell, plain)
        if guessing:
            new[0].update(outputs=[], execution_count=None)
        made.cells += new
    set_ids(made)
    return made


def with_pictures(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a cell with the still pictures that its text names."""
    for name in ATTACHED.findall(cell.source):
        picture = (ROOT / "explorables" / name / "still.png").read_bytes()
        data = {"image/png": base64.b64encode(picture).decode()}
        cell.setdefault("attachments", {})[f"{name}.png"] = data
    return cell


def asks_for_a_guess(text: str, guessing: bool) -> bool:
    """Say whether the outputs below a text would give away what a reader guesses."""
    boxes = list(GUESS.finditer(text))
    rest = text[boxes[-1].end() :] if boxes else text
    return (guessing or bool(boxes)) and not AFTER_IT.search(rest)


def setup_cell() -> nbformat.NotebookNode:
    """Return the cell that makes the book's packages available."""
    address = f"{site_address()}/run"
    source = SETUP.format(wheel=wheel_name(), address=address)
    return nbformat.v4.new_code_cell(
        source, metadata={"jupyter": {"source_hidden": True}}
    )


def on_the_site(page: str) -> str:
    """Return what stands where a page has something that needs its own scripts."""
    address = f"{site_address()}/{page}.html"
    return f"> This part works on the book's site: [open it]({address})."


def code_cells(cell, plain: PlainText) -> list[nbformat.NotebookNode]:
    """Return a code cell, with its figure's number and caption below it."""
    labels = tags(cell)
    source = guarded(cell.source) if "torch" in labels else cell.source
    new = nbformat.v4.new_code_cell(source)
    new.outputs = [shown(out, plain) for out in cell.outputs]
    new.execution_count = cell.execution_count
    if set(FOLDED_CODE) & set(labels):
        new.metadata["jupyter"] = {"source_hidden": True}
    kept = [label for label in labels if label in ("exercise", "check", "torch")]
    if kept:
        new.metadata["tags"] = kept
    figure = cell.metadata.get("mystnb", {}).get("figure")
    if not figure:
        return [new]
    number = plain.index.numbers[figure["name"]][1]
    caption = f'<a id="{figure["name"]}"></a>**{number}.** {plain(figure["caption"])}'
    image = cell.metadata["mystnb"].get("image", {}).get("alt", "")
    told = "\n".join(folded("The figure in words", [image])) if image else ""
    return [new, nbformat.v4.new_markdown_cell(f"{caption}\n{told}".strip())]


def guarded(source: str) -> str:
    """Let a cell that needs torch say so where torch is not installed."""
    rest = source.replace("import torch\n", "", 1).strip("\n")
    made = GUARD + textwrap.indent(rest, "    ")
    ast.parse(made)
    return made


def shown(output, plain: PlainText):
    """Return an output; text that a cell made is converted too."""
    made = nbformat.from_dict(json.loads(json.dumps(output)))
    data = made.get("data", {})
    data.pop(MIME, None)  # the record of a figure is for the book's own tests
    if "text/markdown" in data:
        data["text/markdown"] = plain("".join(data["text/markdown"]))
    return made


# --- the wheel ------------------------------------------------------------------------

INIT = '''"""What the run edition's notebooks read: tables, and what names mean."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE / "read_by_pages"))


def show_plainly() -> None:
    """Show Markdown that a page makes without the book's own marks."""
    try:
        from IPython import get_ipython
        from IPython.display import Markdown
    except ModuleNotFoundError:
        return
    shell = get_ipython()
    if shell is None:
        return
    from bnbook.plain_markdown import Index, PlainText

    names = json.loads((HERE / "index.json").read_text("utf-8"))
    plain = PlainText(Index(**names))
    formatter = shell.display_formatter.formatters["text/markdown"]
    formatter.for_type(Markdown, lambda shown: plain(shown.data))


show_plainly()
'''
PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "bnbook"
version = "{version}"
description = "What the notebooks of the book on batch normalization need."
requires-python = ">=3.11"
license = "BSD-3-Clause"
dependencies = {needs}

[tool.setuptools.packages.find]
include = ["bnlib*", "bncheck*", "bnbook"]

[tool.setuptools.package-data]
"*" = ["**/*"]
"""


def version() -> str:
    """Read the version from the one place where it stands."""
    text = (ROOT / "bnlib" / "__init__.py").read_text("utf-8")
    return re.findall(r'__version__ = "([\d.]+)"', text)[0]


def needs() -> list[str]:
    """Return what the pages import, with the versions of the book's own project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["book"]]
    found = {re.split(r"[<>=~]", line)[0]: line for line in reversed(lines)}
    return [found[name] for name in IMPORTED]


def wheel_name() -> str:
    """Return the file name of the wheel."""
    return f"{PACKAGE}-{version()}-py3-none-any.whl"


def build_wheel(out: Path, index: Index) -> Path:
    """Build the wheel into a folder."""
    skip = shutil.ignore_patterns("__pycache__", "*.pyc", "requirements", "adapter.py")
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        for name in ("bnlib", "bncheck"):
            shutil.copytree(ROOT / name, room / name, ignore=skip)
        package = room / PACKAGE
        for name in READ_BY_PAGES:
            shutil.copytree(ROOT / name, package / "read_by_pages" / name, ignore=skip)
        (package / "__init__.py").write_text(INIT, "utf-8")
        shutil.copy(ROOT / "tools" / "plain_markdown.py", package)
        names = json.dumps(dataclasses.asdict(index), ensure_ascii=False, indent=1)
        (package / "index.json").write_text(names, "utf-8")
        text = PROJECT.format(version=version(), needs=json.dumps(needs()))
        (room / "pyproject.toml").write_text(text, "utf-8")
        shutil.copy(ROOT / "LICENSE", room)
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"]
        command += ["--no-build-isolation", "-w", str(out), str(room)]
        subprocess.run(command, check=True)
    return out / wheel_name()


# --- the edition ----------------------------------------------------------------------


def notebook_pages() -> list[str]:
    """Return the pages that are notebooks, in reading order."""
    return [page for page in toc_pages() if (ROOT / f"{page}.ipynb").exists()]


def page_list() -> str:
    """Return the pages of the appendix as lines of the README."""
    made = ""
    for page in notebook_pages():
        if page.startswith("appendix/"):
            title = re.findall(r"^# (.+)$", cells_of(page)[0].source, re.M)[0]
            made += f"- `{Path(page).name}.ipynb`: {title}\n"
    return made


def build(out: Path, solutions: bool = True) -> list[Path]:
    """Make the edition in a folder that is made anew, and return its notebooks."""
    index = make_index()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    made = []
    for page in notebook_pages():
        path = out / f"{Path(page).name}.ipynb"
        notebook = convert(page, index, solutions)
        nbformat.validate(notebook)
        path.write_text(nbformat.writes(notebook, version=4) + "\n", "utf-8")
        made.append(path)
    build_wheel(out, index)
    # Binder reads it; the wheel names what it needs.
    (out / "requirements.txt").write_text(f"./{wheel_name()}\n", "utf-8")
    words = {"title": "Batch Normalization", "first": made[0].name}
    words |= {"wheel": wheel_name(), "site": site_address(), "pages": page_list()}
    (out / "README.md").write_text(README.format(**words), "utf-8")
    return made


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--no-solutions", action="store_true")
    given = parser.parse_args(argv)
    made = build(given.out, not given.no_solutions)
    print(f"Done: {len(made)} notebooks and {wheel_name()} in {given.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
