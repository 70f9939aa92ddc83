"""Faults that only the data show: their scale, their order, their padding."""

import torch
from torch import nn

from unseen.ward import Ward, head, images, rows, trained, unit

WARD = Ward()


@WARD.admits(
    "The variance in front of the norm is far below eps: it does not normalize; scale "
    "the input or lower eps."
)
def quiet_sound():
    model = nn.Sequential(
        nn.BatchNorm1d(1),
        nn.Conv1d(1, 8, 5, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    return model, [1e-4 * torch.randn(8, 1, 40) for _ in range(3)], {"purpose": "train"}


class Reader(nn.Module):
    """Embeds words and convolves over them; word 0 is padding."""

    def __init__(self, d=8):
        super().__init__()
        self.embed = nn.Embedding(50, d, padding_idx=0)
        self.bn = nn.BatchNorm1d(d)
        self.conv = nn.Conv1d(d, 12, 3, padding=1)
        self.fc = nn.Linear(12, 2)

    def forward(self, words):
        x = self.bn(self.embed(words).transpose(1, 2))
        return self.fc(self.conv(x).relu().amax(2))


@WARD.admits(
    "Most positions are padding (zeros), and they enter the statistics of the norm: "
    "mask them."
)
def padded_text():
    batches = []
    for _ in range(4):
        words = torch.randint(1, 50, (8, 20))
        for row, length in zip(words, (20, 9, 7, 5, 4, 4, 3, 3), strict=True):
            row[length:] = 0
        batches.append((words, torch.randint(2, (8,))))
    return Reader(), batches, {"purpose": "train"}


@WARD.admits(
    "The norm runs in half precision and its variance is beyond 65504: the running "
    "variance becomes inf."
)
def overflow_in_half():
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)
    )
    with torch.no_grad():
        model[0].weight.mul_(20)
    data = [(80 * x).half() for x in rows()]
    return model.half(), data, {"purpose": "train"}


@WARD.admits(
    "The stored statistics do not fit these data: the net was trained on pixels of 0 "
    "to 1 and now gets 0 to 255."
)
def pixels_up_to_255():
    model = nn.Sequential(unit(3, 8), unit(8, 8), head(8))
    seen = [torch.rand(8, 3, 8, 8) for _ in range(4)]
    trained(model, seen).eval()
    return model, [(255 * x).round() for x in seen], {"purpose": "evaluate"}


@WARD.admits(
    "A feature is constant in the training data: its stored variance falls to 0, and "
    "the first other value that comes is multiplied by 1 / sqrt(eps)."
)
def constant_feature():
    model = nn.Sequential(
        nn.BatchNorm1d(6), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)
    )
    data = rows()
    for x in data:
        x[:, 4] = 1.0
    return trained(model, data), data, {"purpose": "train"}


@WARD.admits(
    "Each batch holds one class only: the statistics of the batches lie far apart, and "
    "the running ones fit none; shuffle the loader."
)
def sorted_by_class():
    model = nn.Sequential(unit(3, 8), unit(8, 8, 2), head(8, 4))
    data = [0.3 * x + 4 * k - 6 for k, x in enumerate(images())]
    return (
        model,
        [(x, torch.full((8,), k)) for k, x in enumerate(data)],
        {"purpose": "train"},
    )
