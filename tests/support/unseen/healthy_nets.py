"""Whole nets that look odd and are right on purpose."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from unseen.ward import Ward, head, images, rows, trained, unit

WARD = Ward()


class Frozen(nn.Module):
    """A frozen backbone whose statistics stay also after train()."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(unit(3, 8), unit(8, 16, 2))
        self.fc = nn.Linear(16, 3)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            h = self.backbone(x)
        return self.fc(h.mean((2, 3)))


@WARD.admits()
def frozen_and_in_eval():
    model, data = Frozen(), images()
    trained(model.backbone, data)
    model.backbone.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.fc.parameters(), weight_decay=0.05)
    return model.train(), data, {"optimizer": optimizer, "purpose": "train"}


class ZeroLast(nn.Module):
    """A residual block whose last gamma starts at 0."""

    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(
            unit(c, c), nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        )
        nn.init.zeros_(self.body[-1].weight)

    def forward(self, x):
        return F.relu(x + self.body(x))


@WARD.admits()
def residual_that_starts_as_identity():
    model = nn.Sequential(unit(3, 8), ZeroLast(8), ZeroLast(8), head(8))
    return model, images(), {"purpose": "train"}


@WARD.admits()
def style_net():
    def block(n_in, n_out):
        conv = nn.Conv2d(n_in, n_out, 3, padding=1, padding_mode="reflect")
        return nn.Sequential(conv, nn.InstanceNorm2d(n_out), nn.ReLU(inplace=True))

    model = nn.Sequential(block(3, 8), block(8, 8), nn.Conv2d(8, 3, 1), nn.Tanh())
    return model, images(1), {"purpose": "train"}


class Block(nn.Module):
    """A pre-norm transformer block with normalized queries and keys."""

    def __init__(self, d=16, heads=2):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.q_norm, self.k_norm = nn.LayerNorm(d // heads), nn.LayerNorm(d // heads)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.feed = nn.Sequential(nn.Linear(d, 32), nn.GELU(), nn.Linear(32, d))

    def forward(self, x):
        n, length, d = x.shape
        parts = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        x = x + self.out(h.transpose(1, 2).reshape(n, length, d))
        return x + self.feed(self.norm2(x))


@WARD.admits()
def transformer_with_groups():
    model = nn.Sequential(Block(), Block(), nn.LayerNorm(16), nn.Linear(16, 9))
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}]
    groups += [{"params": others, "weight_decay": 0.0}]
    data = [torch.randn(4, 10, 16) for _ in range(3)]
    optimizer = torch.optim.AdamW(groups, 3e-4)
    return model, data, {"optimizer": optimizer, "purpose": "train"}


