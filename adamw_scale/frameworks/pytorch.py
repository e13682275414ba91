"""PyTorch: torch.optim.AdamW, `param.mul_(1 - lr * weight_decay)` with the scheduled lr (torch/optim/adam.py).

`read` takes the optimizers of other libraries in the same unit too, each with its own defaults: transformers',
bitsandbytes', Lion.
"""

import re

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.scripts import read_script
from adamw_scale.frameworks.spelling import betas_of, eps_of, lr_of, one_for_all, value, whole
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.theory.schedules import SCHEDULES, Piece, Schedule


class PyTorch(Framework):
    """AdamW with explicit parameter groups, and the run's schedule as a LambdaLR."""

    name = "pytorch"
    title = "PyTorch"
    language = "python"
    convention = "pytorch"
    undecayed_by_default = "nothing: every parameter of a group decays"
    grouping = "all"
    schedules = tuple(SCHEDULES)
    reads = "Python source with a call of AdamW, Adam or Lion (torch, transformers, bitsandbytes, ...)"
    signs = frozenset({"AdamW", "Adam"})
    packages = frozenset(
        {"torch", "transformers", "bitsandbytes", "lion_pytorch", "apex", "deepspeed", "torchao", "optimi"}
    )
    by_optimizer = True
    formats = frozenset({"Python"})
    proven = "torch 2.13"

    def write(self, config: Config) -> str:
        """A module with build_optimizer(model); run as a script, it shows itself on a tiny model."""
        by_group = not one_for_all(config)
        return f'''import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

TOTAL_STEPS = {whole(config.total_steps)}


{multiplier_source(config.lr_schedule)}

{param_groups_source(config)}

def build_optimizer({_signature(by_group)}) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Call optimizer.step() and then scheduler.step(), once per step of the run."""
    optimizer = {adamw_source(config, "model, output_layer" if by_group else "model")}
    return optimizer, LambdaLR(optimizer, lr_multiplier)


if __name__ == "__main__":
    model = nn.Sequential(nn.Embedding(256, 64), nn.LayerNorm(64), nn.Linear(64, 64), nn.Linear(64, 256))
    optimizer, scheduler = build_optimizer({"model, model[-1]" if by_group else "model"})
    for group in optimizer.param_groups:
        print({{key: group[key] for key in ("name", "initial_lr", "weight_decay")}}, len(group["params"]), "tensors")
'''

    def read(self, document: Document) -> Config:
        """Arguments of the one optimizer, {"params": ..., "weight_decay": ...} groups beside it, and its scheduler."""
        return read_script(document, "torch")


def multiplier_source(schedule: Schedule) -> str:
    """Source of lr_multiplier(step): the schedule at the middle of each step, piece by piece."""
    *pieces, last = schedule.pieces
    body = "".join(
        f"    if progress < {value(piece.start + piece.width)}:\n{_piece_source(piece, indent=8)}" for piece in pieces
    )
    return f'''def lr_multiplier(step: int) -> float:
    """Learning rate over peak at a step, counted from 0."""
    progress = min(1.0, (step + 0.5) / TOTAL_STEPS)
{body}{_piece_source(last, indent=4)}'''


def _piece_source(piece: Piece, indent: int) -> str:
    """Lines that return one piece's multiplier."""
    lines = [f"return {piece.curve.formula}"]
    if re.search(r"\bu\b", piece.curve.formula):
        since = f"progress - {value(piece.start)}" if piece.start else "progress"
        width = "" if piece.width == 1 else f" / {value(piece.width)}"
        lines.insert(0, f"u = {f'({since})' if width and piece.start else since}{width}")
    return "".join(" " * indent + line + "\n" for line in lines)


def adamw_source(config: Config, arguments: str, indent: str = "    ") -> str:
    """Source of the optimizer, over the param_groups of these arguments."""
    beta1, beta2 = betas_of(config)
    rows = (f"param_groups({arguments})", f"lr={lr_of(config)}", f"betas=({beta1}, {beta2})", f"eps={eps_of(config)}")
    return "torch.optim.AdamW(\n" + "".join(f"{indent}    {row},\n" for row in rows) + f"{indent})"


def param_groups_source(config: Config) -> str:
    """Source of param_groups(model): decay by dimension, or by group where lr and λ depend on it."""
    if one_for_all(config):
        decayed, spared = (value(config.group(name).weight_decay) for name in (HIDDEN, NORM_AND_BIAS))
        return f'''def param_groups(model: nn.Module) -> list[dict]:
    """Matrices and embeddings decay; gains and biases (one dimension) do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {{"name": "decayed", "params": [p for p in trained if p.ndim >= 2], "weight_decay": {decayed}}},
        {{"name": "{NORM_AND_BIAS}", "params": [p for p in trained if p.ndim < 2], "weight_decay": {spared}}},
    ]
'''
    rows = ",\n        ".join(
        f'{{"name": "{group.group}", "params": [p for p in trained if kind(p) == "{group.group}"], '
        f"{_group_values(config, group)}}}"
        for group in config.groups
    )
    return f'''def param_groups(model: nn.Module, output_layer: nn.Module) -> list[dict]:
    """Learning rate and decay by group; initialise and scale the model for its width yourself."""
    trained = [p for p in model.parameters() if p.requires_grad]
    embeddings = {{p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}}
    outputs = set(output_layer.parameters())

    def kind(p: nn.Parameter) -> str:
        if p.ndim < 2:
            return "{NORM_AND_BIAS}"
        return "{EMBEDDING}" if p in embeddings else "{OUTPUT}" if p in outputs else "{HIDDEN}"

    return [
        {rows},
    ]
'''


def _group_values(config: Config, group: Group) -> str:
    eps = value((config.eps or 0) * group.eps_factor)
    return f'"lr": {lr_of(config, group)}, "weight_decay": {value(group.weight_decay)}, "eps": {eps}'


def _signature(by_group: bool) -> str:
    return "model: nn.Module, output_layer: nn.Module" if by_group else "model: nn.Module"
