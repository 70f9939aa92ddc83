"""Train a net with batch norm on the digits, in PyTorch."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
digits = {key: torch.from_numpy(value) for key, value in np.load("digits.npz").items()}
train = TensorDataset(digits["x_train"], digits["y_train"])
# The last batch may be small, and a batch of one is an error: leave it out.
loader = DataLoader(train, batch_size=60, shuffle=True, drop_last=True)


def block(n_in, n_out):
    # No bias: batch norm would subtract it again, and beta takes its place.
    return nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.ReLU()


model = nn.Sequential(*block(64, 100), *block(100, 100), nn.Linear(100, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(15):
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

model.eval()  # without this line the test images would normalize each other
scores, alone = model(digits["x_test"]), model(digits["x_test"][:1])
correct = scores.argmax(1) == digits["y_test"]
print("test accuracy above 90 %:", correct.float().mean().item() > 0.9)
print("the layer stores:", ", ".join(model[1].state_dict()))
print("one image alone gives its row:", torch.allclose(alone, scores[:1], atol=1e-5))

model.train().requires_grad_(False)  # freezes gamma and beta, but not the averages
before = model[1].running_mean.clone()
model(digits["x_test"])
print("frozen averages still move:", not torch.equal(before, model[1].running_mean))
