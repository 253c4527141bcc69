"""Automatic mixed precision with a GradScaler, as on one GPU, and clipping of unscaled gradients."""

import argparse

import torch
from torch import nn
from torch.cuda.amp import GradScaler, autocast
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())

    def forward(self, x):
        return x + self.body(x)


def main(args):
    torch.manual_seed(3)
    data = torch.randn(64, 6)
    loader = DataLoader(TensorDataset(data, data.flip(1)), batch_size=args.batch_size)
    model = nn.Sequential(Block(6), Block(6)).cuda() if torch.cuda.is_available() else nn.Sequential(Block(6), Block(6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-2, weight_decay=0.1)
    scaler = GradScaler()

    for epoch in range(2):
        for x, y in loader:
            x, y = x.cuda(non_blocking=True), y.cuda(non_blocking=True)
            with autocast():
                loss = (model(x) - y).pow(2).mean()
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            # the norm is that of the true gradients
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.5)
            scaler.step(optimizer)
            scaler.update()
        print("epoch", epoch, "loss", loss.item())
    torch.save(model, args.output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", default="model.pt")
    main(parser.parse_args())
