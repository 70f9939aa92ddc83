"""A question as data: right functions, mistakes as edits of them, and calls.

The right answers and what each known mistake gives are never written down: the calls of
a check are run on the right functions, and on the right functions with one edit. What a
mistake in one function does to the next follows by itself.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bncheck.calls import Call, run_calls
from bncheck.explain import head
from bncheck.form import Check, Expect, Own, Proof, Question, fetch
from bncheck.toys import TOYS

Namespace = dict[str, Any]
Place = int | str | tuple[int, int | str]
Code = ast.expr | list[ast.stmt]


class Mistake(NamedTuple):
    """An edit of the right functions.

    Attributes
    ----------
    name : str
        Its sentence stands under this name.
    edits : tuple of tuple of (str, str)
        Pieces of source, whole expressions or statements, and what stands in their
        place. With none, the mistake is only named where a check says "whatever".
    of : str
        The mistake of which this is another form.
    near : bool
        It costs half of the question at most.
    grave : bool
        It leaves nothing of the outputs that it spoils, in each question.
    part : bool
        It leaves out a part of what is asked, and costs in each question.
    breaks : bool
        It gives results of other shapes, so that what is called later may stop.
    """

    name: str
    edits: tuple[tuple[str, str], ...]
    of: str = ""
    near: bool = False
    grave: bool = False
    part: bool = False
    breaks: bool = False


def mistake(name: str, *texts: str, **more: Any) -> Mistake:
    """Make a mistake from old and new pieces of source, in turn."""
    return Mistake(name, tuple(zip(texts[::2], texts[1::2], strict=True)), **more)


def alone(made: Mistake, *names: str) -> list[Mistake]:
    """Return a mistake of several edits, and a form of it with each edit alone."""
    root = made.of or made.name
    forms = zip(names, made.edits, strict=True)
    return [made, *(made._replace(name=f"{made.name}-{name}", edits=(edit,), of=root)
                    for name, edit in forms)]  # fmt: skip


class Right:
    """The right functions of a question, and a namespace for each mistake in them.

    Parameters
    ----------
    *functions : callable
        Right answers, self-contained but for NumPy, ``np``, and each other.
    says : mapping
        The question's sentences: ``title``, ``when`` (by category of a check),
        ``mistakes`` (by name), and in a chapter ``right``.
    mistakes : iterable of Mistake
        The first of two that fit is told.
    called : mapping of str to str
        Other names of functions, where several questions ask for the same.
    """

    def __init__(
        self,
        *functions: Callable[..., Any],
        says: Mapping[str, Any],
        mistakes: Iterable[Mistake] = (),
        called: Mapping[str, str] | None = None,
    ) -> None:
        self.says = says
        self.mistakes = list(mistakes)
        trees = [_tree(f) for f in functions]
        for tree in trees:
            tree.name = (called or {}).get(tree.name, tree.name)
        self.trees = {tree.name: tree for tree in trees}
        self.right = _run(self.trees.values())
        self.wrong: dict[str, Namespace] = {}
        self.places: dict[str, set[str]] = {}
        for made in self.mistakes:
            if made.name in self.wrong:
                raise ValueError(f"two mistakes are called {made.name}")
            if made.edits:
                self.wrong[made.name], self.places[made.name] = self._broken(made)

    def _broken(self, made: Mistake) -> tuple[Namespace, set[str]]:
        """Return the functions with a mistake in them, and where it was made."""
        trees, places = copy.deepcopy(self.trees), set()
        for old, new in made.edits:
            found = {name: _replace(tree, old, new) for name, tree in trees.items()}
            if sum(found.values()) != 1:
                raise ValueError(
                    f"{made.name}: expected {old!r} once, as a whole expression or "
                    f"statement, found it {sum(found.values())} times"
                )
            places |= {name for name, count in found.items() if count}
        while more := {n for n in self.trees if self._used(n) & places} - places:
            places |= more  # a helper's mistake is one of the functions that call it
        return _run(trees.values()), places

    def _used(self, name: str) -> set[str]:
        """Return the names that stand in a function."""
        nodes = ast.walk(self.trees[name])
        return {node.id for node in nodes if isinstance(node, ast.Name)}

    def check(
        self,
        category: str,
        points: float,
        calls: Sequence[tuple],
        expect: Mapping[str, Place],
        tol: float = 1e-6,
        *,
        whatever: Sequence[str] | Mapping[str, Sequence[str]] = (),
        floor: float = 0.0,
        loose: Sequence[str] = (),
        own: Own | None = None,
        forward: tuple[int, float, float] | None = None,
        shares: Mapping[str, float] = {},
        proofs: Sequence[Proof] = (),
    ) -> Check:
        """Expect of some calls what the right functions give; know what mistakes give.

        Parameters
        ----------
        category, points : str, float
            What is looked at, and its price.
        calls : sequence of tuple
            Function's name and arguments of each.
        expect : mapping of str to int, str or tuple
            For each label its place: an item of the last call's result, ``"arg0"`` for
            an argument of it afterwards; ``(0, 1)`` is item 1 of call 0.
        tol, floor : float
            Tolerance, relative to the largest value, or to ``floor`` if that is larger.
        whatever : sequence, or mapping of str to sequence
            Mistakes that any difference may be, of all labels or of each.
        loose : sequence of str
            Labels in which axes of length 1 do not matter.
        own : Own, optional
            ``Own()`` for running statistics.
        forward : tuple of (int, float, float), optional
            For gradients: the call of the forward function, the step h of `Own`, and
            how near its output must be to the right one.
        shares : mapping of str to float
            Which part of the check each label is worth; with none, each is worth all.
        proofs : sequence of Proof
            What mistakes of ``whatever`` need to be named.
        """
        last = len(calls) - 1
        places = {
            k: v if isinstance(v, tuple) else (last, v) for k, v in expect.items()
        }
        made = [_call(i, call, places.values()) for i, call in enumerate(calls)]
        here = [c.function.lstrip("*") for c in made]
        wide = [
            Call(name, _widened(c.args), c.take, c.after)
            for name, c in zip(here, made, strict=True)
        ]
        right = run_calls(wide, self.right, TOYS)
        if any(outcome.status != "ok" for outcome in right):
            raise ValueError(f"the right functions failed in {category!r}: {right}")
        others = {
            name: run_calls(wide, space, TOYS) for name, space in self.wrong.items()
        }

        def expected(call: int, item: int | str, label: str, tol: float) -> Expect:
            value, wrong = fetch(right[call], item), {}
            for name, outcomes in others.items():
                if outcomes[call].status == "ok":
                    bad = fetch(outcomes[call], item)
                    if not _equal(bad, value):
                        wrong[name] = bad
            others_called = set(here) - {here[call]}
            upstream = tuple(
                k
                for k in wrong
                if here[call] not in self.places[k] and self.places[k] & others_called
            )
            weak = (
                whatever.get(label, ()) if isinstance(whatever, Mapping) else whatever
            )
            return Expect(
                call, item, value, label, tol, wrong, tuple(weak), upstream,
                floor=floor, loose=label in loose, share=shares.get(label, 0.0),
            )  # fmt: skip

        if forward:
            call, h, near = forward
            own = Own(expected(call, 0, "out", near), h)
        expects = tuple(expected(*place, label, tol) for label, place in places.items())
        when = self.says.get("when", {}).get(category, "")
        stops = {
            name: head(outcome.error)
            for name, outcomes in others.items()
            for outcome in reversed(outcomes)
            if outcome.status == "raised"
        }
        return Check(
            category, points, tuple(made), expects, own, when, stops=stops,
            proofs=tuple(proofs),
        )  # fmt: skip

    def question(
        self, key: str, checks: Iterable[Check], first: Mapping[str, str] = {},
        **more: Any,
    ) -> Question:  # fmt: skip
        """Put the checks together; points are their sum, names those of the functions.

        ``first`` are sentences of other mistakes, which come first; ``more`` are other
        fields of `Question`, which win.
        """
        checks = tuple(checks)
        told = {**first, **self.says.get("mistakes", {})}
        names = [*first, *(n for m in self.mistakes for n in (m.of or m.name, m.name))]
        of = {m.name: m.of for m in self.mistakes if m.of}
        expects = [expect for check in checks for expect in check.expects]
        seen = {n for e in expects for n in (*e.wrong, *e.whatever)}
        seen -= {n for e in expects for n in e.upstream}
        silent = {of.get(name, name) for name in seen} - set(told)
        if silent:
            raise ValueError(f"{key}: no sentence for {', '.join(sorted(silent))}")
        fields = {
            "title": self.says.get("title", key),
            "points": sum(check.points for check in checks),
            "functions": tuple(self.trees),
            "sentences": {name: told[name] for name in names if name in told},
            "of": of,
            "near": tuple(m.name for m in self.mistakes if m.near),
            "fatal": tuple(m.name for m in self.mistakes if m.grave),
            "parts": tuple(m.name for m in self.mistakes if m.part),
            "breaks": tuple(m.name for m in self.mistakes if m.breaks),
            "right": self.says.get("right", ""),
        }
        return Question(key=key, checks=checks, **{**fields, **more})


def twins(question: Question) -> list[tuple[str, str]]:
    """Return pairs of different mistakes that give the same in all checks."""
    expects = [e for check in question.checks for e in check.expects]
    above = {name for e in expects for name in e.upstream}
    names = list(dict.fromkeys(n for e in expects for n in e.wrong if n not in above))
    of = question.of
    return [
        (a, b)
        for i, a in enumerate(names)
        for b in names[:i]
        if of.get(a, a) != of.get(b, b)
        and all(
            _equal(e.wrong.get(a, e.value), e.wrong.get(b, e.value)) for e in expects
        )
    ]


# --- calls ----------------------------------------------------------------------------


def _call(number: int, call: tuple, places: Iterable[tuple[int, int | str]]) -> Call:
    """Make a call that sends back what is expected of it, and its first result."""
    items = [item for at, item in places if at == number]
    take = {0, *(i for i in items if isinstance(i, int))}
    texts = [i for i in items if isinstance(i, str) and i.startswith("arg")]
    after = {int(i.partition(".")[0].removeprefix("arg")) for i in texts}
    return Call(call[0], call[1:], tuple(sorted(take)), tuple(sorted(after)))


def _widened(value: Any) -> Any:
    """Return arguments with float32 arrays in float64: the right values are exact."""
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return value.astype(np.float64)
    if type(value) in (tuple, list):
        return type(value)(_widened(v) for v in value)
    if isinstance(value, dict):
        return {k: _widened(v) for k, v in value.items()}
    return value


def _equal(a: Any, b: Any) -> bool:
    """Say whether two outcomes are the same but for rounding; nan is equal to nan."""
    if isinstance(a, np.ndarray | float) and isinstance(b, np.ndarray | float):
        same = np.shape(a) == np.shape(b)
        return same and np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return type(a) is type(b) and bool(np.all(a == b))


# --- edits ----------------------------------------------------------------------------


def _tree(function: Callable[..., Any]) -> ast.FunctionDef:
    """Return the syntax tree of a function."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    if not isinstance(tree, ast.FunctionDef):
        raise TypeError(f"expected a function, got {tree}")
    return tree


