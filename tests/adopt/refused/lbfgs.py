import torch
from torch.utils.data import DataLoader

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.LBFGS(model.parameters())
loader = DataLoader(torch.randn(8, 4))
for batch in loader:

    def closure():
        loss = model(batch).pow(2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
