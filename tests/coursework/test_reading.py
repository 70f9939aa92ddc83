"""One submission as students hand it in: damaged, copied, renamed, hostile."""

from __future__ import annotations

import ast
import json
import os

import numpy as np
import pytest

from coursework.grader.reading import read_submission
from coursework.grader.statements import as_they_stood

FORWARD = "def forward(x):\n    y = helper(x)\n    return y * SCALE\n"
HELPER = "def helper(x):\n    return np.abs(x)\n"
STUB = '"""Say."""\n    return None  # your code here\n'
WANTED = ("forward",)


def code(text: str, **rest) -> dict:
    return {"cell_type": "code", "source": text.splitlines(keepends=True), **rest}


def words(text: str, **meta) -> dict:
    return {"cell_type": "markdown", "source": text, "metadata": meta}


def notebook(*cells: dict, **rest) -> bytes:
    book = {"cells": [c if isinstance(c, dict) else code(c) for c in cells], **rest}
    return json.dumps(book).encode()


def read(data: bytes | str, name: str = "ada.ipynb", wanted=WANTED):
    return read_submission(
        data if isinstance(data, bytes) else data.encode(), name, wanted
    )


def sources(submission) -> str:
    """Return the chosen source; each piece must parse by itself."""
    for label, source in submission.chunks:
        ast.parse(source, label)
    return "\n".join(source.strip("\n") for _, source in submission.chunks)


GOOD = ["import numpy as np", "SCALE = 2", HELPER, FORWARD]
CHOSEN = "\n".join(c.strip("\n") for c in GOOD)


# --- what is chosen -------------------------------------------------------------------


def test_what_the_function_needs_is_kept_and_nothing_else():
    demo = "x = np.ones(3)\nfor i in range(10**9):\n    forward(x)\ncheck('ps1.q1')"
    got = read(notebook(*GOOD, demo, "print(1)", "plt.plot(x)"))
    assert sources(got) == CHOSEN
    assert [label for label, _ in got.chunks] == [
        "cell 1",
        "cell 2",
        "cell 3",
        "cell 4",
    ]
    assert got.notes == []


def test_a_name_inside_a_function_does_not_pull_in_the_demo():
    cell = (
        "x = train()\nx_hat = train()\ndef forward(x):\n    x_hat = x\n    return x_hat"
    )
    assert "train" not in sources(read(notebook(cell)))


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("TABLE = {}\nTABLE['a'] = 1\ndef forward(x):\n    return TABLE['a']", 3),
        ("ALL = []\nALL.append(1)\ndef forward(x):\n    return ALL", 3),
        ("count = 0\ndef forward(x):\n    global count\n    count = 1", 2),
        ("def base(x):\n    return x\nforward = base", 2),
        ("def forward(x):\n    return x\nforward = wrap(forward)", 2),
        ("def dec(f):\n    return f\n@dec\ndef forward(x):\n    return x", 2),
        ("D = 3\ndef forward(x, d=D):\n    return x", 2),
        ("class A:\n    pass\nclass forward(A):\n    def f(self):\n        1", 2),
        ("if True:\n    def forward(x):\n        return x", 1),
        ("try:\n    import numpy as np\nexcept ImportError:\n    np = None\n"
         "def forward(x):\n    return np.abs(x)", 2),
        ("def a(x):\n    return b(x)\ndef b(x):\n    return a(x)\n"
         "def forward(x):\n    return [a(i) for i in x]", 3),
        ("forward = lambda x: x; y = 3; print(y)", 1),
        ("f = 1\nforward = lambda x: x + f", 2),
    ],
)  # fmt: skip
def test_dependencies(cell, kept):
    got = read(notebook(cell))
    sources(got)
    assert len(got.chunks) == kept


def test_line_numbers_are_those_of_the_cell():
    label, source = read(
        notebook("a = 1\n\n\ndef forward(x):\n    return 1 / 0")
    ).chunks[0]
    space: dict = {}
    exec(compile(source, label, "exec"), space)
    with pytest.raises(ZeroDivisionError) as caught:
        space["forward"](1)
    assert caught.traceback[-1].lineno + 1 == 5


def test_a_prefix_keeps_all_tests_of_the_student():
    cell = (
        "def test_a(f):\n    assert f\ndef test_b(f):\n    assert 0\ndef demo():\n    1"
    )
    got = read(notebook(cell), wanted=("test_*",))
    assert len(got.chunks) == 2


