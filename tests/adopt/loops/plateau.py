"""Everything in main(), loaders from a helper, metrics with numpy/sklearn-like lists, with a dataclass config."""
import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


@dataclass
class Config:
    batch_size: int = 8
    epochs: int = 2
    lr: float = 1e-2
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


class MLP(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_in, 16), nn.GELU(), nn.Linear(16, n_out))

    def forward(self, x):
        return self.net(x)


def get_data(cfg):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(85, 6, generator=g)
    y = (x[:, 0] * x[:, 1] > 0).float()
    tr, te = random_split(TensorDataset(x, y), [64, 21], generator=g)
    return DataLoader(tr, cfg.batch_size), DataLoader(te, cfg.batch_size)


def predict(model, loader, cfg):
    model.eval()
    outs, labels = [], []
    for xb, yb in loader:
        with torch.no_grad():
            p = torch.sigmoid(model(xb.to(cfg.device))).squeeze(1)
        outs.append(p.cpu().numpy())
        labels.append(yb.numpy())
    return np.concatenate(outs), np.concatenate(labels)


def main(cfg):
    torch.manual_seed(0)
    train_loader, test_loader = get_data(cfg)
    model = MLP(6, 1)
    model.to(cfg.device)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for epoch in range(cfg.epochs):
        model.train()
        train_losses = []
        for xb, yb in train_loader:
            xb = xb.to(cfg.device)
            yb = yb.to(cfg.device)
            loss = criterion(model(xb).squeeze(1), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train_losses.append(loss.item())
        p, y = predict(model, test_loader, cfg)
        val = float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
        scheduler.step(val)
        print(f"epoch {epoch} loss {np.mean(train_losses):.4f} validation {val:.6f} accuracy {((p > 0.5) == y).mean():.6f} n {len(y)}.0")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--batch-size", type=int, default=8)
    ap.add_argument("--output", default=".")
    a = ap.parse_args()
    main(Config(batch_size=a.batch_size))
