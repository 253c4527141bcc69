"""Labelled and unlabelled data: a loop over one loader takes single batches from another; EMA of the weights."""
import argparse
import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ap = argparse.ArgumentParser()
ap.add_argument("--batch-size", type=int, default=8)
ap.add_argument("--output", default=".")
args = ap.parse_args()
torch.manual_seed(8)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
x = torch.randn(150, 6)
y = (x[:, 0] > 0).long()
labelled = DataLoader(TensorDataset(x[:64], y[:64]), batch_size=args.batch_size)
unlabelled = DataLoader(TensorDataset(x[64:128]), batch_size=args.batch_size)
test_loader = DataLoader(TensorDataset(x[128:], y[128:]), batch_size=args.batch_size)
model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).to(device)
ema = copy.deepcopy(model)
for p in ema.parameters():
    p.requires_grad_(False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.3, weight_decay=1e-4)


def update():
    for a, b in zip(ema.parameters(), model.parameters()):
        a.mul_(0.9).add_(b.detach(), alpha=0.1)


def score(net):
    net.eval()
    correct = total = 0
    with torch.no_grad():
        for inputs, targets in test_loader:
            inputs, targets = inputs.to(device), targets.to(device)
            outputs = net(inputs)
            _, predicted = outputs.max(1)
            total += targets.size(0)
            correct += predicted.eq(targets).sum().item()
    net.train()
    return 100.0 * correct / total


other = iter(unlabelled)
for epoch in range(2):
    train_loss = correct = total = 0
    for batch_idx, (inputs, targets) in enumerate(labelled):
        try:
            (more,) = next(other)
        except StopIteration:
            other = iter(unlabelled)
            (more,) = next(other)
        inputs, targets, more = inputs.to(device), targets.to(device), more.to(device)
        with torch.no_grad():
            guess = ema(more).softmax(1)
        outputs = model(torch.cat([inputs, more]))
        loss = nn.functional.cross_entropy(outputs[: len(inputs)], targets) + 0.5 * nn.functional.mse_loss(outputs[len(inputs) :].softmax(1), guess)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        update()
        train_loss += loss.item()
        _, predicted = outputs[: len(inputs)].max(1)
        total += targets.size(0)
        correct += predicted.eq(targets).sum().item()
    print(f"epoch {epoch} training accuracy {100.0 * correct / total:.6f} error {train_loss / (batch_idx + 1):.6f}")
    print(f"accuracy {score(model):.6f} ema accuracy {score(ema):.6f}")
