"""What a submission may try, and what it gets for it: the attack table as tests."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import textwrap
from pathlib import Path

import pytest
from confined import MEANS, needs_means, require

from bncheck.calls import Call
from bncheck.form import MOST_FINDINGS
from coursework.grader import batch, confine, engine, pages
from coursework.grader.client import Client, WorkerError, find_confinement
from coursework.grader.collect import Found
from coursework.grader.confine import Confinement, NoConfinementError
from coursework.grader.engine import Options, grade_one
from coursework.grader.reading import read_submission
from coursework.questions import SETS, ps3

KEY = b"a key for the attack tests only!"
RIGHT = """
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    mean = bn_param.get("running_mean", np.zeros(x.shape[1]))
    var = bn_param.get("running_var", np.zeros(x.shape[1]))
    if bn_param["mode"] == "test":
        return gamma * (x - mean) / np.sqrt(var + eps) + beta, None
    mu, v = x.mean(0), x.var(0)
    bn_param["running_mean"] = momentum * mean + (1 - momentum) * mu
    bn_param["running_var"] = momentum * var + (1 - momentum) * v
    return gamma * (x - mu) / np.sqrt(v + eps) + beta, None
"""


needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch"
)
pytestmark = [pytest.mark.slow, needs_means]


@pytest.fixture(params=list(MEANS))
def means(request, monkeypatch) -> Confinement:
    found = MEANS[request.param]
    monkeypatch.setattr(engine, "confinement", lambda options: found)
    return found


@pytest.mark.parametrize("layer", confine.LAYERS)
def test_the_means_can_be_had(layer):
    assert require(layer).layer == layer


def grade(source: str, time_limit: float = 3.0, set_name: str = "ps1") -> dict:
    wanted = SETS[set_name].functions
    submission = read_submission(source.encode(), "attack.py", wanted)
    submission = submission._replace(student="Mallory")
    return grade_one(submission, set_name, KEY, Options(time_limit=time_limit))


def first_three(report: dict) -> float:
    return sum(r["score"] for r in report["results"][:3])


def body(text: str) -> str:
    """Return a submission whose graded function begins with some lines."""
    lines = textwrap.indent(textwrap.dedent(text).strip(), "    ")
    head = "def batchnorm_forward(x, gamma, beta, bn_param):"
    return RIGHT.replace(head, f"{head}\n{lines}")


def attempt(means: Confinement, expression: str, setup: str = "pass") -> str:
    """Return what an expression gives in a worker, or the error's name."""
    source = f"""
def attempt():
    try:
        {setup}
        return str({expression})
    except BaseException as error:
        return type(error).__name__
"""
    with Client(means, [("cell 1", source)]) as client:
        (outcome,) = client.run([Call("attempt", ())])
    assert outcome.status == "ok"
    return outcome.outputs[0]


def test_a_right_submission_gets_its_points(means):
    report = grade(RIGHT)
    assert first_three(report) == 7
    assert means.text in report["confinement"]


# --- time, exits, memory, output ------------------------------------------------------


def test_an_endless_loop_is_stopped(means):
    report = grade(body("while True:\n    pass"), time_limit=1.0)
    assert first_three(report) == 0
    assert "did not finish" in report["results"][0]["findings"][0]["sentence"]


def test_an_endless_loop_at_the_top_is_stopped(means):
    source = "x = [0]\nwhile True:\n    x.append(1)\nk = x\n" + RIGHT
    source = source.replace("mu, v =", "k; mu, v =")
    assert first_three(grade(source, time_limit=1.0)) == 0


def test_one_hanging_question_leaves_the_others(means):
    report = grade(body("if bn_param['mode'] == 'test':\n    while True: pass"), 1.0)
    scores = [r["score"] for r in report["results"]]
    assert scores[:3] == [3.0, 2.0, 0.0]


@pytest.mark.parametrize(
    "line",
    [
        "import sys; sys.exit()",
        "raise SystemExit",
        "import os; os._exit(0)",
        "import os; os.abort()",
        "import ctypes; ctypes.string_at(0)",
        "raise KeyboardInterrupt",
        "batchnorm_forward(x, gamma, beta, bn_param)",
    ],
)
def test_exits_and_crashes_earn_nothing(means, line):
    report = grade(body(line))
    assert first_three(report) == 0
    assert report["results"][0]["findings"][0]["sentence"]


