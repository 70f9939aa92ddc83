"""A doctor for models: it finds the faults around normalization.

``diagnose(model, loader)`` runs any PyTorch model on some batches, leaves it as it was,
and returns findings. From a shell: ``python -m bnlib.pytorch.doctor``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bnlib.pytorch.doctor import rules  # noqa: F401  they enter what they find
from bnlib.pytorch.doctor.clinic import visit
from bnlib.pytorch.doctor.complaints import ERROR, NOTE, RULES, WARNING
from bnlib.pytorch.doctor.look import inputs_of, look, untouched
from bnlib.pytorch.surgery import foldable

__all__ = [
    "ERROR",
    "NOTE",
    "WARNING",
    "Finding",
    "as_json",
    "as_table",
    "codes",
    "diagnose",
    "pages",
    "visit",
]
# In the order of the clinic's pages, not of the imports above.
IN_ORDER = dict(sorted(RULES.items(), key=lambda rule: rule[1].page.partition("#")[0]))
PURPOSES = (None, "train", "evaluate", "deploy")


class Finding(NamedTuple):
    """One fault at one layer.

    Attributes
    ----------
    code : str
        Stable name of the fault: see `codes`.
    severity : {"error", "warning", "note"}
        An error gives wrong answers or stops; a warning often does; a note may be
        meant.
    layer : str
        Name of the layer in the model.
    evidence : str
        What was seen, with numbers.
    reason, fix : str
        Why it matters, and what to do.
    page : str
        Section of the book's clinic, an address on the site: see `pages`.
    """

    code: str
    severity: str
    layer: str
    evidence: str
    reason: str
    fix: str
    page: str


def codes() -> dict[str, str]:
    """Return each code with its reason."""
    return {code: complaint.reason for code, complaint in IN_ORDER.items()}


def pages() -> dict[str, str]:
    """Return for each code its section of the book's clinic: an address on the site."""

    def address(place: str) -> str:
        page, anchor = place.split("#")
        return f"chapters/{page}.html#{anchor}"

    return {code: address(complaint.page) for code, complaint in IN_ORDER.items()}


def diagnose(
    model: nn.Module,
    data: Tensor | Iterable[Any],
    *,
    optimizer: torch.optim.Optimizer | None = None,
    purpose: str | None = None,
    most: int = 16,
    call: Callable[[nn.Module, Any], Any] | None = None,
) -> list[Finding]:
    """Examine a model; parameters, buffers, modes, gradients and random state stay.

    Parameters
    ----------
    model : nn.Module
        Any model.
    data : Tensor or iterable
        A batch, or a loader of batches; of a tuple or a list the first item is taken.
    optimizer : Optimizer, optional
        That trains it: its weight decay and its parameters are looked at.
    purpose : {"train", "evaluate", "deploy"}, optional
        What the model is about to do. Without it only what is wrong for any purpose is
        told, with small batches taken to be for training.
    most : int
        How many batches are looked at, >= 1.
    call : callable, optional
        ``call(model, batch)`` runs the model, if it takes something else than the first
        item of a batch.

    Returns
    -------
    findings : list of Finding
        The errors first; empty for a healthy model.

    Raises
    ------
    ValueError
        No batches, or an unknown purpose.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"purpose must be one of {PURPOSES}, got {purpose!r}")
    if most < 1:
        raise ValueError(f"most must be >= 1, got {most}")
    batches = inputs_of(data, most, whole=call is not None)
    sight = look(model, batches, optimizer, purpose, most, call)
    if purpose == "deploy" and sight.norms:
        with untouched(model):
            sight.pairs = foldable(model, batches[0], call)
    order, places = [ERROR, WARNING, NOTE], pages()
    found = [
        Finding(code, c.severity, layer, evidence, c.reason, c.fix, places[code])
        for code, c in IN_ORDER.items()
        for layer, evidence in c.rule(sight)
    ]
    return sorted(found, key=lambda f: order.index(f.severity))


def as_table(findings: Sequence[Finding]) -> str:
    """Return findings as text: what, where, why, and what to do."""
    if not findings:
        return "Nothing found."
    parts = []
    for f in findings:
        parts.append(
            f"{f.severity.upper()} {f.code} at {f.layer!r}: {f.evidence}\n"
            f"    why: {f.reason}\n    fix: {f.fix}"
        )
    return "\n".join(parts)


def as_json(findings: Sequence[Finding]) -> str:
    """Return findings as a JSON list."""
    return json.dumps([f._asdict() for f in findings], indent=2)
