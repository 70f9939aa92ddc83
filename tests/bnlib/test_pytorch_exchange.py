"""A net of bnlib and its twin of PyTorch: the same names, values and answers."""

import numpy as np
import pytest
from needs_torch import torch

from bnlib import layers as ours
from bnlib.pytorch.surgery import load_into, to_torch


def net(dtype, seed=0):
    rng = np.random.default_rng(seed)
    return ours.Sequential(
        ours.Conv2d(2, 4, 3, padding=1, bias=False, rng=rng, dtype=dtype),
        ours.BatchNorm2d(4, momentum=None, dtype=dtype),
        ours.ReLU(),
        ours.GroupNorm(2, 4, dtype=dtype),
        ours.InstanceNorm2d(4, affine=True, dtype=dtype),
        ours.Tanh(),
        ours.Flatten(),
        ours.LayerNorm(4 * 25, bias=False, dtype=dtype),
        ours.Linear(100, 6, rng=rng, dtype=dtype),
        ours.BatchNorm1d(6, eps=0.1, affine=False, dtype=dtype),
        ours.Sigmoid(),
        ours.RMSNorm(6, dtype=dtype),
        ours.Linear(6, 3, False, rng=rng, dtype=dtype),
    )


@pytest.mark.parametrize(("dtype", "gap"), [(np.float32, 1e-4), (np.float64, 1e-10)])
@pytest.mark.parametrize("training", [True, False])
def test_a_twin_gives_the_same_answers(dtype, gap, training):
    model, rng = net(dtype), np.random.default_rng(1)
    x = rng.standard_normal((5, 2, 5, 5)).astype(dtype)
    model(x)  # the statistics move
    model.train(training)
    twin = to_torch(model)
    assert twin.training == training
    got = twin(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(got, model(x), rtol=gap, atol=gap)
    for key, value in model.state_dict().items():
        theirs = twin.state_dict()[key].numpy()
        np.testing.assert_allclose(theirs, value, rtol=gap, atol=gap, err_msg=key)


def test_the_twin_has_values_of_its_own():
    model = net(np.float64)
    twin = to_torch(model)
    with torch.no_grad():
        twin[8].weight.zero_()
    assert np.abs(model[8].weight.data).min() > 0


def test_weights_come_back():
    model, other = net(np.float64), net(np.float64, seed=5)
    load_into(other, to_torch(model))
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[key], value, err_msg=key)


def test_a_layer_without_a_twin_is_named():
    class Odd(ours.Module):
        pass

    with pytest.raises(ValueError, match="no twin here for a Odd"):
        to_torch(ours.Sequential(Odd()))
