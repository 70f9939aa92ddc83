"""Surgery: each operation against the model that it started from, and its refusals."""

import copy

import numpy as np
import pytest
from needs_torch import torch
from torch import nn

from bnlib.pytorch import surgery
from bnlib.pytorch.surgery import (
    MaskedBatchNorm1d,
    adapt,
    convert,
    fold,
    fold_pair,
    foldable,
    freeze,
    precise_statistics,
    unfreeze,
)

DTYPES = [(torch.float32, 1e-5), (torch.float64, 1e-10)]


def draw(*shape, dtype=torch.float32, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(3 + 2 * rng.standard_normal(shape)).to(dtype)


def fill(model, seed=1):
    """Give each parameter and each statistic of a model a value of its own."""
    rng = np.random.default_rng(seed)
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            new = rng.standard_normal(tuple(value.shape)) * 0.5
            new = np.exp(new) if "var" in name else new
            value.copy_(torch.from_numpy(new))
    return model


def conv_net(dtype=torch.float32):
    return fill(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, groups=8, bias=False),
            nn.BatchNorm2d(8, affine=False),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(8 * 16, 4),
        ).to(dtype)
    )


def snapshot(model):
    state = {k: v.clone() for k, v in model.state_dict().items()}
    modes = {n: m.training for n, m in model.named_modules()}
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    hooks = [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules()]
    return state, modes, grads, hooks


def assert_same(model, before):
    state, modes, grads, hooks = before
    now = snapshot(model)
    for key, value in state.items():
        torch.testing.assert_close(now[0][key], value, rtol=0, atol=0, equal_nan=True)
    assert now[1] == modes
    assert now[3] == hooks
    for old, new in zip(grads, now[2], strict=True):
        assert (old is None) == (new is None)
        assert old is None or torch.equal(old, new)


# --- statistics -----------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "gap"), DTYPES)
def test_the_first_layer_gets_the_mean_and_variance_of_all_data(dtype, gap):
    x = draw(90, 5, dtype=dtype)
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 2)).to(dtype)
    sizes = [7, 50, 2, 31]
    assert precise_statistics(model, x.split(sizes)) == 4
    torch.testing.assert_close(model[0].running_mean, x.mean(0), rtol=gap, atol=gap)
    torch.testing.assert_close(model[0].running_var, x.var(0), rtol=gap, atol=gap)
    assert model[0].num_batches_tracked == 4


def test_a_deeper_layer_sees_what_it_saw_in_training():
    x, model = draw(64, 3, 6, 6), conv_net()
    hidden = model[:4].train()(x)  # batch statistics, as in training
    twin = conv_net().eval()
    precise_statistics(twin, [x])
    torch.testing.assert_close(twin[4].running_mean, hidden.mean((0, 2, 3)))
    torch.testing.assert_close(twin[4].running_var, hidden.var((0, 2, 3)))


def test_poisoned_statistics_are_repaired():
    model = nn.Sequential(nn.BatchNorm1d(2))
    model(torch.tensor([[1.0, 2.0], [torch.inf, 3.0]]))
    assert not model[0].running_mean.isfinite().all()
    x = draw(40, 2)
    precise_statistics(model, [(x, "labels")])
    torch.testing.assert_close(model[0].running_mean, x.mean(0))


def test_only_the_buffers_change():
    model = conv_net().train()
    model[1].eval()
    model(draw(4, 3, 6, 6)).sum().backward()
    before = snapshot(model)
    precise_statistics(model, [draw(8, 3, 6, 6)])
    model.load_state_dict(before[0])
    assert_same(model, before)


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([], "fewer for ['1', '4'] in 0 batches"),
        (
            [torch.full((2, 3, 6, 6), torch.nan)],
            "batch 0 holds nan or inf at the layer",
        ),
    ],
)
def test_what_gives_no_statistics_is_refused_and_nothing_changes(batches, words):
    model = conv_net().train()
    before = snapshot(model)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        precise_statistics(model, batches)
    assert words in str(error.value)
    assert_same(model, before)


