"""A hash of the code that a table's rows come from.

It follows names from a stage's function through the modules of this book: what a
function uses is hashed, and what that uses, and so on. Docstrings, comments, layout,
the module in which a definition stands, and code that the rows do not depend on (a
claim's words, a plot) do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOOK = ("bnlib", "experiments")
NOT_HASHED = ("experiments.runner",)  # it starts functions; rows do not depend on it
Names = dict[str, list[ast.stmt]]


def fingerprint(module: str, table: str, root: Path = ROOT) -> str:
    """Return a hash of the code behind a table.

    Parameters
    ----------
    module : str
        Module of the experiment: ``"experiments.classic"``.
    table : str
        Name of the table: the first argument of one of the module's ``Stage`` calls.
    root : Path
        Folder with the packages.

    Returns
    -------
    digest : str
        16 hexadecimal digits, the same on each Python that the book supports.

    Raises
    ------
    ValueError
        The module has no such stage.
    """
    used: dict[tuple[str, str], str] = {}
    _follow(module, _stage(module, table, root), root, used)
    text = "\n".join(sorted({f"{n}\n{used[m, n]}" for m, n in used}))
    call = _written(_stage(module, table, root))
    return hashlib.sha256(f"{call}\n{text}".encode()).hexdigest()[:16]


def libraries(module: str, table: str, root: Path = ROOT) -> set[str]:
    """Return the names of the packages outside the book that the rows come from."""
    used: dict[tuple[str, str], str] = {}
    _follow(module, _stage(module, table, root), root, used)
    origins = {text.split(".")[0] for text in used.values() if "(" not in text}
    return origins - set(BOOK)


def parts(module: str, table: str, root: Path = ROOT) -> list[str]:
    """Return the names of what is hashed for a table: ``"bnlib.training.fit"``, ..."""
    used: dict[tuple[str, str], str] = {}
    _follow(module, _stage(module, table, root), root, used)
    return [f"{m}.{n}" for m, n in sorted(used)]


def _stage(module: str, table: str, root: Path) -> ast.Call:
    """Return the call that makes a stage."""
    for statement in _names(module, root).get("STAGES", []):
        for node in ast.walk(statement):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "Stage"
                and isinstance(node.args[0], ast.Constant)
                and node.args[0].value == table
            ):
                return node
    raise ValueError(f"{module} has no Stage({table!r}, ...) in STAGES")


def _follow(
    module: str, node: ast.AST, root: Path, used: dict[tuple[str, str], str]
) -> None:
    """Add to `used` each definition that a node needs, and what these need."""
    names = _names(module, root)
    for name, attribute in _loaded(node):
        for statement in names.get(name, []):
            _add(module, name, attribute, statement, root, used)


def _add(
    module: str,
    name: str,
    attribute: str | None,
    statement: ast.stmt,
    root: Path,
    used: dict[tuple[str, str], str],
) -> None:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        _add_import(module, name, attribute, statement, root, used)
        return
    written = _written(statement)
    if written in used.get((module, name), ""):
        return
    used[module, name] = used.get((module, name), "") + written
    _follow(module, statement, root, used)


def _add_import(
    module: str,
    name: str,
    attribute: str | None,
    statement: ast.Import | ast.ImportFrom,
    root: Path,
    used: dict[tuple[str, str], str],
) -> None:
    """Follow an import into the book; the name of another library's thing is enough."""
    (alias,) = [
        a for a in statement.names if (a.asname or a.name).split(".")[0] == name
    ]
    source = statement.module if isinstance(statement, ast.ImportFrom) else None
    origin = f"{source}.{alias.name}" if source else alias.name
    if origin.split(".")[0] not in BOOK:
        used[module, name] = origin
        return
    if origin.startswith(NOT_HASHED):
        return
    if _path(origin, root) is None:  # a thing in a module
        wanted, where = [alias.name], str(source)
    elif attribute is not None:  # alias.attribute: one thing of the module
        wanted, where = [attribute], origin
    else:  # the module itself is passed on: all of it
        wanted, where = list(_names(origin, root)), origin
    for one in wanted:
        if (where, one) in used:
            continue
        for found in _names(where, root).get(one, []):
            _add(where, one, None, found, root, used)


def _loaded(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Yield the names that a node reads; with the attribute, where one is asked for."""
    inner: set[int] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name):
            inner.add(id(child.value))
            yield child.value.id, child.attr
        elif isinstance(child, ast.Name) and id(child) not in inner:
            yield child.id, None


def _path(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _read(path: Path, stamp: int) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _names(module: str, root: Path) -> Names:
    """Return for each name of a module the statements that give it a value."""
    path = _path(module, root)
    if path is None:
        raise ValueError(f"there is no module {module}")
    names: Names = {}
    for statement in _read(path, path.stat().st_mtime_ns).body:
        for name in _given(statement):
            names.setdefault(name, []).append(statement)
    return names


def _given(statement: ast.stmt) -> Iterator[str]:
    """Yield the names to which a statement gives a value."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        for alias in statement.names:
            yield (alias.asname or alias.name).split(".")[0]
    else:  # not the names inside a comprehension, which are its own
        targets = getattr(
            statement, "targets", [getattr(statement, "target", statement)]
        )
        for node in (node for target in targets for node in ast.walk(target)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _written(node: object) -> str:
    """Write a node without docstrings, annotations, places, and what is empty."""
    if isinstance(node, ast.AST):
        fields = []
        for key, value in ast.iter_fields(node):
            if key in ("ctx", "kind", "type_comment", "annotation", "returns"):
                continue
            if key == "body" and isinstance(value, list):
                value = [s for s in value if not _is_text(s)]
            if value not in (None, []):
                fields.append(f"{key}={_written(value)}")
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_written, node))}]"
    return repr(node)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