CS231N_STUB = '''def forward(x, gamma, beta, bn_param):
    """Forward pass."""
    mode = bn_param["mode"]
    N, D = x.shape
    running_mean = bn_param.get("running_mean", np.zeros(D, dtype=x.dtype))
    out, cache = None, None
    if mode == "train":
        pass
    elif mode == "test":
        pass
    else:
        raise ValueError('Invalid forward batchnorm mode "%s"' % mode)
    bn_param["running_mean"] = running_mean
    return out, cache
'''


@pytest.mark.parametrize(
    "stub",
    [
        "def forward(x):\n    " + STUB,
        "def forward(x):\n    pass",
        "def forward(x):\n    ...",
        "def forward(x):\n    raise NotImplementedError('later')",
        "def forward(x):\n    return (None, None)",
        "def forward(x):\n    dx, dgamma = None, None\n    return dx, dgamma",
        CS231N_STUB,
        "forward = None",
        "class forward(object):\n    def __init__(self):\n        pass",
    ],
)
def test_a_stub_after_the_answer_does_not_count(stub):
    got = read(notebook(*GOOD, stub))
    assert sources(got) == CHOSEN
    if stub.startswith("def"):
        assert "cell 4 counts (what comes after it is a stub)" in got.notes[0]
    assert sources(read(notebook(stub))).startswith(stub.strip()[:11])


def test_the_last_definition_counts_and_the_note_says_so():
    old = "def forward(x):\n    return x\n"
    got = read(notebook(old, *GOOD, "SCALE = 2"))
    assert got.notes == [
        "forward is defined 2 times (cell 1, cell 5): the one in cell 5 counts"
    ]
    assert "return x\n" not in sources(got)


# --- damaged files --------------------------------------------------------------------


def test_cells_copied_split_moved_and_deleted():
    assert sources(read(notebook(*GOOD, FORWARD))) == CHOSEN
    moved = notebook("import numpy as np", FORWARD, HELPER, "SCALE = 2")
    assert len(read(moved).chunks) == 4
    deleted = read(notebook(*GOOD[:3]))
    assert "forward" not in sources(deleted)


def test_a_function_in_a_text_cell_or_commented_out_is_named():
    got = read(notebook("import numpy as np", words(FORWARD)))
    assert "forward stands in a text cell (cell 2): change the cell's type to code" in (
        got.notes
    )
    got = read(notebook("\n".join("# " + line for line in FORWARD.split("\n"))))
    assert got.notes[0] == "forward is commented out (cell 1)"


def test_a_syntax_error_elsewhere_costs_only_its_part():
    got = read(notebook(*GOOD, "def oops(:\n    pass\n"))
    assert sources(got) == CHOSEN
    assert got.notes == [
        "cell 5 does not parse (line 1: invalid syntax) and was left out"
    ]
    got = read(
        "\n".join([*GOOD, "def oops(:", "    pass", "for i in 3", "    x"]), "a.py"
    )
    assert sources(got) == CHOSEN
    assert got.notes[0].startswith("file: lines 10 to 11 do not parse (line 10: ")
    got = read("return 3\nawait x\n" + "\n".join(GOOD), "a.py")
    assert sources(got) == CHOSEN


def test_merge_markers_and_python_2():
    text = "\n".join(GOOD) + "\n<<<<<<< HEAD\na = 1\n=======\na = 2\n>>>>>>> b\n"
    got = read(text, "a.py")
    assert sources(got) == CHOSEN
    assert any("merge markers" in note for note in got.notes)
    got = read(
        "print 'hello'\n" + "\n".join(GOOD) + "for i in xrange(3):\n  print i", "a.py"
    )
    assert sources(got) == CHOSEN
    tabs = "def forward(x):\n        if x:\n\t    return 1\n        return 2"
    assert len(read(tabs, "a.py").chunks) == 1


def test_texts_that_reach_over_column_0_do_not_split_a_function():
    doc = 'def forward(x):\n    """Say.\n\nAll of it.\n"""\n    return x\n'
    got = read("print 'old'\n" + doc, "a.py")
    assert sources(got) == doc.strip()


