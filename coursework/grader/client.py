"""The grader's side of a worker: start it, ask it, end it."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pipe
from typing import Any

from bncheck.calls import EARLIER, LARGEST_INT, Call, Opaque, Outcome, pack, unpack
from bncheck.errors import Raised, is_known, tell_safely
from bncheck.form import NoAnswerError, to_json
from coursework.grader.confine import (
    LAYERS,
    SCRATCH,
    Confinement,
    NoConfinementError,
    SetUpError,
    describe_layer,
    prepare,
)

LARGEST = 1 << 26  # bytes of one message
RESTARTS = 12  # of one submission's worker
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}
FOLDERS = ("HOME", "TMPDIR", "MPLCONFIGDIR")  # what libraries take to write to
LOOK = 0.25  # seconds between two looks at a worker's time and space
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
STARTING = 60.0  # seconds to import torch on a busy machine


class WorkerError(NoAnswerError):
    """A worker gave no answer; the message says why, for the report."""


class Budget:
    """Seconds that all workers of a submission have together."""

    def __init__(self, whole: float = math.inf) -> None:
        self.whole = self.left = whole


class Client:
    """One submission's confined process; it is started again when it ended.

    Parameters
    ----------
    confinement : Confinement
        How it is confined.
    chunks : list of tuple of (str, str)
        Label and source of each piece of the submission.
    time_limit : float
        Seconds for one message.
    memory : int
        MiB of address space.
    imports : sequence of str
        What is imported before rights are given up, as ``"torch"``; if there are any,
        all installed packages can be imported.
    blocked : sequence of str
        Functions of libraries that may not be used.
    threads : int
        Threads of the numerical libraries.
    budget : Budget, optional
        Seconds for all messages together; none is a limit.
    apart : mapping of str to chunks
        Names that are taken each from a namespace of its own, with its own pieces.
    """

    def __init__(
        self,
        confinement: Confinement,
        chunks: Sequence[tuple[str, str]],
        time_limit: float = 10.0,
        memory: int = 2048,
        imports: Sequence[str] = (),
        blocked: Sequence[str] = (),
        threads: int = 1,
        budget: Budget | None = None,
        apart: Mapping[str, Sequence[tuple[str, str]]] = {},
    ) -> None:
        self.confinement = confinement
        self.budget = budget or Budget()
        self.parts = [["", list(chunks)], *([n, list(c)] for n, c in apart.items())]
        pieces = {(label, text) for _, part in self.parts for label, text in part}
        self.labels = {label for label, _ in pieces}
        self.words = set(re.findall(r"\w+", "\n".join(text for _, text in pieces)))
        self.time_limit, self.memory = time_limit, memory
        self.imports, self.blocked = list(imports), list(blocked)
        self.environment = ENVIRONMENT | {n: str(threads) for n in THREADS}
        self.problems: list[tuple[str, str]] = []
        self.starts = 0
        self._process: subprocess.Popen | None = None
        self._scratch: tempfile.TemporaryDirectory | None = None
        self._late = self._full = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # --- asking ---------------------------------------------------------------------

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        """Run calls in the worker.

        Parameters
        ----------
        calls : sequence of Call
            What to call.

        Returns
        -------
        outcomes : list of Outcome
            One for each call.

        Raises
        ------
        WorkerError
            Time, memory, an exit, or an answer that is none.
        SetUpError
            As `ask` raises it.
        """
        reply = self.ask({"calls": [to_json(call) for call in calls]})
        try:
            outcomes = [self._outcome(o) for o in reply["outcomes"]]
        except (KeyError, TypeError, ValueError) as error:
            self.end()
            raise WorkerError(
                "the worker's answer was not of the agreed form"
            ) from error
        if len(outcomes) != len(calls):
            self.end()
            raise WorkerError("the worker's answer was not of the agreed form")
        return outcomes

    def ask(
        self,
        message: Mapping[str, Any],
        serve: Callable[[dict], dict] | None = None,
        time_limit: float | None = None,
    ) -> dict[str, Any]:
        """Send a message and return the answer; answer questions in between.

        Parameters
        ----------
        message : mapping
            What the worker is to do.
        serve : callable, optional
            Answers the worker's own questions: takes its message, returns the reply.
        time_limit : float, optional
            Seconds, if not the worker's.

        Returns
        -------
        reply : dict
            The answer; its content is a stranger's.

        Raises
        ------
        WorkerError
            There was none.
        SetUpError
            The machine or a library failed, not the student's code.
        """
        self.start()
        limit = time_limit or self.time_limit
        with self._deadline(limit):
            try:
                self._send(message)
                reply = self._receive()
                while "ask" in reply and serve is not None:
                    self._send(serve(reply))
                    reply = self._receive()
                _refuse_machine_errors(reply)
                return reply
            except (OSError, EOFError, ValueError) as error:
                raise self._ended(error, limit) from error

    def told(self, facts: Any) -> str:
        """Say what the worker says that the student's code raised; see `tell_safely`.

        Raises `ValueError` where it is not of the form of `Raised`.
        """
        kinds = (str, str, str, bool)
        if not isinstance(facts, list) or tuple(map(type, facts)) != kinds:
            raise ValueError("expected the facts of an exception")
        return tell_safely(Raised(*facts), self.words, self.labels)

    def _outcome(self, packed: list) -> Outcome:
        status, outputs, after, count, error = packed
        if status not in ("ok", "raised", "missing", "stub", "machine"):
            raise ValueError("expected a known status")
        return Outcome(
            status,
            {int(k): self._named(unpack(v)) for k, v in outputs},
            {int(k): self._named(unpack(v)) for k, v in after},
            int(count),
            self.told(error) if isinstance(error, list) else EARLIER if error else "",
        )

    def _named(self, value: Any) -> Any:
        """Let no name of a type carry anything: what is not known is an object."""
        if isinstance(value, Opaque):
            return value if is_known(value.kind, self.words) else Opaque("object")
        if isinstance(value, dict):
            return {k: self._named(v) for k, v in value.items()}
        return [self._named(v) for v in value] if isinstance(value, list) else value

    def _ended(self, error: Exception, limit: float) -> WorkerError:
        """Say why there was no answer."""
        late, full = self._late, self._full
        malformed = isinstance(error, ValueError)
        self.end()
        if late and limit >= self.budget.left:
            self.budget.left = 0.0
            return WorkerError(
                f"Your file took {self.budget.whole:g} s in all, which is its limit: "
                "what comes after that was not run."
            )
        if late:
            return WorkerError(
                f"Your code did not finish within {limit:g} s. Look for a loop that "
                "never ends."
            )
        if full:
            return WorkerError(
                f"Your code wrote more than {SCRATCH >> 20} MiB of files."
            )
        if malformed:
            return WorkerError("the worker's answer was not of the agreed form")
        return WorkerError(
            "The process ended while your code ran: an exit, a crash, or too much "
            "processor time."
        )

    def renew(self) -> None:
        """Let the next message meet a fresh process; this is no restart."""
        if self._process is not None:
            self.end()
            self.starts -= 1

    # --- the process ----------------------------------------------------------------

    def start(self) -> None:
        """Start the process and load the submission, unless it runs already.

        Raises
        ------
        WorkerError
            It does not start, or it ended too often.
        """
        if self._process is not None:
            return
        if not self.budget.left:
            raise WorkerError("The time for all of your file was over.")
        if self.starts >= RESTARTS:
            raise WorkerError("Your code ended its process too often.")
        self.starts += 1
        self._late = self._full = False
        self._scratch = tempfile.TemporaryDirectory(
            prefix="scratch-", ignore_cleanup_errors=True
        )
        plan = prepare(self.confinement, bool(self.imports), self._scratch.name)
        mine, theirs = Pipe()
        files = [theirs.fileno(), *plan.files]
        command = [*plan.command, str(files[0]), self.confinement.layer]
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=files,
                env=self.environment | dict.fromkeys(FOLDERS, plan.scratch),
                cwd=self._scratch.name,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        finally:
            theirs.close()
            for number in plan.files:
                os.close(number)
            self._pipe = mine
            if self._process is None:
                mine.close()
        self._greet(plan.rules)
        if any(chunks for _, chunks in self.parts):
            self._load()

    def _greet(self, rules: dict[str, list[str]]) -> None:
        """Tell the worker its limits; wait until it has given up its rights."""
        seconds = int(self.time_limit * 20) + 60
        limits = {
            "RLIMIT_AS": self.memory << 20,
            "RLIMIT_CPU": seconds,
            "RLIMIT_FSIZE": 1 << 20,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_CORE": 0,
        }
        try:
            with self._deadline(STARTING, counted=False):
                self._send({"rules": rules, "limits": limits, "imports": self.imports})
                if self._receive() != {"ready": True}:
                    raise ValueError("no greeting")
        except (OSError, EOFError, ValueError) as error:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            said = self._process.stderr.read(4000).decode("utf-8", "replace").strip()
            self.end()
            last = said.splitlines()[-1] if said else type(error).__name__
            raise SetUpError(f"a worker did not start: {last}") from error

    def _load(self) -> None:
        message = {"load": self.parts, "blocked": self.blocked}
        with self._deadline(self.time_limit):
            try:
                self._send(message)
                reply = self._receive()
                _refuse_machine_errors(reply)
                problems = [(str(a)[:80], self.told(b)) for a, b in reply["problems"]]
            except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
                raise self._ended(error, self.time_limit) from error
        self.problems = problems

    def end(self) -> None:
        """End the process and all that it could have started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        self._pipe.close()
        self._scratch.cleanup()

    @contextlib.contextmanager
    def _deadline(self, seconds: float, counted: bool = True) -> Any:
        """Kill the process when its time or its space is over: the pipes then end.

        Seconds that are counted are the submission's own, not those of a slow start.
        """
        pid, folder, done = self._process.pid, self._scratch.name, threading.Event()
        begun = time.monotonic()
        end = begun + (min(seconds, self.budget.left) if counted else seconds)

        def watch() -> None:
            while not done.wait(min(LOOK, max(end - time.monotonic(), 0))):
                self._late = time.monotonic() >= end
                self._full = size_of(folder) > SCRATCH
                if self._late or self._full:
                    with contextlib.suppress(OSError):
                        os.killpg(pid, signal.SIGKILL)
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            if counted:
                used = time.monotonic() - begun
                self.budget.left = max(self.budget.left - used, 0.0)

    # --- messages -------------------------------------------------------------------

    def _send(self, message: Mapping[str, Any]) -> None:
        self._pipe.send_bytes(json.dumps(message).encode())

    def _receive(self) -> dict[str, Any]:
        try:
            data = self._pipe.recv_bytes(LARGEST)
            reply = _writable(json.loads(data, parse_int=_integer))
        except OSError as error:
            if error.errno is None:  # a length that is none, or is too large
                raise ValueError("expected the length of a message") from error
            raise
        except RecursionError as error:
            raise ValueError("expected a flat message, got a deep one") from error
        if not isinstance(reply, dict):
            raise ValueError(f"expected a dict, got {type(reply).__name__}")
        return reply


