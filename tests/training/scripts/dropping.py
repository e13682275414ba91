"""Train a small network with torch, dropping the last batch of every epoch; print its steps as it is told to.

python dropping.py LR WEIGHT_DECAY EPOCHS SEED HOW, where HOW is text, json or silent.
"""

import json
import sys

import torch
from torch import nn

SAMPLES, BATCH = 110, 16


def main():
    """Train, then print the held-out loss."""
    lr, decay, epochs, seed = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    x = torch.randn(2 * SAMPLES, 8)
    y = x.sin().sum(1, keepdim=True) + 0.3 * torch.randn(2 * SAMPLES, 1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    batches, step = SAMPLES // BATCH, 0
    for _ in range(epochs):
        for batch in torch.randperm(SAMPLES).split(BATCH)[:batches]:
            loss = nn.functional.mse_loss(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if sys.argv[5] == "text" and step % 3 == 0:
                print(f"step {step}/{epochs * batches}: loss {loss.item():.4f}")
            if sys.argv[5] == "json":
                print(json.dumps({"step": step, "loss": loss.item()}))
    with torch.no_grad():
        print(json.dumps({"val_loss": nn.functional.mse_loss(model(x[SAMPLES:]), y[SAMPLES:]).item()}))


if __name__ == "__main__":
    main()
