"""Convolutional GAN with batch norm in both, joint loss of the discriminator, auxiliary classes, log file."""
import argparse
import os

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

os_args = argparse.ArgumentParser()
os_args.add_argument("--batch-size", type=int, default=8)
os_args.add_argument("--output", default=".")
opt = os_args.parse_args()
cuda = True if torch.cuda.is_available() else False


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.LeakyReLU(0.2))
        self.adv_layer = nn.Linear(8, 1)
        self.aux_layer = nn.Linear(8, 3)

    def forward(self, x):
        out = self.body(x)
        return self.adv_layer(out), self.aux_layer(out)


torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
discriminator = Discriminator()
adversarial_loss = nn.BCEWithLogitsLoss()
auxiliary_loss = nn.CrossEntropyLoss()
if cuda:
    generator.cuda()
    discriminator.cuda()
    adversarial_loss.cuda()
dataloader = DataLoader(TensorDataset(torch.randn(64, 4), torch.randint(0, 3, (64,)), torch.randn(64, 2)), batch_size=opt.batch_size, drop_last=True)
optimizer_G = torch.optim.Adam(generator.parameters(), lr=1e-2)
optimizer_D = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
log = open(os.path.join(opt.output, "log.txt"), "w")
for epoch in range(2):
    for i, (imgs, labels, z) in enumerate(dataloader):
        valid = torch.ones(imgs.size(0), 1)
        fake = torch.zeros(imgs.size(0), 1)
        if cuda:
            imgs, labels, z, valid, fake = imgs.cuda(), labels.cuda(), z.cuda(), valid.cuda(), fake.cuda()
        optimizer_G.zero_grad()
        gen = generator(z)
        validity, _ = discriminator(gen)
        g_loss = adversarial_loss(validity, valid)
        g_loss.backward()
        optimizer_G.step()
        optimizer_D.zero_grad()
        real_pred, real_aux = discriminator(imgs)
        fake_pred, fake_aux = discriminator(gen.detach())
        d_loss = (adversarial_loss(real_pred, valid) + auxiliary_loss(real_aux, labels)) / 2 + (adversarial_loss(fake_pred, fake) + auxiliary_loss(fake_aux, labels)) / 2
        d_loss.backward()
        optimizer_D.step()
        log.write(f"{epoch} {i} {d_loss.item()}\n")
    print("[Epoch %d] [critic error %f]" % (epoch, d_loss.item()))
log.close()
