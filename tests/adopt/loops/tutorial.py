"""fit(epochs, model, loss_func, opt, train_dl, valid_dl) with loss_batch, as the nn tutorial has it."""
import argparse
import numpy as np
import torch
from torch import nn, optim
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def loss_batch(model, loss_func, xb, yb, opt=None):
    loss = loss_func(model(xb), yb)
    if opt is not None:
        loss.backward()
        opt.step()
        opt.zero_grad()
    return loss.item(), len(xb)


def fit(epochs, model, loss_func, opt, train_dl, valid_dl):
    for epoch in range(epochs):
        model.train()
        for xb, yb in train_dl:
            loss_batch(model, loss_func, xb, yb, opt)
        model.eval()
        with torch.no_grad():
            losses, nums = zip(*[loss_batch(model, loss_func, xb, yb) for xb, yb in valid_dl])
        val_loss = np.sum(np.multiply(losses, nums)) / np.sum(nums)
        print(f"{epoch} validation {val_loss:.6f}")


def get_data(train_ds, valid_ds, bs):
    return DataLoader(train_ds, batch_size=bs, shuffle=False), DataLoader(valid_ds, batch_size=bs * 2)


def get_model():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    return model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


ap = argparse.ArgumentParser()
ap.add_argument("--batch-size", type=int, default=8)
ap.add_argument("--output", default=".")
args = ap.parse_args()
torch.manual_seed(0)
x = torch.randn(91, 4)
y = (x[:, 0] > x[:, 1]).long()
train_dl, valid_dl = get_data(TensorDataset(x[:64], y[:64]), TensorDataset(x[64:], y[64:]), args.batch_size)
model, opt = get_model()
fit(2, model, F.cross_entropy, opt, train_dl, valid_dl)
