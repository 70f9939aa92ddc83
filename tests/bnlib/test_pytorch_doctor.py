"""The doctor: for each code a sick model and its healthy twin, and no trace is left."""

import copy
import doctest
import json
import random

import numpy as np
import pytest
from needs_torch import torch
from published_nets import Transformer, count, densenet121, mobilenet_v2, resnet18
from torch import nn

from bnlib.pytorch.doctor import (
    as_json,
    as_table,
    clinic,
    codes,
    diagnose,
    pages,
    visit,
)
from bnlib.pytorch.doctor.__main__ import main
from bnlib.pytorch.surgery import MaskedBatchNorm1d, freeze, precise_statistics


def draw(*shape, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(scale * rng.standard_normal(shape)).float()


def dense(*middle, n=16, bias=False):
    """Return a net of two hidden layers; what is given stands behind the first norm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, n, bias=bias),
        nn.BatchNorm1d(n),
        *middle,
        nn.ReLU(),
        nn.Linear(n, n, bias=False),
        nn.BatchNorm1d(n),
        nn.ReLU(),
        nn.Linear(n, 4),
    )


def trained(model, steps=60, scale=1.0, batch=64):
    """Let the running statistics settle."""
    model.train()
    with torch.no_grad():
        for step in range(steps):
            model(draw(batch, 8, seed=step, scale=scale))
    return model


X = draw(64, 8, seed=99)


def found(model, data=X, **more):
    return {(f.code, f.layer) for f in diagnose(model, data, **more)}


# --- sick models and their healthy twins: (code, layer, sick, healthy, more) ----------


class Twice(nn.Module):
    def __init__(self, twice):
        super().__init__()
        self.norm, self.twice = nn.BatchNorm1d(8), twice

    def forward(self, x):
        return self.norm(x) + self.norm(2 * x) if self.twice else self.norm(x)


class ByFunction(nn.Module):
    """Dropout as a function, as people write it in forward."""

    def __init__(self, p):
        super().__init__()
        self.p, self.linear, self.norm = p, nn.Linear(8, 8, False), nn.BatchNorm1d(8)

    def forward(self, x):
        x = nn.functional.dropout(x, self.p, self.training) if self.p else x
        return self.norm(self.linear(x).relu())


def shared(same):
    norm = nn.BatchNorm1d(8)
    other = norm if same else nn.BatchNorm1d(8)
    return nn.Sequential(norm, nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), other)


def ordered(odd):
    layers = []
    for number in range(5):
        last = [nn.BatchNorm1d(8), nn.ReLU()]
        layers += [
            nn.Linear(8, 8, False),
            *(last[::-1] if odd and number == 4 else last),
        ]
    return nn.Sequential(*layers)


def deep(scale):
    torch.manual_seed(0)
    layers = []
    for _ in range(8):
        linear = nn.Linear(8, 8, False)
        nn.init.normal_(linear.weight, std=scale * (2 / 8) ** 0.5)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers)


def with_norm(model, **values):
    """Return the model after some attributes of its first norm were set."""
    for name, value in values.items():
        setattr(model[1], name, value)
    return model


def poisoned():
    model = trained(dense())
    with torch.no_grad():
        model.train()(torch.full((4, 8), torch.inf))
    return model


def half_frozen(everything):
    model = trained(dense())
    if everything:
        return freeze(model).train()
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    return model


def with_graph():
    model = trained(dense())
    model[1].running_mean = model[1].running_mean * torch.ones(1, requires_grad=True)
    return model


def partly_dead(dead):
    model = dense()
    if dead:
        with torch.no_grad():
            model[0].weight[:5] = 0
    return trained(model)


def big(size):
    model = dense()
    with torch.no_grad():
        model[0].weight *= size
    return trained(model, steps=100)


def left_training():
    model = trained(dense()).eval()
    model[4].train()
    return model


class Sequences(nn.Module):
    """A norm over the features of sequences of shape (m, steps, features)."""

    def __init__(self, moved, steps=6, n=6):
        super().__init__()
        torch.manual_seed(0)
        self.moved, self.linear = moved, nn.Linear(8, n)
        self.norm = nn.BatchNorm1d(n if moved else steps)

    def forward(self, x):
        h = self.linear(x)
        return (
            self.norm(h.transpose(1, 2)).transpose(1, 2) if self.moved else self.norm(h)
        )


def grouped(groups):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.GroupNorm(groups, 16), nn.Linear(16, 4))


class Forgetful(nn.Module):
    """Has two norms, and calls both or one of them."""

    def __init__(self, calls):
        super().__init__()
        self.first, self.second = nn.BatchNorm1d(8), nn.BatchNorm1d(8)
        self.calls = calls

    def forward(self, x):
        return self.second(self.first(x)) if self.calls else self.first(x)


class ByHand(nn.Module):
    """A norm over the last axis: its variance in one pass, or in two."""

    def __init__(self, passes):
        super().__init__()
        self.passes = passes

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        if self.passes == 2:
            return (x - mean) / (
                (x - mean).square().mean(-1, keepdim=True) + 1e-5
            ).sqrt()
        return (x - mean) / (x.square().mean(-1, keepdim=True) - mean**2 + 1e-5).sqrt()


class Unregistered(nn.Module):
    """Keeps a norm in a list, where eval() does not find it, or in a ModuleList."""

    def __init__(self, kind):
        super().__init__()
        self.layers = kind([nn.Linear(8, 8), nn.BatchNorm1d(8)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def drawn(mean, n=16):
    """Return a net whose gammas are drawn around a mean."""
    model = dense(n=n)
    for layer in (model[1], model[4]):
        nn.init.normal_(layer.weight, mean, 0.02)
    return model


def ending(lengths):
    """Return sequences of 10 positions, filled up with zeros."""
    x = draw(len(lengths), 8, 10)
    for row, length in zip(x, lengths, strict=True):
        row[:, length:] = 0
    return x


def shifted(by):
    return [draw(16, 8, seed=k) + by * k for k in range(4)]


def normed():
    return nn.Sequential(nn.BatchNorm1d(8))


SICK = {
    "bias-before-norm": ("0", lambda: dense(bias=True), dense, {}),
    "dropout-before-norm": ("5", lambda: dense(nn.Dropout(0.5)), dense, {}),
    "odd-order": ("14", lambda: ordered(True), lambda: ordered(False), {}),
    "norm-axis": (
        "norm",
        lambda: Sequences(False),
        lambda: Sequences(True),
        {"sick": draw(32, 6, 8), "healthy": draw(32, 6, 8)},
    ),
    "one-value-group": ("1", lambda: grouped(16), lambda: grouped(8), {}),
    "shared-norm": ("0", lambda: shared(True), lambda: shared(False), {}),
    "called-twice": ("norm", lambda: Twice(True), lambda: Twice(False), {}),
    "signal-lost": ("14", lambda: deep(0.1), lambda: deep(1.0), {}),
    "training-mode": ("4", left_training, lambda: trained(dense()).eval(), {}),
    "live-statistics": ("1", lambda: half_frozen(False), lambda: half_frozen(True), {}),
    "not-finite": ("1", poisoned, lambda: trained(dense()), {}),
    "graph-in-statistics": ("1", with_graph, lambda: trained(dense()), {}),
    "tracking-off": (
        "1",
        lambda: with_norm(trained(dense()), track_running_stats=False),
        lambda: with_norm(
            dense(), track_running_stats=False, running_mean=None, running_var=None
        ),
        {},
    ),
    "momentum": (
        "1",
        lambda: trained(with_norm(dense(), momentum=0.001)),
        lambda: trained(dense()),
        {},
    ),
    "momentum-large": (
        "1",
        lambda: trained(with_norm(dense(), momentum=0.99)),
        lambda: trained(with_norm(dense(), momentum=None)),
        {},
    ),
    "one-value": ("1", dense, dense, {"sick": [X, X[:1]], "healthy": [X, X[:9]]}),
    "small-batch": ("1", dense, dense, {"sick": X[:4], "healthy": X}),
    "statistics-off": (
        "1",
        lambda: trained(dense(), scale=9.0).eval(),
        lambda: trained(dense()).eval(),
        {"purpose": "evaluate"},
    ),
    "dead-channels": ("1", lambda: partly_dead(True), lambda: partly_dead(False), {}),
    "huge-channels": ("1", lambda: big(1e6), lambda: big(10), {}),
    "never-called": ("second", lambda: Forgetful(False), lambda: Forgetful(True), {}),
    "gamma-around-zero": ("1", lambda: drawn(0.0), lambda: drawn(1.0), {}),
    "company": (
        "Unregistered",
        lambda: Unregistered(list),
        lambda: Unregistered(nn.ModuleList),
        {"purpose": "evaluate"},
    ),
    "nan-made": (
        "1",
        lambda: nn.Sequential(nn.BatchNorm1d(8), ByHand(1)),
        lambda: nn.Sequential(nn.BatchNorm1d(8), ByHand(2)),
        {"sick": 300 + 0.01 * X, "healthy": 300 + 0.01 * X, "purpose": "evaluate"},
    ),
    "padding": (
        "0",
        normed,
        normed,
        {"sick": ending([10, 7, 4, 3]), "healthy": ending([10, 10, 9, 10])},
    ),
    "batches-apart": (
        "0",
        normed,
        normed,
        {"sick": shifted(3.0), "healthy": shifted(0.1)},
    ),
    "tiny-scale": ("0", normed, normed, {"sick": 1e-4 * X, "healthy": 0.1 * X}),
}


@pytest.mark.parametrize("code", SICK)
def test_a_sick_model_is_found_and_its_healthy_twin_is_not(code):
    layer, sick, healthy, more = SICK[code]
    data = {kind: more.get(kind, X) for kind in ("sick", "healthy")}
    more = {k: v for k, v in more.items() if k not in data}
    assert (code, layer) in found(sick(), data["sick"], **more)
    assert code not in {c for c, _ in found(healthy(), data["healthy"], **more)}


def test_a_bias_along_another_axis_is_left_alone():
    """The biases of a linear layer lie on the last axis, the channels on axis 1."""
    codes_found = {code for code, _ in found(Sequences(False), draw(32, 6, 8))}
    assert "bias-before-norm" not in codes_found


@pytest.mark.parametrize("size", [1, 4])
def test_a_layer_norm_of_one_value_is_found(size):
    model = nn.Sequential(nn.Unflatten(1, (-1, size)), nn.LayerNorm(size))
    assert (("one-value-group", "1") in found(model)) == (size == 1)


def test_maps_of_one_channel_in_a_group_are_healthy():
    assert found(nn.Sequential(nn.GroupNorm(3, 3)), draw(4, 3, 5, 5)) == set()


def test_statistics_in_half_precision_are_found():
    model = trained(dense())
    assert "half-statistics" not in {c for c, _ in found(model)}
    model.bfloat16()
    assert ("half-statistics", "1") in found(model, X.bfloat16())


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_dropout_by_a_function_is_found(p):
    codes_found = {code for code, _ in found(ByFunction(p))}
    assert ("dropout-before-norm" in codes_found) == bool(p)


def test_a_norm_between_ends_what_dropout_did():
    model = dense(nn.Dropout(0.5), nn.Linear(16, 16, False), nn.BatchNorm1d(16))
    assert [layer for code, layer in found(model) if "dropout" in code] == ["4"]


def test_a_bias_that_something_else_uses_is_left_alone():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)

        def forward(self, x):
            h = self.linear(x)
            return h + self.norm(h)

    assert "bias-before-norm" not in {c for c, _ in found(Forked())}


@pytest.mark.parametrize("split", [False, True])
def test_the_optimizer_is_looked_at(split):
    model = dense()
    norms = [p for m in (model[1], model[4]) for p in m.parameters()]
    rest = [p for m in (model[0], model[3], model[6]) for p in m.parameters()]
    groups = [{"params": rest, "weight_decay": 0.1}]
    if split:
        groups.append({"params": norms, "weight_decay": 0.0})
    optimizer = torch.optim.SGD(groups, lr=0.1)
    missing = {c for c, _ in found(model, optimizer=optimizer)}
    assert ("not-in-optimizer" in missing) != split
    everything = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    assert ("decay-on-norm", "1") in found(model, optimizer=everything)
    assert "decay-on-norm" not in missing


def test_replicas_are_found():
    model = nn.DataParallel(dense())
    assert ("not-synchronised", "module.1") in found(model)
    synced = nn.DataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(dense()))
    assert "not-synchronised" not in {c for c, _ in found(synced.eval())}


def test_what_can_be_folded_is_told_for_deployment_only():
    model = trained(dense()).eval()
    assert ("foldable", "1") in found(model, purpose="deploy")
    assert "foldable" not in {c for c, _ in found(model, purpose="evaluate")}


def test_a_norm_that_masks_may_be_given_padding():
    model = nn.Sequential(MaskedBatchNorm1d(8))
    assert "padding" not in {code for code, _ in found(model, ending([10, 7, 4, 3]))}


@pytest.mark.parametrize("momentum", [0.0, 0.1])
def test_a_norm_that_never_leaves_its_start_is_found(momentum):
    model = with_norm(dense(), momentum=momentum)
    found_codes = {code for code, _ in found(model, 5 + X, purpose="train")}
    assert ("momentum" in found_codes) == (momentum == 0)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_norm_that_is_held_at_its_start_in_training_is_found(frozen):
    model = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 2))
    model[0].train(not frozen)
    assert (("statistics-off", "0") in found(model, 5 + X, purpose="train")) == frozen


def test_one_dry_run_before_training_is_no_fault():
    model = trained(dense(), steps=1, scale=9.0)
    assert found(model, purpose="train") == set()
    assert {"momentum", "statistics-off"} <= {code for code, _ in found(model)}


@pytest.mark.parametrize("width", [8, 9])
def test_a_layer_norm_over_the_width_of_a_map_is_found(width):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.LayerNorm(width))
    assert (("norm-axis", "1") in found(model, draw(4, 3, 5, width))) == (width == 8)


def test_gammas_of_zero_in_some_norms_are_meant():
    model = drawn(0.0)
    nn.init.ones_(model[1].weight)
    assert "gamma-around-zero" not in {code for code, _ in found(model)}
    for layer in (model[1], model[4]):
        nn.init.zeros_(layer.weight)
    assert "gamma-around-zero" not in {code for code, _ in found(model)}


@pytest.mark.parametrize("stored", [False, True])
def test_statistics_that_are_not_stored_are_told_before_an_evaluation(stored):
    model = nn.Sequential(nn.BatchNorm1d(8, track_running_stats=stored)).eval()
    assert ("company", "0") not in found(model, purpose="train")
    assert (("company", "0") in found(model, purpose="evaluate")) != stored


class Odd(nn.Module):
    """Its answers change with half of the batch, and none is to blame."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.lstm = kind, nn.LSTM(8, 4, bidirectional=True)

    def forward(self, x):
        if self.kind == "random":
            return nn.functional.dropout(x, 0.5, training=True)
        if self.kind == "sequence":
            return self.lstm(x)[0]
        return x.view(64, 8)


@pytest.mark.parametrize("kind", ["random", "sequence", "one size"])
def test_answers_that_move_for_other_reasons_are_left_alone(kind):
    assert found(Odd(kind), purpose="evaluate") == set()


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_the_optimizer_of_other_norms_is_looked_at(norm):
    model = nn.Sequential(nn.Linear(8, 8), norm(8))
    everything = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    assert found(model, optimizer=everything) == {("decay-on-norm", "1")}
    first = torch.optim.SGD(model[0].parameters(), lr=0.1, weight_decay=0.1)
    assert found(model, optimizer=first) == {("not-in-optimizer", "1")}


def test_every_code_has_a_test():
    tested = {*SICK, "half-statistics", "decay-on-norm", "not-in-optimizer"}
    assert tested | {"not-synchronised", "foldable"} == set(codes())


# --- published nets -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "parameters"),
    [(resnet18, 11_689_512), (densenet121, 7_978_856), (mobilenet_v2, 3_504_872)],
)
def test_published_nets_are_healthy(build, parameters):
    torch.manual_seed(0)
    model, x = build(), draw(8, 3, 64, 64)
    assert count(model) == parameters
    assert diagnose(model, x, purpose="train") == []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model(x)  # now the statistics are those of the batch
    assert diagnose(model.eval(), x, purpose="evaluate") == []


