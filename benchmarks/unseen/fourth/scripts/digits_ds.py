"""The same classifier with DeepSpeed, which takes batch, rate and sharding from its own file."""
import argparse
from pathlib import Path

import deepspeed
import torch
from torch import nn
from torch.utils.data import TensorDataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--local_rank", type=int, default=-1)
    parser.add_argument("--deepspeed-config", required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--epochs", type=float, default=4)
    args = parser.parse_args()
    torch.manual_seed(0)
    centres = torch.randn(10, 64)
    labels = torch.randint(0, 10, (20000,))
    rows = TensorDataset(centres[labels] + 0.8 * torch.randn(20000, 64), labels)
    model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    engine, _, loader, _ = deepspeed.initialize(
        model=model, optimizer=optimizer, training_data=rows, config=args.deepspeed_config
    )
    kind = next(engine.parameters()).dtype
    for _ in range(int(args.epochs)):
        for x, y in loader:
            loss = nn.functional.cross_entropy(engine(x.to(engine.device, kind)), y.to(engine.device))
            engine.backward(loss)
            engine.step()
    engine.save_checkpoint(str(args.output_dir))


if __name__ == "__main__":
    main()
