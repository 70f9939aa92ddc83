"""Break bnlib on purpose, one line at a time, and see which test notices.

Run ``python tools/mutants.py`` (about five minutes). Each mutant is made in a temporary
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
NAMES = ("functional", "ops", "errors", "layers", "graph", "properties")
TESTS = [f"bnlib/test_{name}.py" for name in NAMES]
F, OPS, LAYERS, GRAPH = "functional.py", "ops.py", "layers.py", "graph.py"

MUTANTS = [  # (what is wrong, file, source text, replacement)
    (
        "divisor m - 1 in the variance of a set",
        F,
        "var = _mean(centred * centred)",
        "var = _sum(centred * centred) / (x.shape[0] * x.shape[2] - 1)",
    ),
    (
        "variance in one pass",
        F,
        "var = _mean(centred * centred)",
        "var = _mean(x * x) - mu**2",
    ),
    (
        "sums along a map left out",
        F,
        "rows = a @ ones(a.shape[2], a.dtype) if a.shape[2] != 1 else a[:, :, 0]",
        "rows = a[:, :, 0]",
    ),
    (
        "a mean over examples only",
        F,
        "return _sum(a) / (a.shape[0] * a.shape[2])",
        "return _sum(a) / a.shape[0]",
    ),
    ("eps dropped", F, "np.sqrt(var + float(eps))", "np.sqrt(var)"),
    ("eps outside the root", F, "np.sqrt(var + float(eps))", "(np.sqrt(var) + eps)"),
    (
        "x written over where no mean is removed",
        F,
        "own = None if mu is None else centred",
        "own = centred",
    ),
    (
        "x_hat handed out as the output",
        F,
        "y = x_hat.copy() if weight is None",
        "y = x_hat if weight is None",
    ),
    (
        "momentum swapped for the mean",
        F,
        "            running_mean += momentum",  # indented: that of batch norm
        "            running_mean += (1 - momentum)",
    ),
    (
        "momentum swapped for the variance",
        F,
        "running_var += momentum * (var * (m / (m - 1))",
        "running_var += (1 - momentum) * (var * (m / (m - 1))",
    ),
    (
        "running statistics not updated in place",
        F,
        "running_var += momentum * (var * (m / (m - 1)) - running_var)",
        "running_var = running_var + momentum * (var * (m / (m - 1)) - running_var)",
    ),
    (
        "batch statistics used in evaluation",
        F,
        "    if training:\n        mu, var, centred",
        "    if True:\n        mu, var, centred",
    ),
    (
        "cache shares the running statistics",
        F,
        "mu, var = np.array(running_mean), np.array(running_var)",
        "mu, var = running_mean, running_var",
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
        "np.subtract(dx_hat, grad_x, out=grad_x)",
        "grad_x[...] = dx_hat",
    ),
    (
        "mean term dropped in the backward pass",
        F,
        "grad_x -= mean[:, None]",
        "pass",
    ),
    (
        "gamma dropped in the backward pass of batch norm",
        F,
        "scale = cache.inv_std if gamma is None else gamma * cache.inv_std",
        "scale = cache.inv_std",
    ),
    (
        "gamma dropped in the backward pass of the other norms",
        F,
        "(dy if gamma is None else dy * gamma[:, None])",
        "dy",
    ),
    (
        "gamma taken out of the means where it belongs in them",
        F,
        "if cache.sets == cache.channels:",
        "if cache.sets[1] == cache.channels[1]:",
    ),
    (
        "training formula in the evaluation backward pass",
        F,
        "    if cache.training:\n",
        "    if True:\n",
    ),
    (
        "sign of dvar in the six equations",
        F,
        "* -0.5 * inv_std**3",
        "* 0.5 * inv_std**3",
    ),
    (
        "groups of neighbouring examples, not channels",
        F,
        "sets = 1, n * num_groups, c // num_groups * length",
        "sets = 1, num_groups, n * c // num_groups * length",
    ),
    (
        "biased variance stored by instance norm",
        F,
        "(var * (length / (length - 1)) - running_var)",
        "(var - running_var)",
    ),
    (
        "mean removed by RMS norm",
        F,
        "moments = None, _mean(rows * rows), rows",
        "moments = _statistics(rows)",
    ),
    (
        "mean removed in the backward pass of RMS norm",
        F,
        "no_mean = cache.mu is None",
        "no_mean = False",
    ),
    (
        "bias of a linear layer left out of its gradient",
        OPS,
        "sum_rows(grad_output) if has_bias",
        "0 * sum_rows(grad_output) if has_bias",
    ),
    (
        "windows of a convolution overlap one by one",
        OPS,
        "padded[:, :, down, across] += ",
        "padded[:, :, down, across] = ",
    ),
    (
        "softmax not made safe",
        OPS,
        "shifted = logits - np.maximum.reduce(logits, 1, keepdims=True)",
        "shifted = logits",
    ),
    (
        "cumulative average one batch late",
        LAYERS,
        "(int(count) + 1)",
        "(int(count) + 2)",
    ),
    (
        "batches counted in evaluation",
        LAYERS,
        "if self.training and count is not None:",
        "if count is not None:",
    ),
    (
        "every layer leaves its input gradient out",
        LAYERS,
        "grad = layer.backward(grad, input_grad or i > 0)",
        "grad = layer.backward(grad, input_grad)",
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
