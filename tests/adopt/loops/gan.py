"""A generator and a critic with an optimiser each, everything at the top level; samples are written as it goes."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--output", default="samples")
opt = parser.parse_args()

torch.manual_seed(4)
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
# the noise is a part of the data, so that every run draws the same
rows, noise = torch.randn(64, 4) * 0.3 + 2, torch.randn(64, 2)
loader = DataLoader(TensorDataset(rows, noise), batch_size=opt.batch_size)
held = DataLoader(TensorDataset(rows[:21], noise[:21]), batch_size=opt.batch_size)
fixed = torch.randn(5, 2, device=device)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, z):
        return self.main(z)


def reset(m):
    if isinstance(m, nn.Linear):
        nn.init.normal_(m.weight, 0.0, 0.2)


generator = Generator().to(device)
generator.apply(reset)
critic = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)).to(device)
critic.apply(reset)
criterion = nn.BCEWithLogitsLoss()
critic_optimizer = torch.optim.Adam(critic.parameters(), lr=0.02, betas=(0.5, 0.999))
generator_optimizer = torch.optim.Adam(generator.parameters(), lr=0.02, betas=(0.5, 0.999))

for epoch in range(2):
    for i, (real, z) in enumerate(loader, 0):
        critic.zero_grad()
        real = real.to(device)
        size = real.size(0)
        label = torch.full((size, 1), 1.0, device=device)
        error_real = criterion(critic(real), label)
        error_real.backward()
        fake = generator(z.to(device))
        label.fill_(0.0)
        error_fake = criterion(critic(fake.detach()), label)
        error_fake.backward()
        critic_optimizer.step()
        generator.zero_grad()
        label.fill_(1.0)
        error = criterion(critic(fake), label)
        error.backward()
        generator_optimizer.step()
        if i % 4 == 0:
            print(f"[{epoch}][{i}] loss {error_real.item() + error_fake.item():.4f} {error.item():.4f}")
            torch.save(generator(fixed).detach().cpu(), f"{opt.output}/samples-{epoch}.pt")
    fooled = 0.0
    with torch.no_grad():
        for real, z in held:
            fooled += torch.sigmoid(critic(generator(z.to(device)))).sum().item()
    print(f"validation {fooled / len(held.dataset):.6f}")
    torch.save(generator.state_dict(), f"{opt.output}/generator-{epoch}.pth")
    torch.save(critic.state_dict(), f"{opt.output}/critic-{epoch}.pth")
