"""Examine a model from a shell: ``python -m bnlib.pytorch.doctor module:callable``.

The callable returns a model, or a model and its data. The exit code is 1 if there is an
error among the findings.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import torch

from bnlib.pytorch.doctor import ERROR, as_json, as_table, diagnose


def main(arguments: list[str] | None = None) -> int:
    """Read the arguments, examine, print; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bnlib.pytorch.doctor", description=__doc__
    )
    parser.add_argument("model", help="module:callable")
    parser.add_argument("--shape", help="shape of a random batch: 32,3,64,64")
    parser.add_argument("--state", type=Path, help="file with a state_dict to load")
    parser.add_argument("--purpose", choices=["train", "evaluate", "deploy"])
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    module, _, name = given.model.partition(":")
    if not name:
        parser.error(f"expected module:callable, got {given.model!r}")
    sys.path.insert(0, "")
    made = getattr(importlib.import_module(module), name)()
    model, data = made if isinstance(made, tuple) else (made, None)
    if given.state is not None:
        model.load_state_dict(torch.load(given.state, weights_only=True))
    if given.shape:
        shape = [int(n) for n in given.shape.split(",")]
        data = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if data is None:
        parser.error("the callable gives no data: give --shape, such as 32,3,64,64")
    findings = diagnose(model, data, purpose=given.purpose)
    print(as_json(findings) if given.json else as_table(findings))
    return int(any(f.severity == ERROR for f in findings))


if __name__ == "__main__":
    sys.exit(main())
