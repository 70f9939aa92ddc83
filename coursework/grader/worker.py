"""The worker: the only process in which a student's code runs.

    python -S -s -P worker.py SITE PIPE LAYER

It imports NumPy, gives up its rights, and then answers messages: source to load, calls
to run, tests to run. A message is JSON. It starts no process and opens no file of its
own afterwards.
"""

import json
import os
import sys

site, number, layer = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.path[:0] = site.split(os.pathsep)
sys.argv = ["student"]

import ast  # noqa: E402
import random  # noqa: E402
import re  # noqa: E402
import resource  # noqa: E402
import warnings  # noqa: E402
from multiprocessing.connection import Connection  # noqa: E402

import numpy as np  # noqa: E402

from bncheck import calls as carry  # noqa: E402
from bncheck.errors import machine_error, raised  # noqa: E402
from bncheck.form import from_json  # noqa: E402
from bncheck.toys import TOYS  # noqa: E402

LARGEST_MESSAGE = 1 << 26
pipe = Connection(number)
namespace: dict = {}
libraries: list = []
NORMALIZATION = re.compile(r"^aten\W.*?((batch|layer|group)_norm)")


def receive() -> dict:
    """Read one message; the end of the pipe ends the worker."""
    try:
        return json.loads(pipe.recv_bytes())
    except EOFError:
        os._exit(0)


def send(message: dict) -> None:
    """Write one message."""
    data = json.dumps(message).encode()
    if len(data) > LARGEST_MESSAGE:
        data = json.dumps({"error": "too much"}).encode()
    pipe.send_bytes(data)


def limit(limits: dict) -> None:
    """Set the limits of this process: memory, processor time, files."""
    for name, value in limits.items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))


def confine_by_landlock(rules: dict) -> None:
    """Give up every file but those named, the network, new processes, signals."""
    from confine_rules import make_filter  # noqa: PLC0415
    from landlockpy import AccessFS, Ruleset, Scope  # noqa: PLC0415

    rules_of_calls = make_filter(in_namespace=False)
    read = AccessFS.READ_FILE | AccessFS.READ_DIR | AccessFS.EXECUTE
    write = AccessFS.WRITE_FILE | AccessFS.TRUNCATE | AccessFS.REFER
    write |= AccessFS.MAKE_REG | AccessFS.REMOVE_FILE
    write |= AccessFS.MAKE_DIR | AccessFS.REMOVE_DIR
    scopes = Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET
    with Ruleset(scoped=scopes) as ruleset:
        for path in rules["read"]:
            folder = os.path.isdir(path)
            ruleset.allow_path(path, read if folder else read & ~AccessFS.READ_DIR)
        for path in rules["list"]:
            ruleset.allow_path(path, AccessFS.READ_DIR)
        for path in rules["write"]:
            ruleset.allow_path(path, read & ~AccessFS.EXECUTE | write)
        ruleset.allow_path("/dev/null", AccessFS.READ_FILE | AccessFS.WRITE_FILE)
        ruleset.restrict()
    rules_of_calls.load()


def load(parts: list, blocked: list) -> dict:
    """Run the pieces of a submission, each by itself.

    A part that has a name has its own namespace, of which only that name is taken.
    """
    reply: dict = {"problems": [], "machine": []}
    try:
        block(blocked)
    except Exception as error:  # another version of a library, and not the student
        reply["machine"].append(["what is not allowed", f"{error!r}"])
    namespace.clear()
    for name, chunks in parts:
        space = {} if name else namespace
        run_pieces(chunks, space, **reply)
        if name in space:
            namespace[name] = space[name]
    return reply


def run_pieces(chunks: list, space: dict, problems: list, machine: list) -> None:
    """Run pieces of source in a namespace, and add to what went wrong."""
    space.update(__name__="student", np=np, numpy=np, xrange=range)
    for label, source in chunks:
        try:
            exec(compile(source, label, "exec"), space)
        except BaseException as error:  # a submission may raise anything
            reason = machine_error(error)
            absent = isinstance(error, ModuleNotFoundError)
            if reason and not absent:
                machine.append([label, reason])
            else:  # a package that is not here was the student's choice
                problems.append([label, raised(error)])
            if absent:
                leave_out(source, str(error), space)


class Absent:
    """Stands for a name of a package that is not here; says so when it is used."""

    def __init__(self, message: str) -> None:
        self.__dict__["message"] = message

    def __getattr__(self, name: str) -> object:
        raise ModuleNotFoundError(self.__dict__["message"])

    def __call__(self, *_: object, **__: object) -> object:
        raise ModuleNotFoundError(self.__dict__["message"])


def leave_out(source: str, message: str, space: dict) -> None:
    """Let the names of an import that failed say, when used, what is not here."""
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                space.setdefault(name, Absent(message))


