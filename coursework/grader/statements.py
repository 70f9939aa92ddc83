"""Take code cells apart into statements, and choose those that the grader runs.

A cell that does not parse is read in parts. Of several definitions of a wanted function
the last one that is no stub counts, together with all that it needs.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import re
import symtable
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

LARGEST_SOURCE = 1_000_000  # characters, without outputs
MOST_PARTS = 3000
MOST_APART = 100  # functions that are tried with what stood above each
LONGEST_APART = 500  # statements of a file in which they are
SIMILAR_FROM = 8  # statements; shorter functions are alike by chance

MAGIC = re.compile(r"^([ \t]*)(?:[%!?].*|[\w.]+\?{1,2}[ \t]*)$", re.M)
MAGIC_VALUE = re.compile(r"^([ \t]*[\w, .\[\]]+=[ \t]*)[%!].*$", re.M)
CELL_MAGIC = re.compile(r"\s*%%(\w+)[^\n]*")
HARMLESS_MAGICS = ("time", "capture", "timeit")
CONTINUES = re.compile(r"[\s)\]}#]|(?:else|elif|except|finally)\b|$")
MUTATORS = {"add", "append", "extend", "insert", "setdefault", "update"}

Def = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Unparsable = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


class Cell(NamedTuple):
    """A cell: its kind, its place in words ("cell 4", "file"), text, answer's key."""

    kind: str
    place: str
    text: str
    key: str = ""


class Item(NamedTuple):
    """A top-level statement, and the names that it binds, uses, changes in place.

    It uses a name at once, or later: in a function that is called when all has run.
    """

    place: str
    node: ast.stmt
    source: str
    binds: set[str]
    at_once: set[str]
    later: set[str]
    changes: set[str]


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in the student's texts
        return ast.parse(text)


def split(cell: Cell, notes: list[str]) -> list[Item]:
    """Split a code cell into statements; parts that do not parse are noted.

    Parameters
    ----------
    cell : Cell
        Any cell; one of text has no statements.
    notes : list of str
        Is added to.

    Returns
    -------
    items : list of Item
        In their order.
    """
    magic = CELL_MAGIC.match(cell.text)
    if cell.kind != "code" or (magic and magic[1] not in HARMLESS_MAGICS):
        if cell.kind == "code":
            notes.append(f"{cell.place} begins with %%{magic[1]} and was left out")
        return []
    text = cell.text.removeprefix("\ufeff")
    if "\x00" in text:
        notes.append(f"{cell.place} holds NUL characters: they were left out")
        text = text.replace("\x00", "")
    if magic:
        text = re.sub(r"%%.*", "", text, count=1)
    plain = MAGIC.sub(r"\1pass", MAGIC_VALUE.sub(r"\1None", text))
    for attempt in (text, plain, plain.expandtabs(8)):  # Python 2: a tab is 8 spaces
        try:
            return _take_apart(cell.place, _parse(attempt), attempt, notes)
        except Unparsable as error:
            why = _reason(error, 1)
    items, bad = [], []
    for start, part in _parts(attempt, bad):
        try:
            items += _take_apart(cell.place, _parse(part), part, notes, start - 1)
        except Unparsable as error:
            bad.append((start, part.count("\n") + 1, _reason(error, start)))
    if not items:
        notes.append(f"{cell.place} does not parse ({why}) and was left out")
    for start, count, reason in sorted(bad) if items else ():
        last = start + count - 1
        where = f"lines {start} to {last} do" if count > 1 else f"line {start} does"
        notes.append(f"{cell.place}: {where} not parse ({reason}): left out")
    if "<<<<<<< " in text:
        notes.append(f"{cell.place} holds merge markers (<<<<<<<): the merge is open")
    return items


def _reason(error: BaseException, start: int) -> str:
    line = (getattr(error, "lineno", None) or 1) + start - 1
    message = getattr(error, "msg", None) or type(error).__name__
    return f"line {line}: {re.split(' [(]|[.;] ', message)[0][:100]}"