def test_memory_is_limited(means):
    report = grade(body("hog = [np.ones(10**8) for _ in range(60)]"))
    assert first_three(report) == 0


def test_a_worker_has_two_gibibytes(means):
    assert attempt(means, "len(bytearray(1 << 30))") == str(1 << 30)
    assert attempt(means, "len(bytearray(3 << 30))") == "MemoryError"


def test_megabytes_of_output_do_no_harm(means):
    assert first_three(grade(body("print('x' * 20_000_000)"), 20.0)) == 7


def test_a_forgotten_print_costs_nothing(means):
    assert first_three(grade(body("print(x)"))) == 7


def test_huge_answers_are_refused(means):
    assert first_three(grade(body("return np.ones(10**7), None"))) == 0


def test_deep_answers_are_refused(means):
    text = (
        "d = {}\nfor _ in range(5000):\n    d = {'a': d}\nbn_param['running_mean'] = d"
    )
    assert first_three(grade(body(text))) <= 5


# --- patched libraries, forged answers ------------------------------------------------

PATCHES = [
    "np.allclose = np.array_equal = lambda *a, **k: True",
    "np.abs = np.max = lambda *a, **k: 0.0",
    "import builtins; builtins.all = builtins.bool = lambda *a: True",
    "import builtins; builtins.isinstance = lambda *a: True",
    "import json; json.dumps = lambda *a, **k: '{}'",
    "import numpy.testing; numpy.testing.assert_allclose = print",
    "import bncheck.calls as c; c.pack = lambda v: {'float': 'nan'}",
    "import bncheck.judge as j; j.close = lambda *a: True; j.judge = None",
]


@pytest.mark.parametrize("patch", PATCHES)
def test_patched_libraries_earn_nothing(means, patch):
    source = "import numpy as np\ndef batchnorm_forward(x, gamma, beta, bn_param):\n"
    source += f"    {patch}\n    return np.zeros(x.shape), None\n"
    assert first_three(grade(source)) == 0


def test_arrays_that_say_yes_to_everything_earn_nothing(means):
    source = """
import numpy as np

class Yes(np.ndarray):
    def __eq__(self, other):
        return True
    def __sub__(self, other):
        return np.zeros(self.shape)
    def __array__(self, *a, **k):
        return self

def batchnorm_forward(x, gamma, beta, bn_param):
    return np.zeros(x.shape).view(Yes), None
"""
    assert first_three(grade(source)) == 0


def test_forged_answers_on_the_pipe_earn_nothing(means):
    source = body(
        """
        import os, struct, json
        for n in range(3, 64):
            try:
                data = json.dumps({"outcomes": [["ok", [], [], 1, ""]]}).encode()
                os.write(n, struct.pack("<Q", len(data)) + data)
            except OSError:
                pass
        os._exit(0)
        """
    )
    assert first_three(grade(source)) == 0


def test_garbage_on_the_pipe_is_a_bad_answer(means):
    source = body(
        """
        import os
        for n in range(3, 64):
            try:
                os.write(n, b"\\xff" * 4096)
            except OSError:
                pass
        """
    )
    report = grade(source)
    assert first_three(report) == 0
    assert "agreed form" in report["results"][0]["findings"][0]["sentence"]


# --- files, network, processes --------------------------------------------------------


def test_files_elsewhere_cannot_be_read(means, tmp_path):
    secret = tmp_path / "term.key"
    secret.write_text("hidden")
    repository = Path(engine.__file__).resolve()
    paths = ["/etc/passwd", secret, repository, "/proc/1/environ", "/root/.bashrc"]
    for path in paths:
        got = attempt(means, f"open({str(path)!r}).read()")
        assert got in ("PermissionError", "FileNotFoundError"), path


def test_nothing_can_be_written_elsewhere(means, tmp_path):
    target = tmp_path / "written"
    for folder in (tmp_path, Path.home(), Path("/usr/lib"), Path("/var/tmp")):
        got = attempt(means, f"open({str(folder / 'written')!r}, 'w')")
        assert got in ("PermissionError", "FileNotFoundError", "OSError"), folder
    assert not target.exists()


def test_no_socket_can_be_made(means):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = server.getsockname()
        setup = "import socket"
        assert attempt(means, f"socket.create_connection({address!r}, 1)", setup) in (
            "PermissionError",
            "OSError",
        )
    for kind in ("SOCK_STREAM", "SOCK_DGRAM"):
        for family in ("AF_INET", "AF_UNIX"):
            call = f"socket.socket(socket.{family}, socket.{kind})"
            assert attempt(means, call, setup) == "PermissionError"