@pytest.mark.parametrize("rms", [False, True])
def test_transformers_with_other_norms_are_left_alone(rms):
    torch.manual_seed(0)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 50, (4, 12)))
    for purpose in ("train", "deploy"):
        assert diagnose(Transformer(rms).eval(), tokens, purpose=purpose) == []


# --- no trace -------------------------------------------------------------------------


def state_of(model):
    value = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return value, modes, hooks


class Restless(nn.Module):
    """Draws from each global generator, and may fail."""

    def __init__(self, fails=False):
        super().__init__()
        self.norm, self.fails = nn.BatchNorm1d(8), fails

    def forward(self, x):
        noise = random.random() + np.random.rand() + float(torch.rand(()))  # noqa: NPY002
        y = self.norm(x) + noise
        if self.fails:
            raise RuntimeError("the model stopped")
        return y


@pytest.mark.parametrize("purpose", [None, "train", "evaluate", "deploy"])
def test_nothing_is_left_behind(purpose):
    model = trained(dense(nn.Dropout(0.5), bias=True))
    model[5].eval()
    model(X).sum().backward()
    gradients = [p.grad for p in model.parameters()]
    values = [None if g is None else g.clone() for g in gradients]
    buffers = {k: id(v) for k, v in model.named_buffers()}
    before = state_of(model)
    diagnose(model, [(X, "labels"), (X[:5], "labels")], purpose=purpose)
    after = state_of(model)
    for key, value in before[0].items():
        assert torch.equal(value, after[0][key]), key
    assert before[1:] == after[1:]
    assert buffers == {k: id(v) for k, v in model.named_buffers()}
    for parameter, gradient, value in zip(
        model.parameters(), gradients, values, strict=True
    ):
        assert parameter.grad is gradient
        assert gradient is None or torch.equal(gradient, value)


