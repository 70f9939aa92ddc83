"""Faults of the architecture: which norm stands where, over which axis, how often."""

import torch
import torch.nn.functional as F
from torch import nn

from unseen.ward import Ward, head, images, rows, trained, unit

WARD = Ward()


class Tagger(nn.Module):
    """Tags words: as many words as features, which hides the axis."""

    def __init__(self, d=12):
        super().__init__()
        self.project = nn.Linear(20, d, bias=False)
        self.bn = nn.BatchNorm1d(d)
        self.tags = nn.Linear(d, 4)

    def forward(self, x):
        return self.tags(F.relu(self.bn(self.project(x))))


@WARD.admits(
    "The norm gets (N, L, C) from a linear layer and takes axis 1, the positions, for "
    "channels: transpose before and after it."
)
def channels_last_text():
    return Tagger(), [torch.randn(8, 12, 20) for _ in range(3)], {"purpose": "train"}


@WARD.admits(
    "GroupNorm with as many groups as features on vectors: each group has one value, "
    "so the output is beta whatever the input."
)
def group_norm_of_one_value():
    model = nn.Sequential(
        nn.Linear(6, 4), nn.GroupNorm(4, 4), nn.Tanh(), nn.Linear(4, 2)
    )
    return model, rows(), {}


class UNet(nn.Module):
    """Four halvings of a 16 x 16 picture: the lowest level has one pixel."""

    def __init__(self, n=6):
        super().__init__()
        self.stem = nn.Conv2d(1, n, 3, padding=1)
        self.down = nn.ModuleList(self.level(n, nn.Conv2d) for _ in range(4))
        self.up = nn.ModuleList(self.level(n, nn.ConvTranspose2d) for _ in range(4))
        self.out = nn.Conv2d(n, 1, 1)

    @staticmethod
    def level(n, conv):
        norm = nn.GroupNorm(n, n)
        if conv is nn.Conv2d:
            return nn.Sequential(conv(n, n, 3, 2, 1), norm, nn.LeakyReLU(0.2))
        return nn.Sequential(conv(n, n, 2, 2), norm, nn.ReLU())

    def forward(self, x):
        x, skips = self.stem(x), []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = up(x) + skips.pop()
        return self.out(x)


@WARD.admits(
    "The lowest level is 1 x 1, and each channel is a group of its own: a norm of one "
    "value gives beta, so the bottleneck carries nothing."
)
def one_pixel_bottleneck():
    return UNet().eval(), images(2, 3, 1, 16), {}


@WARD.admits(
    "InstanceNorm with track_running_stats=True: in eval() it uses statistics of all "
    "images, not of each one, so the outputs differ from those in training."
)
def instance_norm_that_tracks():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
        nn.ReLU(),
        nn.Conv2d(6, 3, 3, padding=1),
        nn.Tanh(),
    )
    contrast = torch.tensor([0.2, 1.0, 3.0, 0.5]).view(4, 1, 1, 1)
    data = [contrast * x + contrast for x in images(4)]
    return trained(model, data).eval(), data, {"purpose": "evaluate"}


