"""A loop inside a class of one's own, with a step in a method and its best model kept."""

import argparse
import os

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Waves(Dataset):
    def __init__(self, rows):
        self.x = torch.linspace(-3, 3, rows).unsqueeze(1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"x": self.x[index], "y": torch.sin(self.x[index])}


class Net(torch.nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.width = width
        self.inner = torch.nn.Linear(1, width)
        self.outer = torch.nn.Linear(width, 1)

    def forward(self, x):
        return self.outer(torch.tanh(self.inner(x)))

    def describe(self):
        return f"{self.width} wide"


class Trainer:
    def __init__(self, model, train_loader, valid_loader, lr, folder):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device)
        self.train_loader = train_loader
        self.valid_loader = valid_loader
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
        self.folder = folder
        self.best = float("inf")

    def step(self, batch):
        prediction = self.model(batch["x"].to(self.device))
        loss = F.mse_loss(prediction, batch["y"].to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def validate(self):
        self.model.eval()
        total, rows = 0.0, 0
        with torch.no_grad():
            for batch in self.valid_loader:
                batch = {key: value.to(self.device) for key, value in batch.items()}
                prediction = self.model(batch["x"])
                total += F.mse_loss(prediction, batch["y"], reduction="sum").item()
                rows += len(prediction)
        return total / rows

    def fit(self, epochs):
        print(f"training a net {self.model.describe()}")
        for epoch in range(epochs):
            self.model.train()
            for batch in self.train_loader:
                self.step(batch)
            error = self.validate()
            print(f"epoch {epoch}: error {error:.6f}")
            if error < self.best:
                self.best = error
                # only the weights, so that any version of the class can read them
                torch.save({"model": self.model.state_dict(), "epoch": epoch}, os.path.join(self.folder, "best.pt"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", default=".")
    args = parser.parse_args()
    torch.manual_seed(0)
    trainer = Trainer(
        Net(), DataLoader(Waves(48), args.batch_size), DataLoader(Waves(21), args.batch_size), 1e-2, args.output
    )
    trainer.fit(2)
