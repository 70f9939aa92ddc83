"""What the files at the top say of the house is so."""

import re
from pathlib import Path

import yaml

import bnlib

ROOT = Path(__file__).resolve().parents[2]


def test_one_version_everywhere():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    number, date = re.search(r"^## (\S+) \((\S+)\)", changes, re.M).groups()
    assert cited["version"] == number == bnlib.__version__
    assert str(cited["date-released"]) == date