def test_models_without_statistics_are_refused():
    with pytest.raises(ValueError, match="got one without"):
        precise_statistics(nn.Linear(2, 2), [])
    with pytest.raises(ValueError, match="none that tracks"):
        precise_statistics(nn.BatchNorm1d(2, track_running_stats=False), [draw(4, 2)])
    with pytest.raises(ValueError, match="source_weight must lie in 0 to 1, got 2"):
        precise_statistics(nn.BatchNorm1d(2), [draw(4, 2)], source_weight=2)


def test_a_new_domain_is_mixed_with_the_old_one():
    model, x = fill(nn.Sequential(nn.BatchNorm1d(3))), draw(50, 3)
    before = snapshot(model)
    made = adapt(model, [x], source_weight=0.25)
    assert_same(model, before)
    want = 0.25 * model[0].running_mean + 0.75 * x.mean(0)
    torch.testing.assert_close(made[0].running_mean, want)
    want = 0.25 * model[0].running_var + 0.75 * x.var(0)
    torch.testing.assert_close(made[0].running_var, want)


def test_a_model_with_two_inputs_is_called_as_told():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x, *, scale):
            return self.norm(scale * x)

    model, x = Two(), draw(30, 2)
    precise_statistics(model, [x], call=lambda m, batch: m(batch, scale=2))
    torch.testing.assert_close(model.norm.running_mean, 2 * x.mean(0))


# --- freezing -------------------------------------------------------------------------


def test_frozen_layers_stay_frozen_after_train():
    model = conv_net()
    frozen = freeze(model).train()
    x = draw(4, 3, 6, 6)
    frozen(x).sum().backward()
    for name, value in model.state_dict().items():
        assert torch.equal(frozen.state_dict()[name], value), name
    assert not frozen[1].training
    assert frozen[6].training
    assert frozen[1].weight.grad is None
    assert frozen[0].weight.grad is not None
    again = copy.deepcopy(frozen).train()
    assert not again[1].training


def test_only_the_statistics_are_frozen_if_asked():
    frozen = freeze(conv_net(), affine=False).train()
    frozen(draw(4, 3, 6, 6)).sum().backward()
    assert frozen[1].weight.grad is not None


def test_unfreezing_undoes_it():
    model = conv_net().train()
    freed = unfreeze(freeze(model))
    assert_same(freed, snapshot(model))
    assert type(freed[1]) is nn.BatchNorm2d
    assert freed[1].weight.requires_grad


def test_statistics_that_are_poisoned_cannot_be_frozen():
    model = conv_net()
    model[1].running_var[0] = torch.nan
    with pytest.raises(ValueError, match="layer '1' hold nan or inf"):
        freeze(model)


# --- folding --------------------------------------------------------------------------

LAYERS = {
    "linear": (nn.Linear(4, 6), (3, 4)),
    "linear without bias": (nn.Linear(4, 6, bias=False), (3, 4)),
    "conv1d": (nn.Conv1d(4, 6, 3, padding=1), (3, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3, stride=2), (3, 4, 9, 9)),
    "conv3d": (nn.Conv3d(4, 6, 2), (3, 4, 5, 5, 5)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (3, 4, 9, 9)),
    "depthwise": (nn.Conv2d(6, 6, 3, groups=6, bias=False), (3, 6, 9, 9)),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 3), (3, 4, 9)),
    "transposed 2d": (nn.ConvTranspose2d(4, 6, 3, stride=2), (3, 4, 5, 5)),
    "transposed 3d": (nn.ConvTranspose3d(4, 6, 2), (3, 4, 4, 4, 4)),
    "transposed grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), (3, 4, 5, 5)),
    "transposed depthwise": (nn.ConvTranspose2d(6, 6, 3, groups=6), (3, 6, 5, 5)),
}
NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@pytest.mark.parametrize(("dtype", "gap"), DTYPES)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_a_folded_pair_gives_the_same_output(name, affine, dtype, gap):
    layer, shape = LAYERS[name]
    norm = NORMS[len(shape)](6, affine=affine, eps=0.01)
    pair = fill(nn.Sequential(copy.deepcopy(layer), norm).to(dtype)).eval()
    folded = fold_pair(pair[0], pair[1])
    x = draw(*shape, dtype=dtype)
    torch.testing.assert_close(folded(x), pair(x), rtol=gap, atol=gap)
    assert type(folded) is type(layer)


