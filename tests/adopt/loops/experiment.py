"""A trainer with its loaders, criterion with parameters, property-like helpers, keyword calls, tuples of losses."""
import argparse
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Regress(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, 5, generator=g)
        self.y = self.x @ torch.tensor([1.0, -2.0, 0.5, 0.0, 1.0])

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"features": self.x[i], "target": self.y[i]}


class Weighing(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, prediction, target):
        return (torch.exp(-self.log_scale) * (prediction - target) ** 2).mean() + self.log_scale


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(5, 5) for _ in range(2)])
        self.last = nn.Linear(5, 1)

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x)) + x
        return self.last(x).squeeze(-1)


class Experiment:
    def __init__(self, *, folder, batch_size):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda:0") if torch.cuda.is_available() else torch.device("cpu")
        self.build(batch_size)

    def build(self, batch_size):
        self.model = Model().to(self.device)
        self.criterion = Weighing().to(self.device)
        self.optimizer = torch.optim.AdamW(list(self.model.parameters()) + list(self.criterion.parameters()), lr=2e-2)
        self.train_data = DataLoader(Regress(64, 0), batch_size=batch_size)
        self.valid_data = DataLoader(Regress(26, 1), batch_size=batch_size)

    def compute(self, batch):
        prediction = self.model(batch["features"].to(self.device))
        return self.criterion(prediction, batch["target"].to(self.device)), prediction

    def train_epoch(self):
        self.model.train()
        total = 0.0
        for batch in self.train_data:
            loss, _ = self.compute(batch)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.train_data)

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        total = 0.0
        for batch in self.valid_data:
            _, prediction = self.compute(batch)
            total += F.l1_loss(prediction, batch["target"].to(self.device), reduction="sum").item()
        return total / len(self.valid_data.dataset)

    def run(self):
        for epoch in range(2):
            loss = self.train_epoch()
            error = self.validate()
            print(f"{epoch} training error {loss:.6f} validation error {error:.6f}")
            with (self.folder / "log.csv").open("a") as f:
                f.write(f"{epoch},{error}\n")
            torch.save({"model": self.model.state_dict(), "criterion": self.criterion.state_dict()}, self.folder / "last.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", default="out")
    args = parser.parse_args()
    torch.manual_seed(5)
    Experiment(folder=args.output, batch_size=args.batch_size).run()
