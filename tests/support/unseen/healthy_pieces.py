"""Norm layers and containers that look odd and are right on purpose."""

import torch
import torch.nn.functional as F
from torch import nn

from unseen.ward import Ward, head, images, rows, trained, unit

WARD = Ward()


class Ghost(nn.BatchNorm2d):
    """Batch norm of parts of the batch, in training."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        return torch.cat([super(Ghost, self).forward(part) for part in x.chunk(4)])


@WARD.admits()
def ghost_batches():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), Ghost(8), nn.ReLU(), head(8))
    return model, images(32), {"purpose": "train"}


@WARD.admits()
def tabular_with_input_norm():
    model = nn.Sequential(
        nn.BatchNorm1d(6, affine=False), nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1)
    )
    scale = torch.tensor([1.0, 300.0, 0.1, 40.0, 5.0, 2.0])
    data = [(scale * (2 + x), x[:, :1]) for x in rows(32)]
    return model, data, {"purpose": "train"}


class Temporal(nn.Module):
    """A dilated convolution over time with a skip."""

    def __init__(self, n_in, n_out, dilation):
        super().__init__()
        conv = nn.Conv1d(
            n_in, n_out, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.body = nn.Sequential(
            conv, nn.BatchNorm1d(n_out), nn.ReLU(), nn.Dropout(0.1)
        )
        self.skip = nn.Conv1d(n_in, n_out, 1)

    def forward(self, x):
        return self.body(x) + self.skip(x)


@WARD.admits()
def time_series_with_late_dropout():
    model = nn.Sequential(
        Temporal(3, 8, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 1)
    )
    return model, [torch.randn(16, 3, 30) for _ in range(3)], {"purpose": "train"}


class Turned(nn.Module):
    """Batch norm on the features of (N, L, C), turned there and back."""

    def __init__(self, d=12):
        super().__init__()
        self.project = nn.Linear(20, d, bias=False)
        self.bn = nn.BatchNorm1d(d)
        self.out = nn.Linear(d, 4)

    def forward(self, x):
        h = self.project(x).transpose(1, 2)
        return self.out(F.relu(self.bn(h).transpose(1, 2)))


@WARD.admits()
def words_turned_there_and_back():
    return Turned(), [torch.randn(8, 12, 20) for _ in range(3)], {"purpose": "train"}


class Masked(nn.Module):
    """Batch norm of the words that are not padding, flattened first."""

    def __init__(self, d=8):
        super().__init__()
        self.embed = nn.Embedding(50, d, padding_idx=0)
        self.bn = nn.BatchNorm1d(d)
        self.fc = nn.Linear(d, 2)

    def forward(self, words):
        real = words != 0
        x = self.embed(words)
        h = torch.zeros_like(x)
        h[real] = self.bn(x[real])
        return self.fc(h.sum(1) / real.sum(1, keepdim=True))


@WARD.admits()
def padding_left_out():
    batches = []
    for _ in range(3):
        words = torch.randint(1, 50, (8, 20))
        for row, length in zip(words, (20, 9, 7, 5, 4, 4, 3, 3), strict=True):
            row[length:] = 0
        batches.append(words)
    return Masked(), batches, {"purpose": "train"}


@WARD.admits()
def folded_for_deployment():
    conv, norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
    data = images()
    trained(nn.Sequential(conv, norm), data)
    fused = nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval())
    model = nn.Sequential(fused, nn.Identity(), nn.ReLU(), head(8))
    return model.eval(), images(1), {"purpose": "deploy"}


class Single(nn.Module):
    """A norm that stays in float32 between halves."""

    def __init__(self, n):
        super().__init__()
        self.bn = nn.BatchNorm1d(n)

    def forward(self, x):
        return self.bn(x.float()).to(x.dtype)


@WARD.admits()
def norms_in_single_precision():
    model = nn.Sequential(
        nn.Linear(6, 8, bias=False).half(), Single(8), nn.ReLU(), nn.Linear(8, 2).half()
    )
    return model, [x.half() for x in rows()], {"purpose": "train"}


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (N, C, H, W)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Depth-wise convolution, norm, two point-wise, a small layer scale."""

    def __init__(self, c=8):
        super().__init__()
        self.depthwise = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.norm = ChannelNorm(c, eps=1e-6)
        self.wide, self.back = nn.Conv2d(c, 4 * c, 1), nn.Conv2d(4 * c, c, 1)
        self.scale = nn.Parameter(1e-6 * torch.ones(c, 1, 1))

    def forward(self, x):
        h = self.back(F.gelu(self.wide(self.norm(self.depthwise(x)))))
        return x + self.scale * h


@WARD.admits()
def channel_norm_with_layer_scale():
    model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), ConvNeXt(), ConvNeXt(), head(8))
    return model, images(4, 3, 3, 32), {"purpose": "train"}