def _parts(text: str, bad: list) -> Iterator[tuple[int, str]]:
    """Yield first line and text of the parts that begin in column 0 and parse."""
    lines = text.split("\n")
    starts = [
        i
        for i, line in enumerate(lines)
        if not CONTINUES.match(line) and not (i and lines[i - 1].startswith("@"))
    ][:MOST_PARTS]
    ends = [*starts[1:], len(lines)]
    first, budget = 0, 20 * LARGEST_SOURCE
    while first < len(starts):
        reason = None
        for last in range(first, len(starts)):
            part = "\n".join(lines[starts[first] : ends[last]]).rstrip()
            budget -= len(part)
            try:
                _parse(part)
            except Unparsable as error:
                reason = reason or _reason(error, starts[first] + 1)
                if budget < 0 or not re.search("untermin|never closed|EOF", str(error)):
                    break
            else:
                yield starts[first] + 1, part
                first, reason = last, None
                break
        if reason:
            part = "\n".join(lines[starts[first] : ends[first]]).rstrip()
            bad.append((starts[first] + 1, part.count("\n") + 1, reason))
        first += 1


def _take_apart(
    place: str, module: ast.Module, text: str, notes: list[str], above: int = 0
) -> list[Item]:
    """Make an item of each top-level statement of a text that begins below `above`."""
    lines, items, end = text.split("\n"), [], 0
    for i, node in enumerate(module.body[:MOST_PARTS]):
        first = min(
            [node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]
        )
        following = module.body[i + 1].lineno if i + 1 < len(module.body) else 10**9
        if first > end and node.end_lineno < following:
            source = "\n".join(lines[first - 1 : node.end_lineno])
        else:  # several statements on one line
            source = ast.unparse(node)
        end = node.end_lineno
        try:
            table = symtable.symtable(source, place, "exec")
        except Unparsable as error:
            reason = _reason(error, first + above)
            notes.append(f"{place} has an error ({reason}): this part was left out")
            continue
        binds = {
            s.get_name()
            for s in table.get_symbols()
            if s.is_assigned() or s.is_imported()
        }
        source = "\n" * min(first - 1 + above, 2000) + source
        at_once, later = _uses(table)
        items.append(Item(place, node, source, binds, at_once, later, _changes(node)))
    return items


