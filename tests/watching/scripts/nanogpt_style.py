"""Like nanoGPT: two groups by dimension, a learning rate that is set by hand in every step, a tied output."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from truth import note

learning_rate, min_lr, warmup_iters, lr_decay_iters, max_iters, weight_decay = 6e-3, 6e-4, 5, 40, 40, 0.1


class Block(nn.Module):
    """An MLP with a norm before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.c_fc, self.c_proj = nn.LayerNorm(width), nn.Linear(width, 64), nn.Linear(64, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add to the stream."""
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_1(x))))


class GPT(nn.Module):
    """Embedding, two blocks, output."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict({"wte": nn.Embedding(64, 32), "h": nn.ModuleList([Block(32), Block(32)])})
        self.lm_head = nn.Linear(32, 64, bias=False)
        self.transformer["wte"].weight = self.lm_head.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = self.transformer["wte"](tokens)
        for block in self.transformer["h"]:
            x = block(x)
        return self.lm_head(x)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Matrices decay."""
        params = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in params if p.dim() >= 2], "weight_decay": weight_decay},
            {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95))


def get_lr(it: int) -> float:
    """Warm-up, then a cosine."""
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    return min_lr + 0.5 * (1 + math.cos(math.pi * ratio)) * (learning_rate - min_lr)


torch.manual_seed(0)
model = GPT()
optimizer = model.configure_optimizers()
for step in range(max_iters):
    for group in optimizer.param_groups:
        group["lr"] = get_lr(step)
    batch = torch.randint(0, 64, (4, 9))
    loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
    loss.backward()
    optimizer.step()
    note(optimizer)
    optimizer.zero_grad(set_to_none=True)
