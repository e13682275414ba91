"""DeepSpeed on the CPU, a process of its own, with its scheduler; the second argument is the stage of ZeRO."""

import os
import socket
import sys
from typing import Any

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
os.environ.update({"DS_ACCELERATOR": "cpu", **alone})

import deepspeed  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from truth import note  # noqa: E402

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else it compiles it, for minutes
stage = int(sys.argv[2])
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.Linear(64, 16))
config: dict[str, Any] = {
    "train_micro_batch_size_per_gpu": 8,
    "gradient_accumulation_steps": 2,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "weight_decay": 0.1, "torch_adam": True}},
    "scheduler": {
        "type": "WarmupDecayLR",
        "params": {"total_num_steps": 60, "warmup_num_steps": 30, "warmup_max_lr": 2e-3, "warmup_type": "linear"},
    },
    "zero_optimization": {"stage": stage},
    "bf16": {"enabled": stage > 0},
}
engine, optimizer, _, _ = deepspeed.initialize(model=net, model_parameters=net.parameters(), config=config)
for _ in range(120):
    x = torch.randn(8, 16, dtype=next(net.parameters()).dtype)
    loss = (engine(x) - x).float().square().mean()
    engine.backward(loss)
    if engine.is_gradient_accumulation_boundary():
        note(optimizer)
    engine.step()
