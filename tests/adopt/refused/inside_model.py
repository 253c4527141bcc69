import torch
from torch.utils.data import DataLoader


class Layer(torch.nn.Linear):
    pass


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = Layer(4, 1)
        self.optimizer = torch.optim.Adam(self.parameters())

    def learn(self, batch):
        self.layer(batch).mean().backward()
        self.optimizer.step()


net, loader = Net(), DataLoader(torch.randn(8, 4))
for batch in loader:
    net.learn(batch)
