"""The pages keep their promises, and the checks of those promises can fail."""

from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import bn_math
import bn_site
import book
import check_links
import contract
import nbformat
import notebooks
import prose
import pygments
import pytest
import yaml
from plain_markdown import shuffled
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parents[2]
PAGES = contract.toc_pages()
DRAFT = """
(ch-sample)=
# Transform a sample

We look at one sample.
---code
rng = [1, 2, 3]
print(sum(rng))
---code fig
print("a figure")
---text
## Recap

- A sentence that we keep.

## Check yourself

:::{quiz} Which is right?
- [x] This one | It is.
- [ ] That one | It is not.
:::

## Exercises
---exercise 3.1 predict
---exercise 3.2 code
---exercise 3.3 investigate
---text
## Further reading

- A book.
"""


def sample():
    """Build a small notebook that keeps every promise, as if it had been executed."""
    nb = nbformat.v4.new_notebook()
    for piece in DRAFT.strip("\n").split("\n---"):
        head, _, body = piece.partition("\n")
        if head.startswith("exercise"):
            _, key, kind = head.split()
            name = f"answer_{key.replace('.', '_')}"
            text = f"### Exercise {key} ({kind}, 3 min, ●○○): Set it\n\nSet it to one."
            hints = f"""\
:::{{dropdown}} Hint 1
It is small.
:::

:::{{dropdown}} Solution
```python
{name} = 1
```
:::"""
            stub = nbformat.v4.new_code_cell(f"{name} = None")
            stub.metadata["tags"] = ["exercise"]
            check = nbformat.v4.new_code_cell(f'check("{key}", {name})')
            check.metadata["tags"] = ["check"]
            new = nbformat.v4.new_markdown_cell
            nb.cells += [new(text), stub, check, new(hints)]
        elif head.startswith("code"):
            nb.cells.append(nbformat.v4.new_code_cell(body))
        else:
            text = body if head == "text" else piece
            nb.cells.append(nbformat.v4.new_markdown_cell(text))
    figure = nb.cells[2]
    data = {"image/png": "AAAA", "text/plain": "<Figure>"}
    figure.outputs = [nbformat.v4.new_output("display_data", data)]
    figure.metadata["mystnb"] = {
        "image": {"alt": "A line that rises from zero to one."},
        "figure": {"caption": "A line.", "name": "fig-line"},
    }
    notebooks.set_colab_cell(nb, notebooks.book_address(), "chapters")
    finish(nb)
    return nb


def finish(nb) -> None:
    """Number the cells as an execution would."""
    code = (cell for cell in nb.cells if cell.cell_type == "code")
    for count, cell in enumerate(code, 1):
        cell.execution_count = count
    notebooks.set_ids(nb)


def stored(nb, folder: Path) -> list[contract.Problem]:
    """Write a notebook as a chapter and check it."""
    path = folder / "chapters" / "03_sample.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)
    return contract.check_notebook(path)


@pytest.mark.parametrize("page", PAGES)
def test_page_keeps_the_contract(page):
    path = ROOT / f"{page}.ipynb"
    if path.is_file():
        problems = contract.check_notebook(path)
    else:
        problems = contract.check_text_page(ROOT / f"{page}.md")
    assert not problems, "\n".join(p.at(page) for p in problems)


def test_contents_and_files_agree():
    assert contract.check_toc() == []


def test_sample_keeps_the_contract(tmp_path):
    assert stored(sample(), tmp_path) == []


def code(nb, number):
    return [c for c in nb.cells if c.cell_type == "code"][number]


def text(nb, start):
    return next(c for c in nb.cells if c.source.startswith(start))


def replace(start, old, new):
    def change(nb):
        cell = text(nb, start)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return change


def appended(line, number=1):
    def change(nb):
        code(nb, number).source += f"\n{line}"

    return change


def output(kind, **fields):
    def change(nb):
        code(nb, 1).outputs = [nbformat.v4.new_output(kind, **fields)]

    return change


def without(key):
    def change(nb):
        del code(nb, 2).metadata["mystnb"][key]

    return change


