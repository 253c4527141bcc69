"""A small causal language model of transformers, its perplexity, and a folder that from_pretrained reads."""

import argparse
import math
import random

import torch
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, LlamaConfig, get_linear_schedule_with_warmup


def set_seed(seed):
    random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def rows(count, length=16):
    return [{"input_ids": torch.tensor([(3 * i + j) % 61 for j in range(length)])} for i in range(count)]


def perplexity(model, loader, device):
    model.eval()
    losses = []
    for batch in loader:
        batch = {k: v.to(device) for k, v in batch.items()}
        with torch.no_grad():
            outputs = model(**batch, labels=batch["input_ids"])
        losses.append(outputs.loss.item())
    return math.exp(sum(losses) / len(losses))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", default="model")
    args = parser.parse_args()
    set_seed(11)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    model = AutoModelForCausalLM.from_config(config)
    model.to(device)
    train_dataloader = DataLoader(rows(48), batch_size=args.batch_size)
    eval_dataloader = DataLoader(rows(16), batch_size=args.batch_size)
    # no decay of norms, as usual
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=5e-3)
    lr_scheduler = get_linear_schedule_with_warmup(optimizer, len(train_dataloader) // 6, len(train_dataloader))

    model.train()
    for step, batch in enumerate(train_dataloader):
        batch = {k: v.to(device) for k, v in batch.items()}
        loss = model(**batch, labels=batch["input_ids"]).loss
        loss.backward()
        optimizer.step()
        lr_scheduler.step()
        optimizer.zero_grad()
        print(f"step {step} loss {loss.item():.4f}")
    print(f"perplexity {perplexity(model, eval_dataloader, device):.5f}")
    model.save_pretrained(args.output)


if __name__ == "__main__":
    main()
