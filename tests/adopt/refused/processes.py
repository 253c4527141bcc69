import torch
import torch.multiprocessing as mp
from torch.utils.data import DataLoader


def train(rank):
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(torch.randn(64, 4), batch_size=8)
    for batch in loader:
        model(batch).pow(2).mean().backward()
        optimizer.step()


if __name__ == "__main__":
    mp.spawn(train, nprocs=2)