def _run(trees: Iterable[ast.FunctionDef]) -> Namespace:
    """Define functions in a namespace of their own."""
    names: Namespace = {"np": np}
    module = ast.fix_missing_locations(ast.Module(list(trees), []))
    exec(compile(module, "<right>", "exec"), names)
    return names


def _parse(text: str) -> Code:
    """Parse an expression, or statements."""
    body = ast.parse(text).body
    if len(body) == 1 and isinstance(body[0], ast.Expr):
        return body[0].value
    return body


def _replace(tree: ast.FunctionDef, old: str, new: str) -> int:
    """Replace a piece of a tree where it stands, and say how often it stood there."""
    before, after = _parse(old), _parse(new)
    if isinstance(before, list):
        after = after if isinstance(after, list) else [ast.Expr(after)]
    elif isinstance(after, list):
        raise ValueError(f"{old!r} is an expression, {new!r} is not")
    count = 0
    for node in list(ast.walk(tree)):
        for name, value in ast.iter_fields(node):
            if isinstance(before, list) and name in ("body", "orelse"):
                for i in _starts(value, before):
                    value[i : i + len(before)] = copy.deepcopy(after)
                    count += 1
            elif isinstance(before, ast.expr) and isinstance(value, list):
                hits = [i for i, v in enumerate(value) if _same(v, before)]
                for i in hits:
                    value[i] = copy.deepcopy(after)
                count += len(hits)
            elif isinstance(before, ast.expr) and _same(value, before):
                setattr(node, name, copy.deepcopy(after))
                count += 1
    return count


def _starts(lines: Any, sought: list[ast.stmt]) -> list[int]:
    """Return where a run of statements begins in others."""
    if not isinstance(lines, list):
        return []
    ends = range(len(lines) - len(sought) + 1)
    return [i for i in ends if all(map(_same, lines[i:], sought))]


def _same(a: Any, b: ast.AST) -> bool:
    """Say whether two pieces of syntax are the same, wherever they stand."""
    return type(a) is type(b) and ast.dump(a) == ast.dump(b)
