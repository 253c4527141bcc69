import torch
from torch.utils.data import DataLoader

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loaders = {name: DataLoader(torch.randn(64, 4), batch_size=8) for name in ("train", "held")}
for phase in ("train", "held"):
    for batch in loaders[phase]:
        loss = model(batch).pow(2).mean()
        if phase == "train":
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
