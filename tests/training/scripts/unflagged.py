"""A training without a flag: its weight decay is in its code. Flags of this test alone make it another kind."""

import argparse
import json
import random

import numpy as np
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--kind", default="plain")
parser.add_argument("--weight-decay", type=float, default=0.1)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--lr", type=float, default=1e-3)
options = parser.parse_args()
STEPS = 100

random.seed(options.seed)
np.random.seed(options.seed)
torch.manual_seed(options.seed)
model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4))
matrices = [p for p in model.parameters() if p.ndim > 1]
vectors = [p for p in model.parameters() if p.ndim < 2]
wd = options.weight_decay


class ByItself(torch.optim.AdamW):
    """Takes a weight decay that is in none of its groups."""

    def step(self, closure=None):
        """Decay, and then Adam alone."""
        said = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            group["weight_decay"] = 0.0
            for parameter in group["params"]:
                parameter.data.mul_(1 - 0.3 * group["lr"])
        super().step(closure)
        for group, value in zip(self.param_groups, said, strict=True):
            group["weight_decay"] = value


class AfterAdam(torch.optim.Adam):
    """Decays after the step of its parent class."""

    def __init__(self, parameters, lr, weight_decay):
        super().__init__(parameters, lr=lr, weight_decay=weight_decay)

    def step(self, closure=None):
        """Adam without decay, and then the decay that its groups say."""
        said = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            group["weight_decay"] = 0.0
        super().step(closure)
        for group, value in zip(self.param_groups, said, strict=True):
            group["weight_decay"] = value
            with torch.no_grad():
                for parameter in group["params"]:
                    parameter.mul_(1 - group["lr"] * value)


def optimizers():
    """Those of a kind."""
    if options.kind == "adam":
        return [torch.optim.Adam(model.parameters(), lr=options.lr, weight_decay=wd)]
    if options.kind == "after-adam":
        return [AfterAdam(model.parameters(), options.lr, wd)]
    if options.kind == "undecayed":
        return [torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=0.0)]
    if options.kind == "by-itself":
        return [ByItself([{"params": matrices, "weight_decay": wd}], lr=options.lr)]
    if options.kind == "groups":
        halves = [{"params": matrices, "weight_decay": wd}, {"params": vectors, "weight_decay": wd / 2}]
        return [torch.optim.AdamW(halves, lr=options.lr)]
    if options.kind == "two":
        first, second = torch.optim.AdamW(matrices, lr=options.lr, weight_decay=wd), torch.optim.SGD(vectors, lr=1e-3)
        return [second, first]
    return [torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=wd)]


optimizers = optimizers()
step = torch.compile(optimizers[0].step, backend="eager") if options.kind == "compiled" else None
order = torch.Generator().manual_seed(options.seed)
seen = []
for number in range(0 if options.kind == "idle" else STEPS):
    if options.kind == "crash":
        raise RuntimeError("no data")
    if options.kind == "remade" and number % 10 == 0:
        optimizers = [torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=wd)]
    if options.kind == "reloaded" and number == STEPS // 2:
        optimizers[0].load_state_dict(optimizers[0].state_dict())
    if options.kind == "float32":
        optimizers[0].param_groups[0]["weight_decay"] = np.float32(wd)
    batch = torch.randn(4, 8, generator=order) + float(np.random.rand()) + random.random()
    loss = model(batch).square().mean()
    loss.backward()
    for optimizer in optimizers:
        if options.kind == "closure":
            optimizer.step(lambda group=optimizer.param_groups[0]: group.update(weight_decay=0.3))
        else:
            (step or optimizer.step)()
        optimizer.zero_grad()
        seen += [group["weight_decay"] for group in optimizer.param_groups]
        if options.kind == "scheduled":
            for group in optimizer.param_groups:
                group["weight_decay"] = group["weight_decay"] * 0.9 if number % 2 else wd * 0.9 ** (number + 1)
held_out = model(torch.ones(4, 8)).square().mean().item()
print(json.dumps({"val_loss": held_out, "own": float(seen[-1]) if seen else 0.0}))
