"""Plain data-parallel PyTorch, as people write it for torchrun. Each rank writes down what it was and what it learnt."""

import argparse
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

parser = argparse.ArgumentParser()
parser.add_argument("--output-dir", type=Path, required=True)
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--batch-size", type=int, required=True)
parser.add_argument("--learning-rate", type=float, required=True)
parser.add_argument("--note", default="")
parser.add_argument("--quiet", action="store_true")
args = parser.parse_args()

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate)
data = torch.randn(args.steps, world, args.batch_size, 4)
losses = []
for step in range(args.steps):
    mine = data[step, rank]
    loss = (model(mine) - mine.sum(dim=1, keepdim=True)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
args.output_dir.mkdir(parents=True, exist_ok=True)
found = {"rank": rank, "world": world, "losses": losses, "arguments": sys.argv[1:], "word": os.environ.get("WORD")}
found["weights"] = [p.tolist() for p in model.parameters()]
(args.output_dir / f"rank{rank}.json").write_text(json.dumps(found))
dist.destroy_process_group()