@pytest.mark.parametrize("fails", [False, True])
def test_random_states_and_a_failing_model_are_put_back(fails):
    model = Restless(fails)
    before = state_of(model)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    if fails:
        with pytest.raises(RuntimeError, match="the model stopped"):
            diagnose(model, X)
    else:
        diagnose(model, X)
    after = state_of(model)
    assert all(torch.equal(v, after[0][k]) for k, v in before[0].items())
    assert before[1:] == after[1:]
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


# --- what is printed ------------------------------------------------------------------


def test_a_model_of_two_inputs_is_called_as_told():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)

        def forward(self, x, *, scale):
            return self.norm(self.linear(scale * x))

    data = [{"x": X, "scale": 2.0}]
    for purpose in ("train", "deploy"):
        more = {"purpose": purpose, "call": lambda model, batch: model(**batch)}
        assert ("bias-before-norm", "linear") in found(Two().eval(), data, **more)


def test_statistics_that_fit_the_data_are_not_young():
    """The counter of batches alone does not say that the start is still in them."""
    model = nn.Sequential(nn.BatchNorm1d(8))
    data = 100 + X
    trained(model, steps=4)
    assert ("momentum", "0") in found(model, data)
    precise_statistics(model, data.split(16))
    assert int(model[0].num_batches_tracked) == 4
    assert found(model, data) == set()


