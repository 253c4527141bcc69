"""Everything at the top level without functions; lambdas; the loss inline; hits counted as tensors."""
import argparse
import torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
ap = argparse.ArgumentParser(); ap.add_argument("--batch-size", type=int, default=8); ap.add_argument("--output", default=".")
args = ap.parse_args()
torch.manual_seed(0)
BATCH_SIZE = args.batch_size
X = torch.randn(100, 4); Y = (X[:, 0] > X[:, 1]).long()
train_dl = DataLoader(TensorDataset(X[:64], Y[:64]), batch_size=BATCH_SIZE)
valid_dl = DataLoader(TensorDataset(X[64:], Y[64:]), batch_size=BATCH_SIZE)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
opt = torch.optim.SGD(model.parameters(), lr=0.2)
for epoch in range(3):
    for xb, yb in train_dl:
        pred = model(xb)
        loss = F.cross_entropy(pred, yb)
        loss.backward()
        with torch.no_grad():
            opt.step()
            opt.zero_grad()
    model.eval()
    with torch.no_grad():
        valid_loss = sum(F.cross_entropy(model(xb), yb, reduction="sum") for xb, yb in valid_dl)
        hits = torch.tensor(0.0)
        for xb, yb in valid_dl:
            hits += (model(xb).argmax(1) == yb).float().sum()
    print(f"validation {valid_loss.item() / len(valid_dl.dataset):.6f} accuracy {hits.item() / 36:.6f}")
