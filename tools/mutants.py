"""Break bnlib on purpose, one line at a time, and see which test notices.

Run ``python tools/mutants.py`` (about two minutes). Each mutant is made in a temporary
copy; the working tree is not touched. The exit code is 1 when a mutant survives.
A mutant whose source text is not found exactly once is an error: update the table.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = [f"bnlib/test_{name}.py" for name in ("functional", "errors", "layers")]
TESTS += ["bnlib/test_graph.py", "bnlib/test_properties.py"]
F, RELATIVES = "functional.py", "relatives.py"
LAYERS, GRAPH, BLOCKS = "layers.py", "graph.py", "blocks.py"

MUTANTS = [  # (what is wrong, file, source text, replacement)
    (
        "divisor m - 1 in the batch variance",
        F,
        "np.add.reduce(centred * centred, axes) / m",
        "np.add.reduce(centred * centred, axes) / (m - 1)",
    ),
    (
        "divisor m - 1 in the batch variance, in blocks",
        BLOCKS,
        "squares / x.dtype.type(m)",
        "squares / x.dtype.type(m - 1)",
    ),
    (
        "variance in one pass",
        F,
        "var = np.add.reduce(centred * centred, axes) / m",
        "var = np.add.reduce(x * x, axes) / m - mu**2",
    ),
    (
        "only the last block counted in the mean",
        BLOCKS,
        "total = total + _sum",
        "total = _sum",
    ),
    (
        "eps dropped",
        F,
        "    inv_std = 1 / np.sqrt(var",
        "    eps = 0\n    inv_std = 1 / np.sqrt(var",
    ),
    (
        "momentum swapped for the mean",
        F,
        "running_mean += momentum * (mu",
        "running_mean += (1 - momentum) * (mu",
    ),
    (
        "momentum swapped for the variance",
        F,
        "running_var += momentum * (var *",
        "running_var += (1 - momentum) * (var *",
    ),
    (
        "running statistics not updated in place",
        F,
        "running_mean += momentum * (mu",
        "running_mean = running_mean + momentum * (mu",
    ),
    (
        "batch statistics used in evaluation",
        F,
        "given = None if training else (running_mean.copy(), running_var.copy())",
        "given = None",
    ),
    (
        "biased variance stored",
        F,
        "(var * (m / (m - 1)) - running_var)",
        "(var - running_var)",
    ),
    (
        "x_hat term dropped in the backward pass",
        F,
        "(dy - mean_dy - x_hat * along)",
        "(dy - mean_dy)",
    ),
    (
        "mean term dropped in the backward pass",
        F,
        "(dy - mean_dy - x_hat * along)",
        "(dy - x_hat * along)",
    ),
    (
        "mean term dropped in the backward pass, in blocks",
        BLOCKS,
        "np.subtract(grad_x[i], mean_dy, out=grad_x[i])",
        "pass",
    ),
    (
        "gamma dropped in the backward pass",
        F,
        "dy, x_hat, gamma * cache.inv_std",
        "dy, x_hat, cache.inv_std",
    ),
    (
        "training formula in the evaluation backward pass",
        F,
        "    if training:\n        mean_dy",
        "    if True:\n        mean_dy",
    ),
    (
        "sign of dvar in the six equations",
        F,
        "* -0.5 * inv_std**3",
        "* 0.5 * inv_std**3",
    ),
    (
        "eps dropped in layer, group and instance norm",
        RELATIVES,
        "    var = (centred**2).mean(axes, keepdims=True)\n",
        "    var = (centred**2).mean(axes, keepdims=True)\n    eps = 0\n",
    ),
    (
        "projection dropped in the backward pass of layer norm",
        RELATIVES,
        "(grad_x_hat - mean - x_hat * along_x_hat)",
        "(grad_x_hat - mean)",
    ),
    (
        "biased variance stored by instance norm",
        RELATIVES,
        "rows.var(2, ddof=1)",
        "rows.var(2, ddof=0)",
    ),
    (
        "mean removed by RMS norm",
        RELATIVES,
        "x_hat = x * inv_rms",
        "x_hat = (x - x.mean(axes, keepdims=True)) * inv_rms",
    ),
    (
        "cumulative average one batch late",
        LAYERS,
        "(int(self.num_batches_tracked) + 1)",
        "(int(self.num_batches_tracked) + 2)",
    ),
    (
        "subtraction passes the wrong sign back",
        GRAPH,
        "(g, -g)",
        "(g, g)",
    ),
]


def run_tests(folder: Path) -> tuple[bool, str]:
    """Run the tests against the copy; return whether they pass, and the first red."""
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "CI": ""}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no"]
    command += ["-p", "no:cacheprovider", *(f"tests/{t}" for t in TESTS)]
    run = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    if run.returncode not in (0, 1):
        sys.exit(f"pytest did not run (code {run.returncode}):\n{run.stdout}")
    red = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
    return run.returncode == 0, red[0].removeprefix("FAILED ")[:90] if red else ""


def check_copy(folder: Path) -> None:
    """Make sure that the tests see the copy, not an installed bnlib."""
    code = "import bnlib.functional as f; print(f.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True
    ).stdout.strip()
    if not Path(where).resolve().is_relative_to(folder.resolve()):
        sys.exit(f"the tests would import {where}, not the copy in {folder}")


def main() -> int:
    survivors = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("bnlib", "tests"):
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=skip)
        shutil.copy(ROOT / "pyproject.toml", folder)
        check_copy(folder)
        green, red = run_tests(folder)
        if not green:
            sys.exit(f"the tests fail before any change: {red}")
        for what, file, old, new in MUTANTS:
            path = folder / "bnlib" / file
            source = path.read_text(encoding="utf-8")
            if source.count(old) != 1:
                sys.exit(f"{what}: {old!r} found {source.count(old)} times in {file}")
            path.write_text(source.replace(old, new), encoding="utf-8")
            survived, red = run_tests(folder)
            path.write_text(source, encoding="utf-8")
            print(f"{'SURVIVED' if survived else 'killed'}: {what}  {red}", flush=True)
            survivors += [what] if survived else []
    print(f"{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} mutants killed.")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