class Siamese(nn.Module):
    """One tower for photographs and for sketches."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(unit(3, 8), head(8, 4))

    def forward(self, photo, sketch):
        return (self.tower(photo) * self.tower(sketch)).sum(1)


@WARD.admits(
    "The same norm is called for two domains one after the other whose statistics "
    "differ: its running statistics fit neither; give each domain its own norm."
)
def one_norm_two_domains():
    data = [(x, 0.2 * y + 4) for x, y in zip(images(), images(), strict=True)]
    both = {"call": lambda model, batch: model(*batch), "purpose": "train"}
    return Siamese(), data, both


@WARD.admits(
    "Dropout stands before batch norm: in training it raises the variance that the "
    "norm stores, and in evaluation the variance is another one."
)
def dropout_before_norm():
    model = nn.Sequential(
        nn.Linear(6, 32),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(32, 32, bias=False),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 3),
    )
    return model, rows(32), {"purpose": "train"}


def dcgan_weights(m):
    """Draw the weights as the DCGAN paper does, and forget the 1.0 of the norms."""
    if hasattr(m, "weight") and m.weight is not None:
        nn.init.normal_(m.weight, 0.0, 0.02)


@WARD.admits(
    "gamma is drawn around 0 instead of 1, so the norms scale their signal to almost "
    "nothing, and nothing goes round them."
)
def gamma_drawn_around_zero():
    model = nn.Sequential(
        nn.ConvTranspose2d(10, 16, 4, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(True),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(True),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    ).apply(dcgan_weights)
    noise = [torch.randn(16, 10, 1, 1) for _ in range(3)]
    return model, noise, {"purpose": "train"}


class Patchy(nn.Module):
    """A ConvNeXt-like block whose LayerNorm forgets to permute."""

    def __init__(self, c=8):
        super().__init__()
        self.depthwise = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.norm = nn.LayerNorm(c)
        self.wide = nn.Conv2d(c, 2 * c, 1)
        self.back = nn.Conv2d(2 * c, c, 1)

    def forward(self, x):
        h = self.norm(self.depthwise(x))
        return x + self.back(F.gelu(self.wide(h)))


@WARD.admits(
    "LayerNorm over the last axis of (N, C, H, W) normalizes rows of pixels, not "
    "channels, and runs only because the width equals the channels."
)
def layer_norm_over_the_width():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Patchy(), Patchy(), head(8))
    return model, images(4), {}


class Functional(nn.Module):
    """Calls the norm as a function, always in training."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 16), nn.Linear(16, 2)
        self.gamma = nn.Parameter(torch.ones(16))
        self.beta = nn.Parameter(torch.zeros(16))
        self.register_buffer("mean", torch.zeros(16))
        self.register_buffer("var", torch.ones(16))

    def forward(self, x):
        h = self.fc1(x)
        h = F.batch_norm(h, self.mean, self.var, self.gamma, self.beta, training=True)
        return self.fc2(F.relu(h))


@WARD.admits(
    "In eval() the outputs still depend on the other rows of the batch, and the "
    "statistics move: training=True is written into the functional call."
)
def functional_always_training():
    model, data = Functional(), rows()
    return trained(model, data).eval(), data, {"purpose": "evaluate"}


class Residual(nn.Module):
    """Two convolutions, and one norm written once and used twice."""

    def __init__(self, c=8):
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(c)
        self.relu = nn.ReLU()

    def forward(self, x):
        h = self.relu(self.bn(self.conv1(x)))
        return self.relu(x + self.bn(self.conv2(h)))


@WARD.admits(
    "One batch norm is used after two different convolutions: its running statistics "
    "are a mixture of both."
)
def one_norm_after_two_convolutions():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Residual(), head(8))
    return model, images(), {"purpose": "train"}


class Forgetful(nn.Module):
    """Makes three norms and calls two."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 8, 3, bias=False)
        self.bn3 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.conv2(x))
        x = F.relu(self.bn3(self.conv3(x)))
        return self.fc(x.mean((2, 3)))


@WARD.admits("bn2 is never called in the forward pass.")
def norm_never_called():
    return Forgetful(), images(), {"purpose": "train"}


class OnePass(nn.Module):
    """A hand-written norm that subtracts two large numbers."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        self.bias = nn.Parameter(torch.zeros(n))

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        var = (x * x).mean(-1, keepdim=True) - mean * mean
        return (x - mean) / torch.sqrt(var + 1e-5) * self.weight + self.bias


@WARD.admits(
    "The hand-written norm gives NaN: its variance E[x^2] - E[x]^2 comes out negative "
    "where the mean is large."
)
def one_pass_variance():
    model = nn.Sequential(OnePass(6), nn.Linear(6, 3))
    return model, [300 + 0.01 * x for x in rows()], {}
