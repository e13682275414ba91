"""Trainings that take a turn: their optimizer is made anew, has no learning rate, diverges, or its schedule is open."""

import sys

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR

kind = sys.argv[2]
torch.manual_seed(0)
net = nn.Linear(16, 16)
critic = nn.Linear(16, 1)
both = nn.ModuleList([net, critic])


class FindsItsOwn(torch.optim.Optimizer):
    """Has no learning rate in its groups, as Adafactor."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": None, "weight_decay": 0.0})

    def step(self, closure=None):
        """Something."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.sub_(1e-3 * parameter.grad)


def made():
    """The optimizer."""
    return FindsItsOwn(net.parameters()) if kind == "own-lr" else torch.optim.AdamW(net.parameters(), weight_decay=0.1)


optimizer, rare, schedulers = made(), torch.optim.AdamW(critic.parameters()), []
if kind == "warm-up":
    schedulers = [LinearLR(optimizer, total_iters=5)]
elif kind == "two-schedulers":
    schedulers = [ExponentialLR(optimizer, 0.99), CosineAnnealingLR(optimizer, 40)]
for step in range(40):
    if kind == "remade" and step % 8 == 0:
        optimizer = made()
    x = torch.randn(8, 16) * (float("nan") if kind == "diverges" and step > 5 else 1.0)
    (critic(net(x)).mean() + (net(x) - x).square().mean()).backward()
    optimizer.step()
    optimizer.zero_grad()
    if step == 30:
        rare.step()
    for scheduler in schedulers:
        scheduler.step()
