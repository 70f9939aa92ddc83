"""Imported in a test file that needs torch: where it is missing, skip the file.

In CI a missing torch is a failure, which `tools/run_tests.py` says before it starts.
"""

import pytest

torch = pytest.importorskip("torch")

__all__ = ["torch"]
