"""One optimizer after another, by its name, each on a model of its own."""

import sys
import warnings
from typing import Any

import torch
from libraries import composers_own
from torch import nn
from truth import note

warnings.simplefilter("ignore")


def build(name: str, model: nn.Module) -> Any:
    """An optimizer, by if/else as scripts have it."""
    settings: dict[str, Any] = {"params": model.parameters(), "lr": 1e-3, "weight_decay": 0.1}
    if name in ("foreach", "fused", "amsgrad"):
        return torch.optim.AdamW(**settings, **{name: True})
    if name == "tensor":
        return torch.optim.AdamW(**{**settings, "lr": torch.tensor(1e-3)})
    if name == "compiled":
        return torch.optim.AdamW(**settings)
    if name == "nadam":
        return torch.optim.NAdam(**settings, decoupled_weight_decay=True)
    if name == "adafactor":
        from transformers import Adafactor

        return Adafactor(**settings, scale_parameter=False, relative_step=False)
    if name == "relative":
        from transformers import Adafactor

        return Adafactor(model.parameters(), weight_decay=0.1)
    if name == "composer":
        return composers_own().DecoupledAdamW(**{**settings, "weight_decay": 1e-4})
    if name.startswith("bitsandbytes"):
        from bitsandbytes.optim import AdamW, AdamW8bit

        return (AdamW8bit if name.endswith("8") else AdamW)(**settings)
    if name == "torchao":
        from torchao.optim import AdamW8bit

        return AdamW8bit(**settings)
    raise SystemExit(f"no {name}")


kept = []
for number, name in enumerate(sys.argv[2:]):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.Linear(64, 16))
    optimizer = build(name, net)
    kept.append((net, optimizer))
    compiled = name == "compiled"
    forward, step = (torch.compile(net), torch.compile(optimizer.step)) if compiled else (net, optimizer.step)
    for number_of_step in range(12):
        for group in optimizer.param_groups:  # by hand, as nanoGPT does
            if name in ("fused", "compiled", "composer"):
                group["lr"] = 1e-3 * min(1.0, (number_of_step + 1) / 4)
        x = torch.randn(8, 16)
        optimizer.zero_grad()
        (forward(x) - x).square().mean().backward()
        step()
        note(optimizer, number)
