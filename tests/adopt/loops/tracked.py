"""Logging, a tracker and a progress bar of one's own; the loop stops when validation no longer improves."""

import argparse
import logging
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

logger = logging.getLogger(__name__)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", default="out")
    return parser.parse_args()


def main():
    args = parse()
    logging.basicConfig(level=logging.INFO)
    os.makedirs(args.output, exist_ok=True)
    torch.manual_seed(2)
    x = torch.randn(80, 10)
    whole = TensorDataset(x, (x[:, :3].sum(1) > 0).float())
    train_set, valid_set = random_split(whole, [64, 16], generator=torch.Generator().manual_seed(0))
    train_loader = DataLoader(train_set, batch_size=args.batch_size)
    valid_loader = DataLoader(valid_set, batch_size=args.batch_size)
    writer = SummaryWriter(args.output)
    net = nn.Linear(10, 1)
    if torch.cuda.is_available():
        net.cuda()
    opt = torch.optim.NAdam(net.parameters(), lr=0.05)
    loss_fn = nn.BCEWithLogitsLoss()
    best, step = float("inf"), 0
    for epoch in range(3):
        bar = tqdm(train_loader, leave=False)
        for features, labels in bar:
            if torch.cuda.is_available():
                features, labels = features.cuda(), labels.cuda()
            loss = loss_fn(net(features).squeeze(1), labels)
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            bar.set_postfix(loss=loss.item())
            writer.add_scalar("train/loss", loss.item(), step)
        net.eval()
        scores, truth = [], []
        with torch.no_grad():
            for features, labels in valid_loader:
                if torch.cuda.is_available():
                    features = features.cuda()
                logits = net(features).squeeze(1)
                scores.append(logits.cpu())
                truth.append(labels.cpu())
        valid = loss_fn(torch.cat(scores), torch.cat(truth)).item()
        net.train()
        writer.add_scalar("valid/loss", valid, step)
        logger.info("epoch %d: validation %.6f", epoch, valid)
        print(f"epoch {epoch}: validation {valid:.6f}")
        if valid >= best:
            break
        best = valid
        torch.save(net.state_dict(), os.path.join(args.output, "best.pt"))
    writer.close()


main()