@pytest.mark.parametrize(
    "call",
    [
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "__import__('subprocess').run(['/bin/true'])",
        "__import__('multiprocessing').get_context('fork').Process().start()",
        "os.kill(os.getppid(), 9)",
        "os.kill(1, 9)",
    ],
)
def test_no_other_process_can_be_made_or_reached(means, call):
    got = attempt(means, call, "import os")
    assert got in ("PermissionError", "ProcessLookupError", "FileNotFoundError")


def test_limits_cannot_be_raised(means):
    setup = "import resource as r"
    call = "r.setrlimit(r.RLIMIT_AS, (r.RLIM_INFINITY, r.RLIM_INFINITY))"
    assert attempt(means, call, setup) in ("ValueError", "PermissionError", "OSError")


def test_the_first_sets_cannot_import_the_reference_or_torch(means):
    for name in (
        "bnlib",
        "torch",
        "coursework",
        "coursework.questions",
        "bncheck.chapters",
    ):
        assert attempt(means, f"__import__({name!r})") == "ModuleNotFoundError", name


def test_the_process_ends_with_its_worker(means):
    with Client(means, [("cell 1", RIGHT)]) as client:
        client.start()
        pid = client._process.pid
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


PATCHED = """
    import sys
    main = sys.modules["__main__"]
    text = repr(x.ravel()[:3])
    fact = type(main.raised(ValueError()))
    main.raised = lambda error: fact(KIND, TEXT, PLACE, False)
    raise ValueError
"""


@pytest.mark.parametrize(
    ("kind", "text", "place"),
    [
        ("text", "text", "text"),
        ("'ValueError'", "f'name {text!r} is not defined'", "f'cell {text}, line 1'"),
        ("'ValueError'", 'f"name \'a{hash(text)}\' is not defined"', "''"),
        ("'print'", "str(int(abs(x[0, 0]) * 1e6))", "'cell 77, line 1'"),
        ("'ValueError'", "f'axis {int(abs(x[0, 0]) * 1e6)} is out of bounds for '"
         "'array of dimension 2'", "f'your code, line {int(abs(x[0, 0]) * 1e6)}'"),
        ("3", "None", "[]"),
    ],
)  # fmt: skip
def test_a_worker_that_was_patched_says_no_hidden_number(means, kind, text, place):
    lines = PATCHED.replace("KIND", kind).replace("TEXT", text).replace("PLACE", place)
    report = grade(body(lines))
    said = [f["sentence"] for r in report["results"] for f in r["findings"]]
    assert said
    for sentence in said:
        numbers = [int(n) for n in re.findall(r"\d+", sentence)]
        assert max(numbers, default=0) <= 24, sentence
        assert "hidden" not in sentence


@pytest.mark.parametrize("value", ["10**400", "10**5000", "-(10**30)", "[10**400]"])
def test_a_number_that_no_array_holds_is_a_wrong_answer(means, value):
    source = f"bn_param['running_mean'] = {value}"
    report = grade(
        RIGHT.replace("mu, v =", f"{source}; mu, v =").replace(
            'bn_param["running_mean"] = momentum', "nothing = momentum"
        )
    )
    assert 0 < first_three(report) < 7
    assert all(
        "agreed form" not in f["sentence"]
        for r in report["results"]
        for f in r["findings"]
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (RIGHT.replace("beta, bn_param)", "beta)"), "takes 3 positional arguments"),
        (body("x.reshape(3, 1000)"), "cannot reshape array of size"),
        ("from scipy import stats\n" + body("stats.f(x)"), "No module named 'scipy'"),
        ("import scipy.stats as s\n" + body("s(x)"), "No module named 'scipy'"),
        (body("helper(x)"), "name 'helper' is not defined"),
    ],
)  # fmt: skip
def test_an_error_of_ones_own_is_told_with_its_message(means, source, said):
    report = grade(source)
    sentence = report["results"][0]["findings"][0]["sentence"]
    assert said in sentence, sentence


def test_what_is_not_allowed_says_so(means):
    source = """
import torch
class BatchNorm1d(torch.nn.Module):
    def __init__(self, n, eps=1e-5, momentum=0.1):
        super().__init__()
        self.own = torch.nn.BatchNorm1d(n)
"""
    pytest.importorskip("torch")
    report = grade(source, set_name="ps4", time_limit=10.0)
    said = " ".join(f["sentence"] for r in report["results"] for f in r["findings"])
    assert "'BatchNorm1d' is not allowed here" in said


