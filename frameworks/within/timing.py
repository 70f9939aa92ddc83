"""What the speed scripts share: two nets train in turn, and each block is timed.

Runs in each framework's own Python (3.6 or newer) with NumPy alone. A script has a
function ``make(norm, x, y)``: it builds the net with batch norm (``norm`` true) or
without, and returns ``step(i)``, which trains on batch ``i`` and returns its loss. Both
nets have the same layers; linear layers before batch norm have no bias.
"""

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


def measure(make):
    """Time both nets on the batches of ``batches.npz``; return milliseconds a step."""
    with np.load("batches.npz") as data:
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
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return {f"{name}_ms": round(1000 * s, 4) for name, s in medians.items()}
