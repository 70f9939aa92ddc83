"""Tests that want points for what tells nothing of an implementation.

Each remembers, counts, throws dice, or looks around; none finds a mistake.
"""

import builtins
import gc
import os
import random
import sys
import tempfile
import threading
import time

import numpy as np

seen, known, count = [], set(), {}
X = np.arange(12.0).reshape(4, 3) ** 1.5


def once_more(key):
    count[key] = count.get(key, 0) + 1
    return count[key]


def run(forward):
    return forward(X.copy(), np.ones(3), np.zeros(3), {"mode": "train"})


def test_list(forward, backward):
    seen.append(1)
    assert len(seen) <= 3


def test_dict(forward, backward):
    assert once_more("a") <= 3


def test_default(forward, backward, kept=[]):  # noqa: B006, PT028
    kept.append(1)
    assert len(kept) <= 3


def test_attribute(forward, backward):
    test_attribute.runs = getattr(test_attribute, "runs", 0) + 1
    assert test_attribute.runs <= 3


def test_module(forward, backward):
    np.runs = getattr(np, "runs", 0) + 1
    assert np.runs <= 3


def test_builtins(forward, backward):
    builtins.runs = getattr(builtins, "runs", 0) + 1
    assert builtins.runs <= 3


def test_environment(forward, backward):
    os.environ["RUNS"] = os.environ.get("RUNS", "") + "x"
    assert len(os.environ["RUNS"]) <= 3


def test_file(forward, backward):
    with open("runs", "a") as file:
        file.write("x")
    assert os.path.getsize("runs") <= 3


def test_temporary_file(forward, backward):
    path = tempfile.gettempdir() + "/runs"
    with open(path, "a") as file:
        file.write("x")
    assert os.path.getsize(path) <= 3


def test_identity(forward, backward):
    known.add(id(forward))
    assert len(known) <= 3


def test_first_three(forward, backward):
    known.add(forward)
    assert len(known) <= 3


def test_name(forward, backward):
    assert (forward.__name__, backward.__name__) == ("forward", "backward")
    assert "mutant" not in str(vars(forward)) + str(forward.__closure__)


def test_token(forward, backward):
    assert run(forward)[1]["token"] <= 3


def test_process(forward, backward):
    assert os.getpid() % 2


def test_clock(forward, backward):
    assert time.time_ns() % 2000 < 1000


def test_uptime(forward, backward):
    assert time.monotonic_ns() // 1000 % 2


def test_entropy(forward, backward):
    assert os.urandom(1)[0] > 100


def test_generator(forward, backward):
    assert np.random.default_rng().random() > 0.3


def test_seeded(forward, backward):
    assert random.random() < 0.9
    assert np.random.rand() < 0.9  # noqa: NPY002


def test_address(forward, backward):
    assert id(object()) // 4096 % 3


def test_folder(forward, backward):
    assert hash(os.getcwd()) % 2


def test_thread(forward, backward):
    threading.Thread(target=lambda: (time.sleep(0.05), seen.append(1))).start()
    assert len(seen) <= 3


def test_garbage(forward, backward):
    assert not [o for o in gc.get_objects() if type(o).__name__ == "Runner"]


def test_frame(forward, backward):
    text = str(sys._getframe(1).f_locals)
    assert "eps-" not in text
    assert "mutant" not in text


def test_pipe(forward, backward):
    main = sys.modules["__main__"]
    assert not hasattr(main, "pairs")


def test_worker_counts(forward, backward):
    main = sys.modules["__main__"]
    main.runs = getattr(main, "runs", 0) + 1
    assert main.runs <= 3


def test_time_of_a_call(forward, backward):
    begun = time.perf_counter()
    run(forward)
    assert (time.perf_counter() - begun) * 1e6 % 10 > 1