HALF = "chr(0xD800)"  # half a character: no file can hold it


@pytest.mark.parametrize(
    ("set_name", "source"),
    [
        ("ps3", f"def test_a(f, b): globals()['test_' + {HALF}] = int"),
        ("ps3", f"names = dict.fromkeys('abc', {HALF})"),
        ("ps1", body(f"raise type('E' + {HALF}, (Exception,), {{}})({HALF})")),
        ("ps1", body(f"return {{{HALF}: {HALF}}}, {HALF}")),
        ("ps1", f"{RIGHT}\nraise ValueError({HALF})"),
    ],
)
def test_half_a_character_harms_no_file(means, set_name, source, tmp_path):
    path = tmp_path / "Mallory.py"
    path.write_text(source)
    found = Found("Mallory", path)
    task = batch.Task(found, set_name, KEY, Options(time_limit=3.0))
    record = batch.grade_task(task, path.read_bytes())
    assert "error" not in record["report"]
    batch.store_record(tmp_path, "Mallory", {"stamp": "", **record})
    assert batch.load_record(tmp_path, "Mallory", "")


def test_a_file_has_a_limit_and_not_only_a_call(means):
    slow = f"import time\n{body('time.sleep(0.6)')}"
    report = grade(slow, time_limit=1.0)
    said = [f["sentence"] for r in report["results"] for f in r["findings"]]
    assert any("Your file took 6 s in all" in s for s in said)
    assert report["results"][-1]["score"] == 0


def test_a_thread_that_stays_behind_ends_too(means):
    text = """
    import threading, time
    threading.Thread(target=time.sleep, args=(1000,)).start()
    """
    assert first_three(grade(body(text))) == 7


def test_a_worker_writes_to_its_own_folder_only(means):
    write = "open(tempfile.gettempdir() + '/x', 'w').write('abc')"
    assert attempt(means, write, "import tempfile") == "3"
    for place in ("/", "/usr", "/var/tmp", "/dev/shm", str(Path(__file__).parent)):
        said = attempt(means, f"open('{place}/x', 'w').write('abc')")
        assert said in ("OSError", "PermissionError", "FileNotFoundError"), place
        assert not Path(f"{place}/x").exists()


def test_what_a_worker_wrote_is_gone_with_it(means):
    source = "def f():\n    open('mine', 'w').write('abc')\n    return 1.0"
    with Client(means, [("cell 1", source)]) as client:
        (outcome,) = client.run([Call("f", ())])
        folder = Path(client._scratch.name)
        assert outcome.status == "ok"
        assert (folder / "mine").exists() == (means.layer != "bubblewrap")
    assert not folder.exists()


def test_a_disk_is_not_filled(means):
    line = """
    for i in range(10**6):
        open(f'file{i}', 'wb').write(bytes(1 << 19))
    """
    report = grade(body(line), 20.0)
    assert first_three(report) == 0
    said = report["results"][0]["findings"][0]["sentence"]
    assert "wrote more than 16 MiB" in said or "stopped with OSError" in said


def test_a_worker_is_not_started_for_ever(means):
    with Client(means, [("cell 1", "import os\nos._exit(0)")]) as client:
        for _ in range(30):
            with pytest.raises(WorkerError):
                client.run([])
        assert client.starts <= 12


# --- tests that find nothing, and want points -----------------------------------------


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(ps3, "STRATA", {"easy": 1, "middle": 1, "hard": 1})


def test_no_test_earns_by_memory_dice_or_looking_around(means, monkeypatch):
    # Six mutants: with three, a throw of the dice would now and then kill one.
    monkeypatch.setattr(ps3, "STRATA", {"easy": 2, "middle": 2, "hard": 2})
    source = (Path(__file__).parent / "attacks_on_tests.py").read_text()
    assert source.count("def test_") >= 25
    result = grade(source, 10.0, "ps3")["results"][0]
    assert result["mutants"]["killed"] == []
    assert result["score"] == 0
    said = " ".join(f["sentence"] for f in result["findings"])
    dice = ("test_entropy", "test_generator", "test_uptime")
    assert any(f"{name} does not give the same verdict twice" in said for name in dice)


