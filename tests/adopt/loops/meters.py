"""Meters, top-k accuracy and the best checkpoint; the optimiser is chosen by an `if`."""

import argparse
import os
import shutil
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

best_acc1 = 0


class AverageMeter:
    def __init__(self, name, fmt=":f"):
        self.name, self.fmt = name, fmt
        self.reset()

    def reset(self):
        self.val = self.avg = self.sum = self.count = 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count


def accuracy(output, target, topk=(1,)):
    with torch.no_grad():
        maxk = max(topk)
        batch_size = target.size(0)
        _, pred = output.topk(maxk, 1, True, True)
        correct = pred.t().eq(target.view(1, -1).expand_as(pred.t()))
        return [correct[:k].reshape(-1).float().sum(0, keepdim=True).mul_(100.0 / batch_size) for k in topk]


def train(train_loader, model, criterion, optimizer, epoch, device, args):
    batch_time, losses, top1 = AverageMeter("time"), AverageMeter("loss"), AverageMeter("acc1")
    model.train()
    end = time.time()
    for i, (images, target) in enumerate(train_loader):
        images = images.to(device, non_blocking=True)
        target = target.to(device, non_blocking=True)
        output = model(images)
        loss = criterion(output, target)
        acc1, acc2 = accuracy(output, target, topk=(1, 2))
        losses.update(loss.item(), images.size(0))
        top1.update(acc1[0], images.size(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        batch_time.update(time.time() - end)
        end = time.time()
        if i % 4 == 0:
            print(f"epoch {epoch} [{i}] loss {losses.avg:.4f}")


def validate(val_loader, model, criterion, device, args):
    losses, top1, top2 = AverageMeter("loss"), AverageMeter("acc1"), AverageMeter("acc2")
    model.eval()
    with torch.no_grad():
        end = time.time()
        for i, (images, target) in enumerate(val_loader):
            images = images.to(device, non_blocking=True)
            target = target.to(device, non_blocking=True)
            output = model(images)
            loss = criterion(output, target)
            acc1, acc2 = accuracy(output, target, topk=(1, 2))
            losses.update(loss.item(), images.size(0))
            top1.update(acc1[0], images.size(0))
            top2.update(acc2[0], images.size(0))
            end = time.time()
    print(f" * validation error {losses.avg:.6f} accuracy {top1.avg.item():.4f} {top2.avg.item():.4f}")
    return top1.avg


def save_checkpoint(state, is_best, folder):
    filename = os.path.join(folder, "checkpoint.pth.tar")
    torch.save(state, filename)
    if is_best:
        shutil.copyfile(filename, os.path.join(folder, "model_best.pth.tar"))


def main():
    global best_acc1
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument("--output", default=".")
    args = parser.parse_args()
    torch.manual_seed(6)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 4)).to(device)
    criterion = nn.CrossEntropyLoss().to(device)
    if args.optimizer == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), 0.2, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    x = torch.randn(91, 5)
    y = x[:, :4].argmax(1)
    train_loader = DataLoader(TensorDataset(x[:64], y[:64]), batch_size=args.batch_size, shuffle=False, num_workers=0, pin_memory=False)
    val_loader = DataLoader(TensorDataset(x[64:], y[64:]), batch_size=args.batch_size, shuffle=False)
    for epoch in range(2):
        train(train_loader, model, criterion, optimizer, epoch, device, args)
        acc1 = validate(val_loader, model, criterion, device, args)
        scheduler.step()
        is_best = acc1 > best_acc1
        best_acc1 = max(acc1, best_acc1)
        save_checkpoint({"epoch": epoch + 1, "state_dict": model.state_dict(), "best": best_acc1, "optimizer": optimizer.state_dict()}, is_best, args.output)


if __name__ == "__main__":
    main()
