"""WGAN-GP style with batch norm in the generator, several critic steps, combined loss."""
import argparse
import torch
import torch.nn as nn
import torch.optim as optim
import torch.autograd as autograd
from torch.utils.data import DataLoader, TensorDataset

ap = argparse.ArgumentParser()
ap.add_argument("--batch-size", type=int, default=8)
ap.add_argument("--output", default=".")
args = ap.parse_args()
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(0)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, z):
        return self.model(z)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x):
        return self.model(x)


def penalty(critic, real, fake):
    mixed = (0.3 * real + 0.7 * fake).requires_grad_(True)
    scores = critic(mixed)
    grads = autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True, retain_graph=True)[0]
    return ((grads.norm(2, dim=1) - 1) ** 2).mean()


G, C = Generator().to(device), Critic().to(device)
opt_G = optim.Adam(G.parameters(), lr=1e-2, betas=(0.0, 0.9))
opt_C = optim.Adam(C.parameters(), lr=1e-2, betas=(0.0, 0.9))
loader = DataLoader(TensorDataset(torch.randn(64, 4), torch.randn(64, 2)), batch_size=args.batch_size)
for epoch in range(2):
    for i, (real, z) in enumerate(loader):
        real, z = real.to(device), z.to(device)
        opt_C.zero_grad()
        fake = G(z).detach()
        loss_c = C(fake).mean() - C(real).mean() + 10 * penalty(C, real, fake)
        loss_c.backward()
        opt_C.step()
        if i % 2 == 0:
            opt_G.zero_grad()
            loss_g = -C(G(z)).mean()
            loss_g.backward()
            opt_G.step()
    with torch.no_grad():
        print(f"critic error {C(G(torch.ones(4, 2, device=device))).mean().item():.6f}")