def test_magics_and_shell_lines():
    cell = "%matplotlib inline\n!pip install x\nfiles = !ls\nnp.abs?\n" + FORWARD
    got = read(notebook("%load_ext autoreload", *GOOD[:3], cell))
    assert sources(got) == CHOSEN
    got = read(notebook(*GOOD[:3], "%%time\n" + FORWARD, "%%bash\nrm -rf x"))
    assert sources(got) == CHOSEN
    assert got.notes == ["cell 5 begins with %%bash and was left out"]
    percent = "def forward(x):\n    return (7\n% x)"
    assert sources(read(notebook(percent))) == percent


def test_line_ends_marks_and_other_formats():
    assert sources(read(notebook(*[c.replace("\n", "\r\n") for c in GOOD]))) == CHOSEN
    assert sources(read(b"\xef\xbb\xbf" + notebook(*GOOD))) == CHOSEN
    text = "\n".join(GOOD)
    for data in (
        text.replace("\n", "\r\n").encode("utf-8-sig"),
        text.encode("utf-16"),
        (text + "\n# Zürich").encode("latin-1"),
        (text + "\n\x00").encode(),
    ):
        assert sources(read(data, "a.py")) == CHOSEN
    colab = {"metadata": {"id": "x", "colab": {"base_uri": "y"}}, "execution_count": 3}
    cells = [code(c, outputs=[{"data": "z" * 2_000_000}], **colab) for c in GOOD]
    assert sources(read(notebook(*cells, metadata={"colab": {"name": "b"}}))) == CHOSEN
    old = [{"cell_type": "code", "input": c} for c in GOOD]
    assert sources(read(json.dumps({"worksheets": [{"cells": old}]}))) == CHOSEN
    assert sources(read(notebook(*GOOD), "a.py")) == CHOSEN  # renamed
    assert sources(read(text, "a.ipynb")) == CHOSEN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"{",
        b"[1, 2]",
        b"null",
        b'{"cells": 3}',
        b'{"cells": [3, null, {"cell_type": 4, "source": {"a": 1}, "metadata": []}]}',
        b"[" * 1_000_000,
        b'{"cells":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"%PDF-1.7\n\x00\xff\xfe",
        os.urandom(4000),
        b'{"cells": [{"cell_type": "code", "source": "\\ud800 = 1"}]}',
        b"(" * 100_000,
        b"f = " + b"-" * 100_000 + b"1",
        b"f = x" + b".a" * 100_000,
        b"forward = a" + b"+a" * 100_000,
        b"forward = " + b"9" * 100_000,
        b"x" * 20_000_001,
        b"x = 1\n" * 200_000,
        ("def g(:\n    " + "x = 1; " * 40 + "\n").encode() * 3000,
    ],
    ids=range(20),
)
@pytest.mark.parametrize("name", ["a.ipynb", "a.py"])
def test_nothing_in_a_file_raises(data, name):
    got = read(data, name)
    assert all(isinstance(s, str) for chunk in got.chunks for s in chunk)
    assert got.notes or got.chunks or name == "a.py"
    json.dumps(got._replace(items=())._asdict()).encode()
    assert len(got.notes) <= 31


def test_limits_say_what_was_exceeded():
    assert "1 MB" in read(notebook("x = '" + "a" * 1_100_000 + "'")).notes[0]
    assert "500" in read(notebook(*["a = 1"] * 501)).notes[0]
    got = read(notebook(words("![me](data:image/png;base64," + "A" * 2_000_000), *GOOD))
    assert sources(got) == CHOSEN


def test_relative_imports_of_published_solutions_are_kept_for_the_worker():
    text = (
        "from __future__ import division\nfrom .im2col import *\nimport numpy as np\n"
    )
    got = read(text + CS231N_STUB.replace("pass", "out = cache = 1"), "layers.py")
    assert [s.strip().split("\n")[0][:20] for _, s in got.chunks][1:3] == [
        "from .im2col import ",
        "import numpy as np",
    ]
    assert len(got.chunks) == 4


# --- written answers ------------------------------------------------------------------