def test_each_finding_names_its_section():
    (finding,) = diagnose(nn.Sequential(nn.BatchNorm1d(8)), X, purpose="evaluate")[:1]
    assert finding.page == pages()[finding.code]
    assert set(pages()) == set(codes())
    assert finding.page == "chapters/17a_check_the_mode.html#clinic-training-mode"


def test_a_visit_runs_each_program_once_and_asks_the_doctor_first(capsys):
    runs = []

    def program(training):
        def run():
            runs.append(training)
            return trained(nn.Sequential(nn.BatchNorm1d(8))).train(training)

        return run

    def measure(program):
        model = program()
        mode = model.training
        model.eval()  # a measure may change the model
        return f"training is {mode}", not mode

    def doctor(program):
        return diagnose(program(), X, purpose="evaluate")

    visit(measure, program(True), program(False), doctor)
    assert runs == [True, False]
    assert capsys.readouterr().out == (
        "Before: training is True -> FAILS\n"
        "        the doctor: training-mode\n"
        "After:  training is False -> passes\n"
        "        the doctor: nothing found\n"
    )
    visit(measure, program(True), program(True), "It is a fault of the loop.")
    out = capsys.readouterr().out
    assert "After:  training is True -> FAILS" in out
    assert out.endswith("The doctor does not see it. It is a fault of the loop.\n")