MANY = """
def make():
    for i in range(20_000):
        globals()[f"test_{i}"] = lambda forward, backward: 1 / 0
make()
def test_a(forward, backward):
    make()
"""
NAME = "test_" + "a" * 300_000


@pytest.mark.parametrize(
    "source",
    [
        MANY + "test_a.made = make()\n",
        "\n".join(f"def test_{i}(f, b):\n    assert f is {i}\n" for i in range(2000)),
        2 * f"def {NAME}(forward, backward):\n    assert 0\n",
        f"def test_a(f, b):\n    raise NameError('{NAME}')\n",
        f"def test_a(f, b):\n    {NAME}()\n",
    ],
    ids=["generated", "many", "long name", "long message", "long word"],
)
def test_a_page_stays_short(few, source):
    report = grade(source, 10.0, "ps3")
    assert report["score"] == 0
    assert len(report["results"][0]["findings"]) <= MOST_FINDINGS
    assert len(pages.feedback_page(report, {})) < 60_000


FORGED = """
import json, math, os, sys
import numpy as np
def forge(verdicts, left_out=0):
    reply = {"verdicts": verdicts, "left out": left_out}
    sys.modules["__main__"].pipe.send_bytes(json.dumps(reply).encode())
    os._exit(0)
def test_a(forward, backward):
"""


@pytest.mark.parametrize(
    "line",
    [
        "forge({'test_a': ['failed', []]})",
        "forge({'test_a': ['ok', []]}, math.inf)",
        "forge({'test_a': ['ok', []]}, -7)",
        "forge([1, 2, 3])",
        "forge({'test_a': [['ok'], {}]})",
        "forge({str(i): ['failed', []] for i in range(1000)})",
        "forge(None)",
        "raise type('X', (BaseException,), {'__str__': lambda s: 1 / 0})",
        "return np.False_",
        "globals().clear()",
        "backward(np.ones((2, 2)), {'token': 1e300})",
        "return test_a(forward, backward)",
    ],
)
def test_forged_verdicts_and_odd_tests_earn_nothing(few, line):
    report = grade(f"{FORGED}    {line}\n", 3.0, "ps3")
    assert report["score"] == 0
    said = " ".join(f["sentence"] for f in report["results"][0]["findings"])
    assert "-7" not in said
    if "np.False_" in line or "__str__" in line:
        assert "on a right implementation" in said


def test_a_test_that_ends_its_process_or_never_ends_earns_nothing(few):
    for line in ("os._exit(0)", "sys.exit()", "time.sleep(100)"):
        source = f"import os, sys, time\ndef test_a(f, b):\n    {line}\n"
        assert grade(source, 1.0, "ps3")["score"] == 0


# --- what a question does not allow ---------------------------------------------------

NORMALIZATIONS = [
    "torch.nn.BatchNorm1d(3).double()(x)",
    "torch.nn.modules.BatchNorm1d(3).double()(x)",
    "torch.nn.modules.batchnorm.BatchNorm1d(3).double()(x)",
    'getattr(torch.nn, "Batch" + "Norm1d")(3).double()(x)',
    'vars(torch.nn)["BatchNorm1d"](3).double()(x)',
    "torch.nn.BatchNorm2d(3).double()(x[:, :, None, None])",
    "torch.nn.LazyBatchNorm1d().double()(x)",
    "torch.nn.SyncBatchNorm(3).double()(x)",
    "F.batch_norm(x, None, None, training=True)",
    'getattr(F, "batch" + "_norm")(x, None, None, training=True)',
    "torch.batch_norm(x, *FIRST, False)",
    "torch.native_batch_norm(x, *FIRST)",
    "torch._C._VariableFunctions.batch_norm(x, *FIRST, False)",
    "torch._VF.batch_norm(x, *FIRST, False)",
    "torch.ops.aten.batch_norm(x, *FIRST, False)",
    "torch.ops.aten.native_batch_norm(x, *FIRST)",
    "torch.ops.aten._native_batch_norm_legit.no_stats(x, None, None, True, 0.1, 1e-5)",
    "torch.ops.aten._batch_norm_with_update(x, None, None, *TWO, 0.1, 1e-5)",
    "torch.native_layer_norm(x.T.contiguous(), (7,), None, None, 1e-5)",
    "F.layer_norm(x.T, (7,)).T",
    "torch.nn.LayerNorm(7, dtype=torch.double)(x.T).T",
    "F.group_norm(x.T[None], 3)",
    "torch.nn.GroupNorm(3, 3, dtype=torch.double)(x.T[None])",
    "F.instance_norm(x.T[None])",
    "torch.nn.InstanceNorm1d(3)(x.T[None])",
    "torch._refs.native_layer_norm(x.T, (7,), None, None, 1e-5)",
    "torch._refs.nn.functional.layer_norm(x.T, (7,))",
    "torch._refs.nn.functional.group_norm(x.T[None], 3)",
    "torch._decomp.decompositions.native_batch_norm(x, *FIRST)",
    "TABLE[torch.ops.aten.native_batch_norm.default](x, *FIRST)",
    "importlib.reload(torch.nn.modules.batchnorm).BatchNorm1d(3).double()(x)",
    "torch.batch_norm(x.to_sparse(), *FIRST, False)",
]  # fmt: skip
TRY = """
import torch
import torch.nn.functional as F
import importlib
FIRST = None, None, None, None, True, 0.1, 1e-5
TWO = torch.zeros(3).double(), torch.ones(3).double()
TABLE = torch._decomp.decomposition_table
def attempt(text):
    x = torch.arange(21.0).double().reshape(7, 3) ** 1.5
    try:
        return "gave " + type(eval(text, {**globals(), "x": x})).__name__
    except BaseException as error:
        return str(error)
"""


