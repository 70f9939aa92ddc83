"""Three published nets at their published depth, and two transformers, in PyTorch."""

import torch
from torch import nn


def count(model):
    """Return the number of parameters."""
    return sum(p.numel() for p in model.parameters())


# --- ResNet-18 (He et al. 2016) -------------------------------------------------------


class Block(nn.Module):
    """Two 3x3 convolutions beside a skip."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.skip = nn.Identity()
        if stride != 1 or n_in != n_out:
            conv = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
            self.skip = nn.Sequential(conv, nn.BatchNorm2d(n_out))

    def forward(self, x):
        h = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(h)) + self.skip(x))


def resnet18():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True)]
    layers += [nn.MaxPool2d(3, 2, 1)]
    n_in = 64
    for n_out in (64, 128, 256, 512):
        layers += [Block(n_in, n_out, 1 if n_out == 64 else 2), Block(n_out, n_out, 1)]
        n_in = n_out
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
    return nn.Sequential(*layers, *head)


# --- DenseNet-121 (Huang et al. 2017) -------------------------------------------------


class Dense(nn.Module):
    """Norm, activation, convolution, twice; the input is carried along."""

    def __init__(self, n_in, growth=32):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(n_in),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_in, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(inplace=True),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x):
        return torch.cat([x, self.body(x)], 1)


def densenet121():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True)]
    layers += [nn.MaxPool2d(3, 2, 1)]
    n = 64
    for number, depth in enumerate((6, 12, 24, 16)):
        for _ in range(depth):
            layers.append(Dense(n))
            n += 32
        if number < 3:
            layers += [nn.BatchNorm2d(n), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(n, n // 2, 1, bias=False), nn.AvgPool2d(2)]
            n //= 2
    layers += [nn.BatchNorm2d(n), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(n, 1000))


# --- MobileNetV2 (Sandler et al. 2018) ------------------------------------------------


def conv_norm(n_in, n_out, size=1, stride=1, groups=1):
    conv = nn.Conv2d(n_in, n_out, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(n_out), nn.ReLU6(inplace=True)]


class Inverted(nn.Module):
    """Widen, convolve by channel, narrow without activation."""

    def __init__(self, n_in, n_out, stride, widen):
        super().__init__()
        n = n_in * widen
        layers = conv_norm(n_in, n) if widen != 1 else []
        layers += conv_norm(n, n, 3, stride, groups=n)
        self.body = nn.Sequential(*layers, *conv_norm(n, n_out)[:2])
        self.skips = stride == 1 and n_in == n_out

    def forward(self, x):
        return x + self.body(x) if self.skips else self.body(x)


def mobilenet_v2():
    layers, n_in = conv_norm(3, 32, 3, 2), 32
    for widen, n_out, times, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for number in range(times):
            step = stride if number == 0 else 1
            layers.append(Inverted(n_in, n_out, step, widen))
            n_in = n_out
    layers += [*conv_norm(320, 1280), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(1280, 1000))


# --- transformers ---------------------------------------------------------------------


class Transformer(nn.Module):
    """Token embedding, encoder layers, a head; layer norm, or RMS norm."""

    def __init__(self, rms=False):
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        if rms:
            layer.norm1, layer.norm2 = nn.RMSNorm(32), nn.RMSNorm(32)
        self.body = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 50)

    def forward(self, tokens):
        return self.head(self.body(self.embed(tokens)))
