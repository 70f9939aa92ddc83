"""What code raised: the facts where it ran, the sentence where it is judged.

A worker sends facts, and a stranger may have written them. So a report's sentence is
made on the grader's side, and says only what cannot carry a hidden number.
"""

from __future__ import annotations

import builtins
import dis
import os
import re
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

# Messages of Python and NumPy that help and hold nothing but names and shapes.
HARMLESS = (
    r"operands could not be broadcast together with shapes ?([(]\d*,?[\d, ]*[)] ?)+",
    r"shapes? [\d(), and]+ not aligned: \d+ \(dim \d+\) != \d+ \(dim \d+\)",
    r"shapes? \([\d,]*\) and \([\d,]*\) not aligned",
    r"cannot reshape array of size \d+ into shape \([\d, ]*\)",
    r"could not broadcast input array from shape \([\d,]*\) into shape \([\d,]*\)",
    r"matmul: Input operand \d has a mismatch in its core dimension \d, .{0,80}",
    r"name '\w+' is not defined",
    r"cannot access local variable '\w+' where it is not associated with a value",
    r"local variable '\w+' referenced before assignment",
    r"'\w+'",  # KeyError
    r"[\w.]+\(\) missing \d+ required positional arguments?: [\w', and]+",
    r"[\w.]+\(\) takes (from \d+ to )?\d+ positional arguments? but \d+ \w+ given",
    r"[\w.]+\(\) got an unexpected keyword argument '\w+'",
    r"[\w.]+\(\) got multiple values for argument '\w+'",
    r"(not enough|too many) values to unpack( \(expected \d+(, got \d+)?\))?",
    r"unsupported operand type\(s\) for [^ ]+: '[\w.]+' and '[\w.]+'",
    r"'[\w.]+' object is not (subscriptable|iterable|callable)",
    r"'[\w.]+' object has no attribute '\w+'",
    r"module '[\w.]+' has no attribute '\w+'",
    r"cannot unpack non-iterable \w+ object",
    r"(list|tuple) index out of range",
    r"axis \d+ is out of bounds for array of dimension \d+",
    r"No module named '[\w.]+'",
    r"'\w+' is not allowed here",
    r"maximum recursion depth exceeded( while calling a Python object)?",
    r"[\w.]+\(\) got some positional-only arguments passed as keyword arguments: '\w+'",
    r"output array is read-only",
    r"assignment destination is read-only",
)
MOST_SIZES, LARGEST_SIZE = 8, 24  # of the numbers in such a message
ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
OWN_FILES = ("cell ", "file", "<ipython")  # names of a student's pieces of code
LIBRARIES = re.compile("numpy|importlib|bncheck|worker")  # make messages of their own
QUOTED = re.compile(r"'([\w.]+)'|([\w.]+)\(\)|non-iterable (\w+)")
TYPES = frozenset(
    (
        "ndarray",
        "numpy",
        "float64",
        "Tensor",
        "torch",
        "NoneType",
        "module",
        "batch_norm",
        "layer_norm",
        "group_norm",
    )
)


def is_known(name: str, words: Collection[str]) -> bool:
    """Say whether a name is of Python, NumPy or torch, or stands in the code."""
    return name in words or name in TYPES or hasattr(builtins, name)


class Raised(NamedTuple):
    """The facts of an exception.

    Attributes
    ----------
    kind : str
        Name of the built-in exception that it is.
    message : str
        Its message, at most 300 characters.
    place : str
        Where in the student's code: ``"cell 4, line 2"``, or nothing.
    made : bool
        Whether a line of the student's raised it, and not Python or NumPy themselves.
    """

    kind: str
    message: str = ""
    place: str = ""
    made: bool = True


def raised(error: BaseException) -> Raised:
    """Collect the facts of an exception."""
    try:
        message = ADDRESS.sub("0x...", str(error))[:300].strip()
    except Exception:  # an exception of a student's that cannot even be told
        message = ""
    return Raised(name_of(error), message, _place(error), _made(error))


def tell(facts: Raised) -> str:
    """Say what was raised, with its message and its line, to whom it belongs."""
    message = f": {facts.message}" if facts.message else ""
    return f"{facts.kind}{message}{f' ({facts.place})' if facts.place else ''}"


