"""Break bnlib on purpose, one line at a time, and see which test notices.

Run ``python tools/mutants.py``, or ``python tools/mutants.py WORD``
for those whose description or file holds the word. Each mutant is made in a temporary
copy, where the tests of its file run; the working tree is not touched. The exit code is
1 when a mutant survives. A mutant whose source text is not found exactly once is an
error: update the table.
"""

import contextlib
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
F, OPS, LAYERS, GRAPH = "functional.py", "ops.py", "layers.py", "graph.py"
TRAINING, DATA, CHECKS = "training.py", "data.py", "checks.py"
CONVENTIONS, FAST, CHECK = "conventions.py", "_fast.py", "_check.py"
TESTS = {  # file -> its tests, the most telling first
    F: ("functional", "oracle", "errors", "arguments", "layers", "properties"),
    OPS: ("ops", "errors", "arguments", "layers"),
    LAYERS: ("layers", "arguments", "training"),
    GRAPH: ("graph", "arguments"),
    TRAINING: ("training",),
    DATA: ("data",),
    CHECKS: ("checks",),
    CONVENTIONS: ("conventions",),
    FAST: ("functional", "ops", "oracle", "arguments"),
    CHECK: ("errors", "arguments", "layers", "checks"),
}

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
        "return _sum(a) / (a.shape[0] * a.shape[2] or 1)",
        "return _sum(a) / (a.shape[0] or 1)",
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
        "running_mean += step * (mu - running_mean)",
        "running_mean += (1 - step) * (mu - running_mean)",
    ),
    (
        "momentum swapped for the variance",
        F,
        "running_var += step * (var - running_var)",
        "running_var += (1 - step) * (var - running_var)",
    ),
    (
        "running statistics not updated in place",
        F,
        "running_var += step * (var - running_var)",
        "running_var = running_var + step * (var - running_var)",
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
        "new = mu, var * (m / (m - 1))",
        "new = mu, var",
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
        "new = mu, var * (length / (length - 1))",
        "new = mu, var",
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
    # --- the core and its sums
    (
        "mean summed in float32",
        F,
        "return ones(len(rows), a.dtype).dot(rows)",
        "return rows.astype(np.float32).sum(0).astype(a.dtype)",
    ),
    (
        "sums along a map in float32",
        F,
        "rows = a @ ones(a.shape[2], a.dtype) if",
        "rows = a.astype(np.float32) @ ones(a.shape[2], np.float32) if",
    ),
    (
        "rows summed in float32",
        FAST,
        "return ones(len(a), a.dtype).dot(a)",
        "return ones(len(a), np.float32).dot(a.astype(np.float32)).astype(a.dtype)",
    ),
    (
        "the kept vector of ones can be written to",
        FAST,
        "vector.flags.writeable = False",
        "vector.flags.writeable = True",
    ),
    (
        "a vector of ones for all dtypes",
        FAST,
        "vector = make(n, dtype)",
        "vector = make(n, np.dtype(np.float64))",
    ),
    (
        "nan in the mean of no values",
        F,
        "return _sum(a) / (a.shape[0] * a.shape[2] or 1)",
        "return _sum(a) / (a.shape[0] * a.shape[2])",
    ),
    (
        "weight 1 mixes instead of replacing",
        F,
        "    if step == 1:",
        "    if step == 2:",
    ),
    ("weight 0 adds 0 times infinity", F, "elif step != 0:", "else:"),
    ("mean kept by RMS norm's backward", F, "if mean is not None:", "if False:"),
    ("scale of a set left out", F, "grad_x *= scale[:, None]", "pass"),
    ("evaluation not scaled", F, "grad_x = dx_hat * scale[:, None]", "grad_x = dx_hat"),
    (
        "any norm's cache for any backward",
        F,
        "check_cache(cache, NormCache, norm, norm)",
        'check_cache(cache, NormCache, norm, "")',
    ),
    (
        "layer norm's cache for the six equations",
        F,
        'check_cache(cache, NormCache, "batch_norm", "batch_norm")',
        'check_cache(cache, NormCache, "batch_norm")',
    ),
    (
        "instance norm in evaluation gives a cache of batch norm",
        F,
        'return y, cache._replace(norm="instance_norm")',
        "return y, cache",
    ),
    (
        "one group of one value passes",
        F,
        "if n * c * length == num_groups:",
        "if False:",
    ),
    (
        "every group of one value refused",
        F,
        "if n * c * length == num_groups:",
        "if c * length == num_groups:",
    ),
    ("one value in an image passes", F, "if length == 1:", "if False:"),
    (
        "gamma's gradient from evaluation's constants",
        F,
        "sum_dy, sum_dy_x_hat = _sum(dy), _sum(dy * x_hat)",
        "sum_dy, sum_dy_x_hat = _sum(dy), _sum(dy)",
    ),
    (
        "RMS norm's eps for all dtypes",
        F,
        "float(np.finfo(x.dtype).eps) if eps is None",
        "1e-5 if eps is None",
    ),
    (
        "integers standardized",
        F,
        '    check_float("x", x, min_ndim=1)\n    check_eps(eps)\n    axes',
        "    check_eps(eps)\n    axes",
    ),
    # --- the rest of a network
    ("ReLU hands out no gradient at nan", OPS, "(y != 0)", "(y > 0)"),
    ("ReLU's derivative at 0 is 1", OPS, "(y != 0)", "(y >= 0)"),
    (
        "integers into the sigmoid",
        OPS,
        '    check_float("x", x, min_ndim=1)\n    y = np.tanh(x * x',
        "    y = np.tanh(x * x",
    ),
    ("sigmoid's cache is its output", OPS, "return y, y * (1 - y)", "return y, y"),
    ("tanh's derivative", OPS, "return y, 1 - y * y", "return y, 1 - y"),
    ("logits of three axes", OPS, "if logits.ndim != 2 or target", "if target"),
    ("loss summed, not averaged", OPS, "- right) / len(target)", "- right)"),
    ("gradient of the loss summed", OPS, "grad /= len(target)", "pass"),
    (
        "the softmax kept is handed out",
        OPS,
        "grad = softmax.copy()",
        "grad = softmax",
    ),
    (
        "a class below 0 is the last one",
        OPS,
        "if low < 0 or high >= k:",
        "if high >= k:",
    ),
    (
        "gradient of another shape for a linear layer",
        OPS,
        "check_gradient(grad_output, (len(x), len(weight)), x.dtype)",
        "pass",
    ),
    (
        "padding taken from one side",
        OPS,
        "grad_x = padded[:, :, padding : padding + height,",
        "grad_x = padded[:, :, :height,",
    ),
    (
        "the part below 0 passes",
        FAST,
        "np.maximum(a, zeros(a.shape[-1], a.dtype))",
        "np.abs(a)",
    ),
    # --- layers
    (
        "a cache is used twice",
        LAYERS,
        "        self._cache = TAKEN\n",
        "",
    ),
    (
        "layers in lists are not registered",
        LAYERS,
        "elif isinstance(value, list | tuple | dict):",
        "elif isinstance(value, dict):",
    ),
    (
        "a shared parameter is trained twice",
        LAYERS,
        "        return _each_once(\n            (f",
        "        return iter(\n            (f",
    ),
    (
        "caches are searched for layers",
        LAYERS,
        'if name != "_cache":',
        "if True:",
    ),
    (
        "gradients of two passes not added",
        LAYERS,
        "self.grad = grad if self.grad is None else self.grad + grad",
        "self.grad = grad",
    ),
    (
        "instance norm reads momentum None as 0.1",
        LAYERS,
        "step = 0.0 if self.momentum is None",
        "step = 0.1 if self.momentum is None",
    ),
    (
        "running variance reset to 0",
        LAYERS,
        "zip(self.buffer_names, (0, 1, 0), strict=True)",
        "zip(self.buffer_names, (0, 0, 0), strict=True)",
    ),
    (
        "a state is loaded as far as it fits",
        LAYERS,
        "        new = {k: _loaded(k, state[k], own[k]) for k in own if k in state}\n"
        "        for name, value in new.items():\n"
        "            own[name][...] = value\n",
        "        for k in own:\n"
        "            if k in state:\n"
        "                own[k][...] = _loaded(k, state[k], own[k])\n",
    ),
    (
        "a missing count is missing",
        LAYERS,
        "if k not in state and not k.endswith(COUNT)",
        "if k not in state",
    ),
    (
        "a state shares memory with the layer",
        LAYERS,
        'np.array(value, order="C")',
        "np.asarray(value)",
    ),
    ("momentum of a layer unchecked", LAYERS, "        check_momentum(momentum)\n", ""),
    (
        "eps of a layer unchecked",
        LAYERS,
        "check_eps(0.0 if eps is None else eps)",
        "...",
    ),
    (
        "dtype of a norm unchecked",
        LAYERS,
        "        check_dtype(dtype)\n        self",
        "        self",
    ),
    (
        "an untracked layer refuses evaluation",
        LAYERS,
        "        of_batch = self.training or self.running_mean is None\n"
        "        statistics = self.running_mean, self.running_var\n"
        "        y, self._cache = F.batch_norm(",
        "        of_batch = self.training\n"
        "        statistics = self.running_mean, self.running_var\n"
        "        y, self._cache = F.batch_norm(",
    ),
    # --- the graph
    (
        "eps dropped in float32",
        GRAPH,
        "np.sqrt(a + a.dtype.type(eps))",
        "np.sqrt(a + (a.dtype.itemsize == 8) * a.dtype.type(eps))",
    ),
    (
        "a sum over the batch left out",
        GRAPH,
        "grad.sum(0) if broadcast else grad",
        "grad[0] if broadcast else grad",
    ),
    ("root's derivative twice as large", GRAPH, "(g / (2 * y),)", "(g / y,)"),
    (
        "old gradients are kept by a new forward sweep",
        GRAPH,
        "node.grad, node.branches = None, {}",
        "pass",
    ),
    # --- training
    (
        "seconds include the evaluation",
        TRAINING,
        "            started = time.perf_counter()\n        if step == steps",
        "        if step == steps",
    ),
    (
        "the accuracy must be exceeded",
        TRAINING,
        "self.accuracy >= accuracy",
        "self.accuracy > accuracy",
    ),
    (
        "fit thaws frozen layers",
        TRAINING,
        "    if not model.training:\n        model.train()",
        "    model.train()",
    ),
    (
        "fit leaves a model in evaluation mode",
        TRAINING,
        "    if not model.training:\n        model.train()\n",
        "",
    ),
    (
        "a callback's modes stay",
        TRAINING,
        "                with _put_back(model):\n        ",
        "",
    ),
    (
        "velocity is the first gradient itself",
        TRAINING,
        "grad.copy() if old is None",
        "grad if old is None",
    ),
    ("gradients are not cleared", TRAINING, "        optimizer.zero_grad()\n", ""),
    (
        "the last step is not evaluated",
        TRAINING,
        "for step in range(steps + 1):",
        "for step in range(steps):",
    ),
    ("a diverged network may be right", TRAINING, "& finite", ""),
    (
        "caches are not put back",
        TRAINING,
        "module.training, module._cache = mode, cache",
        "module.training = mode",
    ),
    ("a bias before batch norm", TRAINING, 'bias = norm != "batch"', "bias = True"),
    (
        "weight decay changes the gradient's sign",
        TRAINING,
        "grad + self.weight_decay * parameter.data",
        "grad - self.weight_decay * parameter.data",
    ),
    (
        "the short batch of an epoch is kept",
        TRAINING,
        "range(0, n - batch_size + 1, batch_size)",
        "range(0, n, batch_size)",
    ),
    (
        "layers' outputs share memory with the next cache",
        TRAINING,
        "outputs.append(x.copy())",
        "outputs.append(x)",
    ),
    (
        "half a step is made",
        TRAINING,
        "if grad is None or (grad.shape == data.shape and data.flags.writeable):",
        "if True:",
    ),
    # --- data
    (
        "pixels above 1",
        DATA,
        "images.astype(dtype) / dtype.type(top)",
        "images.astype(dtype) / dtype.type(top - 1)",
    ),
    ("damage passes", DATA, "if found != expected:", "if False:"),
    (
        "the embedded images can be changed",
        DATA,
        "arrays[name].flags.writeable = False",
        "pass",
    ),
    (
        "test images among the training images",
        DATA,
        '"train": slice(0, 7000)',
        '"train": slice(0, 7001)',
    ),
    (
        "the same order in every epoch",
        DATA,
        "order = rng.permutation(n).astype(np.int64)",
        "order = np.arange(n)",
    ),
    ("a short batch is kept", DATA, "if len(part) == batch_size]", "]"),
    (
        "batches of one class in order",
        DATA,
        "parts = [parts[i] for i in rng.permutation(len(parts))]",
        "pass",
    ),
    # --- checks
    (
        "nan agrees",
        CHECKS,
        "np.where(np.isfinite(distances), distances, np.inf)",
        "np.nan_to_num(distances)",
    ),
    (
        "imaginary parts ignored",
        CHECKS,
        "v.astype(np.complex128) for v in arrays",
        "np.real(v).astype(np.complex128) for v in arrays",
    ),
    ("booleans are numbers", CHECKS, "if kinds[0] != kinds[1]:", "if False:"),
    ("shapes broadcast", CHECKS, "if arrays[0].shape != arrays[1].shape:", "if False:"),
    ("nothing agrees with nothing", CHECKS, "if not arrays[0].size:", "if False:"),
    (
        "relative to the first array alone",
        CHECKS,
        "max(np.abs(x).max(), np.abs(y).max())",
        "np.abs(x).max()",
    ),
    ("forward differences", CHECKS, "below[i] -= h", "below[i] -= 0"),
    ("tolerance not reached", CHECKS, "if error <= tol:", "if error < tol:"),
    # --- checks on arguments
    (
        "masked arrays pass",
        CHECK,
        "PLAIN = (np.ndarray, np.memmap)",
        "PLAIN = (np.ndarray, np.memmap, np.ma.MaskedArray)",
    ),
    (
        "half precision passes",
        CHECK,
        "FLOATS = (np.dtype(np.float32),",
        "FLOATS = (np.dtype(np.float16), np.dtype(np.float32),",
    ),
    ("nan is an eps", CHECK, "if not eps >= 0:", "if eps < 0:"),
    (
        "half a running statistic is updated",
        CHECK,
        "running_mean.flags.writeable and running_var",
        "running_mean.flags.writeable or running_var",
    ),
    (
        "one value per channel passes",
        CHECK,
        "if needs_spread and x.size == x.shape[1]:",
        "if False:",
    ),
    ("sizes of 0 pass", CHECK, "or size < least:", "or size < 0:"),
    ("momentum above 1 passes", CHECK, "not 0 <= momentum <= 1", "not 0 <= momentum"),
    (
        "learned from an empty batch",
        CHECK,
        "        if x.size == 0:",
        "        if False:",
    ),
    (
        "gradient of another dtype",
        CHECK,
        "came.shape == shape and came.dtype == dtype",
        "came.shape == shape",
    ),
    # --- conventions
    (
        "every framework stores the unbiased variance",
        CONVENTIONS,
        '1.0 if self.stores(fused) == "biased" else',
        '1.0 if self.stores(fused) == "" else',
    ),
    (
        "Keras's momentum read as PyTorch's",
        CONVENTIONS,
        '        if self.weighs == "old":\n            return 1.0 - weight_of_new',
        '        if self.weighs == "old":\n            return weight_of_new',
    ),
]


