"""As timm's train.py: layer decay, parameters that the model spares, a schedule of its own, by updates."""

import warnings

import torch
from libraries import timms_own
from torch import nn
from truth import note

warnings.simplefilter("ignore")
create_optimizer_v2 = timms_own("timm.optim").create_optimizer_v2
CosineLRScheduler = timms_own("timm.scheduler.cosine_lr").CosineLRScheduler


class Vit(nn.Module):
    """Patches, two blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 16) * 0.02)
        self.patch_embed = nn.Linear(8, 16)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(2)
        )
        self.head = nn.Linear(16, 10)
        self.pretrained_cfg = {"classifier": "head"}

    def no_weight_decay(self) -> set[str]:
        """What timm asks for."""
        return {"pos_embed"}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean(1))


torch.manual_seed(0)
model = Vit()
optimizer = create_optimizer_v2(
    model, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.75, filter_bias_and_bn=True
)
scheduler = CosineLRScheduler(optimizer, t_initial=60, warmup_t=30, warmup_lr_init=1e-6, lr_min=1e-5, t_in_epochs=False)
for update in range(60):
    x, y = torch.randn(8, 4, 8), torch.randint(0, 10, (8,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    note(optimizer)
    scheduler.step_update(update + 1)
