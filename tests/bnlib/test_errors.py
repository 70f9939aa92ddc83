"""Errors name what came and what was expected, in torch's words where it has them."""

import numpy as np
import pytest
from oracle import draw, torch_message

import bnlib.functional as F

TORCH_WORDS = [  # (shape of x, length of the running statistics, of the weight)
    ((1, 3), 3, 3),
    ((1, 3, 1, 1), 3, 3),
    ((5, 4), 3, 4),
    ((5, 4), 4, 3),
]


@pytest.mark.parametrize(("shape", "stats", "channels"), TORCH_WORDS, ids=str)
def test_batch_norm_uses_the_words_of_torch(shape, stats, channels):
    def call(f, ones):
        f.batch_norm(ones(shape), ones(stats), ones(stats), ones(channels), None, True)

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call(F, np.ones)
    assert str(caught.value) == torch_message(
        lambda torch: call(torch.nn.functional, torch.ones)
    )


x54, ones3, ones4 = draw((5, 4)), np.ones(3), np.ones(4)
long = np.ones((5, 4), dtype=int)
ERRORS = [
    (lambda: F.batch_norm(np.ones(4), training=True), ValueError, r"\(4,\)|1D|\[4\]"),
    (lambda: F.batch_norm(x54, ones4, ones3, training=True), ValueError, "running_var"),
    (lambda: F.batch_norm(x54, training=False), ValueError, "running_mean"),
    (lambda: F.batch_norm(x54, bias=ones3, training=True), ValueError, "bias.*4.*3"),
    (lambda: F.batch_norm(x54, training=True, eps=-1e-5), ValueError, "eps.*-1e-05"),
    (lambda: F.batch_norm(long, training=True), TypeError, "int"),
    (lambda: F.batch_norm(x54 + 1j, training=True), TypeError, "complex"),
    (
        lambda: F.batch_norm(x54, weight=ones4.astype("f4"), training=True),
        TypeError,
        "weight.*float32",
    ),
    (lambda: F.layer_norm(x54, (3,)), ValueError, "normalized_shape.*3"),
    (lambda: F.layer_norm(x54, (4,), weight=ones3), ValueError, "weight.*3"),
    (lambda: F.layer_norm(x54, (4,), eps=-1.0), ValueError, "eps.*-1"),
    (lambda: F.layer_norm(long, (4,)), TypeError, "int"),
    (lambda: F.group_norm(x54, 3), ValueError, "num_groups.*3"),
    (lambda: F.group_norm(x54, 2, weight=ones3), ValueError, "weight.*3"),
    (lambda: F.group_norm(x54, 2, eps=-1.0), ValueError, "eps.*-1"),
    (lambda: F.instance_norm(x54[:, :, None]), ValueError, "more than 1 spatial"),
    (lambda: F.instance_norm(x54[None], eps=-1.0), ValueError, "eps.*-1"),
    (lambda: F.rms_norm(x54, (3,)), ValueError, "normalized_shape.*3"),
    (lambda: F.rms_norm(x54, (4,), eps=-1.0), ValueError, "eps.*-1"),
    (lambda: F.linear(x54, np.ones((2, 3))), ValueError, "4.*3|3.*4"),
    (lambda: F.conv2d(x54, np.ones((2, 3, 1, 1))), ValueError, "4 axes, got 2"),
    (
        lambda: F.conv2d(np.ones((5, 4, 3, 3)), np.ones((2, 3, 1, 1))),
        ValueError,
        r"4, 3, 3\) and \(2, 3,",
    ),
    (
        lambda: F.conv2d(np.ones((5, 4, 3, 3)), np.ones((2, 4, 5, 5))),
        ValueError,
        r"\(5, 5\).*\(3, 3\)",
    ),
    (lambda: F.cross_entropy(x54, np.arange(5)), (ValueError, IndexError), "4"),
    (lambda: F.cross_entropy(x54, np.arange(3)), ValueError, "3"),
    (lambda: F.cross_entropy(x54, np.ones(5)), TypeError, "float64"),
    (lambda: F.cross_entropy(x54, np.arange(5) - 2), ValueError, "got -2 to 2"),
    (
        lambda: F.cross_entropy(np.ones((5, 4, 2)), np.zeros(5, int)),
        ValueError,
        r"\(5,\) and \(5, 4, 2\)",
    ),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors_name_what_came(case):
    call, kind, words = ERRORS[case]
    with pytest.raises(kind, match=words):
        call()


def test_backward_refuses_a_gradient_of_another_shape():
    _, cache = F.batch_norm(x54, training=True)
    for backward in (F.batch_norm_backward, F.batch_norm_backward_six):
        with pytest.raises(ValueError, match=r"4, 5"):
            backward(x54.T, cache)


def test_a_refused_call_leaves_the_running_statistics():
    mean, var = np.zeros(4), np.ones(4)
    for bad in ({"x": x54[:1]}, {"x": x54, "weight": ones3}, {"x": x54, "eps": -1.0}):
        with pytest.raises(ValueError, match=r"."):
            F.batch_norm(running_mean=mean, running_var=var, training=True, **bad)
        np.testing.assert_array_equal([mean, var], [np.zeros(4), np.ones(4)])
