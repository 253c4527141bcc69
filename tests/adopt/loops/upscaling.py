"""Upscaling: PSNR, options at the top, batch[0]/batch[1], checkpoint(epoch)."""
from __future__ import print_function
import argparse
from math import log10

import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--nEpochs", type=int, default=2)
parser.add_argument("--cuda", action="store_true")
parser.add_argument("--seed", type=int, default=123)
parser.add_argument("--output", default=".")
opt = parser.parse_args()
print(opt)
if opt.cuda and not torch.cuda.is_available():
    raise Exception("No GPU found, please run without --cuda")
torch.manual_seed(opt.seed)
device = torch.device("cuda" if opt.cuda else "cpu")


class Pics(Dataset):
    def __init__(self, n):
        self.x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(n))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.x[i].repeat_interleave(2, -1).repeat_interleave(2, -2)


class Net(nn.Module):
    def __init__(self, upscale):
        super(Net, self).__init__()
        self.conv = nn.Conv2d(1, upscale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(upscale)

    def forward(self, x):
        return self.shuffle(self.conv(x))


train_set, test_set = Pics(64), Pics(13)
training_data_loader = DataLoader(dataset=train_set, num_workers=0, batch_size=opt.batch_size, shuffle=False)
testing_data_loader = DataLoader(dataset=test_set, num_workers=0, batch_size=opt.batch_size, shuffle=False)
print("===> Building model")
model = Net(upscale=2).to(device)
criterion = nn.MSELoss()
optimizer = optim.Adam(model.parameters(), lr=0.01)


def train(epoch):
    epoch_loss = 0
    for iteration, batch in enumerate(training_data_loader, 1):
        input, target = batch[0].to(device), batch[1].to(device)
        optimizer.zero_grad()
        loss = criterion(model(input), target)
        epoch_loss += loss.item()
        loss.backward()
        optimizer.step()
        print("===> Epoch[{}]({}/{}): loss {:.4f}".format(epoch, iteration, len(training_data_loader), loss.item()))
    print("===> Epoch {} complete: Avg. error {:.6f}".format(epoch, epoch_loss / len(training_data_loader)))


def test():
    avg_psnr = 0
    with torch.no_grad():
        for batch in testing_data_loader:
            input, target = batch[0].to(device), batch[1].to(device)
            prediction = model(input)
            mse = criterion(prediction, target)
            psnr = 10 * log10(1 / mse.item())
            avg_psnr += psnr
    print("===> Avg. PSNR accuracy {:.6f} dB".format(avg_psnr / len(testing_data_loader)))


def checkpoint(epoch):
    model_out_path = opt.output + "/model_epoch_{}.pth".format(epoch)
    torch.save(model, model_out_path)
    print("Checkpoint saved to {}".format(model_out_path))


for epoch in range(1, opt.nEpochs + 1):
    train(epoch)
    test()
    checkpoint(epoch)
