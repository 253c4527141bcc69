"""A network for pairs: one tower called twice in forward; the threshold decides; the model comes from main."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    def __init__(self, rows):
        g = torch.Generator().manual_seed(rows)
        self.a, self.b = torch.randn(rows, 6, generator=g), torch.randn(rows, 6, generator=g)

    def __len__(self):
        return len(self.a)

    def __getitem__(self, i):
        return self.a[i], self.b[i], ((self.a[i] * self.b[i]).sum() > 0).float()


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(6, 10), nn.ReLU())
        self.head = nn.Linear(20, 1)

    def forward(self, a, b):
        return torch.sigmoid(self.head(torch.cat((self.tower(a), self.tower(b)), 1)))


def train(args, model, device, train_loader, optimizer, epoch):
    model.train()
    criterion = nn.BCELoss()
    losses = 0.0
    for batch_idx, (images_1, images_2, targets) in enumerate(train_loader):
        images_1, images_2, targets = images_1.to(device), images_2.to(device), targets.to(device)
        optimizer.zero_grad()
        outputs = model(images_1, images_2).squeeze()
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        losses += loss.item()
    print(f"epoch {epoch}: training error {losses / len(train_loader):.6f}")


def test(model, device, test_loader):
    model.eval()
    test_loss, correct = 0, 0
    criterion = nn.BCELoss()
    with torch.no_grad():
        for (images_1, images_2, targets) in test_loader:
            images_1, images_2, targets = images_1.to(device), images_2.to(device), targets.to(device)
            outputs = model(images_1, images_2).squeeze(1)
            test_loss += criterion(outputs, targets).sum().item()
            pred = torch.where(outputs > 0.5, 1, 0)
            correct += pred.eq(targets.view_as(pred)).sum().item()
    test_loss /= len(test_loader.dataset)
    print("accuracy {:.6f} error {:.6f}".format(correct / len(test_loader.dataset), test_loss))


def fit(args, net, device):
    loader = DataLoader(Pairs(56), batch_size=args.batch_size)
    optimizer = torch.optim.Adagrad(net.parameters(), lr=0.1)
    for epoch in range(2):
        train(args, net, device, loader, optimizer, epoch)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--output", default="x")
    args = p.parse_args()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Siamese().to(device)
    test_loader = DataLoader(Pairs(22), batch_size=args.batch_size)
    test(model, device, test_loader)
    fit(args, model, device)
    test(model, device, test_loader)


if __name__ == "__main__":
    main()
