"""Write requirements.txt: one set of exact versions for Python 3.11 to 3.13.

uv resolves the extras `book`, `test`, `lint`, `lab` and `grade` of pyproject.toml
together with what torch itself needs. torch stands apart as the last line: `make book`
does without. Versions stay as they are where they still fit; with the argument
``--upgrade`` all are chosen anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The plain dependencies of torch, so that torch can be installed without resolving.
TORCH_NEEDS = ("filelock", "fsspec", "jinja2", "networkx", "sympy", "typing-extensions")
HEADER = """\
# Exact versions for Python 3.11 to 3.13, made by `make lock` from pyproject.toml.
"""
FOOTER = """
# Only the checks against torch, and some cells, need this line; `make book` skips it.
# On Linux take the CPU build: see "Without make" in the README.
"""


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *TORCH_NEEDS]
    wanted += [
        line
        for name in ("book", "test", "lint", "lab", "grade")
        for line in extras[name]
    ]
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--universal"]
    command += ["--python-version", "3.11", "--no-header", "--quiet"]
    command += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "requirements.txt"
        shutil.copy(ROOT / "requirements.txt", made)  # uv prefers what stands there
        command += ["--output-file", str(made), *sys.argv[1:]]
        done = subprocess.run(
            command,
            input="\n".join(wanted),
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            check=False,
        )
        if done.returncode:
            print("Stopped: uv found no set of versions (see above).")
            return 1
        pins = made.read_text("utf-8").strip()
    text = HEADER + pins + "\n" + FOOTER + extras["torch"][0] + "\n"
    (ROOT / "requirements.txt").write_text(text, "utf-8", newline="\n")
    print(f"Done: requirements.txt holds {text.count('==')} packages.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
