import torch
from torch.utils.data import DataLoader

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
loader = DataLoader(torch.randn(8, 4))
for x in loader:
    scaler.scale(model(x).mean()).backward()
    scaler.step(optimizer)
    scaler.update()
torch.save({"scaler": scaler.state_dict()}, "state.pt")
