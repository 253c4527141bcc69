"""Two-stage: the head first, then everything with another optimiser, in functions that make their optimiser."""
import argparse
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(6, 12), nn.ReLU())
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        return self.head(self.backbone(x))

    def freeze(self, frozen):
        for p in self.backbone.parameters():
            p.requires_grad = not frozen


@torch.inference_mode()
def check(net, loader, device):
    net.eval()
    hits = 0
    for x, y in loader:
        hits += int((net(x.to(device)).argmax(1).cpu() == y).sum())
    net.train()
    return hits / len(loader.dataset)


def stage(net, loader, test, device, lr, epochs):
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, net.parameters()), lr=lr)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x.to(device)), y.to(device)).backward()
            optimizer.step()
        print(f"accuracy {check(net, test, device):.6f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--batch-size", type=int, default=8)
    ap.add_argument("--output", default=".")
    a = ap.parse_args()
    torch.manual_seed(0)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    x = torch.randn(95, 6)
    y = (x[:, 0] > 0).long()
    loader = DataLoader(TensorDataset(x[:64], y[:64]), a.batch_size)
    test = DataLoader(TensorDataset(x[64:], y[64:]), a.batch_size)
    net = Net().to(device)
    net.freeze(True)
    stage(net, loader, test, device, 1e-2, 1)
    net.freeze(False)
    stage(net, loader, test, device, 1e-2, 1)
    torch.save(net.state_dict(), a.output + "/net.pt")
