"""Install what the book needs into the running environment.

    python tools/install.py packages    all of requirements.txt but torch, and bnlib
    python tools/install.py torch       torch, as a small CPU build
    python tools/install.py ci          in CI only: torch, Chromium, bubblewrap

On Linux the usual package index serves torch with gigabytes of GPU libraries, so the
CPU index of its makers is asked first. Without torch the book can be built and read;
with CI=true a missing torch is an error.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from parts import missing
from pyodide_files import fetch

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH = re.compile(r"^torch==\S+", re.M)
CI = os.environ.get("CI") == "true"


def pip(*arguments: str, quiet: bool = True) -> bool:
    """Run pip and say whether it succeeded."""
    flags = ["-q"] if quiet else []
    command = [sys.executable, "-m", "pip", "install", *flags, *arguments]
    return subprocess.run(command, check=False).returncode == 0


def install_packages() -> int:
    """Install the locked packages and bnlib itself, editable."""
    lock = LOCK.read_text("utf-8")
    count = len(re.findall(r"^[\w.-]+==", lock, re.M)) - 1
    print(f"Installing about {count} packages (a minute or two) ...")
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "requirements-without-torch.txt"
        part.write_text(TORCH.sub("", lock), "utf-8")
        if not pip("-r", str(part)):
            print("Stopped: pip could not install requirements.txt (see above).")
            return 1
    if not pip("--no-deps", "--no-build-isolation", "-e", str(ROOT)):
        print("Stopped: pip could not install bnlib from this folder (see above).")
        return 1
    print("Done: the packages are installed.")
    return 0


def install_torch() -> int:
    """Install torch's CPU build, or say plainly that there is none."""
    if importlib.util.find_spec("torch"):
        return 0
    wanted = TORCH.search(LOCK.read_text("utf-8")).group(0)
    print(f"Installing {wanted} (CPU) ...")
    quick = ["--retries", "0", "--timeout", "20"]
    if sys.platform == "linux":
        # Its dependencies are in the lock already.
        if pip("--no-deps", "--index-url", CPU_INDEX, *quick, wanted):
            return 0
        if not CI:
            print(
                f"torch was not installed: {CPU_INDEX} has no build for this Python, "
                "or cannot be reached.\nThe checks that need torch will be skipped. "
                f"To run them: {sys.executable} -m pip install {wanted}"
            )
            return 0
    if pip(wanted):
        return 0
    print(f"{'Stopped' if CI else 'Note'}: {wanted} could not be installed.")
    return int(CI)


def install_for_ci() -> int:
    """Install what CI may not skip; elsewhere checks without it may be skipped."""
    if not CI:
        return 0
    if install_torch():
        return 1
    if not fetch():
        print("Note: Pyodide's files cannot be had; live cells will not be tested.")
    packages = [name for part in missing() for name in part.packages]
    if not packages or not shutil.which("apt-get"):
        return 0
    print(f"Installing {', '.join(packages)} ...")
    root = [] if os.geteuid() == 0 else ["sudo"]
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for arguments in (
        ["update", "-qq"],
        ["install", "-qq", "-y", "--no-install-recommends", *packages],
    ):
        command = [*root, "apt-get", *arguments]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            print(f"Note: {' '.join(command)} failed.")
    return 0


STEPS = {
    "packages": install_packages,
    "torch": install_torch,
    "ci": install_for_ci,
}

if __name__ == "__main__":
    sys.exit(STEPS[sys.argv[1]]())