def look_for_red(folder: Path, names: tuple[str, ...]) -> str:
    """Run the tests against the copy in a folder; return the first red one, or none."""

    class First:
        red = ""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed and not self.red:
                self.red = report.nodeid.removeprefix("tests/bnlib/")

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed:
                self.red = f"{report.nodeid} cannot be imported"

    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    os.environ["CI"] = ""
    first, codes = First(), []
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"]
        for name in names:  # one by one: most mutants do not survive the first
            test = f"tests/bnlib/test_{name}.py"
            codes.append(pytest.main([*options, test], plugins=[first]))
            if codes[-1]:
                break
    import bnlib  # noqa: PLC0415 - the copy, which the tests have imported

    if not Path(bnlib.__file__).is_relative_to(folder):
        return f"error: the tests would import {bnlib.__file__}, not the copy"
    if codes[-1] not in (0, 1) and not first.red:
        return f"error: pytest did not run (code {int(codes[-1])})"
    return first.red


def try_mutant(mutant: tuple[str, str, str, str]) -> tuple[str, str]:
    """Break a copy of the library; return what was broken, and which test saw it."""
    what, file, old, new = mutant
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for path in ROOT.iterdir():
            if path.name not in ("bnlib", "tests") and not path.name.startswith("."):
                (folder / path.name).symlink_to(path)
        skip = shutil.ignore_patterns("__pycache__", "data_files")
        shutil.copytree(ROOT / "bnlib", folder / "bnlib", ignore=skip)
        (folder / "bnlib" / "data_files").symlink_to(ROOT / "bnlib" / "data_files")
        for part in ("bnlib", "support"):
            source, copy = ROOT / "tests" / part, folder / "tests" / part
            shutil.copytree(source, copy, ignore=skip)
        path = folder / "bnlib" / file
        source = path.read_text(encoding="utf-8")
        if old and source.count(old) != 1:
            return what, f"error: {old!r} found {source.count(old)} times in {file}"
        path.write_text(source.replace(old or "\0", new), encoding="utf-8")
        return what, look_for_red(folder, TESTS[file])


def main() -> int:
    """Try all mutants, or those in whose description the first argument stands."""
    chosen = [m for m in MUTANTS if not sys.argv[1:] or sys.argv[1] in " ".join(m[:2])]
    whole = [("", file, "", "") for file in TESTS if file in {m[1] for m in chosen}]
    for heavy in ("torch", "hypothesis", "matplotlib", "sklearn.datasets"):
        with contextlib.suppress(ImportError):
            importlib.import_module(heavy)  # once; each mutant is tried in a fork
    survivors, started = [], time.perf_counter()
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        for what, red in pool.imap(try_mutant, whole + chosen):
            if not what and red:
                sys.exit(f"the tests fail before any change: {red}")
            if red.startswith("error: "):
                sys.exit(f"{what}: {red}")
            if what:
                state = "killed" if red else "SURVIVED"
                print(f"{state}: {what}  {red[:90]}", flush=True)
                survivors += [] if red else [what]
    minutes = (time.perf_counter() - started) / 60
    count = f"{len(chosen) - len(survivors)} of {len(chosen)}"
    print(f"{count} mutants killed in {minutes:.0f} minutes.")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
