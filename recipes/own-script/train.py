"""A training loop for one GPU: a small network learns which of two spirals a point lies on."""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from accelerate import Accelerator

accelerator = Accelerator()


def spirals(rows: int, seed: int) -> TensorDataset:
    """Return points of two spirals, and which spiral each lies on."""
    generator = torch.Generator().manual_seed(seed)
    angle = 4 * torch.rand(rows, generator=generator) + 0.5
    label = torch.randint(0, 2, (rows,), generator=generator)
    turned = angle + torch.pi * label
    return TensorDataset(torch.stack([angle * turned.cos(), angle * turned.sin()], dim=1), label)


def accuracy(model: nn.Module, loader: DataLoader, device: torch.device) -> float:
    """Return the share of points that the model gets right."""
    model.eval()
    right = total = 0
    with torch.no_grad():
        for points, labels in loader:
            scores = model(points)
            scores, labels = accelerator.gather_for_metrics((scores, labels))
            right += (scores.argmax(dim=1) == labels).sum().item()
            total += len(labels)
    model.train()
    return right / total


def main() -> None:
    """Train, and leave the weights in the output folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = accelerator.device
    train_loader = DataLoader(spirals(2048, seed=1), args.batch_size, shuffle=True)
    test_loader = DataLoader(spirals(500, seed=2), args.batch_size)
    model = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(train_loader))
    model, optimizer, train_loader, test_loader, scheduler = accelerator.prepare(
        model, optimizer, train_loader, test_loader, scheduler
    )
    for epoch in range(args.epochs):
        for points, labels in train_loader:
            loss = nn.functional.cross_entropy(model(points), labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            scheduler.step()
        accelerator.print(f"epoch {epoch}: accuracy {accuracy(model, test_loader, device):.3f}")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    accelerator.save(accelerator.get_state_dict(model), args.output_dir / "model.pt")


if __name__ == "__main__":
    main()
