"""Two processes on gloo: DDP, or with `fsdp` flat parameters, as torchrun starts them."""

import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from truth import note

dist.init_process_group("gloo")
torch.manual_seed(0)
torch.set_num_threads(1)
net: nn.Module = nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.Linear(64, 16))
how = sys.argv[2]
if how == "fsdp":
    from torch.distributed.fsdp import FullyShardedDataParallel

    net = FullyShardedDataParallel(net, device_id=torch.device("cpu"))
elif how == "fsdp2":
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    fully_shard(net, mesh=init_device_mesh("cpu", (2,)))
else:
    net = DistributedDataParallel(net)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.1)
scheduler = torch.optim.lr_scheduler.SequentialLR(
    optimizer,
    [
        torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 45, eta_min=1e-4),
    ],
    milestones=[5],
)
for _ in range(50):
    x = torch.randn(8, 16)
    with nullcontext():
        loss = (net(x) - x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if dist.get_rank() == 0:
        note(optimizer)
    scheduler.step()
dist.destroy_process_group()
