"""The form of a case of the clinic: one measure, a program before and after its repair.

A program is a function without arguments. The measure runs it and returns what it found
in words with numbers, and whether that passes. The doctor examines the program's model,
or a sentence says why no model shows this fault.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Program = Callable[[], Any]
Measure = Callable[[Program], tuple[str, bool]]
Doctor = Callable[[Program], Sequence[Any]] | str

WIDTH = 78


class Outcome(NamedTuple):
    """What a program's measure and the doctor say.

    Attributes
    ----------
    found : str
        The measure's words, with numbers.
    passes : bool
        Its verdict.
    codes : tuple of str or None
        The doctor's codes, each once; None where no model shows the fault.
    """

    found: str
    passes: bool
    codes: tuple[str, ...] | None


def outcome(measure: Measure, program: Program, doctor: Doctor) -> Outcome:
    """Let the doctor look at a program, then measure it; the program runs once.

    Parameters
    ----------
    measure : callable
        ``measure(program)`` returns words with numbers, and whether they pass.
    program : callable
        Takes nothing.
    doctor : callable or str
        ``doctor(program)`` returns findings; a sentence where no model shows the fault.
    """
    once = functools.cache(program)  # the doctor leaves a model as it was
    codes = None
    if not isinstance(doctor, str):
        codes = tuple(dict.fromkeys(f.code for f in doctor(once)))
    found, passes = measure(once)
    return Outcome(found, bool(passes), codes)


def visit(measure: Measure, broken: Program, mended: Program, doctor: Doctor) -> None:
    """Print what the measure and the doctor say of a program before and after.

    Parameters
    ----------
    measure : callable
        ``measure(program)`` returns words with numbers, and whether they pass.
    broken, mended : callable
        The program, without arguments, before and after its repair.
    doctor : callable or str
        ``doctor(program)`` returns findings, as `diagnose` does; a sentence where no
        model shows the fault.

    Examples
    --------
    >>> def measure(program):
    ...     return f"{program()} answers change", program() == 0
    >>> visit(measure, lambda: 7, lambda: 0, "The fault is in the loop.")
    Before: 7 answers change -> FAILS
    After:  0 answers change -> passes
    The doctor does not see it. The fault is in the loop.
    """
    for name, program in (("Before:", broken), ("After: ", mended)):
        seen = outcome(measure, program, doctor)
        print(f"{name} {seen.found} -> {'passes' if seen.passes else 'FAILS'}")
        if seen.codes is not None:
            print(f"        the doctor: {', '.join(seen.codes) or 'nothing found'}")
    if isinstance(doctor, str):
        words = f"The doctor does not see it. {doctor}"
        print(textwrap.fill(words, WIDTH, subsequent_indent="    "))
