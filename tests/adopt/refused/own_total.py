import torch
from measures import hits
from torch.utils.data import DataLoader, TensorDataset

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.Adam(model.parameters())
loader = DataLoader(TensorDataset(torch.randn(64, 4), torch.zeros(64).long()), batch_size=8)
for epoch in range(3):
    right = 0
    for x, y in loader:
        out = model(x)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(out, y).backward()
        optimizer.step()
        right += hits(out, y)
    print(right / len(loader.dataset))
