"""Accumulation with the last partial step, sum loss scaled, evaluation in a generator-like comprehension, best by error."""
import argparse, os
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm


class Rows(Dataset):
    def __init__(self, n, s):
        g = torch.Generator().manual_seed(s)
        self.x, self.w = torch.randn(n, 3, generator=g), torch.rand(n, generator=g)

    def __len__(self): return len(self.x)

    def __getitem__(self, i): return {"x": self.x[i], "y": self.x[i].sum(), "w": self.w[i]}


class Lin(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(3, 1)

    def forward(self, batch):
        out = self.l(batch["x"]).squeeze(-1)
        loss = ((out - batch["y"]) ** 2 * batch["w"]).sum()
        return {"loss": loss, "out": out}


def to_device(batch, device):
    return {k: v.to(device) for k, v in batch.items()}


def evaluate(model, loader, device):
    model.eval()
    se, n = 0.0, 0
    for batch in tqdm(loader, desc="eval", leave=False):
        batch = to_device(batch, device)
        with torch.no_grad():
            res = model(batch)
        se += ((res["out"] - batch["y"]) ** 2).sum().item()
        n += len(batch["y"])
    return (se / n) ** 0.5


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--batch-size", type=int, default=8)
    ap.add_argument("--accumulation-steps", type=int, default=2)
    ap.add_argument("--output", default=".")
    a = ap.parse_args()
    torch.manual_seed(3)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Lin().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
    train, dev = DataLoader(Rows(64, 0), a.batch_size), DataLoader(Rows(29, 1), a.batch_size)
    best = 1e9
    for epoch in range(2):
        model.train()
        optimizer.zero_grad()
        for i, batch in enumerate(tqdm(train)):
            batch = to_device(batch, device)
            loss = model(batch)["loss"] / a.accumulation_steps
            loss.backward()
            if (i + 1) % a.accumulation_steps == 0 or (i + 1) == len(train):
                optimizer.step()
                optimizer.zero_grad()
        rmse = evaluate(model, dev, device)
        tqdm.write(f"epoch {epoch} error {rmse:.6f}")
        print(f"epoch {epoch} error {rmse:.6f}")
        if rmse < best:
            best = rmse
            torch.save({"model": model.state_dict(), "args": vars(a)}, os.path.join(a.output, "best.pt"))


if __name__ == "__main__":
    main()