def tell_safely(facts: Raised, words: Collection[str], labels: Collection[str]) -> str:
    """Say what was raised without a word that could carry hidden numbers.

    Parameters
    ----------
    facts : Raised
        They may be a stranger's.
    words : collection of str
        Names that stand in the student's own code.
    labels : collection of str
        Its pieces: ``"cell 4"``.

    Returns
    -------
    text : str
        Type and line; the message only if Python or NumPy words it so, with names that
        are in the code, without large numbers, and only if no ``raise`` made it.
    """
    own = getattr(builtins, facts.kind, None)
    known = isinstance(own, type) and issubclass(own, BaseException)
    message = facts.message if _is_safe(facts, words) else ""
    found = re.fullmatch(r"(cell \d+|your code), line (\d{1,4})", facts.place)
    here = found is not None and found[1] in ("your code", *labels)
    kind = facts.kind if known else "an error"
    return tell(Raised(kind, _without_large(message), facts.place if here else ""))


def _is_safe(facts: Raised, words: Collection[str]) -> bool:
    if facts.made or not any(re.fullmatch(p, facts.message) for p in HARMLESS):
        return False
    names = ".".join(n for part in QUOTED.findall(facts.message) for n in part if n)
    return not names or all(is_known(n, words) for n in names.split("."))


def _without_large(message: str) -> str:
    """Leave out numbers that are no sizes; what is quoted stays."""
    seen = 0

    def shown(found: re.Match) -> str:
        nonlocal seen
        if not found[0].isdigit():
            return found[0]
        seen += 1
        large = int(found[0]) > LARGEST_SIZE or seen > MOST_SIZES
        return "..." if large else found[0]

    return re.sub(r"'.*?'|[\w.]+\(\)|[A-Za-z_]\w*|\d+", shown, message)


def machine_error(error: BaseException) -> str:
    """Say what of the machine or of a library failed; nothing if it is the student's.

    That is an `OSError` or `ImportError` that came up with no line of the student's in
    between: while a library imported a part of itself, or under none of their lines at
    all. A file that a student's line opens, and a package that it imports, are theirs.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    reason : str
        Type, the system's own words, and the module; no word of the exception's.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = traceback.extract_tb(cause.__traceback__)
        own = [i for i, f in enumerate(frames) if f.filename.startswith(OWN_FILES)]
        below = frames[own[-1] + 1 :] if own else frames
        importing = any(
            f.name == "<module>" and not f.filename.startswith("<") for f in below
        )
        if isinstance(cause, OSError | ImportError) and (importing or not own):
            number = getattr(cause, "errno", None)
            words = os.strerror(number) if number else ""
            missing = str(getattr(cause, "name", None) or "")
            if re.fullmatch(r"[\w.]{1,80}", missing):
                words = f"no module {missing}"
            module = re.sub(r"\W", "", Path(below[-1].filename).stem) if below else ""
            place = f" in {module[:40]}, line {below[-1].lineno}" if module else ""
            return f"{name_of(cause)}{': ' + words if words else ''}{place}"
        cause = cause.__cause__ or cause.__context__
    return ""


def name_of(error: BaseException) -> str:
    """Return the name of the built-in exception that an exception is."""
    for kind in type(error).__mro__:
        if getattr(builtins, kind.__name__, None) is kind:
            return kind.__name__
    return "an error"


def _made(error: BaseException) -> bool:
    """Say whether a student's line raised it, and not Python or NumPy themselves."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    if last is None or not last.filename.startswith(("cell ", "file")):
        return last is None or not LIBRARIES.search(last.filename)
    made = {id(error.__cause__), id(error.__context__)} - {id(None)}
    return bool(made) or _raises(error.__traceback__)


def _raises(trace: Any) -> bool:
    """Say whether the last step of a traceback is an instruction to raise."""
    while trace.tb_next:
        trace = trace.tb_next
    code = trace.tb_frame.f_code.co_code
    return dis.opname[code[trace.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.startswith(OWN_FILES)]
    if not own:
        return ""
    piece = own[-1].filename if own[-1].filename.startswith("cell ") else "your code"
    return f"{piece}, line {own[-1].lineno}"
