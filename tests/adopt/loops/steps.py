"""Training by steps: next() on an iterator that starts again; the optimiser by a helper that returns it at once."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_optimizer(name, parameters, lr):
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=lr)
    return torch.optim.Adam(parameters, lr=lr)


def evaluate(net, batches, device):
    net.eval()
    wrong, n = 0, 0
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        n += y.numel()
        with torch.no_grad():
            wrong += (net(x).argmax(1) != y).sum().item()
    net.train()
    return wrong / n


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--batch-size", type=int, default=8)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--output", default=".")
    args = ap.parse_args()
    torch.manual_seed(2)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(87, 4)
    y = x.argmax(1)
    loader = DataLoader(TensorDataset(x[:64], y[:64]), batch_size=args.batch_size)
    held = DataLoader(TensorDataset(x[64:], y[64:]), batch_size=args.batch_size)
    net = nn.Linear(4, 4).to(device)
    optimizer = make_optimizer("adam", net.parameters(), 0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=args.steps)
    data = iter(loader)
    for step in range(args.steps):
        try:
            a, b = next(data)
        except StopIteration:
            data = iter(loader)
            a, b = next(data)
        a, b = a.to(device), b.to(device)
        loss = nn.functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 5 == 0:
            print(f"step {step} error {evaluate(net, held, device):.6f} lr {schedule.get_last_lr()[0]:.6f}")


if __name__ == "__main__":
    main()