FAULTS = {
    "no label": (replace("(ch-", "(ch-sample)=\n", ""), "label"),
    "two titles": (replace("## Recap", "## Recap", "# Recap"), "second H1"),
    "not executed": (
        lambda nb: code(nb, 3).update(execution_count=None),
        "execution count None",
    ),
    "out of order": (lambda nb: code(nb, 3).update(execution_count=9), "count 9"),
    "error": (
        output("error", ename="ValueError", evalue="bad", traceback=[]),
        "stored error ValueError",
    ),
    "warning": (output("stream", name="stderr", text="oh"), "stored warning"),
    "no alt": (without("image"), "alt text"),
    "no caption": (without("figure"), "caption"),
    "silent log axis": (
        lambda nb: code(nb, 2).update(source='ax.set(xscale="log", xlabel="m")'),
        "logarithmic axis",
    ),
    "two figures": (
        lambda nb: code(nb, 2).outputs.append(code(nb, 2).outputs[0]),
        "2 figures",
    ),
    "long cell": (
        lambda nb: code(nb, 1).update(source="\n".join("x = 1" for _ in range(26))),
        "26 lines",
    ),
    "pip": (appended("%pip install torch"), "installs"),
    "download": (appended("urllib.request.urlretrieve(a)"), "downloads"),
    "absolute path": (appended('open("/home/me/data.csv")'), "absolute path"),
    "placeholder": (replace("## Recap", "keep.", "keep. TODO"), "leftover"),
    "stale colab": (
        lambda nb: code(nb, 0).update(source="import sys"),
        "no fresh Colab cell",
    ),
    "no recap": (replace("## Recap", "## Recap", "## End"), "no section 'Recap'"),
    "no reading": (
        replace("## Further", "## Further reading", "## More"),
        "no section 'Further",
    ),
    "no quiz": (replace("## Recap", "{quiz}", "{note}"), "no quiz"),
    "no kind": (
        replace("### Exercise 3.1", "(predict", "(code"),
        "needs at least three",
    ),
    "odd heading": (replace("### Exercise 3.1", "3 min", "short"), "heading is not"),
    "no stub": (lambda nb: code(nb, 3).metadata.clear(), "3.1: no stub"),
    "no check": (lambda nb: code(nb, 4).metadata.clear(), "3.1: no check"),
    "wrong check": (
        lambda nb: code(nb, 4).update(source='check("3.9", answer_3_1)'),
        "another number",
    ),
    "no solution": (replace(":::{dropdown} Hint", "```python", "```"), "no solution"),
    "no hint": (replace(":::{dropdown} Hint", "Hint 1", "Idea"), "no hint"),
    "avoided word": (replace("## Recap", "we keep", "we just keep"), "'just'"),
    "momentum": (replace("## Recap", "we keep", "has momentum"), "'momentum'"),
    "long sentence": (
        replace("## Recap", "we keep", " ".join(["word"] * 31)),
        "sentence of",
    ),
    "no alt in text": (replace("## Recap", "- A", "![](a.png)\n- A"), "image without"),
    "changed later": (
        lambda nb: code(nb, 1).update(source="rng = [4]", id="0"),
        "changed after",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_contract_sees_a_fault(name, tmp_path):
    change, message = FAULTS[name]
    nb = sample()
    change(nb)
    if name != "changed later":
        notebooks.set_ids(nb)
    problems = stored(nb, tmp_path)
    assert any(message in p.text for p in problems), problems


def test_contents_see_a_missing_and_a_forgotten_page(tmp_path):
    (tmp_path / "_toc.yml").write_text("root: index\nchapters:\n- file: chapters/a\n")
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "b.ipynb").touch()
    found = " ".join(contract.check_toc(tmp_path))
    assert "index: 0 files" in found
    assert "chapters/a: 0 files" in found
    assert "b.ipynb: not in _toc.yml" in found


def test_sentences_leave_code_and_mathematics_out():
    source = """\
# A heading is no sentence

The mean $\\mu$ and `x.mean()` count as one word each
over two lines. A second one, Eq. 3 and Fig. 4, ends here.

$$ y = x $$ (eq-y)

| a | table |

- An item ({cite:p}`a2015`).
```python
no = "prose here"
```
"""
    found = [s for _, s in prose.sentences(source)]
    assert [len(s.split()) for s in found] == [13, 10, 3]
    assert [n for n, _ in prose.sentences(source)] == [3, 4, 10]


def test_places_in_warnings_are_cells_and_lines():
    line = f"{ROOT}/chapters/a.ipynb:20003: WARNING: undefined label"
    wanted = "chapters/a.ipynb, cell 2, line 3: WARNING: undefined label"
    assert book.name_place(line) == wanted
    assert book.name_place("index.md:7: ERROR: x") == "index.md, line 7: ERROR: x"


def test_link_check_sees_broken_links(tmp_path):
    page = '<a href="b.html#x">b</a><a href="c.html">c</a><p id="y"><a href="#y">y</a>'
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "b.html").write_text("<p id='z'></p>")
    count, faults = check_links.broken(tmp_path)
    assert count == 3
    assert len(faults) == 2
    assert "b.html#x" in faults[0]
    assert "c.html" in faults[1]


