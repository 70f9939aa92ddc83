"""Check the notebook contract: what every page of the book promises its readers.

    python tools/contract.py            all pages; one line per broken promise

Each check is a function of a notebook that yields problems (cell, line, text); cells
are counted from 1, text cells included. tests/book/test_book.py runs them page by page.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import clinic
import nbformat
import prose
import yaml
from notebooks import COLAB, book_address, set_ids, tags

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 25
MAX_HIDDEN_LINES = 40
MAX_BYTES = 1_000_000
KINDS = {"predict", "code", "investigate"}
EXERCISE = re.compile(
    r"^### Exercise (\d+\.\d+) \((\w+), (\d+) min, ([●○]{3})\): (\S.*)$", re.M
)
SOLUTION = re.compile(
    r"^:{3,}\{dropdown\} Solution.*?^```python\n(.*?)^```", re.M | re.S
)
LOG_AXIS = re.compile(r"[xy]scale=\"log\"|set_[xy]scale\(\"log\"")
IMAGES = ("image/png", "image/svg+xml", "image/jpeg")
PLACEHOLDER = re.compile(r"\b(TODO|FIXME|XXX|TBD|lorem ipsum)\b", re.I)
ABSOLUTE = re.compile(
    r"(?<![\w.:/<])/(?:home|root|tmp|usr|work|mnt|Users|var|opt|etc)\b|[\"'][A-Z]:\\"
)
INSTALL = re.compile(r"(^\s*[!%]\s*(pip|conda|mamba|apt|uv)\b)|\bpip install\b", re.M)
DOWNLOAD = re.compile(
    r"urlopen|urlretrieve|requests\.(get|post)|pooch\.|load_mnist\(|wget|curl |"
    r"fetch_openml|torchvision"
)


class Problem(NamedTuple):
    """One broken promise and where it is."""

    cell: int
    line: int
    text: str

    def at(self, page: str) -> str:
        where = f"{page}, cell {self.cell}" if self.cell else page
        where += f", line {self.line}" if self.line else ""
        return f"{where}: {self.text}"


Check = Callable[[nbformat.NotebookNode], Iterator[Problem]]


def code_cells(nb) -> Iterator[tuple[int, nbformat.NotebookNode]]:
    return ((i, c) for i, c in enumerate(nb.cells, 1) if c.cell_type == "code")


def text_cells(nb) -> Iterator[tuple[int, nbformat.NotebookNode]]:
    return ((i, c) for i, c in enumerate(nb.cells, 1) if c.cell_type == "markdown")


def matches(pattern: re.Pattern, source: str) -> Iterator[tuple[int, str]]:
    for found in pattern.finditer(source):
        yield source.count("\n", 0, found.start()) + 1, found.group(0).strip()


def starts_with_title(nb) -> Iterator[Problem]:
    first = nb.cells[0].source if nb.cells else ""
    if not re.match(r"\((ch|app)-[\w-]+\)=\n+# \S", first):
        yield Problem(1, 1, "does not start with a (ch-...)= label and an H1 title")
    for i, cell in list(text_cells(nb))[1:]:
        for line, _ in matches(re.compile(r"^# \S", re.M), prose.without_code(cell)):
            yield Problem(i, line, "a second H1 title")


def ran_in_order(nb) -> Iterator[Problem]:
    for expected, (i, cell) in enumerate(code_cells(nb), 1):
        if cell.execution_count != expected:
            yield Problem(
                i,
                0,
                f"execution count {cell.execution_count}, not {expected}: "
                "run `make notebooks`",
            )
        for out in cell.outputs:
            if out.output_type == "error":
                yield Problem(i, 0, f"stored error {out.ename}: {out.evalue}")
            if out.get("name") == "stderr":
                yield Problem(i, 0, f"stored warning: {out.text.strip()[:80]}")


def has_stable_ids(nb) -> Iterator[Problem]:
    wanted = nbformat.from_dict(nb)
    set_ids(wanted)
    for i, (cell, want) in enumerate(zip(nb.cells, wanted.cells, strict=True), 1):
        if cell.get("id") != want["id"]:
            yield Problem(i, 0, "changed after it was executed: run `make notebooks`")


def has_captions(nb) -> Iterator[Problem]:
    names: set[str] = set()
    for i, cell in code_cells(nb):
        images = [
            o for o in cell.outputs if any(k in o.get("data", {}) for k in IMAGES)
        ]
        if not images or "remove-output" in tags(cell):
            continue
        meta = cell.metadata.get("mystnb", {})
        figure, image = meta.get("figure", {}), meta.get("image", {})
        if len(images) > 1:
            yield Problem(i, 0, f"{len(images)} figures in one cell")
        if len(str(image.get("alt", "")).split()) < 5:
            yield Problem(i, 0, "figure without alt text (mystnb.image.alt)")
        if not str(figure.get("caption", "")).strip():
            yield Problem(i, 0, "figure without caption (mystnb.figure.caption)")
        name = str(figure.get("name", ""))
        if not name.startswith("fig-") or name in names:
            yield Problem(i, 0, f"figure name {name!r} is missing, odd or used twice")
        names.add(name)
        logs = len(LOG_AXIS.findall(cell.source)) + 2 * (".loglog(" in cell.source)
        if logs > cell.source.count("log scale"):
            yield Problem(i, 0, "a logarithmic axis does not say (log scale)")


def has_short_cells(nb) -> Iterator[Problem]:
    for i, cell in code_cells(nb):
        hidden = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
        limit = MAX_HIDDEN_LINES if hidden & set(tags(cell)) else MAX_LINES
        count = len(cell.source.splitlines())
        if count > limit:
            yield Problem(i, limit + 1, f"{count} lines of code, more than {limit}")


def is_self_contained(nb) -> Iterator[Problem]:
    for i, cell in enumerate(nb.cells, 1):
        if "colab" in tags(cell):
            continue
        checks = [(PLACEHOLDER, "leftover"), (ABSOLUTE, "absolute path")]
        if cell.cell_type == "code":
            checks += [(INSTALL, "installs"), (DOWNLOAD, "downloads")]
        for pattern, what in checks:
            for line, found in matches(pattern, cell.source):
                yield Problem(i, line, f"{what}: {found}")


def has_colab_cell(nb) -> Iterator[Problem]:
    found = [(i, c) for i, c in code_cells(nb) if "colab" in tags(c)]
    wanted = {
        COLAB.format(url=book_address(), folder=folder)
        for folder in ("chapters", "appendix")
    }
    if len(found) != 1 or found[0][1].source not in wanted:
        yield Problem(2, 0, "no fresh Colab cell: run `make notebooks`")
    elif found[0][0] != next(i for i, _ in code_cells(nb)):
        yield Problem(found[0][0], 0, "the Colab cell is not the first code cell")


class Exercise(NamedTuple):
    """An exercise of a notebook: its heading, its stub and its solution."""

    key: str
    kind: str
    cell: int
    stub: str
    check: str
    solution: str
    hints: int


def parts(nb) -> Iterator[tuple[int, str, nbformat.NotebookNode | None]]:
    """Yield (cell number, text of a section or "", code cell or None) in order."""
    for i, cell in enumerate(nb.cells, 1):
        if cell.cell_type == "code":
            yield i, "", cell
        elif cell.cell_type == "markdown":
            blank = prose.without_code(cell)
            cuts = [m.start() for m in re.finditer(r"^#{1,3} ", blank, re.M)]
            source = cell.source.splitlines(keepends=True)
            starts = [0, *(blank.count("\n", 0, cut) for cut in cuts), len(source)]
            for start, stop in pairwise(starts):
                if stop > start:
                    yield i, "".join(source[start:stop]), None


def exercises(nb) -> list[Exercise]:
    """Collect the exercises; a missing part is an empty string."""
    found: list[Exercise] = []
    inside = False
    for i, text, cell in parts(nb):
        if re.match(r"#{1,3} ", text):
            head = EXERCISE.match(text)
            inside = bool(head)
            if head:
                found.append(Exercise(head[1], head[2], i, "", "", "", 0))
        if not inside:
            continue
        now = found[-1]
        if cell is not None:
            for tag, part in (("exercise", "stub"), ("check", "check")):
                if tag in tags(cell):
                    now = now._replace(**{part: cell.source})
        else:
            hints = len(re.findall(r"^:{3,}\{dropdown\} Hint", text, re.M))
            now = now._replace(hints=now.hints + hints)
            solution = SOLUTION.search(text)
            if solution:
                now = now._replace(solution=solution[1])
        found[-1] = now
    return found


def has_exercises(nb) -> Iterator[Problem]:
    found = exercises(nb)
    kinds = {e.kind for e in found}
    if len(found) < 3 or not kinds >= KINDS:
        yield Problem(
            0,
            0,
            f"{len(found)} exercises of the kinds {sorted(kinds)}: "
            "needs at least three: predict, code, investigate",
        )
    for i, cell in text_cells(nb):
        for line, head in matches(re.compile(r"^#+ Exercise\b.*$", re.M), cell.source):
            if not EXERCISE.match(head):
                yield Problem(
                    i,
                    line,
                    'heading is not like "### Exercise 3.2 (code, 10 min, ●●○): title"',
                )
    keys = [e.key for e in found]
    for e in found:
        if e.kind not in KINDS:
            yield Problem(e.cell, 1, f"exercise {e.key}: unknown kind {e.kind}")
        if keys.count(e.key) > 1:
            yield Problem(e.cell, 1, f"exercise {e.key}: number used twice")
        for part in ("stub", "check", "solution", "hints"):
            if not getattr(e, part):
                yield Problem(e.cell, 1, f"exercise {e.key}: no {part}")
        if e.check and f'check("{e.key}",' not in e.check:
            yield Problem(e.cell, 1, f"exercise {e.key}: its check has another number")


def has_parts(nb) -> Iterator[Problem]:
    text = "\n".join(c.source for _, c in text_cells(nb))
    for heading in ("Recap", "Check yourself", "Exercises", "Further reading"):
        if not re.search(rf"^##+ .*{heading}", text, re.M | re.I):
            yield Problem(0, 0, f"no section {heading!r}")
    if not re.search(r"^:{3,}\{quiz\}", text, re.M):
        yield Problem(0, 0, "no quiz (:::{quiz}) to check oneself")


def reads_well(nb) -> Iterator[Problem]:
    lengths: list[int] = []
    for i, cell in text_cells(nb):
        for line, text in prose.faults(cell.source):
            yield Problem(i, line, text)
        lengths += [len(s.split()) for _, s in prose.sentences(cell.source)]
    if lengths and statistics.median(lengths) > prose.MEDIAN:
        median = statistics.median(lengths)
        yield Problem(
            0, 0, f"median sentence of {median} words: {prose.MEDIAN} at most"
        )


def has_image_text(nb) -> Iterator[Problem]:
    for i, cell in text_cells(nb):
        for line, found in matches(re.compile(r"!\[\s*\]\([^)]*\)"), cell.source):
            yield Problem(i, line, f"image without alt text: {found}")
        figures = re.compile(
            r"^:{3,}\{(?:figure|image)\}[^\n]*\n(?!(?::\w+:.*\n)*:alt:)", re.M
        )
        for line, found in matches(figures, cell.source):
            yield Problem(i, line, f"image without :alt: {found}")


def has_whole_cases(nb) -> Iterator[Problem]:
    for case in clinic.cases(nb):
        for text in clinic.lacks(case):
            yield Problem(case.cell, 0, f"case {case.anchor}: {text}")


EVERY_PAGE: tuple[Check, ...] = (
    starts_with_title,
    ran_in_order,
    has_stable_ids,
    has_captions,
    has_short_cells,
    is_self_contained,
    has_colab_cell,
    has_image_text,
    reads_well,
)
EVERY_CHAPTER: tuple[Check, ...] = (has_parts, has_exercises)
EVERY_CLINIC_PAGE: tuple[Check, ...] = (has_whole_cases,)


def check_notebook(path: Path) -> list[Problem]:
    """Run every check that applies to one notebook."""
    found = []
    if path.stat().st_size >= MAX_BYTES:
        found.append(Problem(0, 0, f"{path.stat().st_size} bytes, a million or more"))
    nb = nbformat.read(path, as_version=4)
    checks = EVERY_PAGE
    if path.parent.name == "chapters":
        is_clinic = clinic.PAGE.fullmatch(path.stem)
        checks += EVERY_CLINIC_PAGE if is_clinic else EVERY_CHAPTER
    for check in checks:
        found += check(nb)
    return found


def check_text_page(path: Path) -> list[Problem]:
    """Check the prose of a Markdown page; cell 0 stands for the page."""
    source = path.read_text("utf-8")
    page = nbformat.from_dict({"cells": [nbformat.v4.new_markdown_cell(source)]})
    found = [*reads_well(page), *has_image_text(page), *is_self_contained(page)]
    return [p._replace(cell=0) for p in found]


def toc_pages(root: Path = ROOT) -> list[str]:
    """List the pages of the table of contents, without their endings."""
    toc = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    pages = [toc["root"]]

    def walk(entry) -> None:
        if isinstance(entry, dict):
            if "file" in entry:
                pages.append(entry["file"])
            for value in entry.values():
                walk(value)
        elif isinstance(entry, list):
            for value in entry:
                walk(value)

    walk(toc.get("parts", []) + toc.get("chapters", []))
    return pages


def check_toc(root: Path = ROOT) -> list[str]:
    """Compare the table of contents with the files."""
    pages = toc_pages(root)
    found = []
    for page in pages:
        hits = [e for e in (".ipynb", ".md") if (root / f"{page}{e}").is_file()]
        if len(hits) != 1:
            found.append(f"_toc.yml: {page}: {len(hits)} files with this name, not one")
    for folder in ("chapters", "appendix"):
        for path in sorted((root / folder).glob("*")):
            page = f"{folder}/{path.stem}"
            if path.suffix in (".ipynb", ".md") and page not in pages:
                found.append(f"{page}{path.suffix}: not in _toc.yml")
    found += [f"_toc.yml: {p}: twice" for p in set(pages) if pages.count(p) > 1]
    return found


def check_book(root: Path = ROOT) -> list[str]:
    """Check every page; one line per problem."""
    found = check_toc(root)
    for page in toc_pages(root):
        notebook, text = root / f"{page}.ipynb", root / f"{page}.md"
        if notebook.is_file():
            found += [p.at(f"{page}.ipynb") for p in check_notebook(notebook)]
        elif text.is_file():
            found += [p.at(f"{page}.md") for p in check_text_page(text)]
    return found


def main(argv: list[str] | None = None) -> int:
    names = sys.argv[1:] if argv is None else argv
    problems = (
        [p.at(n) for n in names for p in check_notebook(Path(n))]
        if names
        else check_book()
    )
    print(*problems, sep="\n", end="\n" if problems else "")
    what = ", ".join(names) or f"{len(toc_pages())} pages"
    print(f"{'Failed' if problems else 'Done'}: {what}, {len(problems)} problems.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
