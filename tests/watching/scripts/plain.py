"""A plain training of torch: argparse, an optimizer by if/else, defaults in a dataclass."""

import argparse
import os
import sys
import time
from dataclasses import dataclass

import torch
from torch import nn
from truth import note


@dataclass
class Defaults:
    """What is trained where nothing else is said."""

    lr: float = 3e-3
    weight_decay: float = 0.1
    warmup: int = 5
    steps: int = 40


def build(name: str, model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """One of several, as many scripts have it."""
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=lr, weight_decay=weight_decay, momentum=0.9)
    foreach = {"adamw": None, "foreach": True, "loop": False}.get(name)
    return torch.optim.AdamW(
        model.parameters(),
        lr=lr,
        weight_decay=weight_decay,
        betas=(0.9, 0.95),
        foreach=foreach,
        fused=name == "fused" or None,
    )


def main() -> None:
    """Train."""
    defaults = Defaults()
    parser = argparse.ArgumentParser()
    parser.add_argument("truth")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--weights")
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--fail-at", type=int, help="with status 7")
    parser.add_argument("--print-megabytes", type=int, default=0)
    parser.add_argument("--dawdle", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.Linear(32, 50))
    optimizer = build(options.optimizer, model, defaults.lr, defaults.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / defaults.warmup) * max(0.0, 1 - step / options.steps)
    )
    for step in range(options.steps):
        if step == options.fail_at:
            raise SystemExit(7)
        batch = torch.randint(0, 50, (8, 5))
        loss = nn.functional.cross_entropy(model(batch[:, :4]), batch[:, 4])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        note(optimizer)
        scheduler.step()
        for _ in range(options.print_megabytes):
            sys.stdout.write("x" * (1 << 20) + "\n")
        if options.dawdle:
            print("pid", os.getpid(), flush=True)
            time.sleep(1)
    if options.weights:
        torch.save(model.state_dict(), options.weights)


if __name__ == "__main__":
    main()