class TwoViews(nn.Module):
    """A projector that ends in a norm without affine; both views in one batch."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            unit(3, 8),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 16, bias=False),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Linear(16, 16, bias=False),
            nn.BatchNorm1d(16, affine=False),
        )

    def forward(self, one, other):
        a, b = self.net(torch.cat([one, other])).chunk(2)
        return -F.cosine_similarity(a, b.detach()).mean()


@WARD.admits()
def projector_that_ends_in_a_norm():
    data = [(x, x + 0.1 * torch.randn_like(x)) for x in images(16)]
    both = {"call": lambda model, batch: model(*batch), "purpose": "train"}
    return TwoViews(), data, both


@WARD.admits()
def built_by_a_dry_run():
    model = nn.Sequential(
        nn.LazyConv2d(8, 3, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(), head(8)
    )
    data = images()
    model(data[0])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return model, data, {"optimizer": optimizer, "purpose": "train"}


class Standardized(nn.Conv2d):
    """A convolution whose weights are standardized."""

    def forward(self, x):
        w = self.weight
        w = w - w.mean((1, 2, 3), keepdim=True)
        w = w / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return self._conv_forward(x, w, self.bias)


@WARD.admits()
def standardized_weights_with_group_norm():
    model = nn.Sequential(
        Standardized(3, 8, 3, bias=False), nn.GroupNorm(4, 8), nn.ReLU(), head(8)
    )
    return model, images(1), {"purpose": "train"}


class Conditional(nn.Module):
    """Batch norm whose scale and shift come from the class."""

    def __init__(self, n, classes=4):
        super().__init__()
        self.bn = nn.BatchNorm2d(n, affine=False)
        self.table = nn.Embedding(classes, 2 * n)
        nn.init.ones_(self.table.weight[:, :n].data)
        nn.init.zeros_(self.table.weight[:, n:].data)

    def forward(self, x, y):
        gamma, beta = self.table(y)[:, :, None, None].chunk(2, 1)
        return gamma * self.bn(x) + beta


class Conditioned(nn.Module):
    """A small generator on classes."""

    def __init__(self):
        super().__init__()
        self.first = nn.ConvTranspose2d(6, 8, 4, bias=False)
        self.norm = Conditional(8)
        self.last = nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, z, y):
        return torch.tanh(self.last(F.relu(self.norm(self.first(z), y))))


@WARD.admits()
def scale_and_shift_from_the_class():
    data = [(torch.randn(16, 6, 1, 1), torch.randint(4, (16,))) for _ in range(3)]
    both = {"call": lambda model, batch: model(*batch), "purpose": "train"}
    return Conditioned(), data, both


class Modulated(nn.Module):
    """LayerNorm without affine, modulated by a zero-started layer."""

    def __init__(self, d=16):
        super().__init__()
        self.norm = nn.LayerNorm(d, elementwise_affine=False, eps=1e-6)
        self.feed = nn.Sequential(nn.Linear(d, 32), nn.GELU(), nn.Linear(32, d))
        self.table = nn.Linear(d, 3 * d)
        nn.init.zeros_(self.table.weight)
        nn.init.zeros_(self.table.bias)

    def forward(self, x, c):
        shift, scale, gate = self.table(c).unsqueeze(1).chunk(3, 2)
        return x + gate * self.feed(self.norm(x) * (1 + scale) + shift)


@WARD.admits()
def modulated_from_zero():
    data = [(torch.randn(4, 9, 16), torch.randn(4, 16)) for _ in range(3)]
    both = {"call": lambda model, batch: model(*batch), "purpose": "train"}
    return Modulated(), data, both


class Cell(nn.Module):
    """A recurrent cell with one layer norm at all its steps."""

    def __init__(self, n_in=4, n=10):
        super().__init__()
        self.inward = nn.Linear(n_in, n)
        self.round = nn.Linear(n, n, bias=False)
        self.norm = nn.LayerNorm(n)
        self.out = nn.Linear(n, 1)

    def forward(self, x):
        h = x.new_zeros(len(x), self.round.in_features)
        for step in x.unbind(1):
            h = torch.tanh(self.norm(self.inward(step) + self.round(h)))
        return self.out(h)


@WARD.admits()
def one_layer_norm_at_all_steps():
    return Cell(), [torch.randn(4, 12, 4) for _ in range(3)], {"purpose": "train"}


@WARD.admits()
def norms_trained_in_a_frozen_net():
    model, data = nn.Sequential(unit(3, 8), unit(8, 8), head(8)), images()
    trained(model, data)
    model.requires_grad_(False)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d | nn.Linear):
            m.requires_grad_(True)
    ours = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(ours, 0.01)
    return model.train(), data, {"optimizer": optimizer, "purpose": "train"}