def test_answers_are_joined_cleaned_and_cut():
    mark = "**Answer ps1.w1**\n\n*Write your answer here.*\n"
    assert read(notebook(words(mark, answer="ps1.w1"))).answers == {"ps1.w1": ""}
    one = words(mark + "Because.", answer="ps1.w1")
    assert read(notebook(one)).answers["ps1.w1"] == "Because."
    assert read(notebook(one, one)).answers["ps1.w1"] == "Because."
    split = notebook(one, "x = 1", words("And so.", answer="ps1.w1"))
    assert read(split).answers["ps1.w1"] == "Because.\n\nAnd so."
    below = notebook(words(mark), words("Here it is."), words("# Next"))
    assert read(below).answers["ps1.w1"] == "Here it is."
    none = notebook(words(mark), words("# Next"))
    assert read(none).answers["ps1.w1"] == ""
    long = read(notebook(words(mark + "a" * 30_000)))
    assert len(long.answers["ps1.w1"]) == 20_000
    assert any("was cut" in note for note in long.notes)
    two = words("**Answer ps1.ai** (0 points)\nNobody.\n**Answer ps1.w1**\nYes.")
    assert read(notebook(two)).answers == {"ps1.ai": "Nobody.", "ps1.w1": "Yes."}
    picture = read(notebook(words(mark + "![a](attachment:b.png)")))
    assert any("refers to a picture" in note for note in picture.notes)
    exported = "# **Answer ps1.w1**\n#\n# Because.\n\nx = 1\n"
    assert read(exported, "a.py").answers == {"ps1.w1": "Because."}


# --- likeness -------------------------------------------------------------------------


def test_renamed_functions_have_one_shape_and_short_ones_none():
    body = "".join(f"    v{i} = np.sum(x * {i})\n" for i in range(9))
    a = f"def forward(x):\n    '''Mine.'''\n{body}    return v3\n"
    other = body.replace("v", "w").replace("x", "data")
    b = f"def forward(data):\n{other}    return w3\n"
    c = a.replace("* 4", "* 5")
    shapes = [read(notebook(t)).shapes for t in (a, b, c, FORWARD)]
    assert shapes[0] == shapes[1] != shapes[2]
    assert shapes[3] == {}


def test_a_file_is_named_by_its_digest_and_its_name_made_printable():
    assert read("x = 1", "a.py").digest == read("x = 1", "b.py").digest
    assert read("x = 1", "../../a\udcff.py", ()).file == "a?.py"


# --- a name used again ----------------------------------------------------------------


def run(submission) -> dict:
    """Run the chosen pieces as the worker does."""
    space = {"np": np}
    for label, source in submission.chunks:
        exec(compile(source, label, "exec"), space)
    return space


def test_a_second_definition_that_calls_the_first_has_it():
    old = "old = forward\ndef forward(x):\n    return old(x) + 1\n"
    got = read(notebook("def forward(x):\n    return 2 * x\n", old))
    assert run(got)["forward"](3) == 7


def test_a_decorated_and_wrapped_function_keeps_what_it_wraps():
    wrap = "def wrap(f):\n    return lambda x: f(x) + 1\n"
    again = "forward = wrap(forward)"
    got = read(notebook(wrap, "def forward(x):\n    return x\n", again, again))
    assert run(got)["forward"](0) == 2


HELPERS = [
    "def helper(x):\n    return 1\n",
    "def forward(x):\n    return helper(x)\n",
    "def helper(x, y):\n    return 2\n",
    "def backward(x):\n    return helper(x, x)\n",
]


def test_a_helper_that_is_defined_again_can_be_had_as_it_stood():
    got = read(notebook(*HELPERS), wanted=("forward", "backward"))
    assert run(got)["backward"](0) == 2
    stood = as_they_stood(got.items, ("forward", "backward"))
    places = {name: [i.place for i in part] for name, part in stood.items()}
    assert places == {"forward": ["cell 1", "cell 2"], "backward": ["cell 3", "cell 4"]}
    assert as_they_stood(got.items, ("backward",)) == {}
    assert as_they_stood(got.items[:2], ("forward",)) == {}


@pytest.mark.parametrize("line", ["np = 3", "abs = np.ones(3)"])
def test_a_library_or_builtin_that_is_overwritten_is_named(line):
    name = line.split()[0]
    define = "import numpy as np\ndef forward(x):\n    return np.ones(abs(x))\n"
    got = read(notebook(define, line))
    assert got.notes == [
        f"{name} is set again in cell 2: forward then uses that, not the first {name}"
    ]
    assert read(notebook(line, define)).notes == []


def test_what_decides_comes_before_the_other_notes():
    old = ["print 1", "print 2\nx = 3", "def forward(x):\n    print x\n    return x\n"]
    got = read(notebook(old[2], *old[:2] * 8))
    assert got.notes[:2] == [
        "forward stands in a part that does not parse (cell 1, line 1)",
        "none of the graded functions stands in the code of this file",
    ]
    assert len(got.notes) > 8
