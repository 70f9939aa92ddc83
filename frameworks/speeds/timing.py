"""What the speed scripts share: two nets train in turn, and each block is timed.

Runs in each framework's own Python (3.6 or newer) with NumPy alone. A script has a
function ``make(norm, x, y)``: it builds the net with batch norm (``norm`` true) or
without, and returns ``step(i)``, which trains on batch ``i`` and returns its loss. Both
nets have the same layers; linear layers before batch norm have no bias.
"""

import json
import platform
import sys
import time

import numpy as np

SIZES, LR = (784, 100, 100, 100, 10), 0.01
HIDDEN = ((784, 100), (100, 100), (100, 100))
ROUNDS, BLOCK = 60, 25


def block(step, batches):
    """Train once on each batch; return seconds per step and the mean loss."""
    started = time.perf_counter()
    losses = [step(i) for i in batches]
    float(losses[-1])  # waits for a framework that computes in the background
    seconds = (time.perf_counter() - started) / len(batches)
    return seconds, sum(float(loss) for loss in losses) / len(batches)


def main(make):
    """Time both nets and write the result; arguments: data, result, modules."""
    source, target, modules = sys.argv[1], sys.argv[2], sys.argv[3:]
    with np.load(source) as data:
        x, y = data["x"], data["y"]
    steps = {"plain": make(False, x, y), "batch_norm": make(True, x, y)}
    first = {name: block(step, range(len(x)))[1] for name, step in steps.items()}
    times = {name: [] for name in steps}
    for i in range(ROUNDS):
        some = [(i * BLOCK + j) % len(x) for j in range(BLOCK)]
        for name, step in steps.items():
            times[name].append(block(step, some)[0])
    last = {name: block(step, range(len(x)))[1] for name, step in steps.items()}
    for name in steps:
        if not last[name] < 0.9 * first[name]:
            raise RuntimeError(f"the {name} net does not learn")
    found = {"python": platform.python_version(), "versions": {}}
    for name in modules:
        module = sys.modules[name]
        module = module if hasattr(module, "__version__") else module.core
        found["versions"][name] = module.__version__
    for name, values in times.items():
        found[name + "_ms"] = round(1000 * float(np.median(values)), 4)
    with open(target, "w") as file:
        json.dump(found, file)