@needs_torch
def test_the_normalization_of_pytorch_is_off_under_every_name():
    chosen, text = SETS["ps4"], ("cell 1", TRY)
    limits = 20.0, chosen.memory, chosen.imports, chosen.blocked
    with Client(find_confinement(), [text], *limits) as client:
        said = client.run([Call("attempt", (text,)) for text in NORMALIZATIONS])
    gave = [o.outputs[0] for o in said]
    for text, got in zip(NORMALIZATIONS, gave, strict=True):
        assert "not allowed here" in got or "TABLE" in text, (text, got)
        assert not got.startswith("gave"), text
    assert len(gave) >= 25


AUTOGRAD = """
import numpy as np
import torch

def layernorm_forward(x, gamma, beta, ln_param):
    given = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    away = given[0] - given[0].mean(1, keepdim=True)
    std = torch.sqrt((away**2).mean(1, keepdim=True) + ln_param.get("eps", 1e-5))
    out = given[1] * away / std + given[2]
    return out.detach().numpy(), (out, given)

def layernorm_backward(dout, cache):
    return tuple(g.numpy() for g in torch.autograd.grad(
        cache[0], cache[1], torch.tensor(dout), retain_graph=True))
"""


@needs_torch
def test_autograd_is_there_only_for_the_question_that_asks_for_it():
    results = grade(AUTOGRAD, 10.0, "ps4")["results"]
    assert results[1]["score"] == 0
    assert "No module named 'torch'" in results[1]["findings"][0]["sentence"]
    fold = """
def fold_linear(W, b, gamma, beta, mean, var, eps):
    from torch.nn.utils.fusion import fuse_linear_bn_weights as fuse
    import torch
    t = [torch.tensor(a) for a in (W, b, mean, var, gamma, beta)]
    return tuple(p.detach().numpy() for p in fuse(t[0], t[1], t[2], t[3], eps, *t[4:]))
"""
    assert grade(fold, 10.0, "ps5")["results"][0]["score"] == 0