def _uses(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """Name the globals that a statement uses at once, and those in its functions."""
    top, symbols = table.get_type() == "module", table.get_symbols()
    used = (s.is_referenced() if top else s.is_global() for s in symbols)
    names = {s.get_name() for s, use in zip(symbols, used, strict=True) if use}
    at_once, later = set(), set()
    for child in table.get_children():
        now, then = _uses(child)
        at_once, later = at_once | now, later | then
    if table.get_type() == "function":
        return set(), names | at_once | later
    return names | at_once, later


def _outer(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through a statement, but not into its functions and classes."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (*Def, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def _changes(node: ast.stmt) -> set[str]:
    """Name what a statement changes in place: x[0] = 1, x.a = 1, x.append(1)."""
    names = set()
    for inner in _outer(node):
        if isinstance(inner, (ast.Attribute, ast.Subscript)):
            stored = not isinstance(inner.ctx, ast.Load)
        elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
            stored, inner = inner.func.attr in MUTATORS, inner.func
        else:
            continue
        while isinstance(inner, (ast.Attribute, ast.Subscript)):
            inner = inner.value
        if stored and isinstance(inner, ast.Name):
            names.add(inner.id)
    return names


# --- choosing -------------------------------------------------------------------------


def choose(
    items: list[Item], wanted: Sequence[str], cells: list[Cell], notes: list[str]
) -> list[Item]:
    """Choose the imports, the wanted definitions that count, and what these need.

    Parameters
    ----------
    items : list of Item
        All statements of a file.
    wanted : sequence of str
        Names that are graded; ``"test_*"`` stands for all that begin so.
    cells : list of Cell
        All cells, to say where a missing name may stand.
    notes : list of str
        Is added to.

    Returns
    -------
    chosen : list of Item
        In their order.
    """
    names = _matching(items, wanted)
    for name in names:
        _note_name(name, [i for i in items if name in _bound(i)], cells, notes)
    chosen = _needed(items, names)
    _note_new_values(items, chosen, names, notes)
    return chosen


def as_they_stood(
    items: Sequence[Item], wanted: Sequence[str]
) -> dict[str, list[Item]]:
    """Choose for each function what it needs as it stood above it.

    A helper that is defined again below is another one then. Empty if all functions
    have what they need anyway.
    """
    if len(items) > LONGEST_APART:
        return {}
    names = _matching(items, wanted)[:MOST_APART]
    stood = {name: _needed(items, [name], nearest=True) for name in names}
    differs = any(part != _needed(items, [name]) for name, part in stood.items())
    size = sum(len(item.source) for part in stood.values() for item in part)
    return stood if differs and size <= 2 * LARGEST_SOURCE else {}


def alone(items: Sequence[Item], wanted: Sequence[str]) -> list[Item]:
    """Choose what functions need, and nothing that is there for others."""
    return _needed(items, _matching(items, wanted))


def _bound(item: Item) -> set[str]:
    """Name what a statement binds; imports are always kept and bind nothing here."""
    return set() if isinstance(item.node, (ast.Import, ast.ImportFrom)) else item.binds


def _matching(items: Sequence[Item], wanted: Sequence[str]) -> list[str]:
    """Return the names that are wanted, those behind ``"test_*"`` in their order."""
    bound = list(dict.fromkeys(name for item in items for name in _bound(item)))
    found = ([n for n in bound if fnmatchcase(n, entry)] or [entry] for entry in wanted)
    return list(dict.fromkeys(name for names in found for name in names))


def _needed(
    items: Sequence[Item], names: Sequence[str], nearest: bool = False
) -> list[Item]:
    """Return the imports, what binds the names and counts, and what that needs.

    A statement sees what stands above it, a function what stands when all has run; or,
    with ``nearest``, also what stands above it.
    """
    binders, changers = defaultdict(list), defaultdict(list)
    keep, end = set(), len(items)
    for i, item in enumerate(items):
        if isinstance(item.node, (ast.Import, ast.ImportFrom)):
            keep.add(i)
        for name in _bound(item):
            binders[name].append(i)
        for name in item.changes:
            changers[name].append(i)
    todo, seen = [(name, end) for name in names], set()
    while todo:
        name, below = use = todo.pop()
        if use in seen:
            continue
        seen.add(use)
        above = [i for i in binders[name] if i < below]
        limit = below if above else end  # cells may have run in another order
        changed = [i for i in changers[name] if i < limit]
        for i in [*_counting(name, items, above or binders[name]), *changed]:
            if i not in keep:
                keep.add(i)
                todo += [(n, i) for n in items[i].at_once]
                todo += [(n, i if nearest else end) for n in items[i].later]
    return [items[i] for i in sorted(keep)]


def _counting(name: str, items: Sequence[Item], binders: list[int]) -> list[int]:
    """Say which of the statements that bind a name count."""
    standing = [i for i in binders if not _is_stub(items[i].node)] or binders
    last_def = max((i for i in standing if isinstance(items[i].node, Def)), default=-1)
    after = [i for i in standing if i > last_def]
    if last_def < 0 or not after:
        return after or standing[-1:]
    # f = wrap(f) needs the definition before it, f = g does not
    return [last_def, *after] if any(name in items[i].at_once for i in after) else after


def _note_new_values(
    items: list[Item], chosen: list[Item], wanted: Sequence[str], notes: list[str]
) -> None:
    """Note what a function uses and what is a new value below it: ``np = 3``."""
    given = {name for item in items if not _bound(item) for name in item.binds}
    for user in chosen:
        for name in sorted(user.later & (given | set(dir(builtins))) - set(wanted)):
            below = [i for i in chosen[chosen.index(user) :] if name in _bound(i)]
            if below:
                what = f"{name} is set again in {_where(below[-1])}"
                owner = next(iter(sorted(user.binds)), "the code above")
                notes.append(f"{what}: {owner} then uses that, not the first {name}")


def _note_name(
    name: str, binders: list[Item], cells: list[Cell], notes: list[str]
) -> None:
    """Note a wanted name that stands in several places, or in no code at all."""
    defs = [b for b in binders if isinstance(b.node, Def)]
    standing = [b for b in defs if not _is_stub(b.node)] or defs
    if len(defs) > 1:
        places = ", ".join(_where(d) for d in defs)
        why = "" if standing[-1] is defs[-1] else " (what comes after it is a stub)"
        counts = f"the one in {_where(standing[-1])} counts{why}"
        notes.append(f"{name} is defined {len(defs)} times ({places}): {counts}")
    if binders or "*" in name:
        return
    pattern = re.compile(
        rf"^[ \t]*(#?)[# \t]*(?:def|class)[ \t]+{re.escape(name)}\b", re.M
    )
    for cell in cells:
        found = pattern.search(cell.text)
        if found and cell.kind == "text":
            fix = "change the cell's type to code"
            notes.append(f"{name} stands in a text cell ({cell.place}): {fix}")
        elif found and found[1]:
            notes.append(f"{name} is commented out ({cell.place})")
        elif found:
            line = cell.text.count("\n", 0, found.start()) + 1
            place = f"{cell.place}, line {line}"
            notes.append(f"{name} stands in a part that does not parse ({place})")


def _where(item: Item) -> str:
    return item.place if item.place != "file" else f"line {item.node.lineno}"


@functools.lru_cache(MOST_PARTS)
def _is_stub(node: ast.AST) -> bool:
    """Tell whether a definition does nothing yet, or returns nothing but None."""
    if isinstance(node, ast.Assign):
        return _is_none(node.value, set())
    if isinstance(node, ast.ClassDef):
        methods = [n for n in node.body if isinstance(n, Def)]
        return all(_is_stub(n) or _is_idle(n) for n in methods or node.body)
    if not isinstance(node, Def):
        return False
    inner = [n for statement in node.body for n in _outer(statement)]
    returns = [n for n in inner if isinstance(n, ast.Return)]
    if not returns or any(isinstance(n, ast.Assert) for n in inner):
        return all(_is_idle(n) for n in node.body)
    targets = [
        name
        for n in inner
        if isinstance(n, ast.Assign) and _is_none(n.value, set())
        for target in n.targets
        for name in ast.walk(target)
    ]
    names = [n for n in inner if isinstance(n, ast.Name) and n not in targets]
    stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    empty = {n.id for n in targets if isinstance(n, ast.Name)}
    return all(_is_none(r.value, empty - stored) for r in returns)


def _is_none(value: ast.AST | None, names: set[str]) -> bool:
    """Tell whether an expression is None, a name for it, or a tuple of these."""
    if isinstance(value, ast.Tuple):
        return bool(value.elts) and all(_is_none(v, names) for v in value.elts)
    if isinstance(value, ast.Name):
        return value.id in names
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _is_idle(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Raise):
        return "NotImplemented" in ast.dump(node.exc or ast.Pass())
    return isinstance(node, ast.Pass)


# --- likeness -------------------------------------------------------------------------


def shapes_of(items: list[Item], wanted: Sequence[str]) -> dict[str, str]:
    """Digest the syntax tree of each longer wanted function, names numbered.

    Parameters
    ----------
    items : list of Item
        What was chosen.
    wanted : sequence of str
        As in `choose`.

    Returns
    -------
    shapes : dict of str to str
        Digest for each name; equal digests, equal trees but for names.
    """
    shapes = {}
    for item in items:
        node = item.node
        named = isinstance(node, Def) and any(fnmatchcase(node.name, w) for w in wanted)
        if not named or _is_stub(node):
            continue
        size = (
            sum(isinstance(n, ast.stmt) and not _is_idle(n) for n in ast.walk(node)) - 1
        )
        if size >= SIMILAR_FROM:
            numbers: dict[str, int] = {}
            text = "\n".join(_flat(node, numbers))
            shapes[node.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return shapes


def _flat(node: ast.AST, numbers: dict[str, int]) -> Iterator[str]:
    """Write a tree down without names, texts of documentation and annotations."""
    yield type(node).__name__
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type_comment", "ctx"):
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                if not (isinstance(part, ast.Expr) and _is_idle(part)):
                    yield from _flat(part, numbers)
            elif field in ("id", "arg", "name", "asname"):
                yield f"v{numbers.setdefault(str(part), len(numbers))}"
            else:
                yield repr(part)
        yield "."
