import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

model = torch.nn.Linear(4, 4)
optimizer = torch.optim.Adam(model.parameters())
loader = DataLoader(torch.randn(64, 4), batch_size=8)
for batch in loader:
    out = model(batch)
    loss = F.mse_loss(out, batch, reduction="sum") + out.abs().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