def test_execution_is_reproducible_and_all_or_nothing(tmp_path):
    (tmp_path / "_config.yml").write_text("repository: {url: 'https://a.org/b'}")
    path = tmp_path / "chapters" / "x.ipynb"
    path.parent.mkdir()
    nb = nbformat.v4.new_notebook()
    new = nbformat.v4.new_code_cell
    nb.cells = [new("import os"), new("for i in range(3):\n    print(i, flush=True)")]
    nb.cells += [new("print(os.path.basename(os.getcwd()))"), new("import os")]
    nbformat.write(nb, path)
    assert notebooks.execute(path, tmp_path)
    first = path.read_bytes()
    assert b"chapters" in first
    assert not notebooks.execute(path, tmp_path)
    assert path.read_bytes() == first
    nb = nbformat.read(path, as_version=4)
    assert len({cell.id for cell in nb.cells}) == len(nb.cells)
    nb.cells.append(new("x = 1\nx / 0"))
    nbformat.write(nb, path)
    before = path.read_bytes()
    with pytest.raises(
        notebooks.CellFailedError, match=r"x\.ipynb, cell 6, line 2: ZeroDiv"
    ):
        notebooks.execute(path, tmp_path)
    assert path.read_bytes() == before


def text_files() -> list[Path]:
    kinds = {".md", ".py", ".yml", ".toml", ".txt", ".cff", ".bib", ".css", ".js"}
    named = [ROOT / "Makefile", ROOT / ".ci" / "run"]
    hidden = {"_build", "_vendor", "build", "node_modules"}
    found = [
        p
        for p in ROOT.rglob("*")
        if p.suffix in kinds
        and not any(
            part in hidden or (part.startswith(".") and part != ".github")
            for part in p.relative_to(ROOT).parts[:-1]
        )
    ]
    return [*named, *found]


def test_address_of_the_repository_stands_in_one_place():
    address = notebooks.book_address().removeprefix("https://")
    places = [p.name for p in text_files() if address in p.read_text("utf-8")]
    assert places == ["_config.yml"]


def test_no_file_names_a_folder_of_one_machine():
    private = re.compile(r"(?<![\w.<])/(work|tmp|home|root|Users)/\w|\.\./shared\b")
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]}"
        for path in [*text_files(), *notebooks.all_notebooks()]
        if path.name != "test_book.py"
        for hit in private.finditer(path.read_text("utf-8"))
    ]
    assert not found


def test_every_source_of_the_bibliography_is_complete():
    entries = (ROOT / "references.bib").read_text("utf-8").split("\n@")[1:]
    keys = [e.split("{")[1].split(",")[0] for e in entries]
    assert len(keys) == len(set(keys))
    for key, entry in zip(keys, entries, strict=True):
        for field in ("author", "title", "year"):
            assert re.search(rf"^  {field} = ", entry, re.M), f"{key}: no {field}"


def test_citation_file_is_valid():
    card = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "title", "authors", "message"} <= set(card)


def test_lock_pins_everything_and_names_no_host():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.match(r"[\w.\[\]-]+==[\w.+]+( ;.*)?$", line) for line in pins)
    assert pins[-1].startswith("torch==")
    assert "://" not in "".join(lines)


def test_each_line_of_code_is_an_element_and_no_letter_changes():
    source = "def f(x):\n\n    return x  # a < b\n"
    formatter = bn_site.LinesFormatter(nowrap=False)
    made = pygments.highlight(source, PythonLexer(), formatter)
    assert made.count('<span class="line">') == 3
    plain = html.unescape(re.sub(r"<[^>]+>", "", made))
    assert plain.strip("\n") == source.strip("\n")


def test_a_page_without_formulas_needs_no_sheet_for_them():
    formula = bn_math.typeset(r"\frac{x}{m}", display=False)
    assert bn_site.has_formulas({"body": f"<p>{formula}</p>"})
    assert not bn_site.has_formulas({"body": "<p>the word math</p>"})


