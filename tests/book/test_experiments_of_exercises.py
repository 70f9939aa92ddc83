"""What the feedback of an exercise says of an experiment is run here.

The functions come from the page itself, so that a change of the page is seen.
"""

from pathlib import Path

import nbformat
import numpy as np
import pytest

from bnlib.training import accuracy

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"


def functions(page: str, *starts: str) -> dict:
    """Run the cells of a page in which these pieces stand; return their names."""
    cells = nbformat.read(CHAPTERS / page, as_version=4).cells
    space: dict = {}
    for start in starts:
        (source,) = (
            c.source for c in cells if c.cell_type == "code" and start in c.source
        )
        exec(source, space)
    return space


@pytest.fixture(scope="module")
def half_losses():
    """Return the loss of each half and of neither, (rates, seeds), by name."""
    starts = ("import math\n", "class Half(Module)", "def final_loss")
    final_loss = functions("03_transform_a_batch.ipynb", *starts)["final_loss"]
    rates = (0.01, 0.04, 0.16, 0.64, 2.56)
    halves = {
        "mean": (True, False),
        "spread": (False, True),
        "neither": (False, False),
        "both": (True, True),
    }
    with np.errstate(all="ignore"):
        return {
            name: np.array([[final_loss(*half, r, s) for s in range(3)] for r in rates])
            for name, half in halves.items()
        }


def test_half_of_the_transform_helps_where_exercise_3_5_says(half_losses):
    median = {name: np.median(loss, axis=1) for name, loss in half_losses.items()}
    lower = median["spread"] < median["mean"]
    assert lower.tolist() == [True, True, True, False, False]
    assert median["spread"][0] < median["neither"][0]
    assert median["mean"][4] < 0.1 < 2 < median["neither"][4]
    assert median["mean"].min() <= median["both"].min()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_layer_norm_rescues_as_well_as_exercise_7_3_says(seed):
    nets = functions(
        "07_repeat_the_classic_experiment.ipynb", "import matplotlib", "sizes = (784"
    )
    ends = {}
    for norm in (None, "batch", "layer"):
        rng = np.random.default_rng(seed)
        net = nets["mlp"](nets["sizes"], rng=rng, norm=norm, init=0.05)
        rng = np.random.default_rng([seed, 1])
        nets["fit"](net, nets["x"], nets["y"], steps=600, lr=0.01, rng=rng)
        ends[norm] = accuracy(net, nets["x_test"], nets["y_test"])
    assert ends[None] < 0.5
    assert abs(ends["layer"] - ends["batch"]) < 0.02
    assert ends["layer"] > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_scale_of_the_noise_costs_most_as_exercise_8_3_says(seed):
    torch = pytest.importorskip("torch")
    from bnlib.pytorch.variants import NoisyBatchNorm1d  # noqa: PLC0415  needs torch
    from experiments import nets  # noqa: PLC0415  needs torch

    parts = {"none": (0, 1, 0), "a": (0.5, 1, 0), "b": (0, 1.25, 0), "c": (0, 1, 0.1)}
    ends = {}
    for name, sizes in parts.items():
        noise = torch.Generator().manual_seed(seed)
        model = nets.mlp(
            [784, *[100] * 9, 10],
            np.random.default_rng(seed),
            norm=lambda n, s=sizes, g=noise: NoisyBatchNorm1d(n, *s, generator=g),
        )
        nets.train(
            model,
            nets.images("train"),
            torch.optim.SGD(model.parameters(), 0.03),
            steps=200,
            batch_size=60,
            rng=np.random.default_rng([seed, 1]),
        )
        ends[name] = nets.accuracy(model, nets.images("validation"))
    lost = {name: ends["none"] - end for name, end in ends.items()}
    assert lost["b"] > 0.07
    assert lost["b"] > lost["a"] + 0.03
    assert max(lost["a"], lost["c"]) < 0.07


def test_batch_norm_after_the_sum_grows_as_exercise_9_3_says():
    torch = pytest.importorskip("torch")
    from bnlib.pytorch.measure import gradient_norms  # noqa: PLC0415
    from bnlib.pytorch.variants import ResidualBlock  # noqa: PLC0415
    from experiments import nets  # noqa: PLC0415

    rng, layers, size = np.random.default_rng(0), [], {"dtype": torch.float64}
    for _ in range(30):
        linear = nets.linear(256, 256, rng, bias=False, sd=(2 / 256) ** 0.5, **size)
        branch = torch.nn.Sequential(torch.nn.ReLU(), linear)
        layers += [ResidualBlock(branch), torch.nn.BatchNorm1d(256, **size)]
    x, r = torch.from_numpy(rng.standard_normal((2, 256, 256)))
    net = torch.nn.Sequential(*layers)
    norms = [*gradient_norms(net, x, lambda y: (y * r).sum()).values()]
    factor = (norms[5 - 1] / norms[25 - 1]) ** (2 / 20)
    assert factor == pytest.approx(2 / (2 - 1 / np.pi), rel=0.02)
    assert 1.1 < factor < 1.3


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("m", [8, 32])
def test_tanh_lets_a_quarter_of_the_noise_through_as_exercise_11_3_says(seed, m):
    torch = pytest.importorskip("torch")
    from bnlib.pytorch.measure import batch_noise  # noqa: PLC0415  needs torch
    from experiments import nets  # noqa: PLC0415  needs torch

    rng, x = np.random.default_rng(seed), nets.images("test", torch.float64)[0]
    net = nets.mlp(
        (784, 100, 100, 100, 10),
        rng,
        norm=torch.nn.BatchNorm1d,
        activation="tanh",
        dtype=torch.float64,
    )
    noise = batch_noise(net.train(), x, m, np.random.default_rng(1), batches=100)
    second = float([*noise.values()][1].mean.median())
    assert 0.2 < second * m**0.5 < 0.4


@pytest.mark.parametrize("seed", [0, 1])
def test_constant_maps_get_a_frame_as_exercise_15_3_says(seed):
    torch = pytest.importorskip("torch")
    from bnlib.pytorch.without import StandardizedConv2d  # noqa: PLC0415  needs torch

    torch.manual_seed(seed)
    layer = StandardizedConv2d(8, 4000, 3, padding=1, bias=False).double()
    with torch.no_grad():
        y = layer(torch.ones(1, 8, 12, 12).double()).square().mean(1)[0]
    corners = y[[0, 0, -1, -1], [0, -1, 0, -1]].mean()
    edges = torch.stack([y[0], y[-1], y[:, 0], y[:, -1]])[:, 1:-1].mean()
    assert y[1:-1, 1:-1].max() < 1e-20
    assert corners / edges == pytest.approx(1280 / 1152, rel=0.06)
    assert corners > edges