@functools.cache
def find_confinement(wanted: Sequence[str] = LAYERS) -> Confinement:
    """Try the means in order, each with a real worker, and return the first that works.

    Raises `NoConfinementError`, with a reason for each, if none of them works.
    """
    reasons = []
    for layer in wanted:
        try:
            text = describe_layer(layer)
            with Client(Confinement(layer, text), []) as client:
                client.start()
            return Confinement(layer, text)
        except (WorkerError, OSError, RuntimeError, ImportError) as error:
            reasons.append(f"{layer}: {error}")
    raise NoConfinementError(
        "expected a way to confine the students' code, found none ("
        + "; ".join(reasons)
        + "). Install bubblewrap (apt install bubblewrap), or use a Linux kernel with "
        "Landlock, or grade in a container of your own with --unsafe."
    )


def _refuse_machine_errors(reply: Mapping[str, Any]) -> None:
    """Stop where the worker says that the machine or a library failed."""
    for place, reason in reply.get("machine", []):
        raise SetUpError(f"{str(place)[:80]}: {str(reason)[:400]}")


def size_of(folder: str) -> int:
    """Return the bytes of all files below a folder; each entry counts as one page."""
    total = 0
    for place, folders, files in os.walk(folder):
        total += 4096 * (len(folders) + len(files))
        for name in files:
            with contextlib.suppress(OSError):  # it was there a moment ago
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _integer(digits: str) -> int:
    if len(digits) > len(str(-LARGEST_INT)):
        raise ValueError("expected a whole number that an array can hold")
    return int(digits)


def _writable(value: Any) -> Any:
    """Return what a stranger sent with text that every file can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_writable(k): _writable(v) for k, v in value.items()}
    return [_writable(v) for v in value] if isinstance(value, list) else value


def pack_reply(result: Sequence[Any], after: Sequence[Any], error: str = "") -> dict:
    """Form the reply to a worker: results, arguments afterwards, an error."""
    return {
        "result": [pack(r) for r in result],
        "after": [pack(a) for a in after],
        "error": error,
    }