def test_the_example_of_a_visit():
    assert doctest.testmod(clinic) == (0, 2)


def test_findings_are_printed_and_written():
    findings = diagnose(left_training(), X)
    text = as_table(findings)
    assert text.startswith("ERROR training-mode at '4'")
    assert json.loads(as_json(findings))[0]["code"] == "training-mode"
    assert as_table([]) == "Nothing found."


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="purpose must be one of"):
        diagnose(dense(), X, purpose="pray")
    with pytest.raises(ValueError, match="got an empty one"):
        diagnose(dense(), [])
    with pytest.raises(ValueError, match="most must be >= 1, got 0"):
        diagnose(dense(), X, most=0)


MODULE = """
from needs_torch import torch
from torch import nn
def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))
def sick():
    model = make().eval()
    model[1].train()
    return model, torch.randn(32, 8)
"""


def test_the_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "patient.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    assert main(["patient:make", "--shape", "32,8"]) == 0
    assert "NOTE bias-before-norm at '0': 4 biases" in capsys.readouterr().out
    assert main(["patient:sick", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["code"] == "training-mode"
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))
    model[1].running_var.fill_(torch.nan)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    arguments = [
        "patient:make",
        "--shape",
        "32,8",
        "--state",
        str(tmp_path / "state.pt"),
    ]
    assert main(arguments) == 1
    assert "not-finite" in capsys.readouterr().out
    for wrong in (["patient"], ["patient:make"]):
        with pytest.raises(SystemExit):
            main(wrong)
    assert "expected module:callable, got 'patient'" in capsys.readouterr().err


def test_a_copy_of_the_model_is_not_needed():
    model = with_graph()
    with pytest.raises(RuntimeError):
        copy.deepcopy(model)
    assert ("graph-in-statistics", "1") in found(model)