def test_a_formula_is_set_twice_to_be_seen_and_to_be_heard():
    made = bn_math.typeset(r"\hat{x}_i", display=True)
    assert "<math" in made
    assert 'class="katex-html" aria-hidden="true"' in made
    assert "tabindex" not in made


def test_a_formula_that_cannot_be_set_says_why():
    with pytest.raises(ValueError, match=r"Undefined control sequence: \\nosuch"):
        bn_math.typeset(r"\nosuch{x}", display=False)


def site_of(folder, body: str) -> SimpleNamespace:
    """Make a small site with icons as the theme lays them, and return its app."""
    for name in ("scripts", "vendor/fontawesome/webfonts"):
        (folder / "_static" / name).mkdir(parents=True)
    (folder / "_static" / "scripts" / "fontawesome.js").write_text("icons")
    fonts = folder / "_static" / "vendor" / "fontawesome" / "webfonts"
    for kind in ("ttf", "woff2"):
        (fonts / f"fa-solid-900.{kind}").write_text("all icons")
    script = '<script defer src="_static/scripts/fontawesome.js?d=1"></script>'
    index = '<script src="searchindex.js"></script>'
    (folder / "searchindex.js").write_text("words")
    (folder / "a.html").write_text(f"{body}\n{script}\n{index}")
    return SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=str(folder))


def test_what_no_page_needs_is_left_out(tmp_path):
    other = '<script src="_static/scripts/bootstrap.js"></script>'
    bn_site.lighten(site_of(tmp_path, other), None)
    assert (tmp_path / "a.html").read_text() == other
    assert list((tmp_path / "_static" / "scripts").iterdir()) == []
    assert not (tmp_path / "searchindex.js").exists()
    (font,) = (tmp_path / "_static" / "vendor" / "fontawesome" / "webfonts").iterdir()
    assert font.name == "fa-solid-900.woff2"
    assert font.read_bytes()[:4] == b"wOF2"


def test_a_toggle_of_the_contents_says_what_it_opens():
    toggle = '<span class="toctree-toggle" role="presentation"></span></summary>'
    link = '<a class="reference internal" href="a.html">17. A &amp; <em>b</em></a>'
    made = bn_site.with_named_toggles(f"{link}<details><summary>{toggle}")
    named = '<summary aria-label="Pages of 17. A &amp; b">'
    assert made == f"{link}<details>{named}{toggle}"
    other = f"<details><summary>{toggle}"
    assert bn_site.with_named_toggles(other) == other


def test_an_icon_that_the_small_fonts_lack_is_a_warning(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(bn_site.logger, "warning", lambda *words: said.append(words))
    body = '<i class="fa-solid fa-bars"></i><i class="fa-solid fa-kiwi-bird"></i>'
    bn_site.lighten(site_of(tmp_path, body), None)
    assert said == [("icons that _vendor/icons does not hold: %s", "fa-kiwi-bird")]


def test_the_right_answer_of_a_quiz_stands_anywhere():
    option, places = re.compile(r"^- \[([ x])\] +(.*)$", re.M), Counter()
    for path in notebooks.all_notebooks():
        for cell in nbformat.read(path, 4).cells:
            for quiz in re.findall(r"^:::\{quiz\}.*?^:::$", cell.source, re.M | re.S):
                order = shuffled(option.findall(quiz))
                places[[mark for mark, _ in order].index("x")] += 1
    total = sum(places.values())
    assert total > 35
    for place in range(3):
        assert 0.15 * total < places[place] < 0.55 * total, places


def test_a_wide_table_names_the_column_of_each_cell():
    table = (
        '<table class="table"><thead><tr><th class="head"><p>a</p></th>'
        "<th>b &amp; c</th><th>d</th></tr></thead><tbody>"
        "<tr><td>1</td><td><p>2</p></td><td>3</td></tr>"
        "<tr><td>4</td><td>5</td><td>6</td></tr></tbody></table>"
    )
    made = bn_site.with_labelled_cells(f"<p>x</p>{table}")
    assert made.startswith('<p>x</p><table class="as-list table">')
    assert re.findall(r'<td data-label="([^"]*)">', made) == ["a", "b &amp; c", "d"] * 2
    narrow = table.replace("<th>d</th>", "").replace("<td>3</td>", "")
    assert bn_site.with_labelled_cells(narrow) == narrow
