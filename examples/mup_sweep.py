"""For whoever scales width under muP: one base learning rate and λ, and groups that carry them to every width.

    python examples/mup_sweep.py

Under muP the hidden matrices of an m times wider network take lr / m. With the same λ their timescale would be m times
longer; `param_groups` gives them m times the λ, so that lr·λ stays (arXiv:2405.13698, arXiv:2510.15262). Trains three
widths at five base learning rates for a few seconds each, and prints where each is best: the same, or next to it.
"""

import sysconfig
from pathlib import Path

import torch
from torch import nn

from adamw_scale import TrainingRun, recommend
from adamw_scale.integrations import param_groups

CONTEXT, TOKENS, HELD_OUT, BATCH, BASE = 8, 24_576, 4096, 64, 32
WIDTHS, LRS = (32, 64, 128), (1.6e-2, 3.2e-2, 6.4e-2, 0.128, 0.256)

text = torch.tensor(list((Path(sysconfig.get_paths()["stdlib"]) / "argparse.py").read_bytes()))
contexts, targets = text.unfold(0, CONTEXT, 1)[: TOKENS + HELD_OUT], text[CONTEXT : CONTEXT + TOKENS + HELD_OUT]


def held_out_loss(width: int, lr: float) -> float:
    """Train one network; its initial weights and its output are scaled as muP says."""
    run = TrainingRun(
        dataset_size=TOKENS,
        batch_size=BATCH,
        peak_lr=lr,
        schedule="linear",
        width=width,
        base_width=BASE,
        parametrization="mup",
        num_params=width * (2 * width + 256 + 32),
    )
    advice = recommend(run)
    of = {group.group: group for group in advice.param_groups}
    torch.manual_seed(0)
    embed, head = nn.Embedding(256, width // CONTEXT), nn.Linear(width, 256, bias=False)
    hidden = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(embed, nn.Flatten(), *hidden, head)
    nn.init.zeros_(head.weight)
    optimizer = torch.optim.AdamW(param_groups(model, advice, output_layer=head), betas=run.betas)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / run.total_steps)
    for batch in torch.randperm(TOKENS, generator=torch.Generator().manual_seed(0)).split(BATCH):
        logits = model(contexts[batch]) * of["output"].forward
        loss = nn.functional.cross_entropy(logits, targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        logits = model(contexts[TOKENS:]) * of["output"].forward
        return nn.functional.cross_entropy(logits, targets[TOKENS:]).item()


print("width  " + "  ".join(f"lr {lr:<7g}" for lr in LRS))
for width in WIDTHS:
    losses = [held_out_loss(width, lr) for lr in LRS]
    best = losses.index(min(losses))
    print(f"{width:5}  " + "  ".join(f"{loss:.4f}{'*' if i == best else ' '}   " for i, loss in enumerate(losses)))
