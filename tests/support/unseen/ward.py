"""What a patient is, and the small parts that several of them use."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass
class Patient:
    """A model with its data; ``says`` is what a good doctor tells of a sick one."""

    name: str
    build: Callable[[], tuple[nn.Module, list[Any], dict[str, Any]]]
    says: str = ""

    def admit(self):
        """Return the model, its batches and the arguments of ``diagnose``, seeded."""
        with torch.random.fork_rng():
            torch.manual_seed(len(self.name) * 7 + 1)
            return self.build()


@dataclass
class Ward:
    """Patients in the order in which they are written."""

    patients: list[Patient] = field(default_factory=list)

    def admits(self, says=""):
        def add(build):
            self.patients.append(Patient(build.__name__, build, says))
            return build

        return add


def images(n=8, count=4, channels=3, side=8):
    return [torch.randn(n, channels, side, side) for _ in range(count)]


def rows(n=16, count=4, features=6):
    return [torch.randn(n, features) for _ in range(count)]


def trained(model, batches, times=40, call=None):
    """Let the running statistics meet the data; the parameters stay."""
    run = call or (lambda m, b: m(b))
    model.train()
    with torch.no_grad():
        for _ in range(times):
            for batch in batches:
                run(model, batch)
    return model


def unit(n_in, n_out, stride=1):
    """Return convolution, batch norm, ReLU."""
    conv = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU())


def head(n, classes=5):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n, classes))
