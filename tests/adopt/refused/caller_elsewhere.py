import torch
from torch.utils.data import DataLoader


def train(args, model, device, rows):
    loader = DataLoader(rows, batch_size=16, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    for x, y in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
        optimizer.step()


def test(args, model, device, rows):
    loader, right = DataLoader(rows, batch_size=16), 0
    for x, y in loader:
        scores = model(x.to(device))
        right += (scores.argmax(1) == y.to(device)).sum().item()
    print(f"accuracy {right / len(loader.dataset):.3f}")
