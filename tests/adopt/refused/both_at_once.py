import torch
from torch.utils.data import DataLoader, TensorDataset

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rows = TensorDataset(torch.randn(64, 4), torch.zeros(64).long())
loader, held = DataLoader(rows, batch_size=8), DataLoader(rows, batch_size=8)


def run(loader, training):
    right = 0
    for x, y in loader:
        output = model(x)
        if training:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(output, y).backward()
            optimizer.step()
        right += (output.argmax(1) == y).sum().item()
    print(right / len(loader.dataset))


for epoch in range(3):
    run(loader, training=True)
    run(held, training=False)
