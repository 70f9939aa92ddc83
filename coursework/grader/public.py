"""The public cases that students get with `bncheck`: other numbers than the graded run.

    python -m coursework.grader.public

writes those of all sets to coursework/sets/cases.json, for the notebooks there. They
are drawn from a fixed seed; they hold inputs, what must come out, and what known
mistakes give, and no function.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bncheck.form import to_json
from coursework.keys import VARIANTS
from coursework.questions import SETS

SEED = 2015
FILE = Path(__file__).parents[1] / "sets" / "cases.json"


def public_cases(
    sets: tuple[str, ...] = tuple(SETS), variants: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """Draw the public questions.

    Parameters
    ----------
    sets : tuple of str
        Which problem sets.
    variants : dict of str to str, optional
        The term's variant of each set; all of them without it.

    Returns
    -------
    cases : list of dict
        Key, variant (empty for most) and question, as JSON can hold it.
    """
    cases = []
    for name in sets:
        choices = VARIANTS.get(name, ("",))
        for variant in choices:
            if variants and variant not in ("", variants[name]):
                continue
            rng = np.random.default_rng([SEED, int.from_bytes(name.encode(), "big")])
            for question in SETS[name].questions(rng, variant):
                last = name in VARIANTS and question.key == last_key(name)
                if not last and variant != choices[0] and not variants:
                    continue
                case = {"key": question.key, "variant": variant if last else ""}
                cases.append(case | {"question": to_json(question)})
    return cases


def last_key(name: str) -> str:
    """Return the key of a set's variant question, which is its last."""
    rng = np.random.default_rng(0)
    return SETS[name].questions(rng, VARIANTS[name][0])[-1].key


def write_cases() -> None:
    """Write the public cases of all sets beside their notebooks."""
    FILE.write_text(json.dumps(public_cases()), encoding="utf-8")


if __name__ == "__main__":
    write_cases()
