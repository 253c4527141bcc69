"""Functions inside functions, with the model and its optimiser built by one of them and a loader by another."""

import argparse
import json

import torch
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm


def build(width, lr):
    model = torch.nn.Sequential(
        torch.nn.Linear(3, width),
        torch.nn.Tanh(),  # smooth, as the target is
        torch.nn.Linear(width, 1),
    )
    optimizer = torch.optim.RMSprop(model.parameters(), lr=lr)
    return model, optimizer


def loaders(batch_size):
    def make(rows, seed):
        x = torch.rand(rows, 3, generator=torch.Generator().manual_seed(seed))
        order = torch.Generator().manual_seed(seed)
        return DataLoader(TensorDataset(x, x.prod(1, keepdim=True)), batch_size, shuffle=seed == 0, generator=order)

    return make(64, 0), make(18, 1)


def run(args):
    torch.manual_seed(5)
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    train_loader, valid_loader = loaders(args.batch_size)
    model, optimizer = build(8, 1e-2)
    model = model.to(device)
    history = []

    def epoch(number):
        for x, y in tqdm(train_loader, desc=f"epoch {number}"):
            loss = torch.nn.functional.l1_loss(model(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def validate():
        errors = []
        with torch.inference_mode():
            for x, y in valid_loader:
                output = model(x.to(device))
                errors.extend((output - y.to(device)).abs().flatten().tolist())
        return sum(errors) / len(errors)

    for number in range(2):
        epoch(number)
        history.append(validate())
        print(f"error {history[-1]:.6f}")
    with open(args.output, "w") as stream:
        json.dump(history, stream)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", default="history.json")
    run(parser.parse_args())
