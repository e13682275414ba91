"""Trainings that are each wrong in one way; the second argument says which."""

import sys

import torch
from libraries import composers_own
from torch import nn
from truth import note

fault = sys.argv[2]
torch.manual_seed(0)


class Net(nn.Module):
    """Two layers with a norm between them."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.down = nn.Linear(16, 64), nn.LayerNorm(64), nn.Linear(64, 16)
        self.forgotten = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of two ways."""
        y = self.down(self.norm(self.up(x)).relu())
        return y + self.forgotten(x) if fault == "unoptimized" else y


net = Net()
trained = [p for name, p in net.named_parameters() if not name.startswith("forgotten")]
matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim < 2]
spared = {"params": vectors, "weight_decay": 0.0}
optimizer: torch.optim.Optimizer
if fault == "norms":  # the second group forgets to say 0
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors}], lr=1e-3)
elif fault == "unit":
    optimizer = composers_own().DecoupledAdamW([{"params": matrices}, spared], lr=1e-3, weight_decay=0.1)
elif fault == "l2":
    optimizer = torch.optim.Adam([{"params": matrices}, spared], lr=1e-3, weight_decay=0.1)
elif fault == "undecayed":  # a name that is written otherwise
    named = dict(net.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [named["up.weight"]], "weight_decay": 0.1},
            {"params": [named["down.weight"], *vectors], "weight_decay": 0.0},
            {"params": []},
        ],
        lr=1e-3,
    )
else:
    optimizer = torch.optim.AdamW([{"params": matrices}, spared], lr=1e-3, weight_decay=0.1)
scheduler = None
if fault == "onecycle":
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=40)
elif fault == "short":
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=400)
for step in range(40):
    x = torch.randn(8, 16)
    loss = (net(x) - x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    if fault == "overwrites" and step == 3:
        optimizer.param_groups[0]["weight_decay"] = 0.01
    if fault == "decay-schedule":
        optimizer.param_groups[0]["weight_decay"] = 0.1 * (1 - step / 40)
    optimizer.step()
    note(optimizer)
    if scheduler is not None:
        scheduler.step()
    if fault == "doubled":
        with torch.no_grad():
            for p in matrices:
                p.mul_(1 - 1e-3 * 0.1)
