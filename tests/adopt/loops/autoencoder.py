"""A variational autoencoder: several outputs, a loss summed over the batch, functions over globals."""

import argparse
import os

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--output", default="results")
args = parser.parse_args()
device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
torch.manual_seed(9)
pixels = (torch.rand(64, 12) > 0.6).float()
train_loader = DataLoader(TensorDataset(pixels, torch.zeros(64)), batch_size=args.batch_size)
test_loader = DataLoader(TensorDataset(pixels[:19], torch.zeros(19)), batch_size=args.batch_size)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.mean, self.spread = nn.Linear(12, 8), nn.Linear(8, 2), nn.Linear(8, 2)
        self.back, self.outer = nn.Linear(2, 8), nn.Linear(8, 12)

    def encode(self, x):
        h = F.relu(self.inner(x))
        return self.mean(h), self.spread(h)

    def decode(self, z):
        return torch.sigmoid(self.outer(F.relu(self.back(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 12))
        return self.decode(mu + 0.1 * torch.exp(0.5 * logvar)), mu, logvar


model = VAE().to(device)
optimizer = optim.SGD(model.parameters(), lr=1e-3)


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 12), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


def train(epoch):
    model.train()
    train_loss = 0
    for batch_idx, (data, _) in enumerate(train_loader):
        data = data.to(device)
        optimizer.zero_grad()
        recon_batch, mu, logvar = model(data)
        loss = loss_function(recon_batch, data, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
        if batch_idx % 4 == 0:
            print(f"epoch {epoch} [{batch_idx * len(data)}/{len(train_loader.dataset)}] loss {loss.item() / len(data):.4f}")
    print(f"training error {train_loss / len(train_loader.dataset):.6f}")


def test(epoch):
    model.eval()
    test_loss = 0
    with torch.no_grad():
        for i, (data, _) in enumerate(test_loader):
            data = data.to(device)
            recon_batch, mu, logvar = model(data)
            test_loss += loss_function(recon_batch, data, mu, logvar).item()
            if i == 0:
                n = min(data.size(0), 4)
                comparison = torch.cat([data[:n], recon_batch.view(args.batch_size, 12)[:n]])
                torch.save(comparison.cpu(), os.path.join(args.output, f"reconstruction-{epoch}.pt"))
    test_loss /= len(test_loader.dataset)
    print(f"test error {test_loss:.6f}")


if __name__ == "__main__":
    for epoch in range(1, args.epochs + 1):
        train(epoch)
        test(epoch)
        with torch.no_grad():
            sample = torch.randn(6, 2).to(device)
            sample = model.decode(sample).cpu()
            torch.save(sample, os.path.join(args.output, f"sample-{epoch}.pt"))
