"""A training with accelerate, whose scheduler is wrapped."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import get_linear_schedule_with_warmup
from truth import note

torch.manual_seed(0)
accelerator = Accelerator(cpu=True)
net = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 16))
optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.1)
scheduler = get_linear_schedule_with_warmup(optimizer, 4, 32)
x = torch.randn(256, 16)
net, optimizer, data, scheduler = accelerator.prepare(
    net, optimizer, DataLoader(TensorDataset(x), batch_size=8), scheduler
)
for (batch,) in data:
    loss = (net(batch) - batch).square().mean()
    accelerator.backward(loss)
    optimizer.step()
    note(optimizer)
    scheduler.step()
    optimizer.zero_grad()