def test_a_whole_net_is_folded():
    model, x = conv_net(torch.float64).eval(), draw(2, 3, 6, 6, dtype=torch.float64)
    assert foldable(model, x) == [("0", "1"), ("3", "4")]
    folded = fold(model, x)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-10, atol=1e-10)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())


class Reused(nn.Module):
    """Uses a layer's output before and behind its norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        h = self.conv(x)
        return h + self.norm(h)


class Shared(nn.Module):
    """Calls one layer twice."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.linear(self.linear(x)))


def test_folding_refuses_what_it_would_break():
    x = draw(2, 3, 6, 6)
    with pytest.raises(ValueError, match="training mode: call eval"):
        fold(conv_net().train(), x)
    with pytest.raises(ValueError, match="differs by"):
        fold(fill(Reused()).eval(), x)
    with pytest.raises(ValueError, match="into, got none"):
        fold(Shared().eval(), draw(4, 3))
    with pytest.raises(ValueError, match="into a ReLU"):
        fold_pair(nn.ReLU(), nn.BatchNorm1d(3).eval())
    with pytest.raises(ValueError, match="4 channels, the layer before it gives 5"):
        fold_pair(nn.Linear(2, 5), nn.BatchNorm1d(4).eval())
    untracked = nn.BatchNorm1d(5, track_running_stats=False).eval()
    with pytest.raises(ValueError, match="stores no statistics"):
        fold_pair(nn.Linear(2, 5), untracked)


def test_looking_for_pairs_leaves_no_trace():
    model = conv_net().train()
    before = snapshot(model)
    foldable(model, draw(2, 3, 6, 6))
    assert_same(model, before)


# --- from one norm to another ---------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "groups"), [("group", 4), ("layer", 1), ("instance", 8)]
)
def test_a_converted_net_keeps_gamma_and_beta(to, groups):
    model = conv_net().train()
    made = convert(model, to, num_groups=4)
    assert isinstance(model[1], nn.BatchNorm2d)
    assert made[1].num_groups == groups
    torch.testing.assert_close(made[1].weight, model[1].weight)
    x = draw(2, 8, 4, 4)
    want = nn.functional.group_norm(x, groups, model[1].weight, model[1].bias)
    torch.testing.assert_close(made[1](x), want)


def test_a_conversion_that_cannot_be_is_refused():
    with pytest.raises(
        ValueError, match="'1' has 8 channels, which cannot be cut into 3"
    ):
        convert(conv_net(), "group", num_groups=3)
    with pytest.raises(ValueError, match="to must be one of"):
        convert(conv_net(), "spectral")
    with pytest.raises(ValueError, match="one value per channel"):
        convert(nn.Sequential(nn.BatchNorm1d(4)), "instance")


# --- padded sequences -----------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_padded_positions_do_not_count(training):
    x, lengths = draw(4, 3, 7, dtype=torch.float64), torch.tensor([7, 2, 5, 1])
    mask = torch.arange(7) < lengths[:, None]
    layer = fill(MaskedBatchNorm1d(3).double()).train(training)
    twin = copy.deepcopy(layer)
    y = layer(x.masked_fill(~mask[:, None], 1e6), mask)
    rows = torch.cat([x[i, :, :n].T for i, n in enumerate(lengths.tolist())])
    want = nn.BatchNorm1d.forward(twin, rows)
    got = torch.cat([y[i, :, :n].T for i, n in enumerate(lengths.tolist())])
    torch.testing.assert_close(got, want)
    assert (y.transpose(1, 2)[~mask] == 0).all()
    torch.testing.assert_close(layer.running_var, twin.running_var)
    torch.testing.assert_close(layer(x), twin(x))


def test_a_mask_that_does_not_fit_is_refused():
    layer, x = MaskedBatchNorm1d(3), draw(4, 3, 7)
    with pytest.raises(ValueError, match=r"\(4, 3, 7\) and \(4, 3\)"):
        layer(x, torch.ones(4, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask must be bool"):
        layer(x, torch.ones(4, 7))
    with pytest.raises(ValueError, match="at least 2 valid positions"):
        layer(x, torch.zeros(4, 7, dtype=torch.bool))


def test_the_names_of_layers_are_those_of_the_model():
    assert list(surgery.batch_norms(conv_net())) == ["1", "4"]
