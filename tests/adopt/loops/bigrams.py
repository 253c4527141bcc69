"""Language model by steps: infinite batches from an iterator, accumulation, warmup, estimate_loss every few steps."""
import argparse
import math

import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--output", default=".")
args = parser.parse_args()
block, vocab = 8, 16
torch.manual_seed(1337)
device = "cuda" if torch.cuda.is_available() else "cpu"


class Blocks(Dataset):
    def __init__(self, n, seed):
        self.d = torch.randint(0, vocab, (n, block + 1), generator=torch.Generator().manual_seed(seed)).sort(1).values

    def __len__(self):
        return len(self.d)

    def __getitem__(self, i):
        return self.d[i, :-1], self.d[i, 1:]


class Bigram(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(vocab, 16)
        self.head = nn.Linear(16, vocab)

    def forward(self, idx, targets=None):
        logits = self.head(self.emb(idx))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, vocab), targets.reshape(-1))
        return logits, loss

    @torch.no_grad()
    def generate(self, idx, n):
        for _ in range(n):
            logits, _ = self(idx)
            idx = torch.cat([idx, logits[:, -1].argmax(-1, keepdim=True)], 1)
        return idx


model = Bigram().to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
train_loader = DataLoader(Blocks(96, 0), batch_size=args.batch_size)
val_loader = DataLoader(Blocks(24, 1), batch_size=args.batch_size)


@torch.no_grad()
def estimate_loss():
    model.eval()
    losses = []
    for xb, yb in val_loader:
        xb, yb = xb.to(device), yb.to(device)
        _, loss = model(xb, yb)
        losses.append(loss.item())
    model.train()
    return sum(losses) / len(losses)


def get_lr(it):
    return 0.05 * (it + 1) / 4 if it < 4 else 0.05 * (0.5 + 0.5 * math.cos(math.pi * it / 24))


it = 0
tokens = 0
for epoch in range(2):
    for xb, yb in train_loader:
        xb, yb = xb.to(device), yb.to(device)
        for group in optimizer.param_groups:
            group["lr"] = get_lr(it)
        logits, loss = model(xb, yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        tokens += xb.numel()
        it += 1
        if it % 6 == 0:
            print(f"step {it}: validation {estimate_loss():.6f}, lr {optimizer.param_groups[0]['lr']:.6f}")
context = torch.zeros((1, 1), dtype=torch.long, device=device)
print(model.generate(context, 5)[0].tolist())