class RMS(nn.Module):
    """RMS norm as language models write it."""

    def __init__(self, d, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    def forward(self, x):
        scale = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        return (x.float() * scale).type_as(x) * self.weight


class Gated(nn.Module):
    """Norm and a gated feed-forward on a residual stream."""

    def __init__(self, d=16):
        super().__init__()
        self.norm = RMS(d)
        self.gate, self.up = (nn.Linear(d, 24, bias=False) for _ in range(2))
        self.down = nn.Linear(24, d, bias=False)

    def forward(self, x):
        h = self.norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


@WARD.admits()
def language_model_with_rms():
    model = nn.Sequential(
        nn.Embedding(40, 16), Gated(), Gated(), RMS(16), nn.Linear(16, 40, bias=False)
    )
    return model, [torch.randint(40, (2, 12)) for _ in range(3)], {"purpose": "train"}


@WARD.admits()
def critic_without_batch_norm():
    spectral = nn.utils.parametrizations.spectral_norm
    weight = nn.utils.parametrizations.weight_norm
    model = nn.Sequential(
        spectral(nn.Conv2d(3, 8, 4, 2, 1)),
        nn.LeakyReLU(0.2),
        spectral(nn.Conv2d(8, 16, 4, 2, 1)),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        weight(nn.Linear(64, 1)),
    )
    optimizer = torch.optim.Adam(model.parameters(), 2e-4, betas=(0.0, 0.9))
    return model, images(), {"optimizer": optimizer, "purpose": "train"}


class PerDomain(nn.Module):
    """Shared convolutions with a batch norm for each domain."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.norms = nn.ModuleDict({k: nn.BatchNorm2d(8) for k in ("day", "night")})
        self.fc = head(8, 3)

    def forward(self, day, night):
        both = {"day": day, "night": night}
        h = [self.fc(F.relu(self.norms[k](self.conv(x)))) for k, x in both.items()]
        return torch.cat(h)


@WARD.admits()
def norms_of_each_domain():
    data = [(x, 0.2 * y - 2) for x, y in zip(images(), images(), strict=True)]
    both = {"call": lambda model, batch: model(*batch), "purpose": "train"}
    return PerDomain(), data, both


@WARD.admits()
def few_steps_large_momentum():
    model = nn.Sequential(
        nn.Linear(6, 12, bias=False),
        nn.BatchNorm1d(12, momentum=0.5),
        nn.ReLU(),
        nn.Linear(12, 1),
    )
    optimizer = torch.optim.LBFGS(model.parameters())
    return model, rows(20, 2), {"optimizer": optimizer, "purpose": "train"}


@WARD.admits()
def ready_to_evaluate():
    model, data = nn.Sequential(unit(3, 8), unit(8, 16, 2), head(16)), images(16)
    return trained(model, data).eval(), data, {"purpose": "evaluate"}


@WARD.admits()
def recalibrated_with_plain_averages():
    model, data = nn.Sequential(unit(3, 8), unit(8, 8), head(8)), images(16)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
            m.momentum = None
    return trained(model, data, 1).eval(), images(16), {"purpose": "evaluate"}


class MeanTeacher(nn.Module):
    """A student, and a teacher that gets averaged weights and copied buffers."""

    def __init__(self):
        super().__init__()
        self.student = nn.Sequential(unit(3, 8), head(8))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self

    def update(self, keep=0.9):
        pairs = zip(self.teacher.parameters(), self.student.parameters(), strict=True)
        for mine, new in pairs:
            mine.data.lerp_(new.data, 1 - keep)
        pairs = zip(self.teacher.buffers(), self.student.buffers(), strict=True)
        for mine, new in pairs:
            mine.copy_(new)

    def forward(self, x):
        with torch.no_grad():
            aim = self.teacher(x).softmax(1)
        return (self.student(x) - aim).square().mean()


@WARD.admits()
def teacher_with_copied_buffers():
    model, data = MeanTeacher(), images()
    trained(model, data)
    model.update()
    optimizer = torch.optim.SGD(model.student.parameters(), 0.1)
    return model.train(), data, {"optimizer": optimizer, "purpose": "train"}


@WARD.admits()
def dcgan_generator():
    def up(n_in, n_out, *stride):
        conv = nn.ConvTranspose2d(n_in, n_out, 4, *stride, bias=False)
        return [conv, nn.BatchNorm2d(n_out), nn.ReLU(True)]

    out = nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False)
    model = nn.Sequential(*up(10, 16), *up(16, 8, 2, 1), out, nn.Tanh())
    for m in model.modules():
        if isinstance(m, nn.ConvTranspose2d):
            nn.init.normal_(m.weight, 0.0, 0.02)
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.weight, 1.0, 0.02)
    noise = [torch.randn(16, 10, 1, 1) for _ in range(3)]
    optimizer = torch.optim.Adam(model.parameters(), 2e-4, betas=(0.5, 0.999))
    return model, noise, {"optimizer": optimizer, "purpose": "train"}


class UNet(nn.Module):
    """Group norm down to 2 x 2, and skips."""

    def __init__(self, c=8):
        super().__init__()
        self.stem = nn.Conv2d(1, c, 3, padding=1)
        self.down = nn.ModuleList(self.level(nn.Conv2d(c, c, 2, 2)) for _ in range(3))
        turned = (nn.ConvTranspose2d(2 * c if k else c, c, 2, 2) for k in range(3))
        self.up = nn.ModuleList(self.level(conv) for conv in turned)
        self.out = nn.Conv2d(2 * c, 1, 1)

    @staticmethod
    def level(conv):
        return nn.Sequential(conv, nn.GroupNorm(2, conv.out_channels), nn.SiLU())

    def forward(self, x):
        x, skips = self.stem(x), []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], 1)
        return self.out(x)


@WARD.admits()
def unet_one_picture_at_a_time():
    return UNet(), images(1, 4, 1, 16), {"purpose": "train"}


class Pyramid(nn.Module):
    """A detection head: shared convolutions, norms of its own for each level."""

    def __init__(self, c=8, levels=3):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(c, c, 3, padding=1, bias=False) for _ in range(2)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(c, eps=1e-3, momentum=0.01) for _ in range(2))
            for _ in range(levels)
        )
        self.scores = nn.Conv2d(c, 4, 1)

    def forward(self, levels):
        out = []
        for x, norms in zip(levels, self.norms, strict=True):
            for conv, norm in zip(self.convs, norms, strict=True):
                x = F.silu(norm(conv(x)))
            out.append(self.scores(x).flatten(2))
        return torch.cat(out, 2)


@WARD.admits()
def norms_of_each_pyramid_level():
    data = [[torch.randn(8, 8, s, s) for s in (8, 4, 2)] for _ in range(3)]
    whole = {"call": lambda model, levels: model(levels), "purpose": "train"}
    return Pyramid(), data, whole


@WARD.admits()
def few_shot_without_stored_statistics():
    def block(n_in):
        return nn.Sequential(
            nn.Conv2d(n_in, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8, track_running_stats=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )

    model = nn.Sequential(block(3), block(8), nn.Flatten(), nn.Linear(32, 5))
    return model, images(25, 2), {"purpose": "train"}
