"""Gradients accumulated by hand, a schedule by step, everything at the top level."""

import argparse

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--accumulate", type=int, default=2)
parser.add_argument("--output", default="model.pt")
args = parser.parse_args()

torch.manual_seed(0)
x = torch.randn(96, 4)
dataset = TensorDataset(x, x.sum(dim=1, keepdim=True))
loader = DataLoader(dataset, batch_size=args.batch_size, shuffle=False, drop_last=True)

device = "cuda:0" if torch.cuda.is_available() else "cpu"
model = nn.Linear(4, 1)
model.to(device)
optimizer = optim.Adam(model.parameters(), lr=0.05)
steps = len(loader) // args.accumulate
scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))

for i, (inputs, targets) in enumerate(loader):
    inputs = inputs.to(device)
    targets = targets.to(device)
    loss = nn.functional.mse_loss(model(inputs), targets) / args.accumulate
    loss.backward()
    if (i + 1) % args.accumulate == 0:
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        print("step", (i + 1) // args.accumulate, "lr", scheduler.get_last_lr()[0])

torch.save(model.state_dict(), args.output)
