import torch
from torch.utils.data import DataLoader

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader, test_loader = DataLoader([]), DataLoader([])
for x, y in loader:
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
right = 0
for x, y in test_loader:
    right += (model(x).argmax(1) == y).sum().item()
