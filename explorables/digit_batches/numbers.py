"""What bnlib says to forty digits: a small net, asked in batches of any size."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bnlib.data import load_digits
from bnlib.layers import BatchNorm1d, Sequential
from bnlib.training import fit, mlp

FOLDER = Path(__file__).parent
START = "window.Explorables.data.digit_batches = "
IMAGES, WIDTH, SEED = 40, 12, 4
LEVELS = "0123456789abcdefg"  # the digits have 17 grey levels


def make_data() -> None:
    """Train the net, round it, and write it with the images for the script."""
    train, test = load_digits(dtype=np.float64)
    rng = np.random.default_rng(SEED)
    net = mlp([64, WIDTH, 10], rng=rng, norm="batch", dtype=np.float64)
    fit(net, *train, steps=600, lr=0.3, rng=rng)
    state = {k: v for k, v in net.state_dict().items() if v.ndim}
    data = {
        "images": ["".join(LEVELS[round(16 * v)] for v in x) for x in test.x[:IMAGES]],
        "labels": test.y[:IMAGES].tolist(),
        "net": {name: np.round(value, 3).tolist() for name, value in state.items()},
    }
    text = json.dumps(data, separators=(",", ":"))
    (FOLDER / "digit_batches.data.js").write_text(f"{START}{text};\n", "utf-8")


@cache
def trained() -> tuple[Sequential, np.ndarray, np.ndarray]:
    """Return the net, the images and their labels, as the script holds them."""
    text = (FOLDER / "digit_batches.data.js").read_text("utf-8")
    data = json.loads(text.removeprefix(START).rstrip(";\n"))
    net = mlp([64, WIDTH, 10], rng=np.random.default_rng(0), norm="batch",
              dtype=np.float64)  # fmt: skip
    state = {name: np.array(value) for name, value in data["net"].items()}
    net.load_state_dict(state | {"1.num_batches_tracked": np.array(600)})
    x = np.array([[LEVELS.index(c) / 16 for c in image] for image in data["images"]])
    return net, x, np.array(data["labels"])


def states(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return states of the figure: every batch size, both modes, some orders."""
    made = [{"size": m, "evaluate": False, "order": "mixed"} for m in range(1, 41)]
    made += [
        {"size": m, "evaluate": False, "order": "sorted"} for m in (1, 2, 4, 8, 40)
    ]
    return made + [
        {"size": int(rng.integers(1, 41)), "evaluate": True, "order": order}
        for order in ("mixed", "sorted") * 3
    ]


def order_of(name: str) -> np.ndarray:
    """Return the images in the order in which they are cut into batches."""
    labels = trained()[2]
    return np.arange(IMAGES) if name == "mixed" else np.argsort(labels, kind="stable")


def answer(state: dict[str, Any]) -> dict[str, Any]:
    """Return what the figure must compute from a state."""
    net, x, y = trained()
    order, m = order_of(state["order"]), state["size"]
    outputs = np.empty((IMAGES, 10))
    for start in range(0, IMAGES, m):
        rows = order[start : start + m]
        outputs[rows] = ask(net, x[rows], state["evaluate"])
    answers = outputs.argmax(axis=1)
    return {
        "outputs": outputs[:4],
        "answers": answers,
        "right": int((answers == y).sum()),
    }


def ask(net: Sequential, x: np.ndarray, evaluate: bool) -> np.ndarray:
    """Return the outputs for one batch; running averages stay as they were."""
    net.train(not evaluate)
    norm: BatchNorm1d = net[1]
    if not evaluate and len(x) == 1:  # the layer refuses: x is its own mean
        return net[3](net[2](norm.bias.data[None] + 0.0))
    kept = norm.running_mean.copy(), norm.running_var.copy()
    y = net(x)
    norm.running_mean[:], norm.running_var[:] = kept
    norm.num_batches_tracked[()] -= not evaluate
    return y


if __name__ == "__main__":
    make_data()
