import torch
from torch.utils.data import DataLoader, TensorDataset

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(TensorDataset(torch.randn(64, 4), torch.zeros(64).long()), batch_size=8)
for x, y in loader:
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
right = 0
for x, y in loader:
    right += (model(x).argmax(1) == y).sum().item()
print(right / len(loader.dataset))
