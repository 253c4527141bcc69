import torch
from engine import fit
from torch.utils.data import DataLoader

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def on_batch(batch):
    model(batch).mean().backward()
    optimizer.step()


fit(DataLoader(torch.randn(8, 4)), callbacks=[on_batch])
