"""For whoever writes their own torch loop: the right groups, and what the optimizer really does with them.

    python examples/plain_torch.py

Trains a small network on the next byte of Python's standard library for some seconds. The recommendation decides
learning rate and weight decay of every group; the monitor measures, from the weights, what each step takes away.
"""

import sysconfig
from pathlib import Path

import torch
from torch import nn

from adamw_scale import TrainingRun, recommend
from adamw_scale.integrations import TimescaleMonitor, param_groups

CONTEXT, TOKENS, BATCH = 8, 49_152, 64

text = torch.tensor(list((Path(sysconfig.get_paths()["stdlib"]) / "argparse.py").read_bytes()[: TOKENS + CONTEXT]))
contexts, targets = text.unfold(0, CONTEXT, 1)[:TOKENS], text[CONTEXT:]

torch.manual_seed(0)
head = nn.Linear(64, 256)
model = nn.Sequential(
    nn.Embedding(256, 16), nn.Flatten(), nn.Linear(16 * CONTEXT, 64), nn.LayerNorm(64), nn.ReLU(), head
)
run = TrainingRun(
    dataset_size=TOKENS,
    batch_size=BATCH,
    peak_lr=4e-3,
    schedule="cosine",
    warmup_fraction=0.05,
    num_params=sum(parameter.numel() for parameter in model.parameters()),
)
advice = recommend(run)
print(f"λ {advice.weight_decay:.2g} by {advice.rule}, timescale {advice.tau.run:.0%} of the run")

optimizer = torch.optim.AdamW(param_groups(model, advice, output_layer=head), betas=run.betas)
monitor = TimescaleMonitor(optimizer, plan=advice, every=100)
steps = int(run.total_steps)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: run.lr_schedule.multiplier(min(1.0, step / steps)))

for step, batch in enumerate(torch.randperm(TOKENS).split(BATCH)):
    loss = nn.functional.cross_entropy(model(contexts[batch]), targets[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 100 == 0:
        hidden = monitor.step()[0]
        measured = f", measured {hidden.measured:.3g}" if hidden.measured is not None else ""
        print(
            f"step {step:3}  loss {loss.item():.2f}  {hidden.group}: decay {hidden.decay:.3g} a step, planned "
            f"{hidden.planned:.3g}{measured}; {hidden.retention:.0%} of the initial weights left, RMS {hidden.rms:.3f}"
        )

for warning in monitor.warnings:
    print(f"{warning.code}: {warning.message}. {warning.fix}")
print("nothing to complain about" if not monitor.warnings else "")
