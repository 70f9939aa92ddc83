"""Faults of modes, of stored statistics and of what the optimizer does."""

import copy

import torch
from torch import nn

from unseen.ward import Ward, head, images, rows, trained, unit

WARD = Ward()


@WARD.admits(
    "The last batch of the loader holds one row, on which a batch norm over vectors "
    "cannot train: drop it (drop_last=True)."
)
def ragged_last_batch():
    model = nn.Sequential(
        nn.Linear(6, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 2)
    )
    return model, [*rows(8, 3), torch.randn(1, 6)], {"purpose": "train"}


@WARD.admits("About to be evaluated, and the norms are in training mode: call eval().")
def validation_without_eval():
    model = nn.Sequential(unit(3, 8), unit(8, 8, 2), head(8))
    data = images()
    return trained(model, data), data, {"purpose": "evaluate"}


class FineTuned(nn.Module):
    """A frozen backbone with a new head, the way of many tutorials."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(unit(3, 8), unit(8, 16, 2))
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.backbone(x).mean((2, 3)))


@WARD.admits(
    "The backbone is frozen by requires_grad only: its running statistics will still "
    "move in training mode; put its norms into eval()."
)
def frozen_by_requires_grad():
    model = FineTuned()
    trained(model, images())
    for p in model.backbone.parameters():
        p.requires_grad = False
    optimizer = torch.optim.Adam(model.fc.parameters(), 1e-3)
    data = [x * 0.7 + 0.3 for x in images()]
    return model.train(), data, {"optimizer": optimizer, "purpose": "train"}


class Detector(nn.Module):
    """A detector that puts its norms into eval(), and is trained from nothing."""

    def __init__(self):
        super().__init__()
        self.stem = unit(3, 8, 2)
        self.stage = unit(8, 16, 2)
        self.boxes = nn.Conv2d(16, 4, 1)

    def train(self, mode=True):
        super().train(mode)
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
        return self

    def forward(self, x):
        return self.boxes(self.stage(self.stem(x)))


@WARD.admits(
    "The norms are held in eval() with statistics that no batch has ever updated "
    "(mean 0, variance 1): they normalize nothing, though the net is to be trained."
)
def frozen_but_never_trained():
    model = Detector().train()
    data = [5 + 3 * x for x in images()]
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    return model, data, {"optimizer": optimizer, "purpose": "train"}


@WARD.admits("The running statistics hold NaN or inf: a bad batch poisoned them.")
def poisoned_by_one_batch():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4))
    data = rows()
    trained(model, data)
    bad = data[0].clone()
    bad[3, 2] = float("inf")
    trained(model, [bad], 1)
    return model.train(), data, {}


@WARD.admits(
    "momentum=0.99 is the weight of the new value here: the running statistics are "
    "those of the last batch; a port from TensorFlow should say 0.01."
)
def momentum_of_tensorflow():
    def block(n_in, n_out):
        return [
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out, eps=1e-3, momentum=0.99),
            nn.SiLU(),
        ]

    model = nn.Sequential(*block(3, 8), *block(8, 8), head(8))
    return model, images(), {"purpose": "train"}


@WARD.admits("momentum=0.0 means that the running statistics never leave 0 and 1.")
def momentum_zero():
    model = nn.Sequential(
        nn.Conv1d(4, 8, 3, bias=False),
        nn.BatchNorm1d(8, momentum=0.0),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    return model, [torch.randn(8, 4, 20) for _ in range(3)], {"purpose": "train"}


class Encoder(nn.Module):
    """One transformer-like block of a text model."""

    def __init__(self, d=16):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attend = nn.MultiheadAttention(d, 2, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(d, 32), nn.GELU(), nn.Linear(32, d))

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.attend(h, h, h, need_weights=False)[0]
        return x + self.feed(self.norm2(x))


@WARD.admits(
    "Weight decay 0.1 also pulls at the norms' weights and biases: give them a group "
    "without decay."
)
def decay_on_everything():
    model = nn.Sequential(Encoder(), Encoder(), nn.LayerNorm(16), nn.Linear(16, 9))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4, weight_decay=0.1)
    data = [torch.randn(4, 10, 16) for _ in range(3)]
    return model, data, {"optimizer": optimizer, "purpose": "train"}


@WARD.admits(
    "The optimizer was built before the norms were put in: it holds the parameters of "
    "layers that are gone, and gamma and beta of the new ones are never trained."
)
def optimizer_older_than_the_norms():
    model = FineTuned()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model.backbone[0][1] = nn.GroupNorm(2, 8)
    model.backbone[1][1] = nn.GroupNorm(4, 16)
    return model, images(), {"optimizer": optimizer, "purpose": "train"}


class Agent(nn.Module):
    """A Q-network and its target, which is updated by parameters()."""

    def __init__(self):
        super().__init__()
        self.online = nn.Sequential(
            nn.Linear(6, 16, bias=False),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Linear(16, 3),
        )
        self.target = copy.deepcopy(self.online)

    def train(self, mode=True):
        super().train(mode)
        self.target.eval()
        return self

    def update(self, tau=1.0):
        pairs = zip(self.target.parameters(), self.online.parameters(), strict=True)
        for mine, new in pairs:
            mine.data.lerp_(new.data, tau)

    def forward(self, x):
        with torch.no_grad():
            value = self.target(x).amax(1)
        return self.online(x).amax(1) - value


@WARD.admits(
    "The target net got the parameters but not the buffers: its norm runs in eval() on "
    "statistics that were never updated."
)
def target_net_without_buffers():
    agent = Agent()
    data = [3 * x + 2 for x in rows()]
    trained(agent, data)
    agent.update()
    return agent.train(), data, {"purpose": "train"}


@WARD.admits(
    "Without stored statistics the norm uses the batch also in evaluation: one example "
    "at a time has no statistics of its own batch."
)
def no_stored_statistics_one_by_one():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, bias=False),
        nn.BatchNorm2d(8, track_running_stats=False),
        nn.ReLU(),
        head(8),
    )
    return model.eval(), images(n=1), {"purpose": "evaluate"}


class Checkpointed(nn.Module):
    """A residual branch that is computed anew in the backward pass."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.branch = nn.Sequential(unit(8, 8), unit(8, 8))
        self.out = head(8)

    def forward(self, x):
        h = self.stem(x)
        again = torch.utils.checkpoint.checkpoint
        return self.out(h + again(self.branch, h, use_reentrant=False))


@WARD.admits(
    "Activation checkpointing runs the branch twice a step, so its running statistics "
    "are updated twice: take momentum 1 - sqrt(1 - m)."
)
def checkpoint_updates_twice():
    return Checkpointed(), images(), {"purpose": "train"}