STAGED = """
def NAME(dout, cache):
    x_hat, gamma, std = cache[:3]
    dbeta = dout.sum(0)
    dgamma = (dout * x_hat).sum(0)
    g = dout * gamma
    mean_path = g.mean(0)
    variance_path = x_hat * (g * x_hat).mean(0)
    dx = (g - mean_path - variance_path) / std
    return dx, dgamma, dbeta
"""
FIRST = """
import functools, sys
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    std = np.sqrt(x.var(0) + bn_param.get("eps", 1e-5))
    x_hat = (x - x.mean(0)) / std
    return gamma * x_hat + beta, (x_hat, gamma, std)
""" + STAGED.replace("NAME", "batchnorm_backward")
ALT = "def batchnorm_backward_alt(dout, cache):\n    return {}(dout, cache)\n"
DELEGATIONS = {
    "call": ALT.format("batchnorm_backward"),
    "alias": "staged = batchnorm_backward\n" + ALT.format("staged"),
    "same object": "batchnorm_backward_alt = batchnorm_backward",
    "helper": "def helper(*a):\n    return batchnorm_backward(*a)\n"
    + ALT.format("helper"),
    "globals": ALT.format("globals()['batchnorm_backward']"),
    "two texts": ALT.format("globals()['batchnorm_' + 'backward']"),
    "eval": ALT.format("eval('batchnorm_' + 'backward')"),
    "worker": ALT.format("sys.modules['__main__'].namespace['batchnorm_' 'backward']"),
    "default": ALT.replace("cache)", "cache, f=batchnorm_backward)", 1).format("f"),
    "lambda": "batchnorm_backward_alt = lambda d, c: batchnorm_backward(d, c)",
    "partial": "batchnorm_backward_alt = functools.partial(batchnorm_backward)",
    "class": "class K:\n    go = staticmethod(batchnorm_backward)\n"
    + ALT.format("K.go"),
    "dict": "WAYS = {1: batchnorm_backward}\n" + ALT.format("WAYS[1]"),
    "append": "KEPT = []\nKEPT.append(batchnorm_backward)\n" + ALT.format("KEPT[0]"),
    "attribute": "np.staged = batchnorm_backward\n" + ALT.format("np.staged"),
    "copy": STAGED.replace("NAME", "batchnorm_backward_alt").replace("dx", "grad"),
    "one core": STAGED.replace("NAME", "core") + ALT.format("core")
    + ALT.format("core").replace("_alt", ""),
    "in the cache": FIRST.replace("gamma, std)", "gamma, std, batchnorm_backward)")
    + ALT.format("cache[3]"),
    "on the forward function": "batchnorm_forward.b = batchnorm_backward\n"
    + ALT.format("batchnorm_forward.b"),
}  # fmt: skip


@pytest.mark.parametrize("way", DELEGATIONS)
def test_the_staged_function_under_another_name_is_no_closed_formula(way):
    results = grade(FIRST + DELEGATIONS[way], 10.0, "ps2")["results"]
    assert [r["score"] for r in results[:2]] == [4, 0], results[:2]


def test_a_closed_formula_may_stand_in_both_places():
    body = """
    x_hat, gamma, std = cache
    g = gamma * dout
    dx = (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / std
    return dx, (dout * x_hat).sum(0), dout.sum(0)
"""
    names = "batchnorm_backward", "batchnorm_backward_alt"
    both = "".join(f"def {name}(dout, cache):{body}" for name in names)
    results = grade(FIRST + both, 10.0, "ps2")["results"]
    assert [r["score"] for r in results[:2]] == [4, 3]


# --- helpers of the same name ---------------------------------------------------------

SAME_NAME = FIRST[: FIRST.index("def batchnorm_backward")].replace(
    "def batch", "def parts(x, eps):\n    std = np.sqrt(x.var(0) + eps)\n"
    "    return (x - x.mean(0)) / std, std\n\ndef batch").replace(
    "    std = np.sqrt(x.var(0) + bn_param.get(\"eps\", 1e-5))\n"
    "    x_hat = (x - x.mean(0)) / std\n",
    "    x_hat, std = parts(x, bn_param.get(\"eps\", 1e-5))\n") + """
def parts(dout, x_hat):
    return dout.sum(0), (dout * x_hat).sum(0)

def batchnorm_backward(dout, cache):
    x_hat, gamma, std = cache
    dbeta, dgamma = parts(dout, x_hat)
    return gamma / std * (dout - (dbeta + x_hat * dgamma) / len(dout)), dgamma, dbeta

def parts(dout, x_hat, m):
    return dout.sum(0) / m, (dout * x_hat).sum(0) / m

def batchnorm_backward_alt(dout, cache):
    x_hat, gamma, std = cache
    a, b = parts(dout, x_hat, len(dout))
    return gamma / std * (dout - a - x_hat * b), len(dout) * b, len(dout) * a
"""  # fmt: skip


def test_three_helpers_of_the_same_name_get_full_marks_and_a_note():
    report = grade(SAME_NAME, 10.0, "ps2")
    assert [r["score"] for r in report["results"][:2]] == [4, 3]
    assert "needed in ps2.q1, ps2.q2 is defined again" in report["notes"][0]


def test_a_helper_as_it_stood_opens_no_way_around_a_ban():
    helper = "def helper(dout, cache):\n    return None\n"
    above = helper.replace("None", "batchnorm_backward(dout, cache)")
    source = FIRST + above + ALT.format("helper") + helper
    assert grade(source, 10.0, "ps2")["results"][1]["score"] == 0


