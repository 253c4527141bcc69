import torch
from torch import nn
from torch.utils.data import DataLoader


class Auto(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(8, 2), nn.Linear(2, 8)

    def encode(self, x):
        return self.down(x)

    def forward(self, x):
        return self.up(self.encode(x))


model = Auto()
optimizer = torch.optim.Adam(model.parameters())
loader = DataLoader(torch.randn(64, 8), batch_size=8)
for x in loader:
    code = model.encode(x)
    loss = (model.up(code) - x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
