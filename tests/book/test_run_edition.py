"""The run edition reads well with no extension, runs alone, and a copy is kept."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import lab
import nbformat
import plain_markdown
import pytest
import run_edition
from nbclient import NotebookClient
from plain_markdown import Index, PlainText, is_raw

NAMES = Index(
    labels={"sec-a": ["a.ipynb", "Take *one*"], "ch-b": ["b.ipynb", "Two"]},
    numbers={"fig-a": ["a.ipynb", "Fig. 3.1"], "eq-b": ["b.ipynb", "Eq. 4.2"]},
    terms={"batch": 'A "set" of examples'},
    sources={"a2015": ["Ada and Bo", "2015", "https://a.org"], "c": ["Cy", "2019", ""]},
)
PAGES = [page.rpartition("/")[2] for page in run_edition.notebook_pages()]


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition") / "run"
    run_edition.build(folder)
    return folder


def texts(folder):
    """Yield place and text of all that a reader sees as text."""
    for path in sorted(folder.glob("*.ipynb")):
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
            if cell.cell_type == "markdown":
                yield f"{path.name}, cell {number}", cell.source
            for out in cell.get("outputs", []):
                if "text/markdown" in out.get("data", {}):
                    yield f"{path.name}, cell {number}", out["data"]["text/markdown"]


# --- text -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("See {ref}`sec-a`.", "See [Take *one*](#sec-a)."),
        ("See {ref}`two <ch-b>`.", "See [two](b.ipynb#ch-b)."),
        ("{numref}`fig-a`, {eq}`eq-b`", "[Fig. 3.1](#fig-a), [Eq. 4.2](b.ipynb#eq-b)"),
        ("{term}`batches <batch>`", '<abbr title="A &quot;set&quot; of examples">'
         "batches</abbr>"),
        ("{cite:t}`a2015` says", "[Ada and Bo](https://a.org) (2015) says"),
        ("So {cite:p}`a2015,c`.", "So ([Ada and Bo](https://a.org), 2015; Cy, 2019)."),
        ("(sec-a)=\n## One", '<a id="sec-a"></a>\n\n## One'),
        ("$$\nx = 1\n$$ (eq-b)", '<a id="eq-b"></a>\n\n$$\nx = 1\n\\tag{4.2}\n$$'),
        ("$$\nx\n$$", "$$\nx\n$$"),
        (":::{admonition} Note it\n:class: tip\nSee {ref}`ch-b`.\n\n- a\n:::",
         "> **Note it**\n>\n> See [Two](b.ipynb#ch-b).\n>\n> - a"),
        (":::{warning}\nMind.\n:::", "> **Pitfalls**\n>\n> Mind."),
        (":::{dropdown} Hint 1\nUse `x`.\n:::", "<details>\n<summary>Hint 1</summary>"
         "\n\nUse `x`.\n\n</details>"),
        ("::::{tab-set}\n:::{tab-item} A\n```python\n{ref}`x`\n```\n:::\n::::",
         "<details>\n<summary>A</summary>\n\n```python\n{ref}`x`\n```\n\n</details>"),
        (":::{quiz} What?\n- [x] This | Yes,\n  it is.\n- [ ] `That` | No.\n:::",
         "**Question.** What?\n\n<details>\n<summary><code>That</code></summary>\n\n"
         "**Not this one.** No.\n\n</details>\n\n<details>\n<summary>This</summary>\n\n"
         "**Right.** Yes, it is.\n\n</details>"),
    ],
)  # fmt: skip
def test_text_is_plain_markdown(text, wanted):
    assert PlainText(NAMES, "a.ipynb")(text) == wanted
    assert is_raw(PlainText(NAMES, "a.ipynb")(text)) == []


@pytest.mark.parametrize(
    "text",
    ["a {ref}`x`", ":::{note}\na\n:::", "(sec-a)=\n", "$$ (eq-a)", "a {cite:p}`b` c",
     "```{image} a.png\n```", "- {term}`x <y>`"],
)  # fmt: skip
def test_what_is_raw_is_found(text):
    assert is_raw(text) != []


@pytest.mark.parametrize(
    "text", ["```\n:::{note}\n{ref}`x`\n```", "`x` and `y`", "$x$"]
)
def test_code_is_not_raw(text):
    assert is_raw(text) == []


def test_an_unknown_name_and_an_open_box_are_errors():
    with pytest.raises(KeyError, match="nowhere"):
        PlainText(NAMES)("{ref}`nowhere`")
    with pytest.raises(ValueError, match=r"no end of ':::\{note\}'"):
        PlainText(NAMES)(":::{note}\ntext")


def test_nothing_raw_is_left_in_any_notebook(edition):
    assert [
        (place, raw) for place, text in texts(edition) if (raw := is_raw(text))
    ] == []
    assert len({place.partition(",")[0] for place, _ in texts(edition)}) == len(PAGES)


def test_every_link_leads_somewhere(edition):
    names = {path.name: path.read_text("utf-8") for path in edition.glob("*.ipynb")}
    count = 0
    for place, text in texts(edition):
        for page, label in re.findall(r"\]\(([\w.]*)#([\w-]+)\)", text):
            count += 1
            page = page or place.partition(",")[0]
            assert f'id=\\"{label}\\"' in names[page], f"{place}: {page}#{label}"
    assert count > 100


def test_a_tooltip_has_no_formula(edition):
    titles = {
        title
        for _, text in texts(edition)
        for title in re.findall(r'<abbr title="([^"]*)"', text)
    }
    assert [t for t in titles if re.search(r"[$\\{}]", t)] == []
    assert any("√(2 / inputs)" in t for t in titles)
    assert run_edition.without_tex("a $m - 1$, b $\\rho$") == "a m − 1, b ρ"
    with pytest.raises(ValueError, match="no plain characters"):
        run_edition.without_tex("$\\frac{1}{2}$")


def test_the_folder_says_what_is_in_it(edition):
    told = (edition / "README.md").read_text("utf-8")
    others = [name for name in PAGES if not name[0].isdigit()]
    assert others
    assert [name for name in others if f"`{name}.ipynb`: " not in told] == []


# --- cells ----------------------------------------------------------------------------


def test_outputs_that_a_reader_guesses_are_left_out(edition):
    asked = hidden = shown = 0
    for path in sorted(edition.glob("*.ipynb")):
        below = False
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                _, box, rest = cell.source.rpartition("> **Predict first**")
                asked += bool(box)
                if box:
                    assert run_edition.ASKED in rest
                told = re.search(r"^(#+ |\*\*What to notice)", rest, re.M)
                below = (below or bool(box)) and not told
            elif below:
                hidden += 1
                assert cell.outputs == [], (path.name, cell.source)
                assert cell.execution_count is None
            else:
                shown += bool(cell.outputs)
    pages = [run_edition.cells_of(page) for page in run_edition.notebook_pages()]
    boxes = sum(c.source.count("} Predict first\n") for cells in pages for c in cells)
    assert asked == boxes > 20
    assert hidden > asked
    assert shown > asked


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        (":::{admonition} Predict first\n:class: tip\nWhich?\n:::", False, True),
        ("**What to notice.**\n\n:::{admonition} Predict first\nA?\n:::", True, True),
        (":::{admonition} Predict first\nA?\n:::\nThe code follows.", False, True),
        ("Some words.", True, True),
        ("Some words.", False, False),
        ("**What to notice** in the figure:", True, False),
        ("Right.\n\n## Go on", True, False),
    ],
)
def test_where_a_guess_begins_and_ends(text, before, after):
    assert run_edition.asks_for_a_guess(text, before) is after


def test_figures_have_their_captions_and_checks_stand_under_stubs(edition):
    for path in sorted(edition.glob("0*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        pictures = captions = stubs = 0
        for cell, below in zip(cells, [*cells[1:], None], strict=True):
            shows = any(
                "image/svg+xml" in o.get("data", {}) for o in cell.get("outputs", [])
            )
            told = below and re.search(r"\*\*Fig\. \d+\.\d+\.\*\*", below.source)
            if told and cell.cell_type == "code":  # where one guesses it comes later
                captions += 1
                shows = shows or not cell.outputs
            pictures += shows
            if "exercise" in cell.metadata.get("tags", []):
                stubs += 1
                assert "check" in below.metadata["tags"], path.name
        assert pictures == captions > 0, path.name
        assert stubs >= 3


def test_a_cell_that_needs_torch_says_so_where_there_is_none(monkeypatch, capsys):
    source = "import torch\n\nx = torch.ones(3)\nprint(float(x.sum()))"
    guarded = run_edition.guarded(source)
    monkeypatch.setitem(sys.modules, "torch", None)
    exec(guarded, {})
    assert "PyTorch is not installed" in capsys.readouterr().out
    monkeypatch.undo()
    if importlib.util.find_spec("torch"):
        exec(guarded, {})
        assert capsys.readouterr().out == "3.0\n"


def test_an_edition_without_solutions_holds_none(tmp_path):
    run_edition.build(tmp_path / "run", solutions=False)
    text = "\n".join(text for _, text in texts(tmp_path / "run"))
    assert "<summary>Hint 1</summary>" in text
    assert "<summary>Solution" not in text
    assert "answer_1_1 = 1e-6" not in text


def test_the_first_cell_installs_what_is_missing(monkeypatch, tmp_path, capsys):
    source = run_edition.setup_cell().source.replace("import bnbook", "#")
    asked = []

    def no_network(command):
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", no_network)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    exec(source, {})
    assert asked == [f"{run_edition.site_address()}/run/{run_edition.wheel_name()}"]
    assert f"Lay {run_edition.wheel_name()} beside" in capsys.readouterr().out
    (tmp_path / run_edition.wheel_name()).touch()
    exec(source, {})
    assert asked[1] == run_edition.wheel_name()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    exec(source, {})
    assert len(asked) == 2


# --- running --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(edition, tmp_path_factory):
    """Install the wheel alone, where nothing of the repository is."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
    subprocess.run([*command, target, *edition.glob("*.whl")], check=True)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_notebook_runs_in_an_empty_folder(name, edition, installed, tmp_path):
    notebook = nbformat.read(edition / f"{name}.ipynb", as_version=4)
    where = "import bnlib, bncheck\nprint(bnlib.__file__)\nprint(bncheck.__file__)"
    notebook.cells.append(nbformat.v4.new_code_cell(where))
    client = NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}},
        extra_arguments=["--IPKernelApp.log_level=40"],
    )  # fmt: skip
    client.execute(env={**os.environ, "PYTHONPATH": str(installed)})
    *cells, last = notebook.cells
    said = "".join(out.text for out in last.outputs)  # it may come in pieces
    assert said.count(str(installed)) == 2
    for cell in cells:
        for out in cell.get("outputs", []):
            assert is_raw(out.get("data", {}).get("text/markdown", "")) == []


