"""Run calls of functions by name; carry their arguments and answers as JSON.

The confined worker of the grader runs this, and `check` in a student's notebook.
Nothing is pickled: numbers, text, lists, dicts, and plain arrays as bytes go over.
"""

from __future__ import annotations

import base64
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bncheck.errors import machine_error, raised, tell
from bncheck.glue import GLUE

EARLIER = "an earlier call failed"
LARGEST = 1_000_000  # numbers in an array that is sent back
LARGEST_INT = 2**63 - 1  # of numbers that arrays hold
KINDS = ("float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64",
         "uint8", "uint16", "uint32", "uint64")  # fmt: skip


class Handle(NamedTuple):
    """Something that an earlier call left: its result, or one of its arguments.

    Attributes
    ----------
    call : int
        Which call of the same list, from 0.
    item : int or str
        Position in its result; ``"arg0"`` is its first argument after the call.
    """

    call: int
    item: int | str


class Remote(NamedTuple):
    """A function that is not the student's, by name: an argument of a call."""

    name: str


class Opaque(NamedTuple):
    """An answer that is no number and no plain array: only its type is told."""

    kind: str


@dataclass(frozen=True)
class Call:
    """One call of a function.

    Attributes
    ----------
    function : str
        Name of the function; ``"=names"`` is the value of ``names`` itself,
        ``"*module"`` one of `GLUE`.
    args : tuple
        Numbers, text, None, arrays, lists, dicts, `Handle`, `Remote`.
    take : tuple of int
        Which items of the result are sent back; the others stay where they are.
    after : tuple of int
        Which arguments are sent back as they are after the call.
    """

    function: str
    args: tuple
    take: tuple[int, ...] = (0,)
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a call gave.

    Attributes
    ----------
    status : str
        ``"ok"``, ``"raised"``, ``"missing"`` (no such function), ``"stub"`` (None) or
        ``"machine"`` (it failed, but not by the student's code: see `machine_error`).
    outputs : dict of int to object
        The items that were asked for.
    after : dict of int to object
        The arguments that were asked for.
    count : int
        Number of items in the result.
    error : str
        What was raised, and where.
    """

    status: str
    outputs: dict[int, Any]
    after: dict[int, Any]
    count: int = 1
    error: str = ""


# --- JSON -----------------------------------------------------------------------------


def pack(value: Any) -> Any:
    """Turn a value into what JSON can hold.

    Parameters
    ----------
    value : object
        Number, text, None, array, list, tuple, dict, `Handle`, `Remote`, `Opaque`.

    Returns
    -------
    packed : object
        Numbers and text as they are, the others as a dict with one telling key.
    """
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": repr(float(value))}
    if value is None or isinstance(value, (bool, int, float, str)):
        return _plain(value)
    if isinstance(value, Handle):
        return {"handle": [value.call, value.item]}
    if isinstance(value, Remote):
        return {"remote": value.name}
    if isinstance(value, Opaque):
        return {"opaque": value.kind}
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.ascontiguousarray(value)
        text = base64.b64encode(array.tobytes()).decode("ascii")
        return {
            "array": text,
            "dtype": array.dtype.name,
            "shape": list(np.shape(value)),
        }
    if isinstance(value, Mapping):
        return {"dict": [[str(k), pack(v)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [pack(v) for v in value]}
    raise TypeError(
        f"expected numbers, text, arrays or None, got {type(value).__name__}"
    )


def _plain(value: Any) -> Any:
    for kind in (bool, int, float, str):  # subclasses, as np.float64, lose their class
        if isinstance(value, kind):
            return kind(value)
    return value


def unpack(packed: Any) -> Any:
    """Turn what `pack` made back; anything else is an error.

    Parameters
    ----------
    packed : object
        As `pack` returns it; it may come from a stranger.

    Returns
    -------
    value : object
        The value; arrays are writable and own their memory.

    Raises
    ------
    ValueError
        It is not of that form.
    """
    if packed is None or isinstance(packed, (bool, int, float, str)):
        return packed
    if not isinstance(packed, dict):
        raise ValueError(f"expected a packed value, got {type(packed).__name__}")
    try:
        if "float" in packed:
            return float(packed["float"])
        if "handle" in packed:
            return Handle(*packed["handle"])
        if "remote" in packed:
            return Remote(str(packed["remote"]))
        if "opaque" in packed:
            return Opaque(str(packed["opaque"])[:80])
        if "array" in packed:
            return _unpack_array(packed)
        if "dict" in packed:
            return {str(k): unpack(v) for k, v in packed["dict"]}
        return [unpack(v) for v in packed["list"]]
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("expected a packed value, got another dict") from error


def _unpack_array(packed: dict) -> np.ndarray:
    if packed["dtype"] not in KINDS:
        raise ValueError(f"expected a plain number type, got {packed['dtype']!r}")
    shape = tuple(int(n) for n in packed["shape"])
    data = base64.b64decode(packed["array"], validate=True)
    flat = np.frombuffer(data, np.dtype(packed["dtype"]))
    if min(shape, default=0) < 0 or flat.size != np.prod(shape, dtype=object):
        raise ValueError(f"expected an array of shape {shape}, got {flat.size} numbers")
    return flat.reshape(shape).copy()


def _sendable(value: Any) -> Any:
    """Return a plain array, None, text, a dict or list of these, or what type it is."""
    if type(value) is int and abs(value) > LARGEST_INT:
        return Opaque("int")
    if value is None or type(value) in (bool, int, float, str):
        return value if not isinstance(value, str) else value[:1000]
    if type(value) is dict and len(value) <= 100:
        return {str(k)[:100]: _sendable(v) for k, v in value.items()}
    if hasattr(value, "detach") and hasattr(value, "numpy"):  # a torch tensor
        value = value.detach().numpy()
    try:
        array = np.array(value, subok=False)
    except Exception:  # ragged lists and whatever else a student returns
        return Opaque(type(value).__name__)
    if array.dtype.kind == "c":
        return Opaque("complex")
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    if array.dtype.name not in KINDS or array.size > LARGEST:
        held = isinstance(value, np.ndarray) and array.dtype.kind == "O"
        return Opaque("object" if held else type(value).__name__)
    return array


def says_no(value: Any) -> bool:
    """Say whether a test returned False, Python's or NumPy's."""
    return isinstance(value, (bool, np.bool_)) and not value


def _argument(value: Any) -> Any:
    """Return an argument after the call: a list stays a list."""
    if type(value) is list:
        return [_sendable(v) for v in value]
    return _sendable(value)


# --- calls ----------------------------------------------------------------------------


def run_calls(
    calls: Sequence[Call],
    namespace: Mapping[str, Any],
    remotes: Mapping[str, Callable] | None = None,
    describe: Callable[[BaseException], Any] | None = None,
) -> list[Outcome]:
    """Call functions one after the other; an error ends only its own call.

    Parameters
    ----------
    calls : sequence of Call
        What to call; a `Handle` points to an earlier one of them.
    namespace : mapping of str to object
        Where the functions are found.
    remotes : mapping of str to callable, optional
        What stands for a `Remote`.
    describe : callable, optional
        Turns an exception into an outcome's ``error``; as a rule into a sentence.

    Returns
    -------
    outcomes : list of Outcome
        One for each call.
    """
    describe = describe or (lambda error: tell(raised(error)))
    kept: list[tuple[list, list]] = []
    outcomes = []
    for call in calls:
        outcome, args, items = _run(call, namespace, remotes or {}, kept, describe)
        kept.append((args, items))
        outcomes.append(outcome)
    return outcomes


def _run(
    call: Call,
    namespace: Mapping[str, Any],
    remotes: Mapping[str, Callable],
    kept: list[tuple[list, list]],
    describe: Callable[[BaseException], Any],
) -> tuple[Outcome, list, list]:
    if call.function.startswith("="):  # a value, not a function
        name = call.function[1:]
        value = namespace.get(name)
        status = "ok" if name in namespace else "missing"
        return Outcome(status, {0: _sendable(value)}, {}), [], [value]
    if call.function in GLUE:
        way, needed = GLUE[call.function]
        function = functools.partial(way, namespace) if needed in namespace else None
    else:
        function = namespace.get(call.function)
    if not callable(function):
        return Outcome("missing", {}, {}, 0), [], []
    try:
        args = [_fetch(a, remotes, kept) for a in call.args]
    except LookupError:
        return Outcome("raised", {}, {}, 0, EARLIER), [], []
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = function(*args)
        items = list(result) if isinstance(result, tuple) else [result]
        if all(item is None for item in items):
            return Outcome("stub", {}, {}, len(items)), args, items
        outputs = {i: _sendable(items[i]) for i in call.take if i < len(items)}
        after = {i: _argument(args[i]) for i in call.after}
    except BaseException as error:  # a student's function may raise anything, exits too
        reason = machine_error(error)
        if reason:
            return Outcome("machine", {}, {}, 0, reason), [], []
        return Outcome("raised", {}, {}, 0, describe(error)), [], []
    return Outcome("ok", outputs, after, len(items)), args, items


def _fetch(
    value: Any, remotes: Mapping[str, Callable], kept: list[tuple[list, list]]
) -> Any:
    """Return a fresh copy of an argument, or what a handle points to."""
    if isinstance(value, Handle):
        args, items = kept[value.call]
        if isinstance(value.item, str):
            return args[int(value.item.removeprefix("arg"))]
        return items[value.item]
    if isinstance(value, Remote):
        return remotes[value.name]
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        made = {k: _fetch(v, remotes, kept) for k, v in value.items()}
        return {**made.pop("**", {}), **made}  # entries of an earlier dict, with others
    if isinstance(value, list):
        return [_fetch(v, remotes, kept) for v in value]
    return value
