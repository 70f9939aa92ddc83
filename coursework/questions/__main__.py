"""Show what a question asks and which mistakes it knows.

python -m coursework.questions          the questions and their points
python -m coursework.questions ps2.q1   its checks, and each mistake with its sentence
"""

from __future__ import annotations

import argparse
import textwrap

import numpy as np

from coursework.keys import VARIANTS
from coursework.questions import SETS


def questions() -> dict[str, list]:
    """Draw all questions, by key; a term variant has several."""
    found: dict[str, list] = {}
    for name, chosen in SETS.items():
        for variant in VARIANTS.get(name, ("",)):
            for question in chosen.questions(np.random.default_rng(0), variant):
                same = found.setdefault(question.key, [])
                if question.title not in [q.title for q in same]:
                    same.append(question)
    return found


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("key", nargs="?", help="as ps2.q1")
    key, known = parser.parse_args().key, questions()
    if key and key not in known:
        parser.error(f"expected one of {', '.join(known)}, got {key}")
    for question in known[key] if key else [q for same in known.values() for q in same]:
        print(f"{question.key}  {question.title}, {question.points:g} points")
        if key:
            for check in question.checks:
                print(f"  {check.points:5.2f}  {check.category}")
            for name, sentence in question.sentences.items():
                print(f"\n  {name}")
                print(textwrap.indent(textwrap.fill(sentence, 84), "    "))


if __name__ == "__main__":
    main()
