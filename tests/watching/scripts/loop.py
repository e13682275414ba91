"""A loop with much of what loops have: named groups, accumulation, autocast, a scaler, clipping, averaged weights."""

import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from truth import note


@dataclass
class Settings:
    """What is not said otherwise."""

    lr: float = 2e-3
    decay: dict[str, float] = field(default_factory=lambda: {"matrices": 0.2, "table": 0.02, "vectors": 0.0})
    accumulate: int = 4
    steps: int = 30


settings = Settings()
torch.manual_seed(0)
model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 30))
matrices = [model[1].weight, model[3].weight]
vectors = [p for p in model.parameters() if p.ndim < 2]
groups = {"matrices": matrices, "table": [model[0].weight], "vectors": vectors}
optimizer = torch.optim.AdamW(
    [{"params": each, "weight_decay": settings.decay[name], "name": name} for name, each in groups.items()],
    lr=settings.lr,
)
average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
scaler = torch.amp.GradScaler("cpu")
for step in range(settings.steps):
    for group in optimizer.param_groups:
        group["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    for _ in range(settings.accumulate):
        tokens = torch.randint(0, 30, (16,))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(tokens), tokens) / settings.accumulate
        scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    note(optimizer)
    optimizer.zero_grad(set_to_none=True)
    average.update_parameters(model)
