"""Transformer classifier, positional kwargs, warmup by lambda with total steps, clip value, early exit by max steps."""
import argparse
import random

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


class Classifier(nn.Module):
    def __init__(self, vocab=20, dim=16, classes=3):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(dim, 2, 32, dropout=0.0, batch_first=True), 1, enable_nested_tensor=False)
        self.head = nn.Linear(dim, classes)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens)).mean(dim=1))


def accuracy_of(logits, labels):
    return (logits.argmax(dim=-1) == labels).float().mean()


def build(args):
    g = torch.Generator().manual_seed(1)
    t = torch.randint(0, 20, (90, 5), generator=g)
    ds = TensorDataset(t, t[:, 0] % 3)
    train = torch.utils.data.Subset(ds, range(64))
    valid = torch.utils.data.Subset(ds, range(64, 90))
    return (DataLoader(train, batch_size=args.batch_size), DataLoader(valid, batch_size=args.batch_size))


def main(args):
    seed_everything(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    train_loader, valid_loader = build(args)
    model = Classifier()
    model = model.to(device)
    total_steps = len(train_loader) * args.epochs
    warmup = max(1, total_steps // 4)
    optimizer = torch.optim.AdamW(params=model.parameters(), lr=1e-2)

    def rate(step):
        return min(1.0, (step + 1) / warmup) * max(0.0, 1 - step / total_steps)

    scheduler = LambdaLR(optimizer, lr_lambda=rate)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    global_step = 0
    for epoch in range(args.epochs):
        model.train()
        epoch_loss, epoch_acc = 0, 0
        for tokens, labels in train_loader:
            tokens, labels = tokens.to(device), labels.to(device)
            logits = model(tokens=tokens)
            loss = loss_fn(logits, labels)
            acc = accuracy_of(logits, labels)
            model.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            global_step += 1
            epoch_loss += loss.item()
            epoch_acc += acc.item()
        model.eval()
        with torch.no_grad():
            valid_loss = valid_acc = 0.0
            for tokens, labels in valid_loader:
                tokens, labels = tokens.to(device), labels.to(device)
                logits = model(tokens=tokens)
                valid_loss += loss_fn(logits, labels).item() * len(labels)
                valid_acc += (logits.argmax(-1) == labels).sum()
        n = len(valid_loader.dataset)
        print(f"{epoch} training error {epoch_loss / len(train_loader):.6f} accuracy {epoch_acc / len(train_loader):.6f}")
        print(f"{epoch} validation {valid_loss / n:.6f} accuracy {valid_acc.item() / n:.6f} lr {scheduler.get_last_lr()[0]:.7f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--batch-size", type=int, default=8)
    ap.add_argument("--epochs", type=int, default=2)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--cpu", action="store_true")
    ap.add_argument("--output", default=".")
    main(ap.parse_args())
