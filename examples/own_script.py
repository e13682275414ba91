"""For whoever has a training script: all that `adamw-scale calibrate --command` asks of it is in here.

    python examples/own_script.py --lr 2e-3 --weight-decay 0.5 --max-steps 1024 --seed 0

It takes the learning rate, weight decay, length and seed from its options; its schedule follows the length; the seed
fixes both the initial weights and the order of the data, so that probes differ in weight decay alone; and its last line
is the held-out loss as JSON. What it trains is small: the next byte of Python's standard library from the 8 before it.

examples/own_script.sh calibrates it, here, on a Ray cluster or under SLURM.
"""

import argparse
import json
import sysconfig
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

CONTEXT, SAMPLES, HELD_OUT, BATCH = 8, 4_096, 4_096, 64


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    """Contexts, of shape (samples, CONTEXT), and the bytes that follow them; the last HELD_OUT are not trained on."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    text = b"".join(file.read_bytes() for file in files)[: 3 * (SAMPLES + HELD_OUT) + CONTEXT]
    values = torch.tensor(list(text))
    starts = torch.arange(SAMPLES + HELD_OUT) * 3
    return values[starts[:, None] + torch.arange(CONTEXT)], values[starts + CONTEXT]


def main() -> None:
    """Train, then print the loss of what was held out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--max-steps", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    contexts, targets = windows()
    model = nn.Sequential(
        nn.Embedding(256, 16), nn.Flatten(), nn.Linear(16 * CONTEXT, 64), nn.ReLU(), nn.Linear(64, 256)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=options.max_steps)
    order = torch.Generator().manual_seed(options.seed)
    batches: list[torch.Tensor] = []
    for _ in range(options.max_steps):
        batches = batches or list(torch.randperm(SAMPLES, generator=order).split(BATCH))
        batch = batches.pop(0)
        loss = F.cross_entropy(model(contexts[batch]), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        held_out = F.cross_entropy(model(contexts[SAMPLES:]), targets[SAMPLES:])
    print(json.dumps({"loss": held_out.item()}))


if __name__ == "__main__":
    main()
