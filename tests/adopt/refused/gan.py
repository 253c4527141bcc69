import torch
from torch.utils.data import DataLoader

generator = torch.nn.Linear(4, 4)
critic = torch.nn.Linear(4, 1)
generator_optimizer = torch.optim.Adam(generator.parameters())
critic_optimizer = torch.optim.Adam(critic.parameters())
for batch in DataLoader(torch.randn(8, 4)):
    critic(generator(batch)).mean().backward()
    generator_optimizer.step()
