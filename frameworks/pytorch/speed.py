"""PyTorch, without compilation."""

import timing
import torch
from torch import nn

torch.set_num_threads(1)


def make(norm, x, y):
    """Return the training step of one net."""
    torch.manual_seed(0)
    x, y, layers = torch.from_numpy(x), torch.from_numpy(y), []
    for n_in, n_out in timing.HIDDEN:
        layers.append(nn.Linear(n_in, n_out, bias=not norm))
        layers += [nn.BatchNorm1d(n_out), nn.ReLU()] if norm else [nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=timing.LR)

    def step(i):
        loss = nn.functional.cross_entropy(model(x[i]), y[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
