import torch
from torch.utils.data import DataLoader

model = torch.nn.DataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(torch.randn(8, 4))
for batch in loader:
    model(batch).mean().backward()
    optimizer.step()