def block(names: list) -> None:
    """Take functions of libraries away, under every name that a module has for them."""
    refused: dict = {}
    for name in names:
        path, _, last = name.rpartition(".")
        found = getattr(sys.modules.get(path), last, None)
        if found is not None:
            refused[id(found)] = found, refusing(last, isinstance(found, type))
    for module in [*sys.modules.values()] if refused else ():
        for name, value in [*getattr(module, "__dict__", {}).items()]:
            if id(value) in refused:
                setattr(module, name, refused[id(value)][1])
    if "torch" in sys.modules and names:
        block_kernels()


def refusing(name: str, as_type: bool = False) -> object:
    """Return a function, or a class, that says it is not allowed here."""

    def refused(*_: object, **__: object) -> None:
        raise RuntimeError(f"{name!r} is not allowed here")

    return type(name, (), {"__init__": refused}) if as_type else refused


def block_kernels() -> None:
    """Take PyTorch's normalizations away where all their names lead to in the end."""
    import torch  # noqa: PLC0415

    library = torch.library.Library("aten", "IMPL")
    for operator in torch._C._dispatch_get_all_op_names():
        kind = NORMALIZATION.search(operator)
        kernels = ("CPU", "CompositeExplicitAutograd")
        has = torch._C._dispatch_has_kernel_for_dispatch_key
        if kind and any(has(operator, key) for key in kernels):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is replaced
                library.impl(operator.removeprefix("aten::"), refusing(kind[1]), "CPU")
    libraries.append(library)  # with it the kernels would come back
    for table in torch._decomp.global_decomposition_table.values():
        for operator in [o for o in table if NORMALIZATION.search(str(o))]:
            del table[operator]


def ask(name: str):
    """Return a function that the grader runs: its arguments go there and come back."""

    def asked(*args: object) -> object:
        send({"ask": name, "args": [carry.pack(carry._sendable(a)) for a in args]})
        reply = receive()
        for mine, packed in zip(args, reply["after"], strict=True):
            restore(mine, carry.unpack(packed))
        if reply["error"]:
            raise RuntimeError(reply["error"])
        result = tuple(carry.unpack(r) for r in reply["result"])
        return result if len(result) > 1 else result[0]

    asked.__name__ = name.partition(":")[2] or name
    return asked


def restore(mine: object, after: object) -> None:
    """Make an argument what the called function left in it."""
    if isinstance(mine, np.ndarray) and isinstance(after, np.ndarray):
        if mine.shape == after.shape and not np.array_equal(mine, after):
            mine[...] = after
    elif isinstance(mine, dict) and isinstance(after, dict):
        mine.update(after)


def run_tests(pattern: str, remotes: list, most: int) -> dict:
    """Call the first tests of the student with functions that the grader runs."""
    given = [ask(name) for name in remotes]
    tests = {
        name: test
        for name, test in namespace.items()
        if name.startswith(pattern) and callable(test)
    }
    verdicts, machine = {}, []
    for name, test in list(tests.items())[:most]:
        try:
            with np.errstate(all="ignore"):
                failed = carry.says_no(test(*given))
            verdicts[name] = ["failed" if failed else "ok", []]
        except AssertionError:
            verdicts[name] = ["failed", []]
        except BaseException as error:  # a test may raise anything
            verdicts[name] = ["raised", raised(error)]
            reason = machine_error(error)
            machine += [[name, reason]] if reason else []
    left_out = max(len(tests) - most, 0)
    return {"verdicts": verdicts, "left out": left_out, "machine": machine}


def answer(message: dict) -> dict:
    """Do what a message asks for."""
    np.random.seed(0)  # noqa: NPY002  students' code may draw from it
    random.seed(0)
    if "load" in message:
        return load(message["load"], message["blocked"])
    if "tests" in message:
        return run_tests(message["tests"], message["remotes"], message["most"])
    todo = [from_json(c) for c in message["calls"]]
    outcomes = carry.run_calls(todo, namespace, TOYS, raised)
    failed = zip(todo, outcomes, strict=True)
    return {
        "machine": [[c.function, o.error] for c, o in failed if o.status == "machine"],
        "outcomes": [
            [
                o.status,
                [[k, carry.pack(v)] for k, v in o.outputs.items()],
                [[k, carry.pack(v)] for k, v in o.after.items()],
                o.count,
                o.error,
            ]
            for o in outcomes
        ],
    }


def main() -> None:
    """Give up rights, say so, and answer until the pipe closes."""
    start = receive()
    for name in start["imports"]:
        __import__(name)
    limit(start["limits"])
    if layer == "landlock":
        confine_by_landlock(start["rules"])
    send({"ready": True})
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    sys.setrecursionlimit(1000)
    while True:
        send(answer(receive()))


main()
