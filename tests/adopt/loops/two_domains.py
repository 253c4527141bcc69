"""Two domains at once: zip of two loaders, one optimiser for two networks, another for a third."""

import argparse
import itertools

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def networks():
    return nn.Linear(3, 3), nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", default=".")
    args = parser.parse_args()
    torch.manual_seed(21)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    there, back, judge = networks()
    there, back, judge = there.to(device), back.to(device), judge.to(device)
    optimizer_g = torch.optim.Adam(itertools.chain(there.parameters(), back.parameters()), lr=0.02)
    optimizer_d = torch.optim.Adam(judge.parameters(), lr=0.02)
    scheduler_g = torch.optim.lr_scheduler.LambdaLR(optimizer_g, lambda step: 1 / (1 + step))
    a, b = torch.randn(48, 3), torch.randn(48, 3) + 1
    loader_a = DataLoader(TensorDataset(a), batch_size=args.batch_size)
    loader_b = DataLoader(TensorDataset(b), batch_size=args.batch_size)
    held = DataLoader(TensorDataset(a[:13]), batch_size=args.batch_size)
    mse, l1 = nn.MSELoss(), nn.L1Loss()
    for epoch in range(2):
        for (x,), (y,) in zip(loader_a, loader_b):
            x, y = x.to(device), y.to(device)
            fake = there(x)
            loss_g = mse(judge(fake), torch.ones(len(x), 1, device=device)) + 10 * l1(back(fake), x)
            optimizer_g.zero_grad()
            loss_g.backward()
            optimizer_g.step()
            loss_d = mse(judge(y), torch.ones(len(y), 1, device=device)) + mse(judge(fake.detach()), torch.zeros(len(x), 1, device=device))
            optimizer_d.zero_grad()
            loss_d.backward()
            optimizer_d.step()
        scheduler_g.step()
        error = 0.0
        with torch.no_grad():
            for (x,) in held:
                x = x.to(device)
                error += l1(back(there(x)), x).item() * len(x)
        print(f"error {error / 13:.6f}, lr {scheduler_g.get_last_lr()[0]:.6f}")


main()
