import torch

x = torch.randn(64, 4)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for begin in range(0, 64, 8):
    loss = model(x[begin : begin + 8]).pow(2).mean()
    loss.backward()
    optimizer.step()
