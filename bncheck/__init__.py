"""The checks that students run in their notebooks: ``check("ps1.q1")``.

Public numbers only: the graded run draws others from a secret key. There is no right
solution in this package, only inputs, what must come out, and what mistakes give.
"""

from __future__ import annotations

import json
import pkgutil
import sys
from typing import Any

from bncheck.calls import run_calls
from bncheck.judge import CORRECT, NOT_YET, Question, from_json, judge
from bncheck.special import SPECIAL
from bncheck.toys import TOYS

MARKS = {"nothing yet": "○", "almost": "◐", "not yet": "✗", "correct": "✓"}
_questions: dict[tuple[str, str], Question] = {}


def _load() -> dict[tuple[str, str], Question]:
    """Return the public questions by key and variant."""
    if not _questions:
        try:
            text = pkgutil.get_data("bncheck", "cases.json")
        except OSError:  # in the repository they are made when they are needed
            from coursework.grader.public import public_cases  # noqa: PLC0415

            text = json.dumps(public_cases()).encode()
        for case in json.loads(text):
            _questions[case["key"], case["variant"]] = from_json(case["question"])
    return _questions


def feedback(key: str, namespace: dict[str, Any], variant: str = "") -> dict[str, Any]:
    """Judge the functions of a namespace on a question's public numbers.

    Parameters
    ----------
    key : str
        ``"ps1.q1"``.
    namespace : dict
        Where the functions are.
    variant : str
        Which term variant; needed only where a notebook holds several.

    Returns
    -------
    result : dict
        State, findings and passed categories.

    Raises
    ------
    KeyError
        There is no such question.
    """
    found = [q for (k, v), q in _load().items() if k == key and variant in ("", v)]
    if not found:
        keys = ", ".join(sorted({k for k, _ in _load()}))
        raise KeyError(f"there is no question {key!r}; there are {keys}")
    question = found[0]
    if question.observer in SPECIAL:
        return SPECIAL[question.observer](question, namespace)
    return judge(question, lambda calls: run_calls(calls, namespace, TOYS), {})


def check(key: str, variant: str = "") -> None:
    """Print how a question stands: a mark, the state, and one sentence.

    Parameters
    ----------
    key : str
        ``"ps1.q1"``. The functions are read from the notebook by their names.
    variant : str
        Which term variant; needed only where a notebook holds several.
    """
    namespace = sys._getframe(1).f_globals
    try:
        result = feedback(key, namespace, variant)
    except Exception as error:  # a notebook's "Run all" never stops here
        text = str(error).strip("'\"")
        print(f"✗ {key}, {NOT_YET}: this could not be checked: {text}")
        return
    state = result["state"]
    if state == CORRECT:
        sentence = f"the public checks passed ({', '.join(result['passed'])}). "
        sentence += "The graded run uses other numbers."
    else:
        sentence = result["findings"][0]["sentence"] if result["findings"] else ""
    print(f"{MARKS[state]} {key}, {state}: {sentence}")
