"""A recurrent tagger; padding in a collate function; early stopping on validation; the best is loaded again."""
import argparse
import os

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader


class Tagger(nn.Module):
    def __init__(self, words, tags, width=12):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.out = nn.Linear(width, tags)

    def forward(self, x):
        h, _ = self.lstm(self.embed(x))
        return self.out(h)


def collate(rows):
    xs, ys = zip(*rows)
    return pad_sequence(xs, batch_first=True), pad_sequence(ys, batch_first=True, padding_value=-100)


def make(n, seed):
    g = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(n):
        x = torch.randint(1, 20, (6,), generator=g) if seed == 0 else torch.randint(1, 20, (int(torch.randint(3, 9, (1,), generator=g)),), generator=g)
        rows.append((x, x % 3))
    return rows


def run_epoch(model, loader, criterion, optimizer=None, device="cpu"):
    total, n = 0.0, 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        logits = model(x)
        loss = criterion(logits.view(-1, 3), y.view(-1))
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        total += loss.item() * x.size(0)
        n += x.size(0)
    return total / n


def evaluate(model, loader, device):
    model.eval()
    hits = tokens = 0
    with torch.no_grad():
        for x, y in loader:
            logits = model(x.to(device)).cpu()
            keep = y != -100
            hits += (logits.argmax(-1)[keep] == y[keep]).sum().item()
            tokens += keep.sum().item()
    model.train()
    return hits / tokens


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--batch-size", type=int, default=8)
    ap.add_argument("--output", default=".")
    a = ap.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_dl = DataLoader(make(64, 0), batch_size=a.batch_size, collate_fn=collate)
    valid_dl = DataLoader(make(23, 1), batch_size=a.batch_size, collate_fn=collate)
    model = Tagger(20, 3).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    criterion = nn.CrossEntropyLoss(ignore_index=-100)
    best, patience = 0.0, 0
    path = os.path.join(a.output, "best.pt")
    for epoch in range(3):
        loss = run_epoch(model, train_dl, criterion, optimizer, device)
        acc = evaluate(model, valid_dl, device)
        print(f"epoch {epoch} training error {loss:.6f} validation accuracy {acc:.6f}")
        if acc > best:
            best, patience = acc, 0
            torch.save(model.state_dict(), path)
        else:
            patience += 1
            if patience > 2:
                break
    model.load_state_dict(torch.load(path, map_location=device))
    print(f"accuracy {evaluate(model, valid_dl, device):.6f}")
