"""Check style, types, and which package imports which; say every fault before stopping.

`make lint`, the hooks before a commit and `make test` run these same lines.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = {
    "style": ("ruff", "check", "."),
    "format": ("ruff", "format", "--check", "."),
    "types": ("mypy",),
    "arrows between packages": ("lint-imports",),
}


def main() -> int:
    scripts = Path(sys.executable).parent
    failed = []
    for name, (tool, *arguments) in CHECKS.items():
        command = [str(scripts / tool), *arguments]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"Stopped: {', '.join(failed)}: see above.")
        return 1
    print("Done: style, types and arrows are clean.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