# --- a learner's copy -----------------------------------------------------------------


def test_a_copy_is_never_written_to_again(edition, tmp_path):
    room = tmp_path / "learn"
    first, new = lab.newest_copy(room, edition)
    assert new
    mine = first / f"{PAGES[0]}.ipynb"
    mine.write_text("what I wrote")
    assert lab.newest_copy(room, edition) == (first, False)
    changed = edition.with_name("changed")
    changed.mkdir()
    for path in edition.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    (changed / f"{PAGES[0]}.ipynb").write_text("a new edition")
    second, new = lab.newest_copy(room, changed)
    assert new
    assert mine.read_text() == "what I wrote"
    assert (second / f"{PAGES[0]}.ipynb").read_text() == "a new edition"
    assert (second / "bnbook" / "index.json").is_file()
    assert lab.newest_copy(room, edition) == (first, False)
    assert [p.name for p in lab.copies(room)] == ["edition-1", "edition-2"]


def test_jupyterlab_is_told_what_the_machine_is(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert lab.options({}, root=True) == ["--allow-root", "--no-browser"]
    assert lab.options({"DISPLAY": ":0"}, root=False) == []
    monkeypatch.setattr(sys, "platform", "darwin")
    assert lab.options({}, root=False) == []


def test_the_converter_needs_nothing_but_python():
    code = "import sys; import plain_markdown; print(sorted(set(sys.modules)))"
    folder = os.path.dirname(plain_markdown.__file__)
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=folder, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "nbformat" not in done.stdout
