"""Measure the speed and the memory of bnlib against torch; nothing is asserted.

    make bench            or: python tools/bench.py [--kernels]

One thread each, processor time. What is compared is timed in turn in one process, so
that a change of the machine's speed meets all of it; medians of the rounds are given.
Behind each ratio stands the aim that it should keep on a quiet machine. With
``--kernels`` the training step is measured a second time with the BLAS kernel forced to
Haswell (no AVX-512).
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
import tracemalloc
from itertools import pairwise

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))

import numpy as np  # noqa: E402

from bnlib import data  # noqa: E402
from bnlib import functional as F  # noqa: E402
from bnlib.training import SGD, mlp  # noqa: E402

SIZES, BATCH_SIZE, LR = (784, 100, 100, 100, 10), 60, 0.01
SHAPES = ((60, 100), (256, 1024), (4096, 512), (32, 64, 28, 28), (32, 256, 14, 14))
CONVOLUTIONS = (((60, 1, 28, 28), 8), ((60, 8, 14, 14), 16))  # input, channels out
ROUNDS, STEPS = 15, 100

# The aims: torch takes this many times as long for a training step; batch norm makes
# a step at most this much longer; on images a layer takes at most this times torch's.
STEP_AIM, NORM_AIM, HASWELL_NORM_AIM, IMAGE_AIM = 1.8, 1.4, 1.3, 1.5


def median_times(functions: dict, rounds: int, inner: int = 1) -> dict:
    """Return for each function the median seconds of a call, called in turn."""
    times: dict = {name: [] for name in functions}
    for function in functions.values():
        function(0)
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.process_time()
            for i in range(inner):
                function(i)
            times[name].append((time.process_time() - started) / inner)
    return {name: float(np.median(values)) for name, values in times.items()}


def training_steps() -> dict:
    """Return a step of each net: ours and torch's, plain and with batch norm."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    x, y = data.load_mnist10k("train")
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    rng = np.random.default_rng(0)
    batches = [rng.permutation(len(x))[:BATCH_SIZE] for _ in range(STEPS)]

    def ours(norm: str | None):
        model = mlp(SIZES, rng=np.random.default_rng(1), norm=norm)
        optimizer = SGD(model.parameters(), LR)

        def step(i: int) -> None:
            _, cache = F.cross_entropy(model(x[batches[i]]), y[batches[i]])
            optimizer.zero_grad()
            model.backward(F.cross_entropy_backward(cache), input_grad=False)
            optimizer.step()

        return step

    def theirs(norm: str | None):
        nn, layers = torch.nn, []
        for n_in, n_out in pairwise(SIZES[:-1]):
            layers.append(nn.Linear(n_in, n_out, bias=norm is None))
            layers += [nn.BatchNorm1d(n_out)] * (norm is not None) + [nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(*SIZES[-2:]))
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)

        def step(i: int) -> None:
            loss = nn.functional.cross_entropy(model(tx[batches[i]]), ty[batches[i]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step

    return {
        ("bnlib", "plain"): ours(None),
        ("bnlib", "batch norm"): ours("batch"),
        ("torch", "plain"): theirs(None),
        ("torch", "batch norm"): theirs("batch"),
    }


def report_steps() -> None:
    """Print the time of a training step and the ratios."""
    kernel = os.environ.get("OPENBLAS_CORETYPE", "the machine's own")
    print(f"Training step, batch {BATCH_SIZE}, net {SIZES}, BLAS kernel: {kernel}")
    t = median_times(training_steps(), ROUNDS, STEPS)
    for (library, norm), seconds in t.items():
        print(f"  {library} {norm:11s} {seconds * 1e3:6.3f} ms  {1 / seconds:5.0f} /s")
    own = kernel == "the machine's own"
    for norm in ("plain", "batch norm"):
        ratio = t["torch", norm] / t["bnlib", norm]
        aim = f" (aim: at least {STEP_AIM})" if own else ""
        print(f"  torch / bnlib, {norm}: {ratio:.2f}{aim}")
    aim = NORM_AIM if own else HASWELL_NORM_AIM
    ratio = t["bnlib", "batch norm"] / t["bnlib", "plain"]
    print(f"  batch norm / plain, bnlib: {ratio:.2f} (aim: at most {aim})")
    ratio = t["torch", "batch norm"] / t["torch", "plain"]
    print(f"  batch norm / plain, torch: {ratio:.2f}")


def report_layers() -> None:
    """Print forward plus backward of the batch-norm layer for each shape."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    print("Batch norm, forward plus backward, float32")
    for shape in SHAPES:
        rng = np.random.default_rng(0)
        x, g = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
        c = shape[1]
        ones, zeros = np.ones(c, np.float32), np.zeros(c, np.float32)
        mean, var = zeros.copy(), ones.copy()
        tx, tg = torch.tensor(x, requires_grad=True), torch.tensor(g)
        layer = torch.nn.BatchNorm1d(c) if x.ndim == 2 else torch.nn.BatchNorm2d(c)

        def ours(i, args=(x, mean, var, ones, zeros, True), g=g) -> None:
            _y, cache = F.batch_norm(*args)  # y stays alive, as in a net
            F.batch_norm_backward(g, cache)

        def theirs(i, layer=layer, tx=tx, tg=tg) -> None:
            layer(tx).backward(tg)
            tx.grad = None

        inner = 200 if x.size < 10_000 else 1
        t = median_times({"bnlib": ours, "torch": theirs}, 25, inner)
        tracemalloc.start()
        ours(0)
        peak = tracemalloc.get_traced_memory()[1] / x.nbytes
        tracemalloc.stop()
        aim = f" (aim: at most {IMAGE_AIM})" if len(shape) == 4 else ""
        print(
            f"  {shape!s:17s} bnlib {t['bnlib'] * 1e3:7.3f} ms, torch "
            f"{t['torch'] * 1e3:7.3f} ms, bnlib / torch "
            f"{t['bnlib'] / t['torch']:.2f}{aim}, new memory {peak:.1f} x input"
        )


def report_convolutions() -> None:
    """Print forward plus backward of a convolution, 3 x 3 with padding 1."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    print("Convolution, forward plus backward, float32")
    for shape, out in CONVOLUTIONS:
        rng = np.random.default_rng(0)
        x = rng.normal(size=shape).astype(np.float32)
        w = rng.normal(size=(out, shape[1], 3, 3)).astype(np.float32)
        g = rng.normal(size=(len(x), out, *shape[2:])).astype(np.float32)
        tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
        tg = torch.tensor(g)

        def ours(i, x=x, w=w, g=g) -> None:
            _y, cache = F.conv2d(x, w, padding=1)
            F.conv2d_backward(g, cache)

        def theirs(i, tx=tx, tw=tw, tg=tg) -> None:
            torch.nn.functional.conv2d(tx, tw, padding=1).backward(tg)
            tx.grad = tw.grad = None

        t = median_times({"bnlib": ours, "torch": theirs}, 25)
        print(
            f"  {shape!s:17s} bnlib {t['bnlib'] * 1e3:7.3f} ms, torch "
            f"{t['torch'] * 1e3:7.3f} ms, bnlib / torch {t['bnlib'] / t['torch']:.2f}"
        )


def main() -> None:
    """Print all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps-only", action="store_true", help="training step only")
    parser.add_argument("--kernels", action="store_true", help="Haswell kernel, too")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, one thread")
    report_steps()
    if arguments.steps_only:
        return
    if arguments.kernels or "OPENBLAS_CORETYPE" in os.environ:
        environment = dict(os.environ)
        if environment.pop("OPENBLAS_CORETYPE", None) is None:
            environment["OPENBLAS_CORETYPE"] = "Haswell"
        command = [sys.executable, __file__, "--steps-only"]
        subprocess.run(command, env=environment, check=True)
    report_layers()
    report_convolutions()
    print("Done: the speeds above were measured on this machine, now.")


if __name__ == "__main__":
    main()