# --- what decides is said, and said first ---------------------------------------------


def test_what_stopped_comes_before_what_does_not_parse():
    source = "".join(f"print 'a'\nx{i} = 1\n" for i in range(22)) + "EPS = nothing\n"
    report = grade(source + RIGHT.replace("1e-5", "EPS"))
    assert len(report["notes"]) > 20
    assert "name 'nothing' is not defined" in report["notes"][0]


def test_a_missing_forward_function_is_not_reported_as_a_missing_backward():
    source = "def batchnorm_backward(dout, cache):\n    return dout, 1, 1\n"
    said = grade(source, set_name="ps2")["results"][0]["findings"][0]["sentence"]
    assert said == "There is no batchnorm_forward yet."


@pytest.mark.parametrize("part", ["+ 0j", "+ 1e-12j", "+ np.zeros(x.shape, complex)"])
def test_complex_output_is_a_difference_and_named(part):
    report = grade(
        RIGHT.replace("np.sqrt(v + eps) + beta", f"np.sqrt(v) + beta {part}")
    )
    first = report["results"][0]
    assert first["score"] == 0
    said = "holds complex numbers; real ones are expected."
    assert said in first["findings"][0]["sentence"]


CARRIES = """
import torch
class BatchNorm1d(torch.nn.Module):
    def __init__(self, n, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = torch.nn.Parameter(torch.ones(n))
        self.bias = torch.nn.Parameter(torch.zeros(n))
        self.register_buffer("running_mean", torch.zeros(n))
        self.register_buffer("running_var", torch.ones(n))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var, m = x.mean(0), x.var(0, unbiased=False), self.momentum
            kept = var * len(x) / (len(x) - 1)
            new_mean, new_var = DETACHED
            self.running_mean = (1 - m) * self.running_mean + m * new_mean
            self.running_var = (1 - m) * self.running_var + m * new_var
            self.num_batches_tracked += 1
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias
"""


@needs_torch
@pytest.mark.parametrize(
    ("kept", "score"),
    [
        ("mean.detach(), kept.detach()", 3),
        ("mean, kept.detach()", 2.75),
        ("mean.detach(), kept", 2.75),
    ],
)
def test_running_statistics_carry_no_gradient(kept, score):
    result = grade(CARRIES.replace("DETACHED", kept), 10.0, "ps4")["results"][3]
    assert result["score"] == score
    assert [f["bug"] for f in result["findings"]] == ["statistics-carry"] * (score < 3)


# --- hidden numbers -------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "raise ValueError(str(x))",
        "raise ValueError(f'operands {x[0, 0]}')",
        "raise type('n' + str(abs(int(x[0, 0] * 1e6))), (Exception,), {})",
        "raise KeyError(str(int(x[0, 0] * 1e6)))",
        "raise NameError(f\"name 'v{abs(int(x[0, 0] * 1e6))}' is not defined\")",
        "assert False, x",
        "raise ValueError('too many values to unpack (expected ' + HIDDEN + ')')",
        "raise RecursionError('maximum recursion depth exceeded ' + HIDDEN)",
        "exec('raise ValueError(\"axis ' + HIDDEN + ' is out of bounds for array of '"
        " 'dimension 1\")')",
        "getattr(np, 'n' + HIDDEN)",
        "{}['k' + HIDDEN]",
    ],
)
def test_an_error_carries_no_hidden_number(means, line):
    line = line.replace("HIDDEN", "str(abs(int(x[0, 0] * 1e6)))")
    sentence = grade(body(line))["results"][0]["findings"][0]["sentence"]
    numbers = "".join(c if c.isdigit() else " " for c in sentence).split()
    assert all(int(n) < 100 for n in numbers), sentence


# --- confinement itself ---------------------------------------------------------------


def test_without_confinement_nothing_is_graded(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("landlockpy.supported", lambda: False)
    find_confinement.cache_clear()
    try:
        with pytest.raises(NoConfinementError, match="--unsafe"):
            grade(RIGHT)
    finally:
        find_confinement.cache_clear()


def test_unsafe_grading_says_so():
    submission = read_submission(RIGHT.encode(), "a.py", SETS["ps1"].functions)
    report = grade_one(submission, "ps1", KEY, Options(unsafe=True))
    assert first_three(report) == 7
    assert report["confinement"].startswith("NONE")
