"""A frozen teacher beside the student; per-class counts; predictions kept in lists."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CLASSES = ("low", "middle", "high")


class Distiller:
    def __init__(self, batch_size):
        torch.manual_seed(12)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.teacher = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 3)).to(self.device)
        self.teacher.eval()
        self.student = nn.Linear(6, 3).to(self.device)
        self.params = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(self.params, lr=0.5)
        x = torch.randn(83, 6)
        with torch.no_grad():
            y = self.teacher(x.to(self.device)).argmax(1).cpu()
        self.loader = DataLoader(TensorDataset(x[:64], y[:64]), batch_size)
        self.held = DataLoader(TensorDataset(x[64:], y[64:]), batch_size)

    def epoch(self):
        total_loss, batches = 0.0, 0
        for x, y in self.loader:
            x, y = x.to(self.device), y.to(self.device)
            with torch.no_grad():
                soft = self.teacher(x).softmax(1)
            out = self.student(x)
            loss = nn.functional.cross_entropy(out, y) + nn.functional.kl_div(out.log_softmax(1), soft, reduction="batchmean")
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.params, 1.0)
            self.optimizer.step()
            total_loss += loss.item()
            batches += 1
        return total_loss / batches

    def evaluate(self):
        right = {name: 0 for name in CLASSES}
        every = {name: 0 for name in CLASSES}
        predictions = []
        with torch.no_grad():
            for data in self.held:
                images, labels = data
                images, labels = images.to(self.device), labels.to(self.device)
                outputs = self.student(images)
                _, guessed = torch.max(outputs, 1)
                predictions.extend(guessed.tolist())
                for label, guess in zip(labels, guessed):
                    if label == guess:
                        right[CLASSES[label]] += 1
                    every[CLASSES[label]] += 1
        for name in CLASSES:
            print(f"{name} accuracy {right[name] / max(every[name], 1):.6f} of {every[name]}.0")
        print(f"accuracy {sum(right.values()) / len(predictions):.6f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", default=".")
    args = parser.parse_args()
    d = Distiller(args.batch_size)
    for _ in range(2):
        print(f"training error {d.epoch():.6f}")
        d.evaluate()
